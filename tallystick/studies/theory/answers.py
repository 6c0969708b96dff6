"""The share of a task's problems that its likeliest answers cover: Theorem 2.1 compares it with the number of states.

Each function takes a length n and a number of bits b and gives the share of problems of length n (as `Task.sample`
draws them) whose answer is among the 2^b likeliest: the exact share, or, where it says so, at most that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

LOG10 = math.log2(10)
LONGEST = 10**12
"""The largest length that is considered."""


def addition(n: int, bits: int) -> float:
    """Exact share: of N^2 pairs, N - d have a sum that lies d from the middle; with r = 2^b / N that is r - r^2 / 4."""
    share = _power(bits - _numbers(n))
    return 1.0 if share >= 2 else share - share**2 / 4


def multiplication(n: int, bits: int, second: int | None = None) -> float:
    """Upper bound: a product other than 0 comes from at most as many pairs as the shorter number has values.

    second: digits of the second number; None: n.
    """
    zero = 1 - (1 - _zero(n)) * (1 - _zero(second or n))
    longest = max(_numbers(n), _numbers(second or n))
    return min(1.0, zero + _power(bits - longest))


def sort(n: int, bits: int) -> float:
    """Upper bound: n numbers below 1,000 in order; the likeliest lists have them as different as can be."""
    each, more = divmod(n, 1000)
    arrangements = math.lgamma(n + 1) - 1000 * math.lgamma(each + 1) - more * math.log(each + 1)
    return _power(bits + arrangements / math.log(2) - n * math.log2(1000))


def reverse(n: int, bits: int) -> float:
    """Exact share: all strings of n bits are equally likely."""
    return _power(bits - n)


SHARES: dict[str, Callable[[int, int], float]] = {
    "addition": addition,
    "multiplication-1": partial(multiplication, second=1),
    "multiplication-2": partial(multiplication, second=2),
    "multiplication": multiplication,
    "sort": sort,
    "reverse": reverse,
}
"""Tasks whose answers are counted. Those of one token (turing, logic-graph) are not long-form: no bound ever bites."""
EXACT = ("addition", "reverse")
"""Tasks whose share is exact; the others' true bound is lower still."""


def share(task: str, n: int, bits: int) -> float:
    """Return the share of problems that 2^bits answers can be right on. Raises ValueError for other tasks."""
    if task not in SHARES:
        raise ValueError(f"the answers of {task!r} are not counted; those of {', '.join(SHARES)} are")
    return min(1.0, SHARES[task](n, bits))


def bites(task: str, bits: int, below: float = 1.0) -> int | None:
    """Find the shortest length at which the share is under `below` (under 1: some problem must fail); it falls with n.

    None if that is beyond LONGEST, or never: one product in ten by a single digit is 0, at every length.
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
    """log2 of the count of numbers with n digits; 0 has one digit."""
    return LOG10 if n == 1 else math.log2(9) + (n - 1) * LOG10


def _zero(n: int) -> float:
    return 0.1 if n == 1 else 0.0


def _power(exponent: float) -> float:
    """2 to the exponent, capped so that it does not overflow."""
    return 2.0 ** min(exponent, 64)
