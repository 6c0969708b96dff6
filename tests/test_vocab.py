"""The vocabulary, and render: ids and loss mask of a trajectory."""

import numpy as np
import pytest

from tallystick.episode import BOS, EOS, ID_DTYPE, MARKS, Role
from tallystick.trajectory import Trajectory
from tallystick.vocab import Vocabulary, loss_mask, render

AB = Vocabulary("ab")
A, B = AB.encode("ab")
PIECES = {"ab": 102, "a": 100, "b": 101}


def tokenize(text):
    """Tokenize with the longest piece first: ab is one token wherever the whole text is visible."""
    ids = []
    while text:
        piece = next(piece for piece in PIECES if text.startswith(piece))
        ids.append(PIECES[piece])
        text = text[len(piece) :]
    return ids


def test_the_marks_come_first():
    assert AB.tokens == (*MARKS, "a", "b")
    assert [AB.tokens[BOS], AB.tokens[EOS]] == ["[BOS]", "[EOS]"]
    assert len(AB) == len(MARKS) + 2


def test_decode_inverts_encode():
    symbols = [*"abba", "[ANS]"]
    assert AB.decode(AB.encode(symbols)) == symbols


@pytest.mark.parametrize(
    ("symbols", "named"),
    [("aba", "repeated: a"), (["[ANS]"], r"repeated: \[ANS\]"), (["a", ""], "a symbol is empty")],
)
def test_repeated_and_empty_symbols_are_refused(symbols, named):
    with pytest.raises(ValueError, match=named):
        Vocabulary(symbols)


def test_every_id_can_be_recorded():
    last = Vocabulary(map(str, range(151_936))).ids["151935"]  # Qwen's
    assert ID_DTYPE.type(last) == last > 65_536


def test_encode_names_the_first_foreign_symbol():
    with pytest.raises(ValueError, match="'x' is not in the vocabulary"):
        AB.encode("axy")


def test_the_model_says_all_but_prompt_and_observation():
    said = {role.name for role in Role if loss_mask(np.array([role]))[0]}
    assert said == {"THOUGHT", "COMMAND", "OUTPUT", "NOTE"}


def test_loss_mask_keeps_the_shape():
    assert loss_mask(np.zeros((2, 3), np.uint8)).tolist() == [[False] * 3] * 2


def test_render_of_symbols():
    segments = [
        (Role.PROMPT, ["a", "b"]),
        (Role.THOUGHT, ["b"]),
        (Role.OBSERVATION, ["a"]),
        (Role.OUTPUT, ["b"]),
    ]
    ids, mask = render(Trajectory(segments), AB)
    assert (ids.dtype, mask.dtype) == (ID_DTYPE, bool)
    assert ids.tolist() == [BOS, A, B, B, A, B]
    assert mask.tolist() == [False, False, False, True, False, True]


def test_render_of_text_never_merges_across_roles():
    ids, mask = render(Trajectory([(Role.PROMPT, "aba"), (Role.THOUGHT, "bab"), (Role.THOUGHT, "b")]), AB, tokenize)
    assert ids.tolist() == [BOS, 102, 100, 101, 102, 101]
    assert mask.tolist() == [False] * 3 + [True] * 3


def test_symbols_beside_text_do_not_go_through_the_tokenizer():
    ids, _ = render(Trajectory([(Role.PROMPT, "ab"), (Role.THOUGHT, ["a", "b"])]), AB, tokenize)
    assert ids.tolist() == [BOS, 102, A, B]


def test_text_needs_a_tokenizer():
    with pytest.raises(ValueError, match="give a tokenizer"):
        render(Trajectory([(Role.PROMPT, "ab")]), AB)


def test_render_names_a_foreign_symbol():
    with pytest.raises(ValueError, match="'x' is not in the vocabulary"):
        render(Trajectory([(Role.PROMPT, ["x"])]), AB)


def test_a_model_without_tools_predicts_their_answers():
    segments = [(Role.PROMPT, ["a"]), (Role.COMMAND, ["b"]), (Role.OBSERVATION, ["a"]), (Role.OUTPUT, ["b"])]
    _, mask = render(Trajectory(segments), AB, predict_observations=True)
    assert mask.tolist() == [False, False, True, True, True]
