"""Tokenizers: text as a sequence of pieces, each of which is one token.

Whatever text is spelled, `join` gives it back. A text is always spelled by itself, so that no piece reaches from one
role into another.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

PIECE = re.compile(r"\d| ?[^\W\d]+| ?[^\w\s]+|\s+")
"""What `Pieces` looks for: a digit; a word or a run of signs, with the space before it; a stretch of white space."""
BYTES = tuple(chr(byte) if 32 <= byte < 127 or byte == 10 else f"<0x{byte:02X}>" for byte in range(256))
"""The token of each byte: a printable ASCII character or newline is its own."""
WRITTEN = frozenset(token for token in BYTES if len(token) > 1)
"""Tokens that are not what they stand for."""
BYTE_OF = {token: byte for byte, token in enumerate(BYTES)}


class Tokenizer(Protocol):
    """Spells text as tokens."""

    tokens: Sequence[str]
    """All its tokens, distinct."""
    document: str
    """Text of a tokenizer.json from which it can be loaded; "" if it follows from the task."""

    def spell(self, text: str) -> list[str]:
        """Return the tokens of a text."""
        ...

    def join(self, tokens: Sequence[str]) -> str:
        """Return the text of tokens; bytes that are no UTF-8 become the replacement character."""
        ...


class Bytes:
    """One token a byte of UTF-8: 256 tokens for any text."""

    tokens: Sequence[str] = BYTES
    document = ""

    def spell(self, text: str) -> list[str]:
        """Return a token for each byte."""
        return [BYTES[byte] for byte in text.encode(errors="replace")]

    def join(self, tokens: Sequence[str]) -> str:
        """Return the text of tokens."""
        if WRITTEN.isdisjoint(tokens):
            return "".join(tokens)
        return b"".join(bytes((BYTE_OF[token],)) if token in BYTE_OF else token.encode() for token in tokens).decode(
            errors="replace"
        )


class Pieces(Bytes):
    """Words with the space before them, single digits, runs of signs and of white space; rare ones as bytes.

    texts: where the pieces are found; a piece becomes a token if it occurs `at_least` times.
    """

    def __init__(self, texts: Iterable[str], at_least: int = 2):
        counts = Counter(piece for text in texts for piece in PIECE.findall(text))
        common = {piece for piece, count in counts.items() if count >= at_least and len(piece) > 1}
        self.tokens: Sequence[str] = (*BYTES, *sorted(common - BYTE_OF.keys()))
        self._whole = {piece for piece in self.tokens if len(piece) == 1 or piece not in BYTE_OF}

    def spell(self, text: str) -> list[str]:
        """Return the pieces of a text."""
        pieces = PIECE.findall(text)
        if self._whole.issuperset(pieces):  # as in nearly all texts
            return pieces
        tokens: list[str] = []
        for piece in pieces:
            tokens += (piece,) if piece in self._whole else super().spell(piece)
        return tokens


def choose(name: str, texts: Callable[[], Iterable[str]]) -> Tokenizer:
    """Make the tokenizer of this name; texts: those from which it is learned, where it is learned.

    Raises ValueError for an unknown name or a bad option.
    """
    kind, colon, option = name.partition(":")
    if kind in ("bytes", "pieces") and not colon:
        return Bytes() if kind == "bytes" else Pieces(texts())
    if kind in ("bpe", "hf"):
        from tallystick.text import subwords  # needs Hugging Face's tokenizers

        if kind == "hf":
            return subwords.load(option)
        return subwords.train(texts(), subwords.size(option), PIECE.pattern)
    raise ValueError(f"unknown tokenizer {name!r}; there are: {', '.join(NAMES)}")


NAMES = ("pieces", "bytes", "bpe", "bpe:SIZE", "hf:PATH")
"""Names that `choose` takes."""
