"""Run programs at machine speed where their control is finite, and as Python where it is not, with the same tokens.

`run`, `record` and `run_problem` stand for those of `tasks.runner`. A program's first tokens are made by Python. After
that its machine is extracted step by step as problems meet new steps, and runs in a compiled loop beside its tools.
Python goes on where the machine cannot: for a program that searches or reads its prompt at will, that has too many
states, or that fails. Some problems are begun both ways, and a difference is an error.
"""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import Any

from tallystick.episode import BLOCK, Sink
from tallystick.kernels import numba_jit
from tallystick.locality.programs.comparison import Difference, Opening, Rest
from tallystick.tasks import Task, runner
from tallystick.tasks.guard import paused
from tallystick.tasks.runner import interpret

__all__ = ["play", "record", "run", "run_problem"]

BY_PYTHON = 400_000
"""Number of a task's tokens that Python makes before a machine does: to load numba and to extract the machine takes
about as long."""
COMPILED = {"pointer", "tape"}
"""Names of the tools that are compiled."""


class Program:
    """The program of a task, or of a part of a mixture, on its way to a machine."""

    def __init__(self, part: Task):
        tools = {spec.partition(":")[0] for spec in part.tools}
        self.refused = find_spec("numba") is None or not tools <= COMPILED
        """Whether it is left to Python."""
        self._by_python = self._problems = 0
        self._transducer: Any = None
        self._attributes: dict[str, Any] = {}

    def play(self, task: Task, prompt: list[str], sink: Sink) -> None:
        """Write the trajectory on one problem, by Python or by the machine."""
        left = BY_PYTHON - self._by_python
        opening = Opening(sink, left if left > 0 else BLOCK)
        if left > 0 or not self._problems & (self._problems - 1):  # Python begins ever fewer problems
            opening.play(task, prompt)
            self._by_python += opening.size
        if left > 0 and not opening.is_full:
            return
        self._problems += 1
        if self._is_ready(task.part_of(prompt)[0]):
            self._run(task, prompt, sink, opening)
        else:
            interpret(task, prompt, Rest(None, opening.size, sink))

    def _is_ready(self, part: Task) -> bool:
        """Return whether there is a machine; a task whose attributes change has none, for it may depend on them."""
        if self._transducer is None:
            self._transducer = _transducer(part)
            self._attributes = dict(vars(part))
        now = vars(part)
        same = all(now.get(name) is value for name, value in self._attributes.items())
        self.refused = self._transducer is None or not same
        return not self.refused

    def _run(self, task: Task, prompt: list[str], sink: Sink, opening: Opening) -> None:
        """Run the machine, and Python where it is stuck; opening: the first tokens, which Python has handed on."""
        run, handed = self._transducer.run(task, prompt), 0
        difference = Difference(self._transducer, task, prompt)
        for number, (ids, roles) in enumerate(run.blocks()):
            if handed < opening.size:
                difference.check(handed, (ids, roles), opening.blocks[number])
            else:
                sink.write(ids, roles)
            handed += len(ids)
        if run.stuck is not None:
            self.refused = True
            interpret(task, prompt, Rest(difference, max(handed, opening.size), sink))


def _transducer(part: Task) -> Any:
    """Return the program's machine, still without steps; None if numba does not work, or for a strange tool."""
    with paused():  # the time to load numba is not the program's
        made = numba_jit.load("tallystick.locality.programs.transducer")
    return made and made.of(part)


def play(task: Task, prompt: list[str], sink: Sink) -> None:
    """Write the trajectory of the task's program on one problem, as `runner.interpret` does."""
    part, own = task.part_of(prompt)
    if part.compiled is None:
        part.compiled = Program(part)
    if part.compiled.refused or not own:
        interpret(task, prompt, sink)
    else:
        part.compiled.play(task, prompt, sink)


run = partial(runner.run, play=play)
record = partial(runner.record, play=play)
run_problem = partial(runner.run_problem, play=play)
