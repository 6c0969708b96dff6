"""Tests of `tallystick bench`: that wrong results have no speed, and what is counted and printed."""

import json
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tallystick import models, tasks
from tallystick.bench import KINDS, counts, fitted, machine, measure, page, peers
from tallystick.bench.machine import Limits
from tallystick.bench.row import Row, Work
from tallystick.evaluation.verify import verify

BENCH = Path(__file__).parents[2] / "results" / "bench"
MATMUL_SHARE = 0.5
"""Least share of the counted operations that are matrix products, in the models' smallest shapes."""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mamba1:tiny", "mamba2:tiny"])
def test_a_peer_has_the_same_logits(name):
    torch.manual_seed(0)
    model = models.build(name, vocab_size=11)
    others, _ = peers.like(model)
    peers.check_parity("transformers", model, others["transformers"], torch.randint(11, (2, 20)))


@pytest.mark.slow
def test_a_peer_with_another_weight_has_no_speed():
    torch.manual_seed(0)
    model = models.build("mamba2:tiny", vocab_size=11)
    others, _ = peers.like(model)
    with torch.no_grad():
        model.layers[1].D[0] += 0.1
    with pytest.raises(peers.ParityError, match="logits differ from those of transformers"):
        peers.check_parity("transformers", model, others["transformers"], torch.randint(11, (2, 20)))


@pytest.mark.parametrize("name", ["mamba2:tiny", "lstm:tiny"])
def test_a_fitted_model_solves_longer_problems(name):
    task = tasks.load("reverse")
    results = verify(fitted.fitted(name, task), task, [task.problem("test", 0, 300, 0)])
    assert [result.exact for result in results] == [True]


def test_matrix_products_are_counted_as_torch_counts_them():
    model = models.build("mamba2:tiny", vocab_size=11)
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 1, dtype=torch.int64))
    state = counts.STATE_FLOPS * counts.state_bytes(model) // 4
    assert MATMUL_SHARE < counter.get_total_flops() / (counts.forward_flops(model) - state) <= 1


def test_the_share_of_the_limit_is_that_of_the_slower_one():
    work = Work(flops=100, bytes=10, limits=Limits(flops=1e6, bandwidth=1e4))
    row = Row(name="a row", tokens=1000, seconds=[2.0, 1.0, 9.0], work=work)
    assert (row.rate, row.fraction) == (500, 0.5)


def test_limits_are_measured():
    found = machine.limits("cpu", torch.float32, 1 << 20)
    assert found.flops > 1e8
    assert found.bandwidth > 1e8


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["data", "verify"])
def test_a_kind_is_measured_and_its_page_is_made_from_what_is_stored(kind):
    measured = measure.measure(kind, "cpu", quick=True, say=lambda line: None)
    assert not measured.failures
    stored = json.loads(json.dumps(measure.document(measured)))
    assert [page.restored(row) for row in stored["rows"]] == measured.rows
    text = page.markdown(stored)
    assert all(f"| {row.name} |" in text for row in measured.rows)


@pytest.mark.slow
def test_quick_rows_of_every_kind_exist():
    for kind in KINDS:
        assert not measure.measure(kind, "cpu", quick=True, say=lambda line: None).failures, kind


def test_pages_are_those_of_the_results():
    files = sorted(BENCH.glob("*.json"))
    assert {path.stem for path in files} >= {f"{kind}-cpu" for kind in KINDS}
    for path in files:
        assert path.with_suffix(".md").read_text() == page.markdown(json.loads(path.read_text())), path
