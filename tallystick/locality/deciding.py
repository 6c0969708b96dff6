"""Deciding contexts that problems contain: whether training meets them all, and problems with those that it lacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from tallystick import suffix
from tallystick.locality import sequences
from tallystick.locality.extraction import Refusal
from tallystick.locality.sequences import Sequence
from tallystick.tasks import Task

ENOUGH = 1000
"""Number of problems after which a search for contexts may stop."""
BATCH = 50
"""Number of problems that are looked at together."""

CONTRADICTION = "a problem contradicts what was found: the program depends on more than its tools' answers"

Context = tuple[int, ...]
"""Token ids; the size of the vocabulary stands for each token before the beginning."""


class Tree:
    """Deciding contexts as a tree, read from the latest token backwards."""

    def __init__(self, contexts: Mapping[Context, int], vocab_size: int):
        self._size = vocab_size
        self.contexts = list(contexts)
        children: list[dict[int, int]] = [{}]
        leaf = {0: 0} if () in contexts else {}
        for number, context in enumerate(self.contexts):
            node = 0
            for token in reversed(context):
                node = children[node].setdefault(token, len(children))
                if node == len(children):
                    children.append({})
            leaf[node] = number
        self._child = np.full((len(children), vocab_size + 1), -1, np.int32)
        for node, of_node in enumerate(children):
            self._child[node, list(of_node)] = list(of_node.values())
        self._leaf = np.full(len(children), -1)
        self._leaf[list(leaf)] = list(leaf.values())
        self.said = list(contexts.values())

    def find(self, problems: list[Sequence]) -> tuple[np.ndarray, np.ndarray]:
        """Return for each model token the number of its deciding context, and of its problem, int64 [M].

        Raises Refusal if a problem contradicts the contexts, as of a program that depends on what was not seen.
        """
        tokens = suffix.Contexts.of(problems, self._size)
        which = np.arange(len(tokens.positions))
        node, distance = np.zeros(len(which), np.int64), 0
        open_ = self._leaf[node] < 0
        while open_.any():
            distance += 1
            node[open_] = self._child[node[open_], tokens.back(distance, which[open_])]
            if (node < 0).any():
                raise Refusal(CONTRADICTION)
            open_ = self._leaf[node] < 0
        leaf = self._leaf[node]
        if (np.array(self.said)[leaf] != tokens.targets).any():
            raise Refusal(CONTRADICTION)
        return leaf, np.repeat(np.arange(len(problems)), [int(mask.sum()) for _, mask in problems])


def training(task: Task, seed: int, length: int, problems: int) -> Iterator[list[str]]:
    """Yield the problems on which coverage is based, as `check` does: worst cases and known ones."""
    yield from task.every_worst_case(length)
    for i in range(problems):
        yield task.problem(task.known_split, seed, length, i, up_to=True)


def longer(task: Task, seed: int, lengths: Iterable[int], problems: int) -> Iterator[list[str]]:
    """Yield problems of these lengths."""
    for length in lengths:
        yield from task.every_worst_case(length)
        for i in range(problems):
            yield task.problem("check", seed, length, i, up_to=True)


def missing(task: Task, tree: Tree, prompts: Iterable[list[str]], among: Iterable[int]) -> set[int]:
    """Return which contexts, of these, no problem has.

    Stop as soon as all are met, or once ENOUGH problems were looked at and the last half of them had no new one.
    """
    lacking, looked, news = set(among), 0, 0
    for batch in _batches(prompts):
        left = lacking - set(tree.find([sequences.of(task, prompt) for prompt in batch])[0].tolist())
        looked += len(batch)
        news = looked if left != lacking else news
        lacking = left
        if not lacking or looked >= max(ENOUGH, 2 * news):
            break
    return lacking


def examples(task: Task, tree: Tree, prompts: Iterable[list[str]], among: Iterable[int]) -> dict[int, list[str]]:
    """Return for each of these contexts the first problem found that has it."""
    lacking, found = set(among), dict[int, list[str]]()
    for batch in _batches(prompts):
        if not lacking:
            break
        leaves, numbers = tree.find([sequences.of(task, prompt) for prompt in batch])
        for leaf, number in zip(leaves.tolist(), numbers.tolist(), strict=True):
            if leaf in lacking:
                lacking.remove(leaf)
                found[leaf] = batch[number]
    return found


def _batches(prompts: Iterable[list[str]]) -> Iterator[list[list[str]]]:
    waiting = iter(prompts)
    for first in waiting:
        yield [first, *(prompt for _, prompt in zip(range(BATCH - 1), waiting, strict=False))]
