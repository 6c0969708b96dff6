"""Tests of how far back a model looks."""

import numpy as np
import pytest
import torch

from tallystick import runs, tasks
from tallystick.evaluation import reach
from tallystick.locality import sequences
from tallystick.models.base import Model


class Window(Model):
    """Predicts from the last `size` tokens: their sum, modulo the vocabulary; fewer count, too."""

    fixed_state = True

    def __init__(self, vocab_size, size):
        super().__init__(None)
        self.size, self.seen = vocab_size, size

    def forward(self, ids_BL, state=None, *, reset_BL=None, length_B=None):
        sums = ids_BL.cumsum(1)
        before = torch.nn.functional.pad(sums, (self.seen, 0))[:, : sums.shape[1]]
        return 9.0 * torch.nn.functional.one_hot((sums - before) % self.size, self.size).float(), {}


class NoNumbers(Window):
    """Predicts NaN."""

    def forward(self, *arguments, **options):
        logits_BLV, state = super().forward(*arguments, **options)
        return logits_BLV * torch.nan, state


@pytest.mark.parametrize(("size", "k"), [(1, 1), (7, 7), (64, 64), (65, 96), (5000, None)])
def test_a_model_of_a_window_looks_as_far_as_that(size, k):
    """The next larger number of last tokens that is tried, if this one is not."""
    task = tasks.load("addition")
    found = reach.measure(Window(len(task.vocab), size), task)
    assert found.k == k
    assert len(found.windows) == len(found.distances)
    assert all(distance == 0 for window, distance in zip(found.windows, found.distances, strict=True) if window >= size)


def test_lookup_looks_no_further_than_the_program(lookup_run):
    run = runs.load(lookup_run)
    assert reach.measure(run.model, run.task).k == 3


def test_a_model_that_says_no_numbers_looks_back_for_ever():
    task = tasks.load("reverse")
    found = reach.measure(NoNumbers(len(task.vocab), 3), task)
    assert found.k is None
    assert found.distances[-1] == 1.0


def test_problems_are_not_too_long():
    task = tasks.load("addition")
    length, told = reach._problems(task, 0)
    assert length in task.defaults.check
    assert all(len(ids) <= reach.LONGEST for ids, _ in told)
    assert len(told) == reach.PROBLEMS
    assert np.array_equal(told[0][0], sequences.of(task, task.problem("check", 0, length, 0))[0])
