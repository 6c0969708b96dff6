"""Check locality and coverage: how many last tokens decide each model token, and whether training covers them all.

k is the fewest last tokens that decide every model token of the problems looked at: a lower bound, so worst cases are
always among them. A deciding context is *covered* if it also occurs at the training length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NotRequired, TypedDict

import numpy as np

from tallystick.locality import hidden, reading, sequences
from tallystick.locality.reading import Tokens
from tallystick.locality.sequences import Sequence
from tallystick.locality.verdict import ROWS, Growth, judge
from tallystick.suffix import Contexts
from tallystick.tasks import Task

EXAMPLES = 8
"""Maximum number of ambiguous and of missing contexts named in a report."""


class CheckRow(TypedDict):
    """One length of a `check` report; a row includes the problems of the previous rows."""

    length: int
    problems: int
    worst_cases: int
    k: int
    """Fewest last tokens that decide every model token; -1 if nothing before it decides some token."""
    k_random: int
    """k of the random problems only."""
    contexts: int
    unseen: int
    """Number of contexts that do not occur at the training length."""
    coverage: float
    """Share of model tokens whose context occurs at the training length."""
    problems_covered: float
    """Share of problems all of whose contexts occur at the training length."""


class Context(TypedDict):
    """A context named in a report."""

    context: list[str]
    next: list[str]


class Ambiguous(Context):
    """A context that takes more last tokens to decide than the first row's k."""

    distance: int
    """Number of last tokens that decide the next one here; -1 if nothing does."""


class Missing(Context):
    """A context that does not occur at the training length."""

    problem: str
    """The shortest checked problem that contains the context."""


class CheckReport(TypedDict):
    """Document of `check --json`."""

    task: str
    variant: str
    train_length: int
    train_problems: int
    """Number of problems of at most the training length on which coverage is based."""
    rows: list[CheckRow]
    local: bool | None
    """None if undecided, for the reason given."""
    covered: bool
    reason: str
    own_worst_cases: bool
    """Whether the task gives worst cases of its own; generic ones are always checked."""
    ambiguous: list[Ambiguous]
    missing: list[Missing]
    proved: NotRequired[int]
    """k at every length, added by the command if a quick proof finds it."""
    notes: NotRequired[list[str]]
    """Notes that an annotated program says, added by the command."""


@dataclass
class _Sample:
    """All problems of one row: random ones first, then worst cases."""

    task: Task
    reading: Tokens
    random: list[Sequence]
    worst: list[Sequence]

    def __post_init__(self) -> None:
        self.all = self.random + self.worst
        self.contexts, self.tree = self.reading.build(self.all)
        self.problem = np.repeat(np.arange(len(self.all)), [int(mask.sum()) for _, mask in self.all])
        """Index of the problem that each model token belongs to, int64 [M]."""

    def prompt(self, number: int) -> list[str]:
        """Return the prompt of a problem: the tokens between [BOS] and the first model token."""
        ids, mask = self.all[number]
        return self.reading.decode(ids[1 : int(np.argmax(mask))].tolist())

    @property
    def reach(self) -> np.ndarray:
        """Length of the longest deciding context of each problem, int64 [problems]."""
        reach = np.zeros(len(self.all), np.int64)
        np.maximum.at(reach, self.problem, self.tree.depth)
        return reach


def check(
    task: Task,
    lengths: list[int] | None = None,
    problems: int = 1000,
    seed: int = 0,
    train_length: int | None = None,
) -> CheckReport:
    """Measure k, contexts and coverage of problems up to each length, and judge whether the task is local.

    problems: number of random problems for each row, beside the worst cases. Four times as many are drawn at the
    training length, for coverage. Raises ProgramError if the task's program is wrong.
    """
    trained = train_length or task.defaults.train_length
    told = reading.of(task)
    known = sequences.sample(task, task.known_split, seed, trained, 4 * problems) + sequences.worst_cases(task, trained)
    known = told.read(known)
    rows: list[CheckRow] = []
    growth: list[Growth] = []
    random: list[Sequence] = []
    worst: list[Sequence] = []
    for length in sorted(set(lengths or task.defaults.check)):
        random = random + told.read(sequences.sample(task, "check", seed, length, problems))
        worst = worst + told.read(sequences.worst_cases(task, length))
        sample = _Sample(task, told, random, worst)
        coverage = _Coverage(known, sample)
        rows.append(_row(length, sample, coverage))
        growth.append(_growth(sample, rows, growth))
    local, reason = judge(growth)
    if local and (reason := hidden.doubt(task, [row["length"] for row in rows], problems, seed)):
        local = None
    return {
        "task": task.name,
        "variant": task.variant,
        "train_length": trained,
        "train_problems": len(known),
        "rows": rows,
        "local": local,
        "covered": all(row["unseen"] == 0 for row in rows[-ROWS:]),
        "reason": reason,
        "own_worst_cases": task.own_worst_cases,
        "ambiguous": [] if sample.tree.k == rows[0]["k"] else _ambiguous(sample, rows[0]["k"]),
        "missing": coverage.missing(),
    }


