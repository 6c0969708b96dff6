"""Decimal numbers of any length, as text and as lists of digits.

Python's int refuses to read or print more than 4,300 digits, and takes quadratic time to do so.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import zip_longest

DIGITS = "0123456789"
VALUES = {digit: int(digit) for digit in DIGITS}
POSITIVE = "[1-9][0-9]*"
"""Shape of a positive number in a prompt: no leading zeros."""
NUMBER = f"(0|{POSITIVE})"
"""Shape of any number in a prompt."""
BLOCK = 9
BASE = 10**BLOCK


def number(length: int, rng: random.Random, digits: str = DIGITS) -> list[str]:
    """Draw a uniform number of exactly `length` digits from `digits`; 0 is a number of one digit."""
    first = rng.choice(digits if length == 1 else digits.replace("0", ""))
    return [first, *rng.choices(digits, k=length - 1)]


def operands(text: str, sign: str, what: str, example: str) -> tuple[str, str]:
    """Parse the two numbers of "12*345", with or without a final =, and drop leading zeros. Raises ValueError."""
    left, found, right = text.replace(" ", "").removesuffix("=").partition(sign)
    for operand in (left, right):
        if not found or not operand or operand.strip(DIGITS):
            raise ValueError(f"{short(text)!r} is not a {what}; write two numbers of digits 0-9, as in {example}")
    return left.lstrip("0") or "0", right.lstrip("0") or "0"


def add(left: Sequence[str], right: Sequence[str]) -> list[str]:
    """Add two numbers, given and returned as their digits."""
    backwards, carry = [], 0
    for a, b in zip_longest(reversed(left), reversed(right), fillvalue="0"):
        carry, digit = divmod(VALUES[a] + VALUES[b] + carry, 10)
        backwards.append(DIGITS[digit])
    return [*(["1"] if carry else []), *reversed(backwards)]


def multiply(left: Sequence[str], right: Sequence[str]) -> list[str]:
    """Multiply two numbers, given and returned as their digits."""
    total = [0] * (-(-len(left) // BLOCK) - (-len(right) // BLOCK))
    for i, a in enumerate(_blocks(left)):
        carry, end = 0, i
        for end, b in enumerate(_blocks(right), i):
            carry, total[end] = divmod(total[end] + a * b + carry, BASE)
        total[end + 1] = carry
    return list("".join(f"{block:0{BLOCK}}" for block in reversed(total)).lstrip("0") or "0")


def short(text: str) -> str:
    """Shorten a text for quotation in an error message."""
    return text if len(text) <= 40 else text[:37] + "..."


def _blocks(digits: Sequence[str]) -> list[int]:
    """Convert a number to base 10^9, the lowest block first."""
    text = "".join(digits)
    return [int(text[max(0, end - BLOCK) : end]) for end in range(len(text), 0, -BLOCK)]
