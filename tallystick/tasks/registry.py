"""Load tasks by name, or from a user's own file."""

from __future__ import annotations

import hashlib
import inspect
from importlib import import_module
from pathlib import Path

from tallystick import userfile
from tallystick.tasks import contract, mixture
from tallystick.tasks.annotate import annotate
from tallystick.tasks.base import Task
from tallystick.tasks.chomsky import CHOMSKY
from tallystick.tasks.recorded.task import Recorded, is_recorded
from tallystick.tasks.text import TextTask

NOTES = "+notes"
"""Suffix of a variant's name that stands for the same program with notes."""
RECORDED = "recorded.jsonl"
"""Name under which a run folder keeps recorded trajectories."""
TASKS = {
    "addition": "tallystick.tasks.addition:Addition",
    "reverse": "tallystick.tasks.reverse:Reverse",
    "multiplication-1": "tallystick.tasks.multiplication:Multiplication1",
    "multiplication-2": "tallystick.tasks.multiplication:Multiplication2",
    "multiplication": "tallystick.tasks.multiplication:Multiplication",
    "sort": "tallystick.tasks.sort:Sort",
    "hanoi": "tallystick.tasks.hanoi:Hanoi",
    "hanoi-recursive": "tallystick.tasks.hanoi:HanoiRecursive",
    "turing": "tallystick.tasks.turing:Turing",
    "turing-universal": "tallystick.tasks.turing_universal:TuringUniversal",
    "logic-graph": "tallystick.tasks.logic_graph:LogicGraph",
    "codefix": "tallystick.tasks.codefix.task:CodeFix",
    **CHOMSKY,
}


def load(name: str, variant: str | None = None, tokenizer: str = "") -> Task:
    """Load a task: "addition", "turing:bb5" (name:options), "my_task.py:Reverse" (file:class), or a mixture of these.

    variant: one of the task's, by default the first; with the suffix +notes, its program says its control state.
    tokenizer: of a text task, if other than its own. Raises ValueError, in one line, for an unknown name, class,
    variant, option or tokenizer, a file that fails to run, a class that does not implement a task, or a program whose
    control state no notes can say.
    """
    task = _mixture(name, variant) if "," in name else _single(name, variant)
    task.name = name
    if tokenizer:
        _set_tokenizer(task, tokenizer)
    return task


def _set_tokenizer(task: Task, tokenizer: str) -> None:
    if not isinstance(task, TextTask):
        raise ValueError(f"{task.name} is no text task, so it takes no tokenizer; leave out tokenizer={tokenizer}")
    task.tokenizer = tokenizer
    _ = task.spelling  # whose mistakes are to show here


def _mixture(name: str, variant: str | None) -> Task:
    weights, shared = mixture.read(name)
    variants = variant.split("+") if variant else [None] * len(weights)
    if len(variants) != len(weights):
        raise ValueError(f"variant {variant!r}: a mixture has one for each of its {len(weights)} parts, as local+paper")
    parts = {part: load(part, own) for part, own in zip(weights, variants, strict=True)}
    return mixture.Mixture(parts, list(weights.values()), shared)


def _single(name: str, variant: str | None) -> Task:
    head, _, rest = (name, "", "") if name in TASKS else name.partition(":")
    of_task = (variant or "").removesuffix(NOTES) or None
    if head.endswith(".py"):
        task = _own(head, rest, of_task)
    elif head not in TASKS and is_recorded(name):
        task = Recorded(name)
        if of_task not in (None, task.variant):
            raise ValueError(f"unknown variant {of_task!r}; there are: {task.variant}")
    elif head in TASKS:
        module, class_name = TASKS[head].split(":")
        task = getattr(import_module(module), class_name)(rest, of_task)
    else:
        known = f"there are: {', '.join(TASKS)}, or your own file, my_task.py:Class, or trajectories, FILE.jsonl"
        raise ValueError(f"unknown task {name!r}; {known}")
    task.name = name
    return annotate(task, NOTES) if (variant or "").endswith(NOTES) else task


def _own(path: str, rest: str, variant: str | None) -> Task:
    """Load a task from a user's file; rest: Class or Class:options."""
    class_name, _, options = rest.partition(":")
    names = vars(userfile.load(path))
    classes = {name: value for name, value in names.items() if isinstance(value, type) and issubclass(value, Task)}
    classes.pop("Task", None)
    if class_name not in classes:
        choices = ", ".join(classes) or "no class derived from tallystick.Task"
        wrong = f"has no task {class_name!r}" if class_name else "does not say which task, as in FILE:Class"
        raise ValueError(f"{path} {wrong}; it has: {choices}")
    cls = classes[class_name]
    contract.require(cls)
    task = contract.make(cls, options, variant)
    contract.require_pure(task)
    return task


def source(task: Task) -> tuple[str, str]:
    """Return the text of the task's file, and the SHA-256 of it and its neighbours; of a mixture, all parts' texts."""
    if isinstance(task, Recorded):
        text, beside = "".join(f"{trajectory.to_json()}\n" for trajectory in task.collection.trajectories), []
    else:
        parts = list(task.parts.values()) or [task]
        files = dict.fromkeys(_file(part) for part in parts)
        beside = [content for part in parts for _, content in neighbours(part)]
        text = "\n".join([*map(_read, files), *(beside if task.parts else [])])
    return text, hashlib.sha256("\n".join([text, *beside]).encode()).hexdigest()


def neighbours(task: Task) -> list[tuple[str, str]]:
    """List the files that a user's task imports from its own folder: their paths in it, and their texts."""
    if ".py:" not in task.name or task.parts:
        return []
    file = Path(_file(task))
    folder = file.resolve().parent
    return [(str(found.relative_to(folder)), _read(str(found))) for found in userfile.neighbours(file)]


def _file(task: Task) -> str:
    return inspect.getsourcefile(task.home) or ""


def source_file(task: Task) -> str:
    """Return the name under which a run folder keeps the task's source."""
    return RECORDED if isinstance(task, Recorded) else "source.py"


def _read(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8, as a task's file must be: {error}") from error
