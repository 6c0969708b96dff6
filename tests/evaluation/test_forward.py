"""verify's forward pass in compiled loops: torch's values and, but for LSTM, every bit of `generate`'s steps."""

import numpy as np
import pytest
import torch

from tallystick import models
from tallystick.data.packing import Batch
from tallystick.engine import packing
from tallystick.engine.margins import margin
from tallystick.engine.reader import Compiled
from tallystick.evaluation.forward import open_forward

pytest.importorskip("numba")
VALUES = 1e-5  # of the largest logit
VOCAB = 23
SIZES = {
    "mamba2": {"n_layer": 2, "d_model": 13, "head_dim": 2, "d_state": 5},
    "mamba1": {"n_layer": 2, "d_model": 13, "d_state": 3},
    "lstm": {"n_layer": 2, "d_model": 13},
    "gru": {"n_layer": 2, "d_model": 13},
}
STREAMS, LENGTHS = 3, (50, 1, 70)
"""Number of sequences of a batch, and numbers of tokens of batches; the second sequence ends before the last."""
CPU = torch.device("cpu")


def make_model(name):
    torch.manual_seed(0)
    model = models.build(name, vocab_size=VOCAB, **SIZES[name])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def make_batches():
    """Return batches of random tokens; episodes begin at every seventh token or so, some of them one after another."""
    rng, batches = np.random.default_rng(0), []
    for number, length in enumerate(LENGTHS):
        ids = rng.integers(VOCAB, size=(STREAMS, length + 1)).astype(np.int32)
        trained, reset = rng.random((STREAMS, length)) < 0.6, rng.random((STREAMS, length)) < 0.15
        reset[:, :1] |= number == 0
        lengths = np.full(STREAMS, length)
        lengths[1] *= number < len(LENGTHS) - 1
        batches.append(Batch(ids, trained, reset, lengths))
    return batches


def eager_forward(model, carry, monkeypatch):
    monkeypatch.setattr("tallystick.evaluation.forward.is_compiled", lambda model: False)
    forward = open_forward(model, CPU, carry, STREAMS)
    monkeypatch.undo()
    return forward


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("carry", [False, True])
def test_logits_and_margins_are_those_of_torch(name, carry, monkeypatch):
    model = make_model(name)
    eager, compiled = eager_forward(model, carry, monkeypatch), open_forward(model, CPU, carry, STREAMS)
    assert type(eager) is not type(compiled)
    for batch in make_batches():
        wanted, got = eager.read(batch), compiled.read(batch)
        assert wanted.keys() == got.keys() == set(np.flatnonzero(batch.lengths))
        for number, want in wanted.items():
            scale = float(want.logits.abs().max()) if len(want.logits) else 1.0
            torch.testing.assert_close(got[number].logits, want.logits, rtol=0.0, atol=VALUES * scale)
            margins = got[number].margins.numpy(), want.margins.numpy()
            np.testing.assert_allclose(*margins, rtol=0.0, atol=2 * VALUES * scale)
            assert np.array_equal(got[number].predicted_at, want.predicted_at)


@pytest.mark.parametrize("vocab", [1, 2, 16, 17, 42])
def test_margins_are_those_of_torch_bit_for_bit(vocab):
    """Ties, infinite logits and NaN among them; what stands in the padding does not count."""
    step, rng = packing.compiled_step(), np.random.default_rng(0)
    logits_TV = np.full((400, step.padded(vocab)), 1e9, np.float32)
    logits_TV[:, :vocab] = rng.integers(-3, 4, (400, vocab))
    for odd in (np.nan, -np.nan, np.inf, -np.inf):
        logits_TV[rng.integers(400, size=60), rng.integers(vocab, size=60)] = odd
    target_T, margin_T = rng.integers(vocab, size=400), np.empty(400, np.float32)
    want = margin(torch.from_numpy(logits_TV[:, :vocab].copy()), torch.from_numpy(target_T))
    given = logits_TV[:, :vocab].copy()
    step.margins(logits_TV, vocab, target_T, margin_T)
    assert np.array_equal(margin_T, want.numpy())
    assert np.array_equal(logits_TV[:, :vocab], given, equal_nan=True)
    assert (margin_T == np.finfo(np.float32).min).any()


@pytest.mark.parametrize("name", [name for name in SIZES if name != "lstm"])  # its last bits differ in some processes
@pytest.mark.parametrize("carry", [False, True])
def test_logits_are_those_of_single_steps_bit_for_bit(name, carry):
    model = make_model(name)
    compiled, readers = open_forward(model, CPU, carry, STREAMS), [Compiled(model) for _ in range(STREAMS)]
    for batch in make_batches():
        for number, chunk in compiled.read(batch).items():
            logits = []
            for token, begins in zip(batch.ids[number, :-1].tolist(), batch.reset[number], strict=True):
                if begins and not carry:
                    readers[number] = Compiled(model)
                logits.append(readers[number].read_all([[token]])[0, :VOCAB])
            assert np.array_equal(chunk.logits.numpy(), np.stack(logits)[chunk.predicted_at])
