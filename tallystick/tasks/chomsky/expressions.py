"""Expressions modulo 5 in which every operation has its brackets: ((1-2)*(-3)). Their grammar, values, worst cases.

An operand is d, -d, (d), (-d), or (a+b), (a-b), (a*b) of two operands; lengths 1 to 4 are the first four.
"""

from __future__ import annotations

MODULUS = 5
DIGITS = "01234"
ATOMS = ("", "{}", "-{}", "({})", "(-{})")
"""By length, with a digit in them."""
LONGEST = "({}-{})"
"""The shortest operation."""


def expression(length, operators, rng):
    """A random expression: operands get uniform shares of the length, as in their code."""
    said, todo = [], [length]
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


def evaluate(symbols):
    """The value, 0 to 4; -1 for what is not an expression."""
    stack = []
    for symbol in symbols:
        stack.append(int(symbol) if symbol in DIGITS else symbol)
        if symbol in DIGITS and stack[-2:-1] == ["-"] and (len(stack) == 2 or isinstance(stack[-3], str)):
            stack[-2:] = [-stack[-1] % MODULUS]
        elif symbol == ")":
            size, value = _close(stack)
            if not size:
                return -1
            stack[-size:] = [value]
    return stack[0] if len(stack) == 1 and isinstance(stack[0], int) else -1


def _close(stack):
    """How many symbols on the stack a closing bracket makes one, and its value."""
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


def chains(length, operators):
    """Brackets as deep as the length allows, on the left and on the right, with and without minus signs."""
    nests = []
    for operator in operators:
        nests += [("(", f"{operator}3)"), (f"(2{operator}", ")"), ("(", f"{operator}-4)"), (f"(-3{operator}", ")")]
    return [_nest(length, before, after) for before, after in nests]


def _nest(length, before, after):
    """As many as the length allows, around an operand that fills it up."""
    count = (length - 1) // (len(before) + len(after))
    rest = length - count * (len(before) + len(after))
    inner = ATOMS[rest].format(3) if rest < len(ATOMS) else LONGEST.format(2, 4)
    return list(before * count + inner + after * count)
