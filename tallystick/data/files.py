"""Write trajectories for others: JSONL, Parquet with messages and token ids, or the forms of other projects."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict

from tallystick.data import chat, forms
from tallystick.episode import Recorder, Role, Sink
from tallystick.locality import programs
from tallystick.replay import Replay
from tallystick.storage import check_makable, check_writable, make_folder, replace_file
from tallystick.tasks import Task
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
        programs.run_problem(task, sink, **asdict(self), up_to=self.split != "test")


class Written(TypedDict):
    """Document of `data --json`."""

    file: str
    trajectories: int
    bytes: int


def write(
    task: Task, out: Path, lengths: list[int], samples: int, split: str, seed: int, form: str = "tokens"
) -> Written:
    """Write `samples` trajectories of each length, whole or not at all, to a file or, in some forms, to a folder.

    Raises ValueError for an unknown form or split, a suffix that the form has not, an existing file, or if pyarrow is
    missing; ProgramError if the task's program is wrong.
    """
    if form not in FORMS:
        raise ValueError(f"unknown form {form!r}; there are: {', '.join(FORMS)}")
    writers = FORMS[form]
    if out.suffix not in writers:
        possible = " or ".join(suffix or "a folder's name" for suffix in writers)
        raise ValueError(f"{out}: the suffix names the format; --form {form} takes {possible}")
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; there are: {', '.join(SPLITS)}")
    if out.exists():
        raise ValueError(f"{out} already exists: choose another --out")
    chosen = {length: task.indices(split, length, samples, up_to=split != "test") for length in lengths}
    problems = (Problem(split, seed, length, index) for length in lengths for index in chosen[length])
    (check_writable if out.suffix else check_makable)(out)
    (replace_file if out.suffix else make_folder)(out, lambda beside: writers[out.suffix](task, beside, problems))
    size = sum(file.stat().st_size for file in (out.iterdir() if out.is_dir() else [out]))
    return {"file": str(out), "trajectories": sum(map(len, chosen.values())), "bytes": size}


def _write_jsonl(task: Task, path: Path, problems: Iterable[Problem]) -> None:
    """Write a line for each trajectory, block by block while it runs."""
    with path.open("w", encoding="utf-8") as file:
        for problem in problems:
            problem.run(task, JsonlWriter(file, task.vocab.tokens, _source(task, problem)))


def _write_openai(task: Task, path: Path, problems: Iterable[Problem]) -> None:
    """Write a line for each trajectory, with messages and tools."""
    with path.open("w", encoding="utf-8") as file:
        for problem in problems:
            replay = _replay(task, problem)
            document = forms.openai(chat.messages(replay), chat.schemas(replay), _source(task, problem))
            file.write(json.dumps(document, ensure_ascii=False) + "\n")


def _folder_writer(form: forms.Form, suffix: str) -> Writer:
    """Return a function that writes a file for each trajectory."""

    def write_files(task: Task, path: Path, problems: Iterable[Problem]) -> None:
        for problem in problems:
            replay, source = _replay(task, problem), _source(task, problem)
            document = form(chat.messages(replay), chat.schemas(replay), source)
            name = f"{problem.split}-s{problem.seed}-n{problem.length}-{problem.index}{suffix}"
            (path / name).write_text(json.dumps(document, indent=2), encoding="utf-8")

    return write_files


def write_parquet(task: Task, path: Path, problems: Iterable[Problem]) -> None:
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
    replay = _replay(task, problem)
    return {
        **_source(task, problem),
        "messages": json.dumps(chat.messages(replay)),
        "tools": json.dumps(chat.schemas(replay)),
        "input_ids": replay.ids,
        "roles": replay.roles,
        "loss_mask": loss_mask(replay.roles, task.predict_observations),
    }


def _replay(task: Task, problem: Problem) -> Replay:
    """Run the program on a problem, and record it."""
    recorder = Recorder()
    problem.run(task, recorder)
    return Replay(task, recorder.ids, recorder.roles)


def _source(task: Task, problem: Problem) -> dict[str, Any]:
    """Describe the origin of a trajectory."""
    return {"task": task.name, "variant": task.variant, **asdict(problem)}


Writer = Callable[[Task, Path, Iterable[Problem]], None]
FORMS: dict[str, dict[str, Writer]] = {
    "tokens": {".jsonl": _write_jsonl, ".parquet": write_parquet},
    "openai": {".jsonl": _write_openai, ".parquet": write_parquet},
    "mini": {"": _folder_writer(forms.mini, ".traj.json")},
    "atif": {"": _folder_writer(forms.atif, ".trajectory.json")},
}
"""Functions that write each form, by the suffix of the file; without a suffix, they write into a folder."""
