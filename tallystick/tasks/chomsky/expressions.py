"""Fully bracketed expressions modulo 5, such as ((1-2)*(-3)): grammar, values, worst cases.

An operand is d, -d, (d) or (-d), of lengths 1 to 4 and a digit d; or (a+b), (a-b) or (a*b) of two operands.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

MODULUS = 5
DIGITS = "01234"
ATOMS = ("", "{}", "-{}", "({})", "(-{})")
"""Operands with one digit, by length."""
LONGEST = "({}-{})"
"""Shortest operation."""


def expression(length: int, operators: str, rng: random.Random) -> list[str]:
    """Draw an expression, whose operands get uniform shares of the length, as in the paper's code."""
    said: list[str] = []
    todo: list[str | int] = [length]
    while todo:
        part = todo.pop()
        if isinstance(part, str):
            said.append(part)
        elif part < len(ATOMS):
            said += ATOMS[part].format(rng.choice(DIGITS))
        else:
            left = rng.randrange(1, part - 3)
            todo += [")", part - 3 - left, rng.choice(operators), left, "("]
    return said


def evaluate(symbols: Iterable[str]) -> int:
    """Return the value of an expression, 0 to 4, or -1 if the symbols are not an expression."""
    stack: list[int | str] = []
    for symbol in symbols:
        stack.append(int(symbol) if symbol in DIGITS else symbol)
        if symbol in DIGITS and stack[-2:-1] == ["-"] and (len(stack) == 2 or isinstance(stack[-3], str)):
            stack[-2:] = [-int(symbol) % MODULUS]
        elif symbol == ")":
            size, result = _close(stack)
            if not size:
                return -1
            stack[-size:] = [result]
    value = stack[0] if len(stack) == 1 else None
    return value if isinstance(value, int) else -1


def _close(stack: list[int | str]) -> tuple[int, int]:
    """Return the number of top symbols that the closing bracket reduces to a value, and that value; (0, 0) for none."""
    match stack[-5:]:
        case ["(", int(left), "+", int(right), ")"]:
            return 5, (left + right) % MODULUS
        case ["(", int(left), "-", int(right), ")"]:
            return 5, (left - right) % MODULUS
        case ["(", int(left), "*", int(right), ")"]:
            return 5, left * right % MODULUS
        case [*_, "(", int(value), ")"]:
            return 3, value
    return 0, 0


def chains(length: int, operators: str) -> list[list[str]]:
    """Return brackets as deep as the length allows, on the left and on the right, with and without minus signs."""
    nests = []
    for operator in operators:
        nests += [("(", f"{operator}3)"), (f"(2{operator}", ")"), ("(", f"{operator}-4)"), (f"(-3{operator}", ")")]
    return [_nest(length, before, after) for before, after in nests]


def _nest(length: int, before: str, after: str) -> list[str]:
    """Repeat `before` and `after` as often as the length allows, around an operand that fills it up."""
    count = (length - 1) // (len(before) + len(after))
    rest = length - count * (len(before) + len(after))
    inner = ATOMS[rest].format(3) if rest < len(ATOMS) else LONGEST.format(2, 4)
    return list(before * count + inner + after * count)
