"""Every model of the registry keeps the contract of `tallystick.models.base`; a new model needs no edit here."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tallystick import models
from tallystick.models import mamba2
from tallystick.models.base import select

VOCAB = 11
ROWS, LENGTH = 3, 75
TOLERANCE = 1e-5  # of the token's largest logit, and of a state tensor's largest entry
SPLITS = {"chunks": [1, 2, 33, 8, 9, 22], "tokens": [1] * LENGTH, "two": [64, 11]}


def make_model(name):
    """Build a small model with large random weights; `lookup` is fitted to random examples."""
    torch.manual_seed(0)
    model = models.build(name, vocab_size=VOCAB)
    if name == "lookup":
        rng = np.random.default_rng(0)
        examples = [rng.integers(VOCAB, size=60).astype(np.uint32) for _ in range(20)]
        return model.fit([(ids, np.ones(60, dtype=bool)) for ids in examples])
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:  # as drawn, the logits are nearly equal
                parameter *= 2
    return model


@pytest.fixture(params=[*models.names(), "mamba2, plain torch"], scope="module")
def model(request):
    """Build each model; mamba2 twice, since a GPU takes the plain form where numba is installed."""
    name, _, plain = request.param.partition(", ")
    with pytest.MonkeyPatch.context() as patch:
        if plain:
            patch.setattr(mamba2, "load_compiled", lambda: None)
        yield make_model(name)


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def tokens(rows=ROWS, length=LENGTH, seed=1):
    return torch.randint(VOCAB, (rows, length), generator=torch.Generator().manual_seed(seed))


def resets(kind):
    """Return random resets, some at the start of a row and of a chunk, two in a row; one row has none."""
    if kind == "none":
        return None
    reset_BL = torch.rand(ROWS, LENGTH, generator=torch.Generator().manual_seed(2)) < 0.05
    reset_BL[0, [0, 1, 36, 64, 65, 74]] = True
    reset_BL[1] = False
    return reset_BL


def assert_logits_agree(got_LV, want_LV):
    difference_L = (got_LV - want_LV).abs().amax(-1)
    assert (difference_L <= TOLERANCE * want_LV.abs().amax(-1)).all()
    top = want_LV.topk(2).values
    clear_L = top[..., 0] - top[..., 1] > 10 * difference_L
    assert torch.equal(got_LV.argmax(-1)[clear_L], want_LV.argmax(-1)[clear_L])


def naming(key):
    """Put a tensor's name before the message of `assert_close`."""
    return lambda message: f"{key}: {message}"


def assert_states_agree(got, want):
    assert got.keys() == want.keys()
    for key in want:
        largest = want[key].abs().max().item() if want[key].numel() else 0.0
        torch.testing.assert_close(got[key], want[key], rtol=0.0, atol=TOLERANCE * largest, msg=naming(key))


def run_in_pieces(model, ids_BL, sizes, reset_BL=None):
    state, logits, start = None, [], 0
    for size in sizes:
        piece = slice(start, start + size)
        out, state = model(ids_BL[:, piece], state, reset_BL=None if reset_BL is None else reset_BL[:, piece])
        logits.append(out)
        start += size
    assert start == ids_BL.shape[1]
    return torch.cat(logits, dim=1), state


@pytest.mark.parametrize("kind", ["none", "resets"])
@pytest.mark.parametrize("split", SPLITS)
def test_any_chunking_agrees(model, split, kind):
    ids_BL, reset_BL = tokens(), resets(kind)
    want_BLV, want_state = model(ids_BL, reset_BL=reset_BL)
    got_BLV, got_state = run_in_pieces(model, ids_BL, SPLITS[split], reset_BL)
    assert_logits_agree(got_BLV, want_BLV)
    assert_states_agree(got_state, want_state)


def test_a_row_does_not_depend_on_its_batch(model):
    ids_BL = tokens()
    want_BLV, want_state = model(ids_BL)
    for row in range(ROWS):
        got_BLV, got_state = model(ids_BL[row : row + 1])
        assert_logits_agree(got_BLV[0], want_BLV[row])
        assert_states_agree(got_state, select(want_state, [row]))


def test_packed_rows_equal_separate_ones(model):
    packed_BL, reset_BL = tokens(), resets("resets")
    got_BLV, got_state = model(packed_BL, tokens_before(model), reset_BL=reset_BL)
    for row in range(ROWS):
        starts = [0, *reset_BL[row].nonzero()[:, 0].tolist(), LENGTH]
        for start, end in zip(starts[:-1], starts[1:], strict=True):
            if start == end:
                continue
            before = None if reset_BL[row, start] else select(tokens_before(model), [row])
            want_BLV, want_state = model(packed_BL[row : row + 1, start:end], before)
            assert_logits_agree(got_BLV[row, start:end], want_BLV[0])
        assert_states_agree(trimmed(select(got_state, [row]), want_state), want_state)


def tokens_before(model):
    """Return tokens that fill the state, to see that a reset forgets them."""
    return model(tokens(length=5, seed=3))[1]


def trimmed(state, alone):
    """Return one row's state without the padding for longer rows of its batch (attention caches)."""
    return {key: tensor[:, : alone[key].shape[1]] if tensor.dim() > 1 else tensor for key, tensor in state.items()}


