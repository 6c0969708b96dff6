"""Copied symbols: if a program does no more with some symbols than say them again, two of them stand for all.

Replace these symbols in a run by two of them, in whatever way: the result is a run, too. So two runs that say different
tokens after the same ones remain such runs if all that is said becomes one symbol, but for what one of them says there,
which becomes the other. docs/proof.md has the argument.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tallystick.locality import sequences
from tallystick.locality.deciding import Context, Tree
from tallystick.locality.extraction import TAPE, Machine, Step
from tallystick.tasks.shape import Shape

COPY = -1
"""Stands in a step for the token that was the answer."""

Symbols = tuple[str, ...]


def find(machine: Machine, shape: Shape) -> Symbols:
    """Return the most symbols that stand at the same places of prompts and seem to be copied; empty if there are few.

    Only the steps that were taken so far tell.
    """
    ids = machine.task.vocab.ids
    if f"[{TAPE}.read]" in ids or "[find]" in ids:  # prompts decide in any way what is on a tape, and searches compare
        return ()
    places: defaultdict[frozenset[int], list[str]] = defaultdict(list)
    for symbol in sorted(frozenset().union(*shape.symbols), key=ids.__getitem__):
        places[frozenset(n for n, at in enumerate(shape.symbols) if symbol in at)].append(symbol)
    alike = [group for symbols in places.values() for group in _alike(machine, symbols)]
    said = _constant(machine)
    copied = (tuple(symbol for symbol in group if ids[symbol] not in said) for group in alike)
    most = max(copied, key=len)
    return most if len(most) > 2 else ()


def are_copied(machine: Machine, symbols: Symbols) -> bool:
    """Return whether no step that was taken does more with these symbols than say the one that was the answer."""
    ids = machine.task.vocab.ids
    return len([*_alike(machine, symbols)]) == 1 and _constant(machine).isdisjoint(ids[symbol] for symbol in symbols)


def reduced(shape: Shape, symbols: Symbols) -> Shape:
    """Return the shape with the first two of these symbols in place of all."""
    return replace(shape, symbols=tuple(at - {*symbols[2:]} for at in shape.symbols))


def _alike(machine: Machine, symbols: Iterable[str]) -> Iterable[list[str]]:
    """Group symbols by what the program does when they are the answer, in all states in which one of them was."""
    symbols = [*symbols]
    states = sorted({state for state, answer in machine.steps if answer in {*symbols}})
    groups: defaultdict[tuple[Step | None, ...], list[str]] = defaultdict(list)
    for symbol in symbols:
        token = machine.task.vocab.ids[symbol]
        groups[tuple(_marked(machine.step(state, symbol), token) for state in states)].append(symbol)
    return groups.values()


def _marked(step: Step | None, token: int) -> Step | None:
    """Mark where a step says the token that was the answer."""
    if step is None:
        return None
    actions = (action._replace(token=COPY) if action.token == token else action for action in step.actions)
    return Step(tuple(actions), step.to)


def _constant(machine: Machine) -> set[int]:
    """Return the tokens that some step says though they were not the answer."""
    ids = machine.task.vocab.ids
    marked = (_marked(step, ids[str(answer)]) for (_, answer), step in machine.steps.items())
    return {action.token for step in marked if step is not None for action in step.actions}


class RenamedTree(Tree):
    """Deciding contexts up to renaming of copied symbols.

    Of two symbols that stand for all, the second one is the symbol that is said next, and the first one any other.
    """

    def __init__(self, contexts: Mapping[Context, int], vocab_size: int, names: Sequence[int]):
        self._names, (self._other, self._said) = [*names], names[:2]
        needed = {
            context: said
            for context, said in contexts.items()
            if said == self._said or (said != self._other and self._said not in context)
        }
        super().__init__(needed, vocab_size)

    def find(self, problems: list[sequences.Sequence]) -> tuple[np.ndarray, np.ndarray]:
        """Return for each model token the number of its deciding context, and of its problem, int64 [M]."""
        renamed = [(n, sequence) for n, problem in enumerate(problems) for sequence in self._renamed(*problem)]
        leaves, which = super().find([sequence for _, sequence in renamed])
        return leaves, np.array([n for n, _ in renamed])[which]

    def _renamed(self, ids: np.ndarray, mask: np.ndarray) -> Iterator[sequences.Sequence]:
        """Yield the sequence with its names replaced, once for each name that is said and once for the other tokens."""
        is_name = np.isin(ids, self._names)
        others = np.where(is_name, self._other, ids)
        yield others, mask & ~is_name
        for name in np.unique(ids[is_name & mask]):
            yield np.where(ids == name, self._said, others), mask & (ids == name)
