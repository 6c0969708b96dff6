"""Stretches of episodes for the report's viewer, with the memory and the pointers as they are where they begin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tallystick.episode import Recorder
from tallystick.replay import Replay
from tallystick.tasks import Task, runner

BEFORE, AFTER = 2000, 40
"""Tokens shown before a first error, and tokens of the program shown after it."""
MOST_SHOWN = 5000
"""Tokens shown of an episode that the program solves."""
MARGIN = 64
"""Cells embedded on each side of a pointer's way: more than a row of the viewer has."""
MOST_RUN = 3_000_000
"""Tokens after which an episode is broken off."""
CHANGED = "the task's problems or program have changed since eval.json was written"


@dataclass(frozen=True)
class Stretch:
    """A stretch of an episode. Roles and `remembered` are strings of digits, one for each token."""

    start: int
    """Position of its first token in the episode."""
    ids: list[int]
    roles: str
    remembered: str
    """1 for tokens that are appended to the context memory, else 0."""
    prompt: int
    """Position of the first token after the prompt."""
    memory: int
    """Cells of the context memory before the first token."""
    cells: list[tuple[int, list[int], str]]
    """Their parts that can be seen: first cell, ids, roles."""
    pointers: dict[str, int]
    """The cell that each pointer stands on before the first token."""
    pointer_commands: dict[int, tuple[str, str]]
    """The pointer and the verb of each pointer command, by id."""


def count_tokens(task: Task, length: int) -> int | None:
    """Return the tokens of an episode of this length; None if they are more than MOST_RUN."""
    recorder = _run(task, "test", length, MOST_RUN + 1)
    return len(recorder) if len(recorder) <= MOST_RUN else None


def solved(task: Task, length: int) -> Stretch:
    """Return the beginning of an episode that the program solves: the one that `tallystick show` prints."""
    recorder = _run(task, "show", length, MOST_SHOWN)
    return stretch(task, recorder, 0, MOST_SHOWN)


def around_error(task: Task, row: dict[str, Any], error: dict[str, Any]) -> Stretch:
    """Return the program's episode around a first error of a row of eval.json.

    Raises ValueError if the error lies too far, or if the episode is no longer what it was when it was measured.
    """
    position = error["position"]
    if position > MOST_RUN:
        raise ValueError(f"token {position:,} lies beyond the first {MOST_RUN:,}, which are all that the report runs")
    recorder = runner.record(task, problem(task, row, error["index"]), limit=position + AFTER)
    seen = task.vocab.decode(recorder.ids[: position + 1].tolist())
    if seen[-len(error["context"]) - 1 :] != [*error["context"], error["want"]]:
        raise ValueError(CHANGED)
    return stretch(task, recorder, max(position - BEFORE, 0), position + AFTER)


def problem(task: Task, row: dict[str, Any], index: int) -> list[str]:
    """Return the prompt of problem `index` of a row of eval.json. Raises ValueError if the task has it no more."""
    if not row["worst_cases"]:
        return task.problem("test", row["seed"], row["length"], index)
    cases = task.worst_problems(row["length"])
    if index >= len(cases):
        raise ValueError(CHANGED)
    return cases[index]


def stretch(task: Task, recorder: Recorder, start: int, end: int) -> Stretch:
    """Return tokens start..end of an episode, with the cells near a pointer or near the end of the memory."""
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
    """Join overlapping spans, in order; empty ones are dropped."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(span for span in spans if span[0] < span[1]):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined


def _run(task: Task, split: str, length: int, limit: int) -> Recorder:
    """Run the program on the first problem of a split."""
    recorder = Recorder(limit)
    runner.run_problem(task, recorder, split, 0, length, 0)
    return recorder


def _digits(numbers: np.ndarray) -> str:
    return "".join(map(str, numbers.tolist()))
