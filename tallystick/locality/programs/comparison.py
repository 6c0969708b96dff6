"""Compare a program's machine with the program itself; a difference is an error that names the control state."""

from __future__ import annotations

from typing import Any

from numpy import ndarray as Array

from tallystick.episode import Sink
from tallystick.tasks import Task
from tallystick.workspace import ProgramError

Block = tuple[Array, Array]
"""Ids and roles."""


def compare(transducer: Any, task: Task, prompt: list[str], begin: int, own: Block, program: Block) -> None:
    """Compare the machine's tokens with the program's, as far as both go; begin: number of tokens before them.

    Raises ProgramError for a difference.
    """
    size = min(len(own[0]), len(program[0]))
    differs = (own[0][:size] != program[0][:size]) | (own[1][:size] != program[1][:size])
    if differs.any():
        at = int(differs.argmax())
        tokens = task.vocab.tokens
        said, want = tokens[own[0][at]], tokens[program[0][at]]
        place = transducer.place_of(task, prompt, begin + at)
        raise ProgramError(
            f"{task.name}: the program says {want} where its machine says {said}, {place}, token {begin + at}; "
            "it must depend on nothing but its tools' answers and the end of its prompt"
        )


class Rest:
    """A sink between the program, run as Python from its start, and the sink that has the machine's tokens so far.

    handed: number of tokens that the sink has. stuck: the tokens after those, before the machine was stuck.
    """

    def __init__(self, transducer: Any, task: Task, prompt: list[str], handed: int, stuck: Block, sink: Sink):
        self._compare = lambda own, program: compare(transducer, task, prompt, self._seen, own, program)
        self._before, self._handed, self._seen = transducer.run(task, prompt).blocks(), handed, 0
        self._stuck, self._sink = stuck, sink

    def write(self, ids: Array, roles: Array) -> None:
        """Compare what the sink has, and hand on the rest."""
        if self._seen < self._handed:
            self._compare(next(self._before), (ids, roles))
        else:
            self._compare(self._stuck, (ids, roles))
            self._stuck = self._stuck[0][len(ids) :], self._stuck[1][len(ids) :]
            self._sink.write(ids, roles)
        self._seen += len(ids)

    def close(self, ok: bool) -> None:
        """Leave the sink open."""

    def end(self) -> None:
        """Require that the program said no less than the machine."""
        assert self._seen >= self._handed
        assert not len(self._stuck[0])
