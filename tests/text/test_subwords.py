"""Tests of subword tokenizers: trained ones, and those of checkpoints."""

import json
import re

import pytest

from tallystick.text import subwords, tokenizers

TEXTS = ["def foo(v10, v12):\n    return v10\n", "pass v10 to foo(), größe\n", "漢字 and \U0001f642"] * 3
ODD = ["", " ", "a\x00b", "12345", "<|endoftext|>[BOS]</s>", "e\u0301 \u00e9", "\t\r\n  x", "[call]bash[/call]"]


@pytest.fixture(scope="module")
def trained():
    return subwords.train(TEXTS, 400, tokenizers.PIECE.pattern)


@pytest.mark.parametrize("text", [*TEXTS[:3], *ODD])
def test_what_is_spelled_can_be_joined(trained, text):
    tokens = trained.spell(text)
    assert trained.join(tokens) == text
    assert set(tokens) <= set(trained.tokens)


def test_digits_stay_apart_and_words_are_merged(trained):
    assert trained.spell(" foo(v10") == ["Ġfoo", "(", "v", "1", "0"]
    assert not [token for token in trained.tokens if re.search(r"\d.|.\d", token)]
    assert len(trained.tokens) == len(set(trained.tokens)) <= 400


def test_training_is_reproducible(trained):
    assert subwords.train(TEXTS, 400, tokenizers.PIECE.pattern).document == trained.document


def test_tokens_that_are_not_its_own_stand_for_themselves(trained):
    assert trained.join(["bash", *trained.spell("größe"), "[call]"]) == "bashgröße[call]"


def saved(folder, document):
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(document, encoding="utf-8")
    return folder


def test_a_file_and_a_folder_are_loaded(trained, tmp_path):
    folder = saved(tmp_path / "checkpoint", trained.document)
    for name in (f"hf:{folder}", f"hf:{folder / 'tokenizer.json'}"):
        loaded = tokenizers.choose(name, list)
        assert loaded.tokens == trained.tokens
        assert loaded.spell(TEXTS[0]) == trained.spell(TEXTS[0])


def test_composing_characters_is_left_out(trained, tmp_path):
    composing = json.dumps({**json.loads(trained.document), "normalizer": {"type": "NFC"}})
    loaded = subwords.load(str(saved(tmp_path / "neox", composing)))
    assert loaded.join(loaded.spell("e\u0301")) == "e\u0301"


def sentencepiece():
    """Return a tokenizer as those of Llama 2 and Mistral: a space before each text, bytes for what is rare."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"abcdefgh"]
    tokenizer = Tokenizer(
        models.BPE({piece: i for i, piece in enumerate(pieces)}, [], unk_token="<unk>", byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    last = [decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), *last])
    return tokenizer.to_str()


def lossy():
    """Return a tokenizer that does not keep the case of letters, as BERT's."""
    from tokenizers import Tokenizer, models, normalizers

    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    return tokenizer.to_str()


@pytest.mark.parametrize("text", [*TEXTS[:3], *ODD])
def test_a_tokenizer_that_marks_spaces(tmp_path, text):
    loaded = subwords.load(str(saved(tmp_path / "llama", sentencepiece())))
    assert loaded.join(loaded.spell(text)) == text


@pytest.mark.parametrize(
    ("document", "wrong"),
    [(lossy(), "this tokenizer changes text"), ("{}", "is not a tokenizer.json"), ("x", "is not a tokenizer.json")],
    ids=["lossy", "empty", "no JSON"],
)
def test_tokenizers_that_are_refused(tmp_path, document, wrong):
    with pytest.raises(ValueError, match=wrong):
        subwords.load(str(saved(tmp_path / "x", document)))


@pytest.mark.parametrize("name", ["words", "bytes:3", "pieces:", "bpe:x", "bpe:10", "hf:", "hf:nowhere", ""])
def test_unknown_names_say_what_there_is(name):
    with pytest.raises(ValueError, match="there are: pieces|number of tokens is 256 to|name a tokenizer.json"):
        tokenizers.choose(name, lambda: TEXTS)
