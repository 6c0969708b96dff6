"""task/: a copy of the task's source and of its neighbours, their hash, and the task's tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tallystick import tasks
from tallystick.config import RunConfig
from tallystick.runs.reading import RunError, read_json, read_text
from tallystick.storage import write_text
from tallystick.tasks import Task
from tallystick.tasks.registry import RECORDED, neighbours, source, source_file
from tallystick.tasks.text import TextTask

TOKENIZER = "task/tokenizer.json"
"""Name of the file with a text task's tokenizer, if it does not follow from the task."""


@dataclass
class LoadedTask:
    """The task of a run folder."""

    task: Task
    name: str
    """Name that `tasks.load` takes: of the stored copy, if the user's file has changed or is gone."""
    tokenizer: str
    """Name of a text task's tokenizer that `tasks.load` takes; "" for the task's own."""
    changed: bool
    """Whether the task's file is no longer the one that the run was trained with."""

    @classmethod
    def of(cls, config: RunConfig) -> LoadedTask:
        """Load the task of a run that has no folder yet."""
        task = tasks.load(config.task, config.variant, config.tokenizer)
        return cls(task, config.task, config.tokenizer, changed=False)


def write_task(path: Path, task: Task) -> None:
    """Write the task's source and its neighbours, their hash, and the task's tokenizer into a run folder."""
    (text, digest), beside = source(task), neighbours(task)
    if source_file(task) in dict(beside):
        raise ValueError(f"{task.name} imports a file {source_file(task)}, the name of its own copy; rename that file")
    for name, content in [*beside, (source_file(task), text)]:
        file = path / "task" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, content)
    write_text(path / "task" / "sha256", digest + "\n")
    if isinstance(task, TextTask) and task.spelling.document:
        write_text(path / TOKENIZER, task.spelling.document)


def load_task(path: Path, config: RunConfig) -> LoadedTask:
    """Load the run's task. Raises RunError if its vocabulary has changed since training, ValueError if it is gone."""
    tokenizer = f"hf:{path / TOKENIZER}" if (path / TOKENIZER).exists() else config.tokenizer
    task, changed = _from_its_file(path, config, tokenizer)
    name = config.task
    if task is None:
        name = _stored_name(path, config)
        task = tasks.load(name, config.variant, tokenizer)
        task.name = config.task
    if list(task.vocab.tokens) != read_json(path / "vocab.json"):
        raise RunError(f"{path}: the vocabulary of {config.task} has changed since training; train anew")
    return LoadedTask(task, name, tokenizer, changed)


def _from_its_file(path: Path, config: RunConfig, tokenizer: str) -> tuple[Task | None, bool]:
    """Load the task from its own file; return it, or None to use the stored copy, and whether the file has changed."""
    own = _own_file(path, config)
    try:
        task = tasks.load(config.task, config.variant, tokenizer)
    except ValueError:
        if own is None:
            raise
        return None, own.exists()
    changed = source(task)[1] != read_text(path / "task" / "sha256").strip()
    return (None if own and changed else task), changed


def _own_file(path: Path, config: RunConfig) -> Path | None:
    """Return the user's file, or folder of trajectories, that the task was; None for a built-in one and a mixture."""
    head = config.task.partition(":")[0]
    if (path / "task" / RECORDED).exists():
        return Path(config.task)
    return Path(head) if head.endswith(".py") and "," not in config.task else None


def _stored_name(path: Path, config: RunConfig) -> str:
    """Return the name of the task's stored copy, as `tasks.load` takes it."""
    head, _, rest = config.task.partition(":")
    return f"{path / 'task' / 'source.py'}:{rest}" if head.endswith(".py") else str(path / "task" / RECORDED)
