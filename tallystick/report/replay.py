"""Stretches of episodes for the report's viewer: tokens with roles, and the memory and pointers where they begin."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from tallystick.episode import EOS, Recorder, Role, StopProgram
from tallystick.tasks import Task, runner

BEFORE, AFTER = 2000, 40
"""Tokens shown before a first error, and of the program's own after it."""
SHOWN = 5000
"""Tokens shown of an episode that the program solves."""
NEAR = 64
"""Cells embedded on each side of where a pointer goes: more than a row of the viewer."""
MOST = 3_000_000
"""An episode is not run further than this for the report."""
REMEMBERED = (Role.PROMPT, Role.THOUGHT, Role.OUTPUT)


class _Until(Recorder):
    """Keeps the first `tokens` tokens and ends the program."""

    def __init__(self, tokens: int):
        super().__init__()
        self._left = tokens

    def write(self, ids: np.ndarray, roles: np.ndarray) -> None:
        super().write(ids, roles)
        self._left -= len(ids)
        if self._left <= 0:
            raise StopProgram


class _Count:
    """Counts an episode's tokens, up to MOST."""

    def __init__(self) -> None:
        self.tokens = 0

    def write(self, ids: np.ndarray, roles: np.ndarray) -> None:
        """Count a block."""
        self.tokens += len(ids)
        if self.tokens > MOST:
            raise StopProgram

    def close(self, ok: bool) -> None:
        """Nothing is open."""


def tokens(task: Task, length: int) -> int | None:
    """Tokens of an episode of this length; None if they are more than MOST."""
    sink = _Count()
    runner.run_problem(task, sink, "test", 0, length, 0)
    return sink.tokens if sink.tokens <= MOST else None


def solved(task: Task, length: int) -> dict[str, Any]:
    """The beginning of an episode that the program solves, as `tallystick show` has it."""
    sink = _Until(SHOWN)
    runner.run_problem(task, sink, "show", 0, length, 0)
    return {"error": None, "length": length, **stretch(task, sink.ids, sink.roles, 0, SHOWN)}


def around(task: Task, row: dict[str, Any], error: dict[str, Any]) -> dict[str, Any]:
    """The episode around a first error of a row of eval.json. Raises ValueError if it cannot be had again."""
    at = error["position"]
    if at > MOST:
        raise ValueError(f"token {at:,} lies beyond the first {MOST:,} that the report runs again")
    sink = _Until(at + AFTER)
    runner.run(task, problem(task, row, error["index"]), sink)
    words = task.vocab.tokens
    context = [words[i] for i in sink.ids[: at + 1].tolist()[-len(error["context"]) - 1 :]]
    if context != [*error["context"], error["want"]]:
        raise ValueError("the task's problems or program are no longer those of eval.json")
    part = stretch(task, sink.ids, sink.roles, max(at - BEFORE, 0), at + AFTER)
    return {"error": error, "length": row["length"], **part}


def problem(task: Task, row: dict[str, Any], index: int) -> list[str]:
    """The prompt of a row's problem."""
    if row["worst_cases"]:
        return task.worst_problems(row["length"])[index]
    return task.problem("test", row.get("seed", 0), row["length"], index)


def stretch(task: Task, ids: np.ndarray, roles: np.ndarray, start: int, end: int) -> dict[str, Any]:
    """Tokens start..end of an episode, and the cells of memory that are near a pointer or the memory's end in it."""
    end = min(end, len(ids))
    kept = np.isin(roles[:end], REMEMBERED)
    kept &= ~((roles[:end] == Role.THOUGHT) & (ids[:end] == EOS))
    prompt = int(np.argmax(roles != Role.PROMPT)) or len(roles)
    kept[: 1 + task.marks] = kept[prompt - task.marks : prompt] = False  # [BOS] and the marks are not
    remembered = np.flatnonzero(kept)
    size = int(np.searchsorted(remembered, start))
    starts, spans = {}, [(size - NEAR, size)]
    part, _ = task.part_of(task.vocab.decode(ids[1:prompt].tolist()))
    for name, path in _paths(part, ids[:end], roles[:end], start):
        starts[name] = int(path[0])
        spans.append((int(path.min()) - NEAR, int(path.max()) + NEAR + 1))
    cells = []
    for first, last in _union([(max(a, 0), min(b, size)) for a, b in spans]):
        where = remembered[first:last]
        cells.append([first, ids[where].tolist(), _digits(roles[where])])
    return {
        "start": start,
        "ids": ids[start:end].tolist(),
        "roles": _digits(roles[start:end]),
        "prompt": prompt,
        "marks": task.marks,
        "memory": size,
        "cells": cells,
        "pointers": starts,
    }


def _paths(task: Task, ids: np.ndarray, roles: np.ndarray, start: int) -> Iterator[tuple[str, np.ndarray]]:
    """Each pointer's name, and its cells from token `start` on."""
    numbers = task.vocab.ids
    said = np.where(roles == Role.COMMAND, ids.astype(np.int64), -1)
    for token in numbers:
        name = token.removeprefix("[").removesuffix(".right]")
        if re.fullmatch(r"\[p\d\.right\]", token):  # the tape moves, too, but not in this memory
            moves = (said == numbers[token]).astype(np.int64) - (said == numbers[f"[{name}.left]"])
            yield name, np.cumsum(np.concatenate([[moves[:start].sum()], moves[start:]]))


def _union(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Overlapping spans joined, in order; empty ones dropped."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(span for span in spans if span[0] < span[1]):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined


def _digits(roles: np.ndarray) -> str:
    return "".join(map(str, roles.tolist()))
