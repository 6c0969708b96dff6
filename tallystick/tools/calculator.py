"""A calculator for whole numbers of any length: add and mul."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal

from tallystick.episode import Brackets, Commands, ToolError, not_said
from tallystick.tools import ToolUser
from tallystick.vocab import Vocabulary

EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)
"""Exact decimal arithmetic: Python's int refuses more than 4,300 digits, and converts them in quadratic time."""
FUNCTIONS = {"add": EXACT.add, "mul": EXACT.multiply}
DIGITS = "0123456789"


class Calculator:
    """A tool that adds and multiplies: ``[call] add 1 2 , 3 4 5 [/call]`` is answered by ``[obs] 3 5 7 [/obs]``."""

    reads_memory = False
    tokens = ("[call]", "[/call]", "[obs]", "[/obs]", *FUNCTIONS, ",", *DIGITS)

    def __init__(self, option: str, task: ToolUser):
        if option:
            raise ValueError(f"calculator:{option}: the calculator takes no option; write calculator")

    def start(self, vocab: Vocabulary, memory: array | None, task: ToolUser, prompt: object) -> Commands:
        """Return the calculator's commands, which have no state."""
        ids = vocab.ids
        first, last = ids["[obs]"], ids["[/obs]"]

        def call(said: list[int]) -> Sequence[int]:
            return [first, *vocab.encode(calculate(vocab.decode(said))), last]

        return {ids["[call]"]: Brackets(ids["[/call]"], call)} | dict.fromkeys((ids["[/call]"], first, last), not_said)


def calculate(said: list[str]) -> str:
    """Return the digits of the result; said: a function, digits, ",", digits. Raises ToolError for anything else."""
    name = "".join(said[:1])
    left, _, right = "".join(said[1:]).partition(",")
    if name not in FUNCTIONS or not all(number and not number.strip(DIGITS) for number in (left, right)):
        raise ToolError(f"a call is {' or '.join(FUNCTIONS)}, and two whole numbers with a comma between them")
    return f"{FUNCTIONS[name](Decimal(left), Decimal(right)):f}"
