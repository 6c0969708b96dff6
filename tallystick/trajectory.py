"""Trajectories: recorded episodes cut into segments of tokens with the same role, and their JSONL form."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TextIO

import numpy as np

from tallystick.episode import Recorder, Role

FORMAT_VERSION = 1
"""Version of the JSONL form."""
Segment = tuple[Role, list[str] | str]
"""A role with its symbols, or with its text in text tasks."""


@dataclass
class Trajectory:
    """A recorded episode as segments; [BOS] is left out."""

    segments: list[Segment]
    meta: dict[str, Any] = field(default_factory=dict)
    """Origin of the trajectory, such as task, variant, split, seed, length and index; any keys are allowed."""

    @classmethod
    def of(cls, recorder: Recorder, tokens: tuple[str, ...], meta: dict[str, Any] | None = None) -> Trajectory:
        """Cut what a recorder kept into segments; tokens: the vocabulary's strings by id."""
        return cls(list(cut(recorder.ids[1:], recorder.roles[1:], tokens)), meta or {})

    def to_json(self) -> str:
        """Return one JSONL line, without its newline."""
        segments = [[role.name.lower(), symbols] for role, symbols in self.segments]
        return json.dumps({"format": FORMAT_VERSION, **self.meta, "segments": segments}, ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> Trajectory:
        """Build a trajectory from one JSONL line. Raises ValueError for another format version or an unknown role."""
        return cls.from_document(json.loads(line))

    @classmethod
    def from_document(cls, document: object) -> Trajectory:
        """Build a trajectory from the value of a JSONL line. Raises ValueError as `from_json` does."""
        record = dict(document) if isinstance(document, dict) else {}
        if record.pop("format", None) != FORMAT_VERSION or "segments" not in record:
            raise ValueError(f"not a tallystick trajectory of format {FORMAT_VERSION}")
        roles = {role.name.lower(): role for role in Role}
        segments = record.pop("segments")
        unknown = {name for name, _ in segments} - roles.keys()
        if unknown:
            raise ValueError(f"unknown role {sorted(unknown)[0]!r}; roles are {', '.join(roles)}")
        return cls(merge([(roles[name], symbols) for name, symbols in segments]), record)


def merge(segments: list[Segment]) -> list[Segment]:
    """Join neighbouring symbol segments of the same role, which blocks may have split. Text segments stay separate."""
    merged: list[Segment] = []
    for role, symbols in segments:
        if merged and merged[-1][0] == role and isinstance(symbols, list) and isinstance(merged[-1][1], list):
            merged[-1][1].extend(symbols)
        else:
            merged.append((role, list(symbols) if isinstance(symbols, list) else symbols))
    return merged


def cut(ids: np.ndarray, roles: np.ndarray, tokens: tuple[str, ...]) -> Iterator[Segment]:
    """Cut a block into segments; tokens: the vocabulary's strings by id."""
    for role, pairs in groupby(zip(roles.tolist(), ids.tolist(), strict=True), key=lambda pair: pair[0]):
        yield Role(role), [tokens[token] for _, token in pairs]


class JsonlWriter:
    """A sink that writes an episode to a text file as one JSONL line while it runs, holding one block at a time."""

    def __init__(self, file: TextIO, tokens: tuple[str, ...], meta: dict[str, Any]):
        self._file, self._tokens, self._comma = file, tokens, ""
        self._skip = 1  # [BOS] belongs to no segment
        head = json.dumps({"format": FORMAT_VERSION, **meta}, ensure_ascii=False)
        file.write(head[:-1] + ', "segments": [')

    def write(self, ids: np.ndarray, roles: np.ndarray) -> None:
        """Write a block as segments."""
        for role, symbols in cut(ids[self._skip :], roles[self._skip :], self._tokens):
            self._file.write(self._comma + json.dumps([role.name.lower(), symbols], ensure_ascii=False))
            self._comma = ", "
        self._skip = 0

    def close(self, ok: bool) -> None:
        """End the line."""
        self._file.write(f'], "ok": {json.dumps(ok)}}}\n')
