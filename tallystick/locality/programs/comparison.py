"""Hand over between a program that runs as Python and its machine; a difference of the two is an error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy import ndarray as Array

from tallystick.episode import Sink, StopProgram
from tallystick.tasks import Task
from tallystick.tasks.runner import interpret
from tallystick.workspace import ProgramError

Block = tuple[Array, Array]
"""Ids and roles."""


class Opening:
    """The first tokens of an episode, made by Python: a sink that hands them on, and ends the program at a limit."""

    def __init__(self, sink: Sink, limit: int):
        self._sink, self._limit = sink, limit
        self.blocks: list[Block] = []
        self.size = 0
        """Number of tokens."""
        self.is_full = False
        """Whether the limit ended it."""

    def play(self, task: Task, prompt: list[str]) -> None:
        """Run the program to its end or to the limit."""
        try:
            interpret(task, prompt, self)
        except StopProgram:
            if not self.is_full:  # the sink wants no more
                raise

    def write(self, ids: Array, roles: Array) -> None:
        """Hand on a block, and keep it. Raises StopProgram at the limit."""
        self._sink.write(ids, roles)
        self.blocks.append((ids, roles))
        self.size += len(ids)
        if self.size >= self._limit:
            self.is_full = True
            raise StopProgram

    def close(self, ok: bool) -> None:
        """Leave the sink open."""


class Difference:
    """Compares a machine with its program on one problem."""

    def __init__(self, transducer: Any, task: Task, prompt: list[str]):
        self._transducer, self._task, self._prompt = transducer, task, prompt

    def blocks(self) -> Iterator[Block]:
        """Yield the machine's tokens, also those since the last block where it is stuck."""
        run = self._transducer.run(self._task, self._prompt)
        yield from run.blocks()
        if run.stuck:
            yield run.stuck

    def check(self, begin: int, own: Block, program: Block) -> None:
        """Compare the machine's tokens with the program's, as far as both go; begin: number of tokens before them.

        Raises ProgramError for a difference.
        """
        size = min(len(own[0]), len(program[0]))
        differs = (own[0][:size] != program[0][:size]) | (own[1][:size] != program[1][:size])
        if differs.any():
            at = int(differs.argmax())
            said, want = (self._task.vocab.tokens[ids[at]] for ids, _ in (own, program))
            place = self._transducer.place_of(self._task, self._prompt, begin + at)
            raise ProgramError(
                f"the program says {want} where the machine extracted from it says {said}, {place}; "
                "it must depend on nothing but the answers of its tools and the end of its prompt"
            )


class Rest:
    """A sink of a program that runs as Python because its machine is stuck: it hands on what the sink has not yet.

    handed: number of tokens that the sink has.
    """

    def __init__(self, difference: Difference | None, handed: int, sink: Sink):
        self._difference, self._handed, self._sink = difference, handed, sink
        self._machine = difference.blocks() if difference else iter(())
        self._seen = 0

    def write(self, ids: Array, roles: Array) -> None:
        """Compare a block with the machine's, as far as that came, and hand it on unless the sink has it."""
        own = next(self._machine, None)
        if own is not None and self._difference:
            self._difference.check(self._seen, own, (ids, roles))
        if self._seen >= self._handed:
            self._sink.write(ids, roles)
        self._seen += len(ids)

    def close(self, ok: bool) -> None:
        """Leave the sink open."""
