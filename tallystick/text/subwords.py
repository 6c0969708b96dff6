"""Subword tokenizers, by Hugging Face's library: one trained on a task's texts, or that of an imported checkpoint."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SIZE = 4096
"""Maximum number of tokens of a trained tokenizer whose name gives none."""
SIZES = (256, 2**20)
"""Range of that number: the bytes are always among the tokens."""
FILE = "tokenizer.json"
"""Name of the file in a checkpoint's folder."""
PROBES = (
    *("a", " a", "a  b\n\n\tc ", "x = foo_1(v10, 'it')s)\r\n"),
    *("größe – 10 €, 漢字, \U0001f642, e\u0301, \x00", "<s> [INST]"),
)
"""Texts that a tokenizer must give back unchanged."""


class Subwords:
    """A tokenizer of Hugging Face's library, with its tokens in the order of their ids.

    document: the text of its tokenizer.json. Text that looks like one of its special tokens is spelled as text.
    """

    def __init__(self, document: str):
        self.document = document
        self._tokenizer = _parse(document)
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._ids = self._tokenizer.get_vocab()
        self.tokens: Sequence[str] = sorted(self._ids, key=lambda token: self._ids[token])

    def spell(self, text: str) -> list[str]:
        """Return the tokens of a text."""
        return self._tokenizer.encode(text, add_special_tokens=False).tokens

    def join(self, tokens: Iterable[str]) -> str:
        """Return the text of tokens; a token that is not the tokenizer's own stands for itself."""
        texts: list[str] = []
        ids: list[int] = []
        for token in tokens:
            if token in self._ids:
                ids.append(self._ids[token])
            else:
                texts += [self._decode(ids), token]
                ids = []
        return "".join([*texts, self._decode(ids)])

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=False)


def train(texts: Iterable[str], size: int, piece: str) -> Subwords:
    """Train byte pair encoding on texts: at most `size` tokens, and no merge beyond a piece of text.

    piece: regular expression of a piece, which decides what stays apart.
    """
    _require()
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    pieces = pre_tokenizers.Split(Regex(piece), "isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pieces, as_bytes])  # type: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[reportAttributeAccessIssue]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, min_frequency=2, show_progress=False, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(texts, trainer)
    return Subwords(tokenizer.to_str())


def size(option: str) -> int:
    """Read the number of tokens in bpe:SIZE; SIZE if there is none. Raises ValueError for a bad one."""
    if not option:
        return SIZE
    if not (option.isdecimal() and SIZES[0] <= int(option) <= SIZES[1]):
        raise ValueError(f"bpe:{option}: the number of tokens is {SIZES[0]} to {SIZES[1]:,}, as in bpe:{SIZE}")
    return int(option)


def load(path: str) -> Subwords:
    """Load a tokenizer.json, or that of a checkpoint's folder.

    Raises ValueError if there is none, and for a tokenizer that does not give back the text that it spells.
    """
    file = Path(path) / FILE if Path(path).is_dir() else Path(path)
    if not path or not file.is_file():
        raise ValueError(f"hf:{path}: no file {file}; name a {FILE} or a checkpoint's folder that has one")
    _require()
    try:
        loaded = Subwords(_without_composition(file.read_text(encoding="utf-8")))
    except Exception as error:  # the library raises plain Exception
        raise ValueError(f"{file} is not a {FILE} of Hugging Face's tokenizers: {error}") from error
    for text in PROBES:
        if (joined := loaded.join(loaded.spell(text))) != text:
            raise ValueError(f"{file}: this tokenizer changes text, {text!r} into {joined!r}; choose one that does not")
    return loaded


def _without_composition(document: str) -> str:
    """Drop the normalization to composed characters (NFC), which changes text and which bytes do not need."""
    parsed: dict[str, Any] = json.loads(document)
    if (parsed.get("normalizer") or {}).get("type") != "NFC":
        return document
    return json.dumps({**parsed, "normalizer": None}, ensure_ascii=False)


def _parse(document: str) -> Tokenizer:
    _require()
    from tokenizers import Tokenizer

    return Tokenizer.from_str(document)


def _require() -> None:
    """Raise ValueError unless the library is installed."""
    try:
        import tokenizers  # noqa: F401
    except ImportError:
        raise ValueError("subword tokenizers need Hugging Face's library: pip install 'tallystick[hf]'") from None
