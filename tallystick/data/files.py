"""Write trajectories to a file for use by other trainers: JSONL, or Parquet with chat messages and token ids."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict

from tallystick.data import chat
from tallystick.episode import Recorder, Role, Sink
from tallystick.replay import Replay
from tallystick.storage import check_writable, replace_file
from tallystick.tasks import Task, runner
from tallystick.trajectory import FORMAT_VERSION, JsonlWriter
from tallystick.vocab import loss_mask

SPLITS = ("train", "holdout", "check", "test")
"""Splits of problems: those of "test" have exactly the length asked for, those of the others at most that length."""
ROW_GROUP = 1_000_000
"""Maximum number of tokens held in memory before they are written to Parquet; a longer trajectory is held alone."""


@dataclass(frozen=True)
class Problem:
    """The coordinates of a problem; together with the task they determine every token of its trajectory."""

    split: str
    seed: int
    length: int
    index: int

    def run(self, task: Task, sink: Sink) -> None:
        """Run the task's program on the problem."""
        runner.run_problem(task, sink, **asdict(self), up_to=self.split != "test")


class Written(TypedDict):
    """Document of `data --json`."""

    file: str
    trajectories: int
    bytes: int


def write(task: Task, out: Path, lengths: list[int], samples: int, split: str, seed: int) -> Written:
    """Write `samples` trajectories of each length to `out`, whole or not at all; its suffix names the format.

    Raises ValueError for another suffix, an unknown split, an existing file, or if pyarrow is missing; ProgramError if
    the task's program is wrong.
    """
    writers = {".jsonl": _write_jsonl, ".parquet": _write_parquet}
    if out.suffix not in writers:
        raise ValueError(f"{out}: the suffix names the format; use {' or '.join(writers)}")
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; there are: {', '.join(SPLITS)}")
    if out.exists():
        raise ValueError(f"{out} already exists: choose another --out")
    problems = (Problem(split, seed, length, index) for length in lengths for index in range(samples))
    check_writable(out)
    replace_file(out, lambda beside: writers[out.suffix](task, beside, problems))
    return {"file": str(out), "trajectories": len(lengths) * samples, "bytes": out.stat().st_size}


def _write_jsonl(task: Task, path: Path, problems: Iterable[Problem]) -> None:
    """Write a line for each trajectory, block by block while it runs."""
    with path.open("w", encoding="utf-8") as file:
        for problem in problems:
            problem.run(task, JsonlWriter(file, task.vocab.tokens, _source(task, problem)))


def _write_parquet(task: Task, path: Path, problems: Iterable[Problem]) -> None:
    """Write a row for each trajectory."""
    try:
        from pyarrow import parquet
    except ImportError:
        raise ValueError("Parquet needs pyarrow: pip install 'tallystick[data]', or write .jsonl") from None
    import pyarrow

    schema = _schema(task)
    with parquet.ParquetWriter(path, schema) as writer:
        for rows in _groups(_row(task, problem) for problem in problems):
            columns = [pyarrow.array([row[field.name] for row in rows], field.type) for field in schema]
            writer.write_table(pyarrow.table(columns, schema=schema))


def _schema(task: Task) -> Any:
    """Return the Parquet schema; its metadata explains token ids and role numbers."""
    import pyarrow as pa

    source = dict.fromkeys(("task", "variant", "split"), pa.string())
    source |= dict.fromkeys(("seed", "length", "index"), pa.int64())
    as_chat = dict.fromkeys(("messages", "tools"), pa.json_())
    by_token = {"input_ids": pa.list_(pa.int32()), "roles": pa.list_(pa.int8()), "loss_mask": pa.list_(pa.bool_())}
    about = {"format": FORMAT_VERSION, "tokens": task.vocab.tokens, "roles": [role.name.lower() for role in Role]}
    return pa.schema(source | as_chat | by_token, {"tallystick": json.dumps(about)})


def _groups(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Group consecutive rows, each group with at most ROW_GROUP tokens."""
    group, tokens = [], 0
    for row in rows:
        if group and tokens + len(row["input_ids"]) > ROW_GROUP:
            yield group
            group, tokens = [], 0
        group.append(row)
        tokens += len(row["input_ids"])
    yield group


def _row(task: Task, problem: Problem) -> dict[str, Any]:
    """Run the program on a problem and return the columns of its row."""
    recorder = Recorder()
    problem.run(task, recorder)
    replay = Replay(task, recorder.ids, recorder.roles)
    return {
        **_source(task, problem),
        "messages": json.dumps(chat.messages(replay)),
        "tools": json.dumps(chat.schemas(replay)),
        "input_ids": replay.ids,
        "roles": replay.roles,
        "loss_mask": loss_mask(replay.roles, task.predict_observations),
    }


def _source(task: Task, problem: Problem) -> dict[str, Any]:
    """Describe the origin of a trajectory."""
    return {"task": task.name, "variant": task.variant, **asdict(problem)}
