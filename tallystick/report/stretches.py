"""Stretches of episodes for the report's viewer, with the memory and the pointers at their beginning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tallystick.episode import Recorder
from tallystick.replay import Replay
from tallystick.report.conversation import Conversation, conversation
from tallystick.tasks import Task, runner

BEFORE, AFTER = 2000, 40
"""Number of tokens shown before a first error, and of the program's tokens shown after it."""
MOST_SHOWN = 5000
"""Maximum number of tokens shown of the program's own episode."""
MARGIN = 64
"""Number of cells embedded on each side of a pointer's path: more than a line of the viewer shows."""
MOST_RUN = 3_000_000
"""Number of tokens after which an episode is stopped."""
CHANGED = "the task's problems or program have changed since eval.json was written"


@dataclass(frozen=True)
class Stretch:
    """A stretch of an episode; `roles` and `remembered` are strings of digits, one for each token."""

    start: int
    """Position of the stretch's first token in the episode."""
    ids: list[int]
    roles: str
    remembered: str
    """1 for tokens that are appended to the context memory, else 0."""
    prompt: int
    """Position of the first token after the prompt."""
    memory: int
    """Number of cells of the context memory before the first token."""
    cells: list[tuple[int, list[int], str]]
    """The visible parts of that memory, as (first cell, ids, roles)."""
    pointers: dict[str, int]
    """Cell of each pointer before the first token, by the pointer's name."""
    pointer_commands: dict[int, tuple[str, str]]
    """Pointer and verb of each pointer command, by id."""


def count_tokens(task: Task, length: int) -> int | None:
    """Return the number of tokens of an episode of this length; None if there are more than MOST_RUN."""
    recorder = Recorder(MOST_RUN + 1)
    runner.run_problem(task, recorder, "test", 0, length, 0)
    return len(recorder) if len(recorder) <= MOST_RUN else None


def solved(task: Task, length: int) -> Stretch | Conversation:
    """Return the beginning of the program's episode of this length, the one that `tallystick show` prints."""
    prompt = task.problem("show", 0, length, 0)
    recorder = runner.record(task, prompt, limit=MOST_SHOWN)
    if task.text:
        return conversation(task, prompt, recorder, 0, MOST_SHOWN)
    return stretch(task, recorder, 0, MOST_SHOWN)


def around_error(task: Task, row: dict[str, Any], error: dict[str, Any]) -> Stretch | Conversation:
    """Return the stretch of the program's episode around a first error of a row of eval.json.

    Raises ValueError if the error lies too far in, or if the episode has changed since it was measured.
    """
    position = error["position"]
    if position > MOST_RUN:
        raise ValueError(f"token {position:,} lies beyond the first {MOST_RUN:,}, which the report is limited to")
    prompt = problem(task, row, error["index"])
    recorder = runner.record(task, prompt, limit=position + AFTER)
    seen = task.vocab.decode(recorder.ids[: position + 1].tolist())
    if seen[-len(error["context"]) - 1 :] != [*error["context"], error["want"]]:
        raise ValueError(CHANGED)
    first = max(position - BEFORE, 0)
    if task.text:
        return conversation(task, prompt, recorder, first, position + AFTER, position)
    return stretch(task, recorder, first, position + AFTER)


def problem(task: Task, row: dict[str, Any], index: int) -> list[str]:
    """Return the prompt of problem `index` of a row of eval.json. Raises ValueError if the task no longer has it."""
    if not row["worst_cases"]:
        return task.problem("test", row["seed"], row["length"], index)
    cases = task.worst_problems(row["length"])
    if index >= len(cases):
        raise ValueError(CHANGED)
    return cases[index]


def stretch(task: Task, recorder: Recorder, start: int, end: int) -> Stretch:
    """Return tokens start to end of an episode, with the cells near a pointer or near the end of the memory."""
    replay = Replay(task, recorder.ids, recorder.roles)
    shown = slice(start, min(end, len(recorder)))
    remembered = np.zeros(len(recorder), np.uint8)
    remembered[replay.memory] = 1
    size = int(remembered[:start].sum())
    paths = {name: np.concatenate([[0], cells])[start : shown.stop + 1] for name, cells in replay.pointers.items()}
    spans = [(size - MARGIN, size), *((int(p.min()) - MARGIN, int(p.max()) + MARGIN + 1) for p in paths.values())]
    cells = []
    for first, last in join_spans([(max(a, 0), min(b, size)) for a, b in spans]):
        where = replay.memory[first:last]
        cells.append((first, replay.ids[where].tolist(), _digits(replay.roles[where])))
    return Stretch(
        start=start,
        ids=replay.ids[shown].tolist(),
        roles=_digits(replay.roles[shown]),
        remembered=_digits(remembered[shown]),
        prompt=replay.prompt_end,
        memory=size,
        cells=cells,
        pointers={name: int(path[0]) for name, path in paths.items()},
        pointer_commands=replay.pointer_commands,
    )


def join_spans(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the spans in order with overlapping ones joined and empty ones dropped."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(span for span in spans if span[0] < span[1]):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined


def _digits(numbers: np.ndarray) -> str:
    return "".join(map(str, numbers.tolist()))
