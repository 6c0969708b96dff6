"""x"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tallystick.data.chat import Chat
from tallystick.episode import FORMAT_VERSION, JsonlWriter, Recorder, Role
from tallystick.tasks import Task, runner
from tallystick.vocab import loss_mask

SPLITS = ("train", "holdout", "check", "test")
"""Whose problems: those of "test" have exactly the length asked for, the others at most."""
ROW_GROUP = 1_000_000
"""Tokens held before they are written; a longer trajectory is held alone."""
Key = dict[str, Any]
"""split, seed, length and index of a problem."""


def write(task: Task, out: Path, lengths: list[int], samples: int, split: str, seed: int) -> dict[str, Any]:
    """Write `samples` trajectories of each length to `out`, whole or not at all; the form follows from its ending.

    Returns {"file", "trajectories", "bytes"}. Raises ValueError for another ending, an unknown split or a file that is
    there already, or where pyarrow is missing; ProgramError if the task's program is wrong.
    """
    forms = {".jsonl": _write_jsonl, ".parquet": _write_parquet}
    if out.suffix not in forms:
        raise ValueError(f"{out} ends in neither {' nor '.join(forms)}: the ending says how to write")
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; there are: {', '.join(SPLITS)}")
    if out.exists():
        raise ValueError(f"{out} is there already: give another --out")
    keys = [{"split": split, "seed": seed, "length": n, "index": i} for n in lengths for i in range(samples)]
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        forms[out.suffix](task, beside, keys)
        beside.rename(out)
    finally:
        beside.unlink(missing_ok=True)
    return {"file": str(out), "trajectories": len(keys), "bytes": out.stat().st_size}


def _write_jsonl(task: Task, path: Path, keys: list[Key]) -> None:
    """A block at a time: no trajectory is held."""
    with path.open("w", encoding="utf-8") as file:
        for key in keys:
            sink = JsonlWriter(file, task.vocab.tokens, _names(task) | key)
            runner.run_problem(task, sink, **key, up_to=key["split"] != "test")


def _write_parquet(task: Task, path: Path, keys: list[Key]) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise ValueError("Parquet needs pyarrow: pip install 'tallystick[data]', or write .jsonl") from None
    chat = dict.fromkeys(("messages", "tools"), pa.json_())
    by_token = {"input_ids": pa.list_(pa.int32()), "roles": pa.list_(pa.int8()), "loss_mask": pa.list_(pa.bool_())}
    names = dict.fromkeys(("task", "variant", "split"), pa.string())
    numbers = dict.fromkeys(("seed", "length", "index"), pa.int64())
    about = {"format": FORMAT_VERSION, "tokens": task.vocab.tokens, "roles": [role.name.lower() for role in Role]}
    schema = pa.schema(names | numbers | chat | by_token, {"tallystick": json.dumps(about)})
    with parquet.ParquetWriter(path, schema) as writer:
        for rows in _groups(_row(task, key) for key in keys):
            columns = [pa.array([row[name] for row in rows], schema.field(name).type) for name in schema.names]
            writer.write_table(pa.table(columns, schema=schema))


def _groups(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Rows together up to ROW_GROUP tokens."""
    group, tokens = [], 0
    for row in rows:
        if group and tokens + len(row["input_ids"]) > ROW_GROUP:
            yield group
            group, tokens = [], 0
        group.append(row)
        tokens += len(row["input_ids"])
    yield group


def _row(task: Task, key: Key) -> dict[str, Any]:
    up_to = key["split"] != "test"
    runner.run_problem(task, sink := Recorder(), **key, up_to=up_to)
    chat = Chat(task, task.problem(**key, up_to=up_to))
    for token, role in zip(sink.ids.tolist(), sink.roles.tolist(), strict=True):
        chat.add(token, role)
    as_json = {"messages": json.dumps(chat.finish()), "tools": json.dumps(chat.tools)}
    by_token = {
        "input_ids": sink.ids,
        "roles": sink.roles,
        "loss_mask": loss_mask(sink.roles, task.predict_observations),
    }
    return _names(task) | key | as_json | by_token


def _names(task: Task) -> dict[str, str]:
    return {"task": task.name, "variant": task.variant}
