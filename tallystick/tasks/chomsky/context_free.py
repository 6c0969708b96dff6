"""The deterministic context-free tasks: a pointer reads the input, and the tape serves as a stack.

The head stands on the first free cell.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

from tallystick.tasks.chomsky.base import END, LINEAR, BitString, Chomsky
from tallystick.tasks.chomsky.expressions import DIGITS, MODULUS, chains, evaluate, expression
from tallystick.workspace import PointerHandle, Workspace

CONSTANTS = tuple(DIGITS)
LINES = tuple(f"{sign}x+{n}" for sign in ("", "-") for n in DIGITS)
"""Symbols of the values of expressions that contain the unknown."""
OF_PARTS: dict[tuple[int, int], str] = dict(zip(product((0, 1, -1), range(MODULUS)), (*CONSTANTS, *LINES), strict=True))
"""Symbol of ax+b, by (a, b)."""
LINEAR_PARTS = {symbol: parts for parts, symbol in OF_PARTS.items()}
"""(a, b) of ax+b, by symbol."""
OPERAND, OPERAND_OR_X = r"\(*(\-?[0-4])\)*", r"\(*(\-?[0-4x])\)*"
"""Shape of an operand with the brackets around it; that each is closed is more than a shape can say."""
NEGATED = {**{digit: DIGITS[-int(digit) % MODULUS] for digit in DIGITS}, "x": "-x+0"}


class _OnStack(Chomsky):
    """A task with a stack on the tape."""

    def tape(self, prompt):
        """Return an empty stack."""
        return [], 0


class StackManipulation(_OnStack):
    """Bits make a stack; 2 pops, 3 pushes 0, 4 pushes 1: 0110422 answers 1102, 110222 answers 2. 9 tokens per symbol.

    The answer is the stack from its top, then the termination token 2; popping an empty stack does nothing. The last 4
    tokens decide.
    """

    alphabet = "01234"
    symbols = alphabet
    shape = "[01]+[234]*"
    tools = ("pointer:1", "tape:01")
    example = "0110422"

    def sample(self, length, rng):
        """Draw 1 to length - 1 bits, then actions; length 1 is a single bit."""
        bits = rng.randrange(1, length) if length > 1 else 1
        return rng.choices("01", k=bits) + rng.choices("234", k=length - bits)

    def worst_cases(self, length):
        """List only pops, then a push; no pops; one action; pops and pushes in turn; all popped and pushed again."""
        if length == 1:
            return [["0"], ["1"]]
        half = length // 2
        texts = ["1" + "2" * (length - 1), "0" + "2" * (length - 2) + "4", "1" + ("34" * length)[: length - 1]]
        texts += ["1" * (length - 1) + "2", "0" * (length - 1) + "3", "1" + ("42" * length)[: length - 1]]
        texts += ["01"[:half] + ("2" * half + "3" * length)[: length - len("01"[:half])]]
        texts += ["1" * half + "2" * (length - half)]
        return [list(text) for text in dict.fromkeys(texts)]

    def allows(self, prompt):
        """Return whether bits come before actions."""
        return re.fullmatch("[01]+[234]*", "".join(prompt)) is not None

    def answer(self, prompt):
        """Compute the final stack, kept as a list."""
        stack = []
        for symbol in prompt:
            if symbol != "2":
                stack.append(str(int(symbol) % 3))
            elif stack:
                stack.pop()
        return [*reversed(stack), "2"]

    def solve(self, w):
        """Push or pop for each symbol; then pop all."""
        p = w.pointer(0)
        while (symbol := p.read()) != END:
            if symbol != "2":
                _push(w, {"3": "0", "4": "1"}.get(symbol, symbol))
            elif _pop(w) == self.blank:
                w.tape.right()
            p.right()
        w.answer()
        while (symbol := _pop(w)) != self.blank:
            w.output(symbol)
        w.output("2")


class ReverseString(BitString):
    """Reverse a bit string: 011010 answers 010110, 1101 answers 1011. 8 tokens per symbol; the last 3 decide."""

    example = "011010"

    def answer(self, prompt):
        """Return the bits in reverse order."""
        return prompt[::-1]

    def solve(self, w):
        """Walk to the end, then back, saying each bit."""
        p = w.pointer(0)
        while p.read() != END:
            p.right()
        w.answer()
        p.left()
        while (symbol := p.read()) != "[BOS]":
            w.output(symbol)
            p.left()


class ModularArithmeticBrackets(_OnStack):
    """The value modulo 5 of an expression: ((1-2)*(-3)) answers 3, (4-(2+(3))) answers 4. 8 tokens per symbol.

    Each operation has brackets: a closing one reduces the last symbols on the stack to their value. A digit's minus
    sign is read together with the digit. The last 8 tokens decide.
    """

    operators = "+-*"
    alphabet = (*DIGITS, *"+-*()")
    symbols = alphabet
    shape = rf"{OPERAND}([+\-*]{OPERAND})*"
    tools = ("pointer:1", "tape:01234+-*(")
    example = "((1-2)*(-3))"

    def sample(self, length, rng):
        """Draw an expression by the grammar of the paper's code."""
        return expression(length, self.operators, rng)

    def worst_cases(self, length):
        """List the deepest brackets on the left and on the right, for each operator, with and without minus signs."""
        return chains(length, self.operators)

    def allows(self, prompt):
        """Return whether this is an expression."""
        return evaluate(prompt) >= 0

    def answer(self, prompt):
        """Compute the value by reducing the last symbols read."""
        return [DIGITS[evaluate(prompt)]]

    def solve(self, w):
        """Evaluate the expression; its value is left on the stack."""
        _evaluate(w, w.pointer(0))
        w.answer()
        w.output(_pop(w))


