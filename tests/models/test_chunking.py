"""Any chunking of a call is one pass is token by token: for lengths, cuts and resets that Hypothesis chooses.

`test_contract.py` has the cases that are known to be hard; these look for others.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick import models
from tallystick.models import mamba2

VOCAB, ROWS = 7, 2
TOLERANCE = 1e-5  # of the token's largest logit, and of a state tensor's largest entry
FEW = settings(derandomize=True, deadline=None, max_examples=10, database=None)
SMALL = {
    **dict.fromkeys(("mamba1", "mamba2"), {"d_model": 16, "n_layer": 1, "d_state": 4}),
    **dict.fromkeys(("lstm", "gru"), {"d_model": 16}),
    **dict.fromkeys(("pythia", "nope", "gated-deltanet"), {"d_model": 16, "n_layer": 1, "n_head": 2}),
    "conv": {"d_model": 16, "n_layer": 2, "d_conv": 3},
    "mistral": {"d_model": 16, "n_layer": 1, "n_head": 2, "window": 5},
    "hybrid": {"d_model": 16, "d_state": 4, "n_head": 2},
    "rmt": {"d_model": 16, "n_layer": 1, "n_head": 2, "segment": 6, "memory": 2},
    "bits": {"width": 16},
    "lookup": {"reach": 4},
}
"""Settings with which a call meets the ends of windows, segments and chunks early."""


@st.composite
def packed_calls(draw):
    """Draw tokens, resets and cuts of two rows: `(ids_BL, reset_BL, sizes)`."""
    length = draw(st.integers(1, 45))
    rows = st.lists(st.integers(0, VOCAB - 1), min_size=length, max_size=length)
    places = st.sets(st.integers(0, length - 1), max_size=4)
    reset_BL = torch.zeros(ROWS, length, dtype=torch.bool)
    for row in range(ROWS):
        reset_BL[row, list(draw(places))] = True
    cuts = [0, *sorted(draw(places) - {0}), length]
    sizes = [end - start for start, end in zip(cuts[:-1], cuts[1:], strict=True)]
    return torch.tensor([draw(rows) for _ in range(ROWS)]), reset_BL, sizes


@pytest.fixture(params=[*models.names(), "mamba2, plain torch"], scope="module")
def model(request):
    """Build each model; mamba2 with compiled loops where numba is installed, and as on a GPU."""
    name, _, plain = request.param.partition(", ")
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        if plain:
            patch.setattr(mamba2, "load_compiled", lambda: None)
        model = models.build(name, vocab_size=VOCAB, **SMALL[name])
        if name == "lookup":
            ids = torch.randint(VOCAB, (40,)).to(torch.uint32).numpy()
            model.fit([(ids, ids >= 0)])
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:  # as drawn, the logits are nearly equal
                    parameter *= 2
        yield model


def read(model, ids_BL, reset_BL, sizes):
    """Return the logits and final state of a call made in pieces."""
    state, logits = None, []
    for ids, reset in zip(ids_BL.split(sizes, 1), reset_BL.split(sizes, 1), strict=True):
        logits_BLV, state = model(ids, state, reset_BL=reset)
        logits.append(logits_BLV)
    return torch.cat(logits, 1), state


def assert_agree(got, want):
    """Compare logits and states."""
    difference_BL = (got[0] - want[0]).abs().amax(-1)
    assert (difference_BL <= TOLERANCE * want[0].abs().amax(-1)).all()
    assert got[1].keys() == want[1].keys()
    for key, tensor in want[1].items():
        largest = tensor.abs().max().item() if tensor.numel() else 0.0
        torch.testing.assert_close(got[1][key], tensor, rtol=0.0, atol=TOLERANCE * largest)


@FEW
@given(call=packed_calls())
@torch.no_grad()
def test_any_chunking_is_one_pass(model, call):
    ids_BL, reset_BL, sizes = call
    want = model(ids_BL, reset_BL=reset_BL)
    assert_agree(read(model, ids_BL, reset_BL, sizes), want)
    assert_agree(read(model, ids_BL, reset_BL, [1] * ids_BL.shape[1]), want)


@FEW
@given(call=packed_calls(), lengths=st.lists(st.integers(0, 45), min_size=ROWS, max_size=ROWS))
@torch.no_grad()
def test_ragged_rows_are_rows_apart(model, call, lengths):
    """Tokens after a row's length do not matter: the row alone gives the same result."""
    ids_BL, reset_BL, _ = call
    lengths = [min(length, ids_BL.shape[1]) for length in lengths]
    logits_BLV, state = model(ids_BL, reset_BL=reset_BL, length_B=torch.tensor(lengths))
    for row, length in enumerate(lengths):
        own = slice(row, row + 1)
        want_BLV, alone = logits_BLV[own, :0], model.init_state(1)
        if length:
            want_BLV, alone = model(ids_BL[own, :length], reset_BL=reset_BL[own, :length])
        # without the room that a longer row needs in its cache
        fits = {key: t[own] if t.dim() == 1 else t[own, : alone[key].shape[1]] for key, t in state.items()}
        assert_agree((logits_BLV[own, :length], fits), (want_BLV, alone))
