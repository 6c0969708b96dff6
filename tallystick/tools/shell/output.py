"""What a command prints, as text of limited length."""

from __future__ import annotations

import codecs
import io

LIMIT = 10_000
"""Characters kept of what a command prints."""


class Output:
    """Keep the first and the last characters of what a command prints, and count those between.

    Invalid UTF-8 is replaced, and line ends become a newline, as in mini-swe-agent.
    """

    def __init__(self, limit: int):
        self._most_head = limit // 2
        self._most_tail = limit - self._most_head
        self._decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)
        self._head = self._tail = ""
        self._left_out = 0

    def feed(self, data: bytes, final: bool = False) -> None:
        """Take the next bytes."""
        text = self._decoder.decode(data, final)
        room = self._most_head - len(self._head)
        self._head += text[:room]
        self._tail += text[room:]
        too_many = len(self._tail) - self._most_tail
        if too_many > 0:
            self._left_out += too_many
            self._tail = self._tail[too_many:]

    def text(self) -> str:
        """Return all of it if it is short enough, else both ends with a line between that counts what is left out."""
        self.feed(b"", final=True)
        between = f"\n... {self._left_out} characters left out ...\n" if self._left_out else ""
        return self._head + between + self._tail


def shorten(text: str, limit: int = LIMIT) -> str:
    """Return a text as `Output` would keep it."""
    if len(text) <= limit and "\r" not in text:
        return text
    output = Output(limit)
    output.feed(text.encode())
    return output.text()
