"""Tests of deciding suffixes against their definition."""

import random

import numpy as np
import pytest

from tallystick.suffix import UNSEEN, Contexts, build

VOCAB = 3


def contexts(*sequences):
    """Build contexts in which all tokens are to be predicted; a sequence is a list of ids, or (ids, mask)."""
    pairs = [s if isinstance(s, tuple) else (s, [True] * len(s)) for s in sequences]
    return Contexts.of([(np.array(ids, np.uint32), np.array(mask, bool)) for ids, mask in pairs], VOCAB)


def randoms(seed):
    rng = random.Random(seed)
    count, longest = rng.choice([(1, 30), (5, 8), (40, 6)])
    lengths = [rng.randint(1, longest) for _ in range(count)]
    return [([rng.randrange(VOCAB) for _ in range(n)], [rng.random() < 0.8 for _ in range(n)]) for n in lengths]


def points(sequences):
    """Return (prefix, next token) of every position to be predicted."""
    return [(ids[:i], ids[i]) for ids, mask in sequences for i in range(len(ids)) if mask[i]]


def last(prefix, distance):
    """Return the last tokens of a prefix, with the beginning as a token before its first."""
    return tuple(([VOCAB] * distance + list(prefix))[len(prefix) :])


def defined_depths(sequences):
    """Return the lengths of the shortest suffixes that one token always follows, by definition; -1 for none."""
    depths = []
    for prefix, token in points(sequences):
        for distance in range(1, len(prefix) + 2):
            suffix = last(prefix, distance)
            if {other for before, other in points(sequences) if last(before, distance) == suffix} == {token}:
                depths.append(distance)
                break
        else:
            depths.append(-1)
    return depths


def walk(tree, prefix):
    """Return the tree's result after `prefix`: an inner node if nothing decides."""
    node = 0
    for distance in range(1, len(prefix) + 2):
        node = tree.step(node, last(prefix, distance)[0])
        if node < 0:
            break
    return node


@pytest.mark.parametrize("seed", range(60))
def test_against_the_definition(seed):
    sequences = randoms(seed)
    wanted = defined_depths(sequences)
    tree = build(contexts(*sequences))
    assert tree.depth.tolist() == wanted
    assert tree.k == (-1 if -1 in wanted else max(wanted))


@pytest.mark.parametrize("seed", range(60))
def test_walking_the_tree_predicts_every_decided_position(seed):
    sequences = randoms(seed)
    tree = build(contexts(*sequences))
    for (prefix, token), depth in zip(points(sequences), tree.depth, strict=True):
        assert walk(tree, prefix) == -2 - token if depth > 0 else walk(tree, prefix) >= 0


@pytest.mark.parametrize("seed", range(60))
def test_leaves_number_the_deciding_suffixes(seed):
    sequences = randoms(seed)
    tree = build(contexts(*sequences))
    by_leaf = {}
    for (prefix, _), depth, leaf in zip(points(sequences), tree.depth, tree.leaf, strict=True):
        if depth > 0:
            by_leaf.setdefault(leaf, set()).add(last(prefix, depth))
    assert sorted(by_leaf) == list(range(len(by_leaf)))
    assert len(set.union(*by_leaf.values())) == len(by_leaf) == (tree.values < UNSEEN).sum()
    assert (tree.leaf >= 0).tolist() == (tree.depth > 0).tolist()


@pytest.mark.parametrize("max_depth", [1, 2, 3])
@pytest.mark.parametrize("seed", range(10))
def test_max_depth_leaves_the_rest_undecided(seed, max_depth):
    sequences = randoms(seed)
    full, cut = build(contexts(*sequences)), build(contexts(*sequences), max_depth)
    assert cut.depth.tolist() == np.where(full.depth > max_depth, -1, full.depth).tolist()
    decided = cut.depth > 0
    for (prefix, token), sure in zip(points(sequences), decided, strict=True):
        assert (walk(cut, prefix) == -2 - token) == sure


def test_a_latch_is_as_far_back_as_it_lies():
    assert build(contexts([0, 2, 2, 2, 0], [1, 2, 2, 2, 1])).k == -1  # the first token has no cause
    first = [False, True, True, True, True]
    assert build(contexts(([0, 2, 2, 2, 0], first), ([1, 2, 2, 2, 1], first))).k == 4


def test_an_equal_whole_prefix_with_another_next_token_is_undecidable():
    tree = build(contexts([0, 1, 0], [0, 1, 1], [2, 2, 2]))
    assert tree.k == -1
    assert tree.depth.tolist()[2::3] == [-1, -1, 1]


def test_the_beginning_counts_as_a_token():
    tree = build(contexts([0, 0, 1]))
    assert tree.depth.tolist() == defined_depths([([0, 0, 1], [True] * 3)])
    assert walk(tree, []) == -2


def test_what_was_never_seen_is_unseen():
    assert walk(build(contexts([0, 1, 0, 1])), [2]) == UNSEEN


def test_tokens_that_are_not_predicted_are_still_context():
    mask = [False, False, True, False, True]
    assert build(contexts(([0, 2, 1, 1, 0], mask))).depth.tolist() == [1, 1]


def test_sequences_do_not_see_each_other():
    tree = build(contexts([0, 1, 2], [0, 1, 2]))
    assert tree.k == 1
    assert walk(tree, [2]) == UNSEEN


def test_a_large_vocabulary_changes_nothing():
    """With a large vocabulary, contexts are sorted instead of counted in a table."""
    small = contexts([0, 1, 0, 2, 0, 1, 1, 2, 0, 1, 0, 0])
    large = Contexts(small.ids, small.starts, small.positions, 1_200_000)
    assert build(large).depth.tolist() == build(small).depth.tolist()
    assert build(large).leaf.tolist() == build(small).leaf.tolist()


def test_edges_are_sorted_and_each_stands_once():
    for seed in range(20):
        tree = build(contexts(*randoms(seed)))
        assert (np.diff(tree.keys) > 0).all()


def test_memory_does_not_grow_with_the_vocabulary():
    """20,000 words: a table of nodes x vocabulary would take gigabytes."""
    rng = np.random.default_rng(0)
    sequences = [(rng.integers(0, 20_000, 400).astype(np.uint32), np.ones(400, bool)) for _ in range(50)]
    tree = build(Contexts.of(sequences, 20_000))
    assert tree.keys.nbytes + tree.values.nbytes < 5_000_000
