"""Tests of contexts up to renaming: they depend on where a name occurs again, not on which name it is."""

import numpy as np

from tallystick import suffix
from tallystick.tasks.annotate.renaming import RenamedContexts

NAMES = [3, 4, 5, 6]


def renamed(*runs, reach=8):
    sequences = [(np.array(ids, np.uint32), np.ones(len(ids), bool)) for ids in runs]
    return RenamedContexts.of(suffix.Contexts.of(sequences, 7), NAMES, reach)


def seen(contexts, which):
    """Return the context of a position, from the latest token backwards."""
    return [int(contexts.back(distance, np.array([which]))[0]) for distance in range(1, which + 1)]


def test_contexts_that_differ_in_names_alone_are_alike():
    one, other = renamed([3, 1, 4, 3, 2, 3]), renamed([6, 1, 3, 6, 2, 6])
    assert seen(one, 5) == seen(other, 5)
    assert one.targets.tolist()[2:] == [4, *one.targets.tolist()[3:]]
    assert one.targets.tolist()[3:] == other.targets.tolist()[3:]


def test_where_a_name_occurs_again_counts():
    one, other = renamed([3, 1, 4, 3, 2]), renamed([3, 1, 4, 4, 2])
    assert seen(one, 4) != seen(other, 4)
    assert one.targets[3] != other.targets[3]


def test_what_comes_later_tells_nothing():
    one, other = renamed([3, 1, 2, 3]), renamed([3, 1, 2, 4])
    assert seen(one, 2) == seen(other, 2)


def test_a_name_out_of_reach_or_in_another_run_is_itself():
    assert renamed([3, 1, 1, 3], reach=2).targets.tolist() == [3, 1, 1, 3]
    assert renamed([3, 1, 1, 3], reach=3).targets[-1] > max(NAMES)
    assert renamed([3, 1], [1, 3]).targets.tolist() == [3, 1, 1, 3]


def test_other_symbols_are_what_they_are():
    contexts = renamed([1, 2, 0, 1])
    assert seen(contexts, 3) == [0, 2, 1]
    assert contexts.targets.tolist() == [1, 2, 0, 1]