def _row(length: int, sample: _Sample, coverage: _Coverage) -> CheckRow:
    _, alone = sample.reading.build(sample.random)
    return {
        "length": length,
        "problems": len(sample.random),
        "worst_cases": len(sample.worst),
        "k": sample.tree.k,
        "k_random": alone.k,
        "contexts": len(np.unique(sample.tree.leaf)),
        "unseen": len(coverage.unseen),
        "coverage": float(coverage.seen.mean()),
        "problems_covered": 1 - len(np.unique(sample.problem[~coverage.seen])) / len(sample.all),
    }


def _growth(sample: _Sample, rows: list[CheckRow], before: list[Growth]) -> Growth:
    """Count the problems that need the last row's k, and those that need more than the previous row's k."""
    random, row = len(sample.random), rows[-1]
    shorter = rows[-2]["worst_cases"] if before else 0
    shown, beyond = sample.reach == row["k"], sample.reach > (before[-1].k if before else 0)
    return Growth(
        k=row["k"],
        shown=int(shown[:random].sum()),
        shown_by_worst=bool(shown[random + shorter :].any()),
        beyond=int(beyond[:random].sum()),
        beyond_by_worst=bool(beyond[random:].any()),
        problems=random,
        unseen=row["unseen"] / row["contexts"],
    )


class _Coverage:
    """Determines which deciding contexts of a sample occur at the training length.

    Contexts are those that decide in the sample and the training problems together. One that also occurs in training
    is decided by training alone, so that lookup says the right token.
    """

    def __init__(self, known: list[Sequence], sample: _Sample):
        self._sample = sample
        _, tree = sample.reading.build(known + sample.all)
        border = sum(int(mask.sum()) for _, mask in known)
        met = np.zeros(tree.leaf.max() + 2, bool)  # the last entry is for undecided tokens, whose leaf is -1
        met[tree.leaf[:border]] = True
        met[-1] = False
        self._leaves, self._depth = tree.leaf[border:], tree.depth[border:]
        self.seen = met[self._leaves]
        """Whether the context of each model token occurs at the training length, bool [M]."""
        self.unseen = np.unique(self._leaves[~self.seen])
        """Indices of the contexts that do not occur at the training length."""

    def missing(self) -> list[Missing]:
        """List some contexts that do not occur in training, each with the shortest problem that contains it."""
        task, contexts, decode = self._sample.task, self._sample.contexts, self._sample.reading.decode
        found: list[Missing] = []
        for leaf in self.unseen[:EXAMPLES]:
            tokens = np.flatnonzero(self._leaves == leaf)
            sizes = [len(self._sample.all[i][0]) for i in self._sample.problem[tokens]]
            token = int(tokens[int(np.argmin(sizes))])
            end, depth = int(contexts.positions[token]), max(int(self._depth[token]), 1)
            start = max(end - depth, int(contexts.starts[token]))
            found.append(
                {
                    "context": decode(contexts.ids[start:end].tolist()),
                    "next": decode([int(contexts.ids[end])]),
                    "problem": task.format(self._sample.prompt(int(self._sample.problem[token]))),
                }
            )
        return found


def _ambiguous(sample: _Sample, k: int) -> list[Ambiguous]:
    """List contexts that take more than k tokens to decide, each as its shortest suffix that is as ambiguous."""
    decode, contexts = sample.reading.decode, sample.contexts
    found: list[Ambiguous] = []
    depth = np.where(sample.tree.depth < 0, len(contexts.ids), sample.tree.depth)
    while depth.max() > k and len(found) < EXAMPLES:
        worst = int(np.argmax(depth))
        length, following = _name(contexts, worst, int(depth[worst]))
        end = contexts.positions[worst]
        words = decode(contexts.ids[end - length : end].tolist())
        found.append({"context": words, "next": decode(following), "distance": int(sample.tree.depth[worst])})
        depth[_like(contexts, worst, length)] = 0
    return found


def _name(contexts: Contexts, which: int, decided: int) -> tuple[int, list[int]]:
    """Return the length of the shortest suffix with the same next tokens as the longest ambiguous one, and these."""
    alike, following = np.arange(len(contexts.positions)), []
    for back in range(1, min(decided, contexts.positions[which] - contexts.starts[which] + 1)):
        alike = alike[contexts.back(back, alike) == contexts.back(back, np.array([which]))]
        following.append(np.unique(contexts.targets[alike]).tolist())
    return following.index(following[-1]) + 1, following[-1]


def _like(contexts: Contexts, which: int, length: int) -> np.ndarray:
    """Return the positions whose last `length` tokens are the same as those of position `which`."""
    alike = np.arange(len(contexts.positions))
    for back in range(1, length + 1):
        alike = alike[contexts.back(back, alike) == contexts.back(back, np.array([which]))]
    return alike