class SolveEquation(_OnStack):
    """Solve an equation modulo 5 for x: (2-(x+4))=1 answers 2, -x=3 answers 2. 8 tokens per symbol.

    As in the paper's code, the operators are + and -, and inputs of length 1 and 2 are zeros, which answer 0. The
    values on the stack are constants or, if x is in them, lines: x+0 ... x+4, -x+0 ... -x+4. The last 8 tokens decide.
    """

    operators = "+-"
    alphabet = (*DIGITS, *"+-()x=")
    symbols = (*alphabet, *LINES)
    shape = rf"00?|{OPERAND_OR_X}([+\-]{OPERAND_OR_X})*=[0-4]"
    tools = ("pointer:1", f"tape:{' '.join((*CONSTANTS, *LINES))} + - (")
    example = "(2-(x+4))=1"
    defaults = replace(LINEAR, steps=4000)

    def sample(self, length, rng):
        """Draw an expression, append its value, and hide one of its digits."""
        if length < 3:
            return ["0"] * length
        left = expression(length - 2, self.operators, rng)
        hidden = rng.randrange(len(left))
        while left[hidden] not in DIGITS:
            hidden = (hidden + 1) % len(left)
        return _hide(left, hidden)

    def worst_cases(self, length):
        """List the deepest brackets, with x at the beginning, in the middle and at the end."""
        if length < 3:
            return [["0"] * length]
        equations = []
        for left in chains(length - 2, self.operators):
            digits = [i for i, symbol in enumerate(left) if symbol in DIGITS]
            places = {digits[0], digits[len(digits) // 2], digits[-1]}
            equations += [_hide(left, place) for place in sorted(places)]
        return equations

    def allows(self, prompt):
        """Return whether there is one x left of the =, and one digit right of it."""
        whole = prompt[-2:-1] == ["="] and prompt[-1] in DIGITS and prompt.count("x") == 1
        return prompt in (["0"], ["0", "0"]) or (whole and evaluate(_set(prompt, "0")) >= 0)

    def answer(self, prompt):
        """Find the digit for which the left side has the right side's value."""
        solutions = [x for x in DIGITS if evaluate(_set(prompt, x)) == int(prompt[-1])]
        return solutions if "x" in prompt else ["0"]

    def solve(self, w):
        """Evaluate the left side to ax+b and solve ax+b = c, where a is 1 or -1 and so its own inverse."""
        p = w.pointer(0)
        if _evaluate(w, p) == "=":
            p.right()
            right = int(p.read())
            w.answer()
            a, b = LINEAR_PARTS[_pop(w)]
            w.output(DIGITS[(right - b) * a % MODULUS])
        else:
            w.answer()
            w.output(_pop(w))


def _evaluate(w: Workspace, p: PointerHandle) -> str:
    """Evaluate the expression at the pointer, leave its value on the stack, and return the = or end that follows."""
    begins = True  # whether an operand begins here, where - is the digit's sign rather than an operator
    while (symbol := p.read()) not in (END, "="):
        if symbol == ")":
            _close(w)
        elif symbol == "-" and begins:
            p.right()
            _push(w, NEGATED[p.read()])
        else:
            _push(w, "x+0" if symbol == "x" else symbol)
        begins = symbol == "(" or (symbol in "+-*" and not begins)
        p.right()
    return symbol


def _close(w: Workspace) -> None:
    """Reduce (a+b) or (a) on the stack to its value."""
    right = _pop(w)
    operator = _pop(w)
    if operator == "(":
        w.tape.write(right)
    else:
        left = _pop(w)
        w.tape.left()
        w.tape.write(_operate(left, operator, right))
    w.tape.right()


def _operate(left: str, operator: str, right: str) -> str:
    """Apply an operator to two values, of which at least one is a constant; for * both are."""
    (a, b), (c, d) = LINEAR_PARTS[left], LINEAR_PARTS[right]
    if operator == "*":
        return DIGITS[b * d % MODULUS]
    sign = 1 if operator == "+" else -1
    return OF_PARTS[a + sign * c, (b + sign * d) % MODULUS]


def _push(w: Workspace, symbol: str) -> None:
    """Write a symbol on top, and move to the next free cell."""
    w.tape.write(symbol)
    w.tape.right()


def _pop(w: Workspace) -> str:
    """Read and free the top cell; return the blank if the stack is empty."""
    w.tape.left()
    return w.tape.read()


def _hide(left: list[str], place: int) -> list[str]:
    """Return the equation with x at this place of the left side."""
    return [*left[:place], "x", *left[place + 1 :], "=", DIGITS[evaluate(left)]]


def _set(prompt: list[str], digit: str) -> list[str]:
    """Return the left side with the digit in place of x."""
    return [digit if symbol == "x" else symbol for symbol in prompt[:-2]]