@pytest.mark.parametrize("kind", ["none", "resets"])
@pytest.mark.parametrize("width", [4, 40])
def test_ragged_rows(model, width, kind):
    """Rows advance by different lengths, some by none; the tokens after them are noise, resets included."""
    ids_BL, reset_BL = tokens(), resets(kind)
    want_BLV, want_state = model(ids_BL, reset_BL=reset_BL)
    generator, done_B, state = torch.Generator().manual_seed(4), torch.zeros(ROWS, dtype=torch.int64), None
    reset_BL = torch.zeros_like(ids_BL, dtype=torch.bool) if reset_BL is None else reset_BL
    while (done_B < LENGTH).any():
        length_B = torch.randint(width + 1, (ROWS,), generator=generator).minimum(LENGTH - done_B)
        piece_BL, piece_reset_BL = tokens(length=width, seed=5), torch.ones(ROWS, width, dtype=torch.bool)
        for row, (start, count) in enumerate(zip(done_B.tolist(), length_B.tolist(), strict=True)):
            piece_BL[row, :count] = ids_BL[row, start : start + count]
            piece_reset_BL[row, :count] = reset_BL[row, start : start + count]
        got_BLV, state = model(piece_BL, state, reset_BL=None if kind == "none" else piece_reset_BL, length_B=length_B)
        for row, (start, count) in enumerate(zip(done_B.tolist(), length_B.tolist(), strict=True)):
            assert_logits_agree(got_BLV[row, :count], want_BLV[row, start : start + count])
        done_B += length_B
    assert_states_agree(state, want_state)


@pytest.mark.parametrize("width", [1, 40])
def test_length_zero_leaves_the_state_as_it_is(model, width):
    state = tokens_before(model)
    _, after = model(tokens(length=width), state, length_B=torch.zeros(ROWS, dtype=torch.int64))
    for key in state:
        torch.testing.assert_close(after[key], state[key], rtol=0.0, atol=0.0)


def test_future_tokens_do_not_matter(model):
    ids_BL = tokens()
    other_BL = ids_BL.clone()
    other_BL[:, 40:] = (other_BL[:, 40:] + 1) % VOCAB
    assert_logits_agree(model(other_BL)[0][:, :40], model(ids_BL)[0][:, :40])


def test_fork_and_choice_of_rows(model):
    state, rows = tokens_before(model), [2, 0, 0]
    ids_BL = tokens()
    want_BLV, want_state = model(ids_BL, state)
    got_BLV, got_state = model(ids_BL[rows], select(state, rows))
    assert_logits_agree(got_BLV, want_BLV[rows])
    assert_states_agree(got_state, select(want_state, rows))


@pytest.mark.parametrize("length", [1, 40])
def test_a_snapshot_replays(model, length):
    """A state that is passed in is never modified, so keeping the dict makes a snapshot."""
    snapshot, ids_BL = tokens_before(model), tokens(length=length)
    kept = {key: tensor.clone() for key, tensor in snapshot.items()}
    first_BLV, first_state = model(ids_BL, snapshot)
    for key in kept:
        torch.testing.assert_close(snapshot[key], kept[key], rtol=0.0, atol=0.0)
    model(tokens(length=length, seed=9), first_state)
    second_BLV, second_state = model(ids_BL, snapshot)
    torch.testing.assert_close(second_BLV, first_BLV, rtol=0.0, atol=0.0)
    for key in first_state:
        torch.testing.assert_close(second_state[key], first_state[key], rtol=0.0, atol=0.0)


@pytest.mark.parametrize("length", [0, 1, 50])
def test_state_bytes(model, length):
    state = model(tokens(1, length))[1] if length else model.init_state(1)
    assert sum(tensor.nbytes for tensor in state.values()) == model.state_bytes(length)


def test_init_state_is_the_default(model):
    assert_logits_agree(model(tokens(), model.init_state(ROWS))[0], model(tokens())[0])


@pytest.mark.parametrize("name", models.names())
def test_saved_weights_load(name, tmp_path):
    saved = make_model(name)
    save_file({key: tensor.clone() for key, tensor in saved.state_dict().items()}, tmp_path / "model.safetensors")
    loaded = models.build(name, vocab_size=VOCAB)
    loaded.load_state_dict(load_file(tmp_path / "model.safetensors"))
    torch.testing.assert_close(loaded(tokens())[0], saved(tokens())[0], rtol=0.0, atol=0.0)


@pytest.mark.parametrize("name", [name for name in models.names() if name != "lookup"])
@pytest.mark.parametrize("kind", ["none", "resets"])
def test_gradients_flow_to_every_parameter(name, kind):
    model = make_model(name)
    with torch.enable_grad():
        logits_BLV, _ = model(tokens(), reset_BL=resets(kind))
        torch.nn.functional.cross_entropy(logits_BLV.flatten(0, 1), tokens(seed=6).flatten()).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad.abs().max() > 0, key


@pytest.mark.parametrize("name", models.names())
def test_fixed_state_is_declared_truly(name):
    model = models.build(name, vocab_size=VOCAB)
    assert model.fixed_state == (model.state_bytes(1) == model.state_bytes(1000))
