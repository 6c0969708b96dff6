"""Decimal numbers of any length, as text and as lists of digits."""

from __future__ import annotations

DIGITS = "0123456789"
BLOCK = 9
BASE = 10**BLOCK


def number(length, rng, digits=DIGITS):
    """A number of exactly `length` of these digits, all alike likely; 0 is a number of one digit."""
    first = rng.choice(digits if length == 1 else digits.replace("0", ""))
    return [first, *rng.choices(digits, k=length - 1)]


def operands(text, sign, what, example):
    """The two numbers of "12*345", with or without a closing =, without leading zeros. Raises ValueError."""
    left, found, right = text.replace(" ", "").removesuffix("=").partition(sign)
    for operand in (left, right):
        if not found or not operand or operand.strip(DIGITS):
            raise ValueError(f"{short(text)!r} is not a {what}; write two numbers of digits 0-9, as in {example}")
    return left.lstrip("0") or "0", right.lstrip("0") or "0"


def product(left, right):
    """The product's digits, of two lists of digits: Python's own int refuses to read or print more than 4,300."""
    total = [0] * (-(-len(left) // BLOCK) - (-len(right) // BLOCK))
    for i, a in enumerate(_blocks(left)):
        carry, end = 0, i
        for end, b in enumerate(_blocks(right), i):
            carry, total[end] = divmod(total[end] + a * b + carry, BASE)
        total[end + 1] = carry
    return list("".join(f"{block:0{BLOCK}}" for block in reversed(total)).lstrip("0") or "0")


def short(text):
    """The text as it stands in a message."""
    return text if len(text) <= 40 else text[:37] + "..."


def _blocks(digits):
    """A number in base 10^9, lowest block first."""
    text = "".join(digits)
    return [int(text[max(0, end - BLOCK) : end]) for end in range(len(text), 0, -BLOCK)]
