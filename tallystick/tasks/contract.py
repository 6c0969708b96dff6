"""Check that a user's class implements a task, so that a mistake gives one clear line instead of a wrong result."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any

from tallystick.problem import prompt_digest, symbols_of
from tallystick.tasks.base import Defaults, Task
from tallystick.tasks.guard import task_code

REQUIRED = ("sample", "answer")
"""Methods that every task writes, beside a program for each variant."""
REQUIRED_OF_TEXT = ("sample", "score")
GUARDED = ("parse", "format", "score", "partial_score", "facts")
"""Methods of the task's own that the commands call outside of its program."""
DRAWS = 20
"""Number of drawn problems that must not all be equal."""


def require(cls: type[Task]) -> None:
    """Check a user's class. Raises ValueError naming what is missing or of a wrong kind, and the right form."""
    name = cls.__name__
    base, required, needs = Task, REQUIRED, "a task needs symbols, sample(length, rng), answer(prompt) and solve(w)"
    if cls.text:
        from tallystick.tasks.text import TextTask  # with the shell, which other tasks do without

        base, required = TextTask, REQUIRED_OF_TEXT
        needs = "a text task needs sample(length, rng), score(prompt, output, tools) and solve(w)"
    missing = [method for method in required if getattr(cls, method) is getattr(base, method)]
    if missing:
        raise ValueError(f"{name} has no {' and no '.join(f'{method}()' for method in missing)}: {needs}")
    _require_kinds(cls)
    for variant, method in cls.variants.items():
        program = getattr(cls, method, None) if isinstance(method, str) else None
        if not callable(program) or program is Task.solve:
            raise ValueError(f"{name} has no {method}(), the program of its variant {variant!r}")
    try:
        inspect.signature(cls).bind("", None)
    except TypeError:
        raise ValueError(f"{name}.__init__ must take (self, options, variant) and pass them to super()") from None


def _require_kinds(cls: type[Task]) -> None:
    name = cls.__name__
    if isinstance(cls.symbols, set | frozenset):
        raise ValueError(f"{name}.symbols is a set, whose order changes from process to process; use a string or tuple")
    if not cls.text and not _are_symbols(cls.symbols):
        raise ValueError(f'{name}.symbols must be a string or a sequence of strings, as "01>", not {cls.symbols!r}')
    if isinstance(cls.tools, str) or not _are_symbols(cls.tools):
        raise ValueError(f'{name}.tools must be a tuple, such as ("pointer:1",), not {cls.tools!r}')
    if not isinstance(cls.defaults, Defaults):
        kind = type(cls.defaults).__name__
        raise ValueError(f"{name}.defaults must be Defaults(...), as Defaults(train_length=10), not a {kind}")
    for length in ("min_length", "max_length"):
        if not _is_length(getattr(cls, length)):
            raise ValueError(f"{name}.{length} must be an integer from 1 on, not {getattr(cls, length)!r}")
    if not _is_length(cls.defaults.train_length):
        raise ValueError(
            f"{name}.defaults: train_length must be an integer from 1 on, not {cls.defaults.train_length!r}"
        )
    for rows in ("check", "eval"):
        lengths = getattr(cls.defaults, rows)
        if not isinstance(lengths, tuple | list) or not lengths or not all(map(_is_length, lengths)):
            raise ValueError(f"{name}.defaults: {rows} must be a tuple of lengths, as (5, 10, 20), not {lengths!r}")
    if not isinstance(cls.variants, Mapping) or not cls.variants:
        raise ValueError(f'{name}.variants must name at least one program, such as {{"default": "solve"}}')


def _is_length(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _are_symbols(value: object) -> bool:
    return isinstance(value, Iterable) and all(isinstance(item, str) for item in value)


def make(cls: type[Task], options: str, variant: str | None) -> Task:
    """Make the task. Raises ValueError for an `__init__` that fails or leaves the task half made."""
    try:
        task = cls(options, variant)
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"{cls.__name__}.__init__ fails: {type(error).__name__}: {error}") from error
    if not hasattr(task, "home"):
        raise ValueError(f"{cls.__name__}.__init__ must call super().__init__(options, variant)")
    for method in GUARDED:
        if getattr(cls, method) is not getattr(Task, method):
            setattr(task, method, _guarded(task, method))
    return task


def _guarded(task: Task, method: str) -> Callable[..., Any]:
    """The method, whose exceptions become a ProgramError that names file and line.

    A ValueError of `parse` is not the task's mistake but the user's, and stays as it is.
    """
    own = getattr(task, method)

    @wraps(own)
    def call(*arguments: Any, **named: Any) -> Any:
        with task_code(task, f"calling {method}"):
            try:
                return own(*arguments, **named)
            except ValueError as error:
                if method != "parse":
                    raise
                refusal = error
        raise refusal

    return call


def require_pure(task: Task) -> None:
    """Check that `sample` depends on its two arguments and on nothing else. Raises ValueError naming the fault."""
    length = max(task.defaults.train_length, task.min_length)
    drawn = [_draw(task, length, seed) for seed in range(DRAWS)]
    if drawn != [_draw(task, length, seed) for seed in range(DRAWS)]:
        raise ValueError(
            f"{task.name}: sample drew two different problems with the same seed; draw with its argument rng, not with "
            "the module random or from a set"
        )
    if length > task.min_length and all(prompt == drawn[0] for prompt in drawn):
        raise ValueError(f"{task.name}: sample draws the same problem of length {length} for every seed; draw with rng")
    if length > task.min_length and _ignores_length(task, length):
        raise ValueError(f"{task.name}: sample draws the same problems of length {task.min_length} and {length}")


def _ignores_length(task: Task, length: int) -> bool:
    """Return whether `sample` draws the same problem at both lengths from each of many seeds."""
    return all(_draw(task, length, seed) == _draw(task, task.min_length, seed) for seed in range(25 * DRAWS))


def _draw(task: Task, length: int, seed: int) -> str:
    with task_code(task, f"drawing a problem of length {length}"):
        return prompt_digest(symbols_of("sample", task.sample(length, random.Random(seed))))
