"""Tests of training with precision=bf16: every model learns as in fp32, and what is kept stays fp32."""

import pytest
import torch
from torch.nn import functional as F

from tallystick import models, tasks
from tallystick.config import configure
from tallystick.training import precision
from tallystick.training.trainer import Trainer

VOCAB, ROWS, LENGTH, STEPS = 11, 2, 12, 4
TOLERANCE = 0.02  # of the loss
TRAINED = [name for name in models.names() if any(True for _ in models.build(name, vocab_size=5).parameters())]


def settings(kind):
    overrides = {"precision": kind, "train_length": "3", "batch_size": "2", "seq_len": "12"}
    return configure(tasks.load("reverse"), "mamba2:tiny", overrides)


def learn(name, kind):
    """Return the losses of a few steps on one batch with a reset, the final state, and the model."""
    torch.manual_seed(0)
    model = models.build(name, vocab_size=VOCAB)
    ids_BL = torch.randint(VOCAB, (ROWS, LENGTH + 1))
    reset_BL = torch.zeros(ROWS, LENGTH, dtype=torch.bool)
    reset_BL[0, 5] = True
    optimizer, losses = torch.optim.AdamW(model.parameters(), 3e-3), []
    for _ in range(STEPS):
        with precision.autocast(settings(kind).settings):
            logits_BLV, state = model(ids_BL[:, :-1], reset_BL=reset_BL)
        loss = F.cross_entropy(logits_BLV.float().flatten(0, 1), ids_BL[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, state, model


@pytest.mark.parametrize("name", TRAINED)
def test_every_model_learns_in_bf16(name):
    want, state, _ = learn(name, "fp32")
    got, low_state, model = learn(name, "bf16")
    assert got != want
    assert got[-1] < got[0]
    assert got == pytest.approx(want, rel=TOLERANCE)
    assert {key: tensor.dtype for key, tensor in low_state.items()} == {key: t.dtype for key, t in state.items()}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_training_computes_in_the_precision_that_is_set(tmp_path):
    losses = {}
    for kind in ("fp32", "bf16"):
        trainer = Trainer(tmp_path / kind, settings(kind), print)
        ids_BL, reset_BL = torch.arange(8).view(2, 4), torch.zeros(2, 3, dtype=torch.bool)
        logits_BLV, _ = trainer._forward(ids_BL, reset_BL, trainer.model.init_state(2), None)
        losses[kind] = F.cross_entropy(logits_BLV.flatten(0, 1), ids_BL[:, 1:].flatten()).item()
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=TOLERANCE)
