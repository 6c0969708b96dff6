"""Run programs at machine speed where their control is finite, and as Python where it is not, with the same tokens.

`run`, `record` and `run_problem` stand for those of `tasks.runner`. A program's first tokens are made by Python. After
that its machine is extracted step by step as problems meet new steps, and runs in a compiled loop beside its tools.
Python goes on where the machine cannot: for a program that searches or reads its prompt at will, that has too many
states, or that fails. Some problems are begun both ways, and a difference is an error.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from tallystick.episode import BLOCK, Recorder, Sink, StopProgram
from tallystick.kernels import numba_jit
from tallystick.locality.programs.comparison import Rest, compare
from tallystick.tasks import Task, runner
from tallystick.tasks.guard import paused
from tallystick.tasks.runner import interpret

__all__ = ["play", "record", "run", "run_problem"]

BY_PYTHON = 100_000
"""Number of a task's tokens that Python makes before a machine is extracted, which takes as long."""


class Program:
    """The program of a task, or of a part of a mixture, on its way to a machine."""

    def __init__(self) -> None:
        self.refused = False
        """Whether it is left to Python."""
        self._by_python = self._problems = 0
        self._transducer: Any = None
        self._attributes: dict[str, Any] = {}

    def play(self, task: Task, prompt: list[str], sink: Sink) -> None:
        """Write the trajectory on one problem, by Python or by the machine."""
        is_new = self._by_python < BY_PYTHON
        trial = Recorder(BLOCK) if is_new or self._is_checked() else None
        if trial is not None and _begin(task, prompt, trial) and is_new:
            self._by_python += len(trial)
            for block in trial.blocks:
                sink.write(*block)
        elif self._is_ready(task.part_of(prompt)[0]):
            self._by_python += len(trial or ())
            self._problems += 1
            self._run(task, prompt, sink, trial)
        else:
            interpret(task, prompt, sink)

    def _is_checked(self) -> bool:
        """Return whether Python also begins the next problem: the first ones, and ever fewer later."""
        return not self._problems & (self._problems - 1)

    def _is_ready(self, part: Task) -> bool:
        """Return whether there is a machine; a task whose attributes change has none, for it may depend on them."""
        if self._transducer is None:
            self._transducer = _transducer(part)
            self._attributes = dict(vars(part))
        now = vars(part)
        same = all(now.get(name) is value for name, value in self._attributes.items())
        self.refused = self._transducer is None or not same
        return not self.refused

    def _run(self, task: Task, prompt: list[str], sink: Sink, trial: Recorder | None) -> None:
        """Run the machine, and Python where it is stuck; trial: the first tokens, as Python makes them."""
        run, handed = self._transducer.run(task, prompt), 0
        for ids, roles in run.blocks():
            if trial is not None:
                compare(self._transducer, task, prompt, 0, (ids, roles), (trial.ids, trial.roles))
                trial = None
            sink.write(ids, roles)
            handed += len(ids)
        if run.stuck is not None:
            self.refused = True
            rest = Rest(self._transducer, task, prompt, handed, run.stuck, sink)
            interpret(task, prompt, rest)
            rest.end()


def _begin(task: Task, prompt: list[str], trial: Recorder) -> bool:
    """Run the program as Python up to a block; return whether it has ended."""
    try:
        interpret(task, prompt, trial)
    except StopProgram:
        return False
    return True


def _transducer(part: Task) -> Any:
    """Return the program's machine, still without steps; None without numba, and for tools that are not compiled."""
    with paused():  # the time to load numba is not the program's
        made = numba_jit.load("tallystick.locality.programs.transducer")
    return made and made.of(part)


def play(task: Task, prompt: list[str], sink: Sink) -> None:
    """Write the trajectory of the task's program on one problem, as `runner.interpret` does."""
    part, own = task.part_of(prompt)
    if part.compiled is None:
        part.compiled = Program()
    if part.compiled.refused or not own:
        interpret(task, prompt, sink)
    else:
        part.compiled.play(task, prompt, sink)


run = partial(runner.run, play=play)
record = partial(runner.record, play=play)
run_problem = partial(runner.run_problem, play=play)
