"""The share of a task's problems that its likeliest answers cover, which Theorem 2.1 relates to the number of states.

Each function takes a length n and a number of bits b, and returns the share of problems of length n (as drawn by
`Task.sample`) whose answer is among the 2^b likeliest, or, where its docstring says so, an upper bound on that share.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

LOG10 = math.log2(10)
LONGEST = 10**12
"""Largest length considered."""


def addition(n: int, bits: int) -> float:
    """Return the exact share for addition.

    Of N^2 pairs, N - d have a sum at distance d from the middle; with r = 2^b / N the share is r - r^2 / 4.
    """
    share = _power(bits - _numbers(n))
    return 1.0 if share >= 2 else share - share**2 / 4


def multiplication(n: int, bits: int, second: int | None = None) -> float:
    """Return an upper bound for multiplication; second: digits of the second number, by default n.

    A product other than 0 comes from at most as many pairs as the shorter number has values.
    """
    zero = 1 - (1 - _zero(n)) * (1 - _zero(second or n))
    longest = max(_numbers(n), _numbers(second or n))
    return min(1.0, zero + _power(bits - longest))


def sort(n: int, bits: int) -> float:
    """Return an upper bound for sorting n numbers below 1,000; the likeliest lists repeat as little as possible."""
    each, more = divmod(n, 1000)
    arrangements = math.lgamma(n + 1) - 1000 * math.lgamma(each + 1) - more * math.log(each + 1)
    return _power(bits + arrangements / math.log(2) - n * math.log2(1000))


def reverse(n: int, bits: int) -> float:
    """Return the exact share for reversal, where all strings of n bits are equally likely."""
    return _power(bits - n)


SHARES: dict[str, Callable[[int, int], float]] = {
    "addition": addition,
    "multiplication-1": partial(multiplication, second=1),
    "multiplication-2": partial(multiplication, second=2),
    "multiplication": multiplication,
    "sort": sort,
    "reverse": reverse,
}
"""Functions of the tasks whose answers are counted; for answers of one token (turing, logic-graph) no bound is low."""
EXACT = ("addition", "reverse")
"""Tasks whose share is exact; for the others it is an upper bound."""


def share(task: str, n: int, bits: int) -> float:
    """Return the share of problems that 2^bits answers can get right. Raises ValueError for a task not in SHARES."""
    if task not in SHARES:
        raise ValueError(f"the answers of {task!r} are not counted; choose from {', '.join(SHARES)}")
    return min(1.0, SHARES[task](n, bits))


def bites(task: str, bits: int, below: float = 1.0) -> int | None:
    """Return the shortest length at which the share falls under `below`; under 1 means that some problem must fail.

    Returns None if that is beyond LONGEST, or never: one in ten products by a single digit is 0, at every length.
    """
    high = 1
    while share(task, high, bits) >= below:
        high *= 2
        if high > LONGEST:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if share(task, middle, bits) >= below else (low, middle)
    return high


def _numbers(n: int) -> float:
    """Return log2 of the number of n-digit numbers; 0 has one digit."""
    return LOG10 if n == 1 else math.log2(9) + (n - 1) * LOG10


def _zero(n: int) -> float:
    return 0.1 if n == 1 else 0.0


def _power(exponent: float) -> float:
    """Return 2 to the exponent, capped to avoid overflow."""
    return 2.0 ** min(exponent, 64)
