"""Problems: a prompt, and in text tasks the files that its shell starts from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

ROOT = "/repo"
"""The folder that a problem's files are in, unless it names another."""


class Problem(list[str]):
    """A prompt of a text task with its files.

    symbols: the prompt, as text or as pieces of it. files: text by path, relative to `root`, the folder that tracebacks
    and the like name. data: whatever the task's `score` needs beside the prompt; it is never seen by the model.
    """

    def __init__(
        self, symbols: Iterable[str] = (), files: Mapping[str, str] | None = None, root: str = ROOT, data: Any = None
    ):
        super().__init__(symbols)
        self.files = dict(files or {})
        self.root = root
        self.data = data

    def spelled(self, symbols: Iterable[str]) -> Problem:
        """Return the same problem with its prompt in other symbols."""
        return Problem(symbols, self.files, self.root, self.data)

    @property
    def identity(self) -> str:
        """What tells it from other problems with the same prompt."""
        return repr((self.root, sorted(self.files.items())))


def symbols_of(what: str, value: object) -> list[str]:
    """Require a sequence of strings, and make it a list; a Problem stays one. what: the method that returned it."""
    if not isinstance(value, Sequence) or not all(issubclass(kind, str) for kind in {*map(type, value)}):
        returned = repr(value)
        shown = returned if len(returned) <= 60 else f"{returned[:57]}..."
        raise TypeError(f"{what} must return a list of symbols, not {shown}")
    return value if isinstance(value, Problem) else list(value)


def distinct(prompts: Iterable[list[str]]) -> list[list[str]]:
    """Return the prompts without those that came before, files included."""
    unique: dict[str, list[str]] = {}
    for prompt in prompts:
        unique.setdefault(prompt_digest(prompt), prompt)
    return list(unique.values())


def prompt_digest(prompt: Sequence[str]) -> str:
    """Digest a prompt and its files, so that many can be told apart in little memory."""
    text = "\0".join(prompt)
    if isinstance(prompt, Problem):
        text += prompt.identity
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
