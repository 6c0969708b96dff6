"""How `check` reads trajectories: token by token, or, where texts are copied, word by word and up to renaming."""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Sequence as Several
from itertools import pairwise

import numpy as np

from tallystick import suffix
from tallystick.locality.sequences import Sequence
from tallystick.tasks import Task
from tallystick.tasks.annotate.renaming import RenamedContexts

REACH = 256
"""Maximum number of last words that a decision is looked for in."""
_WORD = re.compile(r"\\.|\w+|\W")
"""A word, a sign, or a sign with a backslash before it."""
_NAME = re.compile(r"\w*\d\w*")


class Tokens:
    """Reads tokens as they are."""

    def __init__(self, task: Task):
        self._task = task

    def read(self, sequences: list[Sequence]) -> list[Sequence]:
        """Return trajectories as symbols, each with the mask of what the model says."""
        return sequences

    def build(self, sequences: list[Sequence]) -> tuple[suffix.Contexts, suffix.SuffixTree]:
        """Find what decides each symbol in trajectories that were read."""
        contexts = suffix.Contexts.of(sequences, len(self._task.vocab))
        return contexts, suffix.build(contexts)

    def decode(self, symbols: Several[int]) -> list[str]:
        """Return symbols as strings."""
        return self._task.vocab.decode(symbols)


class Words(Tokens):
    """Reads texts as words, whatever the tokenizer's pieces are; words with a digit are names.

    Contexts that differ only in the choice of names are alike. A name that the model says is decided if it is always
    the same, or always the copy of the one at the same place.
    """

    def __init__(self, task: Task):
        super().__init__(task)
        self._marks = len(task.vocab) - len(task.symbols)
        self._words = list(task.vocab.tokens[: self._marks])
        self._numbers = {word: number for number, word in enumerate(self._words)}

    def read(self, sequences: list[Sequence]) -> list[Sequence]:
        """Return trajectories as words."""
        return [self._read(*sequence) for sequence in sequences]

    def build(self, sequences: list[Sequence]) -> tuple[suffix.Contexts, suffix.SuffixTree]:
        """Find what decides each word, up to renaming."""
        names = [number for number, word in enumerate(self._words) if _NAME.fullmatch(word)]
        contexts = _Copied.of(suffix.Contexts.of(sequences, len(self._words)), names, REACH)
        return contexts, suffix.build(contexts, REACH)

    def decode(self, symbols: Several[int]) -> list[str]:
        """Return words, or where a copied name stands."""
        known = len(self._words)
        return [self._words[s] if s < known else f"the name {s - known} words before" for s in symbols]

    def _read(self, ids: np.ndarray, mask: np.ndarray) -> Sequence:
        words: list[int] = []
        said: list[bool] = []
        for begin, end in _stretches(ids, mask, self._marks):
            some = [int(ids[begin])] if ids[begin] < self._marks else self._split(ids[begin:end].tolist())
            words += some
            said += [bool(mask[begin])] * len(some)
        return np.array(words, np.int32), np.array(said, bool)

    def _split(self, pieces: list[int]) -> list[int]:
        found = _WORD.findall(self._task.format(self._task.vocab.decode(pieces)))
        for word in found:
            if word not in self._numbers:
                self._numbers[word] = len(self._words)
                self._words.append(word)
        return [self._numbers[word] for word in found]


class _Copied(RenamedContexts):
    """Contexts up to renaming, in which a predicted name may be a copy or always the same."""

    @property
    def readings(self) -> list[np.ndarray]:
        return [self.targets, self.ids[self.positions]]


def _stretches(ids: np.ndarray, mask: np.ndarray, marks: int) -> Iterator[tuple[int, int]]:
    """Yield where marks and texts of one role begin and end."""
    mark = ids < marks
    begins = np.flatnonzero(mark[1:] | mark[:-1] | (mask[1:] != mask[:-1])) + 1
    yield from pairwise([0, *begins.tolist(), len(ids)])


def of(task: Task) -> Tokens:
    """Return how this task's trajectories are read."""
    return Words(task) if task.text else Tokens(task)
