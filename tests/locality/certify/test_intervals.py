"""The checker's intervals hold what float32 computes, and allow it no less rounding than `certify` does."""

import sys
from pathlib import Path

import numpy as np
import pytest

from tallystick.locality.certify import boxes, intervals
from tallystick.locality.certify.blocks import Mamba1Block, Mamba2Block

sys.path.insert(0, str(Path(__file__).parent))
from walking import random_model

EPS = 1e-5


def test_rates_are_larger_than_what_is_lost():
    for terms in range(1, 520):
        assert intervals.lost(terms) >= boxes.rate(terms) + 2 * boxes.ELEMENTARY
        assert 2 * intervals.lost(terms) >= boxes.rate(2 * terms) + 2 * boxes.ELEMENTARY  # a norm and a product
    assert max(boxes.rate(32), boxes.ELEMENTARY) < intervals.FEW
    assert boxes.OWN < intervals.OWN


@pytest.mark.parametrize("radius", [0.0, 0.01, 1.0, 300.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_normalised_vector_lies_in_both_forms(radius, seed):
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((5, 128))
    middle, around = rng.standard_normal((4, 128)), radius * rng.random((4, 128))
    low, high = ((middle + sign * around).astype(np.float32) for sign in (-1, 1))
    interval = low.astype(float), high.astype(float)
    read, scale = intervals.read_normed(interval, EPS), intervals.shrink(interval, EPS)
    assert (scale[0] > 0).all()
    held = read.through(matrix)
    form = intervals.times(read.scale, intervals.product(read.vector, matrix, intervals.FEW))
    for point in (low, high, *(rng.uniform(low, high).astype(np.float32) for _ in range(30))):
        shrunk = (1 / np.sqrt((point * point).mean(1, keepdims=True) + np.float32(EPS))).astype(np.float32)
        unit = (point * shrunk).astype(float)
        assert ((read.whole[0] <= unit) & (unit <= read.whole[1])).all()
        assert ((scale[0] <= shrunk) & (shrunk <= scale[1])).all()
        for low_, high_ in (held, form):
            assert ((low_ <= unit @ matrix.T) & (unit @ matrix.T <= high_)).all()
    assert (held[1] - held[0] <= form[1] - form[0]).all()


@pytest.mark.parametrize("name", ["mamba2:tiny", "mamba1:tiny"])
@pytest.mark.parametrize("states", [1, 3, 64])
@pytest.mark.parametrize("steps", [(0.7, 1.0), (0.7, 60.0), (2.0, 9.0)], ids=["small", "wide", "large"])
def test_the_scan_may_lose_what_certify_allows(name, states, steps):
    layer = random_model(5, 0, name, n_layer=1, d_model=8, d_state=states, dt_floor=0.6).layers[0]
    block = (Mamba2Block if name == "mamba2:tiny" else Mamba1Block)(layer)
    checked = (intervals.Block if name == "mamba2:tiny" else intervals.Mamba1Block)(layer)
    rng = np.random.default_rng(0)
    least, most = np.sort(rng.uniform(*steps, (2, block.heads)), axis=0)
    added = rng.random((block.inner, states))
    block.set_scan_error(least, most, added)
    each = block.inner // block.heads
    steps_of_two = np.repeat(np.stack([least, most]), each, axis=1)  # the least of one context, the most of another
    checked.limit_scan((steps_of_two, steps_of_two), (np.stack([-added, 0 * added]), np.stack([0 * added, added])))
    assert (checked.error >= block.scan_error).all()
