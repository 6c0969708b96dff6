"""What the 15 tasks share: how they are trained, their text, and the paper's score."""

from __future__ import annotations

from collections.abc import Sequence

from tallystick.tasks.base import Defaults, Task
from tallystick.tasks.numbers import short

END = "[EOS]"
"""What a pointer reads beyond the prompt."""
LINEAR = Defaults(train_length=40, check=(10, 20, 40, 80, 160), eval=(40, 100, 200, 500))
"""Their training range, and their longest test."""
SLOW = Defaults(train_length=40, check=(10, 20, 30, 40, 60), eval=(40, 60, 100, 200))
"""The same for programs of quadratic length."""


class Chomsky(Task):
    """A task of the paper's: `length` is that of their input, drawn uniformly from 1..40 in training.

    `direct` has no tool: it learns from answers alone, as their models do. It needs no mark behind the prompt, for a
    model speaks only after it, and its own [ANS] is what it then hears: the first of their empty tokens.
    """

    alphabet: Sequence[str] = "01"
    """What their input is made of."""
    example = "0110"
    """An input as text."""
    variants = {"local": "solve", "direct": "solve_direct"}
    defaults = LINEAR

    def __init__(self, options: str = "", variant: str | None = None):
        super().__init__(options, variant)
        if self.variant == "direct":
            self.tools = ()

    def allows(self, prompt: list[str]) -> bool:
        """Whether their input can look like this; its symbols are of the alphabet, and there is one at least."""
        return True

    def parse(self, text):
        """One character a symbol, spaces as one likes; words if a symbol has several characters."""
        prompt = text.split() if max(map(len, self.alphabet)) > 1 else list("".join(text.split()))
        if not prompt or not {*prompt} <= {*self.alphabet} or not self.allows(prompt):
            kind, symbols = self.name.rpartition(":")[2], " ".join(self.alphabet)
            raise ValueError(f"{short(text)!r} is no input of {kind}, made of {symbols} as {self.example} is")
        return prompt

    def partial_score(self, prompt: list[str], output: list[str]) -> float:
        """The paper's accuracy: the share of the answer's tokens that stand in their place in the output.

        Up to the termination token, where there is one. Their score is its mean over sequences, in percent (their code
        pools the tokens of a batch, so that there a sequence weighs as many as its answer has).
        """
        answer = self.answer(prompt)
        return sum(said == want for said, want in zip(output, answer, strict=False)) / len(answer)


def plain_worst_cases(length: int) -> list[list[str]]:
    """Bits all alike, alternating, and one alone at either end."""
    texts = ["0" * length, "1" * length, ("01" * length)[:length], ("10" * length)[:length]]
    texts += ["1" + "0" * (length - 1), "0" * (length - 1) + "1"]
    return [list(text) for text in dict.fromkeys(texts)]
