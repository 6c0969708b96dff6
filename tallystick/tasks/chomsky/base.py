"""Base classes of the 15 tasks: defaults, text form, and the paper's score."""

from __future__ import annotations

from collections.abc import Sequence

from tallystick.tasks.base import Defaults, Task
from tallystick.tasks.numbers import short

END = "[EOS]"
"""Symbol that a pointer reads after the prompt."""
LINEAR = Defaults(train_length=40, check=(10, 20, 40, 80, 160), eval=(40, 100, 200, 500))
"""Defaults with the paper's training range and longest test."""
SLOW = Defaults(train_length=40, check=(10, 20, 30, 40, 60), eval=(40, 60, 100, 200))
"""Defaults with shorter tests, for programs of quadratic length."""


class Chomsky(Task):
    """A task of the paper: `length` is that of the paper's input, drawn uniformly from 1 to 40 in training.

    `direct` has no tool: it learns from answers only, like the paper's models. The prompt needs no mark at its end,
    since the model's [ANS] comes next, in place of the first of the paper's empty tokens.
    """

    alphabet: Sequence[str] = "01"
    """Symbols of the input."""
    example = "0110"
    """Example of an input as text."""
    variants = {"local": "solve", "direct": "solve_direct"}
    defaults = LINEAR

    def __init__(self, options: str = "", variant: str | None = None):
        super().__init__(options, variant)
        if self.variant == "direct":
            self.tools = ()

    def allows(self, prompt: list[str]) -> bool:
        """Return whether a non-empty prompt of the alphabet's symbols is a valid input."""
        return True

    def parse(self, text):
        """Parse one symbol per character, ignoring spaces; or words, if a symbol has several characters."""
        prompt = text.split() if max(map(len, self.alphabet)) > 1 else list("".join(text.split()))
        if not prompt or not {*prompt} <= {*self.alphabet} or not self.allows(prompt):
            kind, symbols = self.name.rpartition(":")[2], " ".join(self.alphabet)
            raise ValueError(f"{short(text)!r} is not a valid input for {kind}; use {symbols} as in {self.example}")
        return prompt

    def partial_score(self, prompt: list[str], output: list[str], tools: object = None) -> float:
        """The paper's accuracy: the share of the answer's tokens, termination token included, that are right in place.

        The paper's score is its mean over sequences, in percent. (Its code pools the tokens of a batch, so that a
        sequence is weighted by the length of its answer.)
        """
        answer = self.answer(prompt)
        return sum(said == want for said, want in zip(output, answer, strict=False)) / len(answer)


class BitString(Chomsky):
    """A task whose inputs are all strings of bits."""

    symbols: Sequence[str] = "01"
    shape = "[01]+"

    def sample(self, length, rng):
        """Draw uniform bits."""
        return rng.choices("01", k=length)

    def worst_cases(self, length):
        """List constant bits, alternating bits, and a single different bit at either end."""
        return worst_bits(length)


def worst_bits(length: int) -> list[list[str]]:
    """Return constant bits, alternating bits, and a single different bit at either end."""
    texts = ["0" * length, "1" * length, ("01" * length)[:length], ("10" * length)[:length]]
    texts += ["1" + "0" * (length - 1), "0" * (length - 1) + "1"]
    return [list(text) for text in dict.fromkeys(texts)]
