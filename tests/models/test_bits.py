"""Tests that a state of so many bits is really no larger: packing, and the outputs that it allows."""

import pytest
import torch

from tallystick import models
from tallystick.models.bits import pack, unpack


def prompts(rows, length=9, vocab=5):
    return torch.randint(vocab, (rows, length), generator=torch.Generator().manual_seed(0))


def lively(bits):
    torch.manual_seed(0)
    model = models.build("bits", vocab_size=5, bits=bits)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 3
    return model


def test_packing():
    every = torch.arange(256, dtype=torch.uint8)[:, None].repeat(1, 2)
    every[:, 1] = every[:, 1].flip(0)
    spread = unpack(every)
    assert spread.shape == (256, 16)
    assert set(spread.unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(pack(spread), every)


@torch.no_grad()
def test_what_is_said_depends_on_the_bits_alone():
    """There are more prompts than states, so some share one, and continue in the same way."""
    model = lively(8)
    logits_BLV, state = model(prompts(600))
    numbers = state["bits"][:, 0].tolist()
    assert 20 < len(set(numbers)) <= 256
    first = torch.tensor([numbers.index(number) for number in numbers])
    torch.testing.assert_close(logits_BLV[first, -1], logits_BLV[:, -1], rtol=0, atol=0)
    after_BLV, _ = model(torch.zeros(600, 4, dtype=torch.int64), state)
    torch.testing.assert_close(after_BLV[first], after_BLV, rtol=0, atol=1e-5)


@pytest.mark.parametrize("bits", [16, 32, 64])
def test_presets_have_so_many_bits(bits):
    assert models.build(f"bits:{bits}", vocab_size=5).state_bytes(100) == bits // 8


def test_gradients_pass_the_rounding():
    model = lively(16)
    logits_BLV, _ = model(prompts(8))
    logits_BLV[:, -1].logsumexp(-1).sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in model.parameters())
