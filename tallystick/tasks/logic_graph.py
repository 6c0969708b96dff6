"""Logic graphs, evaluated by search (paper, section 4)."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from tallystick.tasks.base import Defaults, Task
from tallystick.tasks.numbers import short
from tallystick.workspace import Workspace

LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
"""Letters of labels: base 32, without 0 and 1, which are values."""
REACH = 8
"""Number of preceding nodes among which a gate's parents are, in `local`."""
LINE = "(?P<node>[{0}]{{{1}}})(?::(?P<value>[01])|=(?P<a>~?[{0}]{{{1}}})((?P<op>[&|])(?P<b>~?[{0}]{{{1}}}))?)"
"""Pattern of a line of the prompt: an input with its value, or a gate."""

NOTES = tuple(value + todo for value in "01" for todo in ("0", "1", "+", "~", "+&", "+|", "~&", "~|"))
"""Notes: an operand's value, and the gate's use of it: 0, 1, the value itself (+), or its negation (~), followed by the
operator & or | if the gate has another operand."""
NOT = {"0": "1", "1": "0"}
DECIDES = {"&": "0", "|": "1"}
"""Value of one operand that decides a gate, by operator."""


class LogicGraph(Task):
    """Evaluate the last node of a graph of ands and ors: ab:1 cd=~ab ef=cd|ab ?ef answers 1 (a line each).

    A gate has one or two earlier nodes as operands, plain or negated. Labels are random, of one width: the task's
    option, by default 2, or 4 in `paper`. `length` is the number of nodes; the program visits all of them, and each has
    its parents among the 8 nodes before it.

    The program reads a gate, `[find]ef=`, and asks for its last operand in a line that also says what is to be done
    then: `ab<+|+cdef` means that ab as it is (+; ~ if negated), or cd as it is, gives ef. When ab has a value, the
    program says it with that sign and the gate in one note, `1+|`, and asks for the other operand in a line with what
    is left of the gate: `cd<1ef` means 1 whatever cd is (or 0; + for cd's value, ~ for its negation). If `[find]ab:`
    finds no value, it goes down to that operand; once a gate has its value, `cd:0`, the line `cd<` tells who asked.

    It is local, not covered. A label is said again at most 20 tokens after it was read, but one or two other labels of
    the gate are read in between. To a string matcher every such pair of labels is a context of its own, and a thousand
    nodes have a million pairs. So lookup stops in every new graph; a model must learn to copy a label past any other.

    `paper` has parents anywhere: of 100,000 nodes, the last one needs a hundred or two. It keeps the gate in a local
    while it asks for the operands, searches for all lines that contain `cd`, and writes only who asked, `cd<ef`.
    """

    tools = ("search",)
    takes_options = True
    variants = {"local": "solve", "paper": "solve_paper"}
    defaults = Defaults(
        train_length=10, steps=3000, check=(3, 5, 10, 20, 40),
        # heads and memories reach the labels from the start; copying is soon right except for the steps' noise, so the
        # rate falls early; a validation takes as long as 100 steps
        settings={
            "head_dim": "16", "dt_min": "0.001", "dt_max": "0.03", "decay_at_error": "0.003", "validate_every": "200",
        },
    )  # fmt: skip
    min_length = 2

    def __init__(self, options: str = "", variant: str | None = None):
        super().__init__(options, variant)
        if options not in ("", *"123456"):
            raise ValueError(f"logic-graph:{options}: the width of its labels is 1 to 6, as in logic-graph:3")
        self.width = int(options or (4 if self.variant == "paper" else 2))
        self.notes = () if self.variant == "paper" else NOTES
        self.symbols = (*LETTERS, *"01:=~&|<?\n", *(("+", *NOTES) if self.notes else ()))
        self.max_length = len(LETTERS) ** self.width
        self._line = re.compile(LINE.format(LETTERS, self.width))

    def sample(self, length, rng):
        """Draw a graph of `length` nodes, up to 3 of them inputs."""
        graph = _anywhere(length, rng) if self.variant == "paper" else _needed(length, rng)
        labels = [self._label(number) for number in rng.sample(range(self.max_length), length)]
        return self._prompt(labels, graph, lambda: rng.choice(("", "~")), lambda: rng.choice("&|"), rng)

    def worst_cases(self, length):
        """List the deepest graph, a chain; gates of the two nearest nodes in either order; and twin gates.

        The twins have the same operands, and labels that differ only in the first letter, which lies farthest back.
        """
        inputs = _inputs(length)
        chain = [[i - 1] if i else [] for i in range(length)]
        pairs = [[i - 1, i - inputs] if i >= inputs else [] for i in range(length)]
        twins = [[[], [], [0, 1], [0, 1], [2, 3]][i] if i < 5 else [i - 1] for i in range(length)]
        graphs = [chain, pairs, [pair[::-1] for pair in pairs], *([twins] if length >= 5 else [])]
        labels, rng = [self._label(number) for number in range(length)], random.Random(0)
        return [
            self._prompt(labels, graph, lambda sign=sign: sign, lambda op=op: op, rng)
            for graph in graphs
            for sign, op in (("~", "&"), ("", "|"))
        ]

    def _label(self, number: int) -> str:
        return "".join(LETTERS[number // len(LETTERS) ** i % len(LETTERS)] for i in range(self.width))

    def _prompt(
        self,
        labels: Sequence[str],
        graph: Sequence[Sequence[int]],
        sign: Callable[[], str],
        op: Callable[[], str],
        rng: random.Random,
    ) -> list[str]:
        """Return the prompt of a graph, given as each node's parents (inputs: none); sign, op: draw "" or ~, & or |."""
        lines = [
            f"{label}={op().join(sign() + labels[parent] for parent in parents)}"
            if parents
            else f"{label}:{rng.choice('01')}"
            for label, parents in zip(labels, graph, strict=True)
        ]
        return [*"\n".join([*lines, f"?{labels[-1]}\n"])]

    def parse(self, text):
        """Parse lines: nodes, each before it is used, and last a ? with the label of a gate."""
        *lines, query = text.strip().split("\n")
        known, gates = set(), set()
        for line in lines:
            match = self._line.fullmatch(line)
            if not match or match["node"] in known or not {name.strip("~") for name in _operands(match)} <= known:
                raise ValueError(
                    f"{short(line)!r} is not a new node; write ab:1, or ab=cd or ab=~cd|ef of earlier nodes"
                )
            known.add(match["node"])
            gates |= {match["node"]} if match["a"] else set()
        if query[:1] != "?" or query[1:] not in gates:
            raise ValueError(f"{short(query)!r} is not the question; the last line is a ? and one of the gates")
        return [*text.strip(), "\n"]

    def answer(self, prompt):
        """Compute the value of the last node by evaluating all nodes in order."""
        *lines, query = "".join(prompt).split()
        values = {}
        for line in lines:
            match = self._line.fullmatch(line)
            assert match
            bits = [values[name.strip("~")] ^ (name[0] == "~") for name in _operands(match)]
            values[match["node"]] = all(bits) if match["op"] == "&" else any(bits) if bits else match["value"] == "1"
        return [str(int(values[query[1:]]))]

    def token_limit(self, prompt):
        """Return more tokens than any graph takes; the tokens of a visit grow with the lines that contain a label."""
        return 10_000_000 + 1_000 * len(prompt)

    def solve(self, w):
        """Visit nodes depth first; the lines that ask record the way back and what to do there."""
        ask, value = self._visit(w, self._question(w)), ""
        while ask:
            asked = ask[: self.width]
            known = self._find(w, asked, ":")
            if known:
                ask, value = self._use(w, ask, known[-1])
            else:
                ask = self._visit(w, asked)
        w.answer()
        w.output(value)

    def _question(self, w: Workspace) -> str:
        """Return the node that the problem asks for, from the last symbols of the prompt."""
        return "".join(w.prompt[-1 - self.width : -1])

    def _visit(self, w: Workspace, node: str) -> str:
        """Ask for a gate's last operand, in a line that records the rest of the gate; return the line."""
        gate = self._line.fullmatch(self._find(w, node, "="))
        assert gate
        first, last = gate["a"], gate["b"]
        if not last:
            return self._ask(w, first.strip("~"), _sign(first), node)
        return self._ask(w, last.strip("~"), _sign(last), gate["op"], _sign(first), first.strip("~"), node)

    def _ask(self, w: Workspace, operand: str, *rest: str) -> str:
        line = "".join([operand, "<", *rest])
        w.think(*line, "\n")
        return line

    def _use(self, w: Workspace, ask: str, value: str) -> tuple[str, str]:
        """Use the value of the operand that the line `ask` asked for; return the next asking line, or "", and a value.

        Either the gate's other operand is still to be asked for, or the gate has its value, which is used in turn for
        the line that asked for the gate. If no line is left, the value is that of the last gate.
        """
        while ask:
            todo, node = ask[self.width + 1 : -self.width], ask[-self.width :]
            w.note(value + todo[:2])
            value = {"0": "0", "1": "1", "+": value, "~": NOT[value]}[todo[0]]
            if len(todo) > 1:
                op, other, first = todo[1], todo[2], todo[3:]
                return self._ask(w, first, value if value == DECIDES[op] else other, node), ""
            w.think(*node, ":", value, "\n")
            ask = self._find(w, node, "<")
        return "", value

    def _find(self, w: Workspace, node: str, mark: str) -> str:
        """Return the only line that contains node and mark contiguously, or "" if there is none."""
        return "".join(symbol for line in w.find(*node, mark) for symbol in line)

    def solve_paper(self, w):
        """Visit nodes depth first; the memory records the way back."""
        node, value = self._question(w), ""
        while node:
            node, value = self._visit_paper(w, node)
        w.answer()
        w.output(value)

    def _visit_paper(self, w: Workspace, node: str) -> tuple[str, str]:
        """Visit a node; return the node to visit next, if any, and this node's value, if it has one now."""
        gate = self._line.fullmatch(self._grep(w, node, "="))
        assert gate
        values = []
        for name in reversed(_operands(gate)):
            known = self._grep(w, name.strip("~"), ":")
            if not known:
                w.think(*name.strip("~"), "<", *node, "\n")
                return name.strip("~"), ""
            values.append((known[-1] == "1") ^ (name[0] == "~"))
        value = str(int(all(values) if gate["op"] == "&" else any(values)))
        w.think(*node, ":", value, "\n")
        return self._grep(w, node, "<")[self.width + 1 :], value

    def _grep(self, w: Workspace, node: str, mark: str) -> str:
        """Search for all lines with a node; return the one that begins with node and mark, or "" if there is none."""
        lines = ("".join(line) for line in w.find(*node))
        return next((line for line in lines if line.startswith(node + mark)), "")


def _sign(name: str) -> str:
    return "~" if name[0] == "~" else "+"


def _operands(match: re.Match[str]) -> list[str]:
    return [name for name in (match["a"], match["b"]) if name]


def _inputs(length: int) -> int:
    return min(3, (length + 1) // 2)


def _anywhere(length: int, rng: random.Random) -> list[list[int]]:
    """Draw the parents of each node: up to two earlier nodes, none for inputs."""
    inputs = _inputs(length)
    return [rng.sample(range(i), min(rng.randint(1, 2), i)) if i >= inputs else [] for i in range(length)]


def _needed(length: int, rng: random.Random) -> list[list[int]]:
    """Draw the parents of each node among the REACH preceding ones, so that the last node needs all others."""
    inputs = _inputs(length)
    while True:
        parents: list[list[int]] = [[] for _ in range(length)]
        used = {length - 1}
        for i in range(length - 1, inputs - 1, -1):
            near = range(max(i - REACH, 0), i)
            parents[i] = rng.sample(near, min(rng.randint(1, 2), len(near)))
            if i - 1 not in used and i - 1 not in parents[i]:
                parents[i][-1] = i - 1
            used.update(parents[i])
        if len(used) == length:
            return parents
