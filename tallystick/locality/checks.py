"""check"""

from __future__ import annotations

from typing import Any

import numpy as np

from tallystick import suffix
from tallystick.locality import sequences
from tallystick.locality.sequences import Sequence
from tallystick.tasks import Task

EXAMPLES = 8
"""Ambiguous contexts named in a report."""
ROWS = 3
"""Rows that must agree on k for a task to be called local."""


def check(task: Task, lengths: list[int] | None = None, problems: int = 1000, seed: int = 0) -> dict[str, Any]:
    """k, contexts and coverage of the problems up to each length: the design's `check` document.

    problems: random ones drawn for each row, beside the task's worst cases; a row holds those of the rows before it, too.
    Four times as many are drawn at the training length, for coverage. `local` is None with fewer than three rows.
    """
    trained = task.defaults.train_length
    known = sequences.sample(task, "holdout", seed, trained, 4 * problems) + sequences.worst_cases(task, trained)
    rows, random, worst = [], [], []
    for length in sorted(set(lengths or task.defaults.check)):
        random += sequences.sample(task, "check", seed, length, problems)
        worst += sequences.worst_cases(task, length)
        own = suffix.Contexts.of(random + worst, len(task.vocab))
        tree = suffix.build(own)
        rows.append(
            {
                "length": length,
                "problems": len(random),
                "worst_cases": len(worst),
                "k": tree.k,
                "k_random": suffix.build(suffix.Contexts.of(random, len(task.vocab))).k,
                "contexts": len(np.unique(tree.leaf)),
                **_coverage(known, random + worst, len(task.vocab)),
            }
        )
    ks = [row["k"] for row in rows[-ROWS:]]
    return {
        "task": task.name,
        "variant": task.variant,
        "train_length": trained,
        "rows": rows,
        "local": len(set(ks)) == 1 and ks[0] >= 0 if len(ks) == ROWS else None,
        "covered": all(row["coverage"] == 1 for row in rows[-ROWS:]),
        "ambiguous": [] if tree.k == rows[0]["k"] else _ambiguous(task, own, tree, rows[0]["k"]),
    }


def _coverage(known: list[Sequence], own: list[Sequence], vocab_size: int) -> dict[str, Any]:
    """Deciding suffixes of `own` that `known` does not have, and the share of model tokens whose suffix it has.

    A suffix that decides in both together and occurs in `known` decides there, too: lookup says the right token.
    """
    tree = suffix.build(suffix.Contexts.of(known + own, vocab_size))
    border = sum(int(mask.sum()) for _, mask in known)
    seen = np.zeros(tree.leaf.max() + 2, bool)  # the last entry is for undecided ones, numbered -1
    seen[tree.leaf[:border]] = True
    seen[-1] = False
    leaves = tree.leaf[border:]
    return {"unseen": len(np.unique(leaves[~seen[leaves]])), "coverage": float(seen[leaves].mean())}


def _ambiguous(task: Task, contexts: suffix.Contexts, tree: suffix.SuffixTree, k: int) -> list[dict[str, Any]]:
    """The contexts that take more than k tokens to decide, each named by the shortest suffix as ambiguous as it."""
    found: list[dict[str, Any]] = []
    depth = np.where(tree.depth < 0, len(contexts.ids), tree.depth)
    while depth.max() > k and len(found) < EXAMPLES:
        worst = int(np.argmax(depth))
        length, following = _name(contexts, worst, int(depth[worst]))
        end = contexts.positions[worst]
        words = task.vocab.decode(contexts.ids[end - length : end].tolist())
        found.append({"context": words, "next": task.vocab.decode(following), "distance": int(tree.depth[worst])})
        depth[_like(contexts, worst, length)] = 0
    return found


def _name(contexts: suffix.Contexts, which: int, decided: int) -> tuple[int, list[int]]:
    """The length of the shortest suffix with the same next tokens as the longest ambiguous one, and these tokens."""
    alike, following = np.arange(len(contexts.positions)), []
    for back in range(1, min(decided, contexts.positions[which] - contexts.starts[which] + 1)):
        alike = alike[contexts.back(back, alike) == contexts.back(back, np.array([which]))]
        following.append(np.unique(contexts.targets[alike]).tolist())
    return following.index(following[-1]) + 1, following[-1]


def _like(contexts: suffix.Contexts, which: int, length: int) -> np.ndarray:
    """The positions whose last `length` tokens are those of position `which`."""
    alike = np.arange(len(contexts.positions))
    for back in range(1, length + 1):
        alike = alike[contexts.back(back, alike) == contexts.back(back, np.array([which]))]
    return alike
