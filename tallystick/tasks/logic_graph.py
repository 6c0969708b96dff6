"""A logic graph, resolved by search (paper, section 4)."""

from __future__ import annotations

import random
import re

from tallystick.tasks.base import Defaults, Task

LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
"""Of which labels are spelled: base 32, without 0 and 1, which are values."""
REACH = 8
"""`local`: parents are among so many nodes before."""
LINE = "(?P<node>[{0}]{{{1}}})(?::(?P<value>[01])|=(?P<a>~?[{0}]{{{1}}})((?P<op>[&|])(?P<b>~?[{0}]{{{1}}}))?)"
"""A line of the prompt: an input with its value, or a gate."""

NOTES = tuple(value + todo for value in "01" for todo in ("0", "1", "+", "~", "+&", "+|", "~&", "~|"))
"""An operand's value, and what is to be made of it: 0, 1, itself (+) or its negation (~); or which part of a gate."""
NOT = {"0": "1", "1": "0"}
DECIDES = {"&": "0", "|": "1"}
"""The operand that decides a gate alone."""


class LogicGraph(Task):
    """Evaluate the last node of a graph of ands and ors: ab:1 cd=~ab ef=cd|ab ?ef answers 1 (a line each).

    A gate has one or two earlier nodes, plain or negated; labels are random, of one width (the option; without it 2, or
    4 in `paper`). `length` is the number of nodes that the program visits, all of them, each with parents among the 8
    before it. It reads a gate, `[find]ef=`, and asks for its last operand with all that is to be done then in the same
    line, `ab<+|+cdef`: ab, as it is (+; ~ if negated), or cd, as it is, gives ef. When ab has a value it says it with
    that sign and the gate in one note, `1+|`, and asks for the other operand with what is left of the gate, `cd<1ef`:
    1, whatever cd is (0; + if it is cd's value, ~ if its negation). To an operand without a value, `[find]ab:`, it goes
    down; and once a gate has its value, `cd:0`, the line `cd<` says who asked.

    Local, not covered. A label is said again at most 20 tokens after it was read, but other labels have been read in
    between: of the three of a gate each is said when one or two others stand between. To a string matcher every two
    labels so side by side are a context of their own, and a thousand nodes have a million pairs. So lookup stops in
    every new graph; a model must learn to copy a label whatever it is, and whatever stands between.

    `paper` has parents anywhere, so that of 100,000 nodes the last needs a hundred or two; it remembers the gate while
    it asks for the operands, `cd` alone, for all lines that contain it, and writes only who asked, `cd<ef`.
    """

    tools = ("search",)
    takes_options = True
    variants = {"local": "solve", "paper": "solve_paper"}
    defaults = Defaults(
        train_length=10, steps=3000, check=(3, 5, 10, 20, 40),
        # heads and memories that reach the labels from the start; copying is soon right but for the noise of the steps,
        # so the rate falls early; a look at the held-out problems takes as long as 100 steps
        settings={"head_dim": "16", "dt_min": "0.001", "dt_max": "0.03", "decay_at_error": "0.003", "validate_every": "200"},
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
        """A graph of `length` nodes, up to 3 of them inputs."""
        graph = _anywhere(length, rng) if self.variant == "paper" else _needed(length, rng)
        labels = [self._label(number) for number in rng.sample(range(self.max_length), length)]
        return self._prompt(labels, graph, lambda: rng.choice(("", "~")), lambda: rng.choice("&|"), rng)

    def worst_cases(self, length):
        """The deepest graph, a chain; gates that all need two nodes, the nearer or the farther one first; and two
        gates of one definition, whose labels are alike but for the first letter, the farthest back of all."""
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

    def _label(self, number):
        return "".join(LETTERS[number // len(LETTERS) ** i % len(LETTERS)] for i in range(self.width))

    def _prompt(self, labels, graph, sign, op, rng):
        """The lines; graph: the parents of each node, none for an input; sign, op: draw an operand's and a gate's."""
        lines = [
            f"{label}={op().join(sign() + labels[parent] for parent in parents)}"
            if parents
            else f"{label}:{rng.choice('01')}"
            for label, parents in zip(labels, graph, strict=True)
        ]
        return [*"\n".join([*lines, f"?{labels[-1]}\n"])]

    def parse(self, text):
        """The lines, every node before it is used, and ?LABEL, a gate's, as the last one."""
        *lines, query = text.strip().split("\n")
        known, gates = set(), set()
        for line in lines:
            match = self._line.fullmatch(line)
            if not match or match["node"] in known or not {name.strip("~") for name in _operands(match)} <= known:
                raise ValueError(f"{line[:40]!r} is not a new node; write ab:1, or ab=cd or ab=~cd|ef of earlier nodes")
            known.add(match["node"])
            gates |= {match["node"]} if match["a"] else set()
        if query[:1] != "?" or query[1:] not in gates:
            raise ValueError(f"{query[:40]!r} is not the question; the last line is a ? and one of the gates")
        return [*text.strip(), "\n"]

    def answer(self, prompt):
        """All nodes in order."""
        *lines, query = "".join(prompt).split()
        values = {}
        for line in lines:
            match = self._line.fullmatch(line)
            assert match
            bits = [values[name.strip("~")] ^ (name[0] == "~") for name in _operands(match)]
            values[match["node"]] = all(bits) if match["op"] == "&" else any(bits) if bits else match["value"] == "1"
        return [str(int(values[query[1:]]))]

    def token_limit(self, prompt):
        """A visit's tokens grow with the lines that contain a label."""
        return 10_000_000 + 1_000 * len(prompt)

    def solve(self, w):
        """Depth first; the way back, and what to do there, stand in the lines that ask."""
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

    def _question(self, w):
        return "".join(w.prompt[-1 - self.width : -1])

    def _visit(self, w, node):
        """Ask for a gate's last operand: what else is needed of the gate goes into the line."""
        gate = self._line.fullmatch(self._find(w, node, "="))
        assert gate
        first, last = gate["a"], gate["b"]
        if not last:
            return self._ask(w, first.strip("~"), _sign(first), node)
        return self._ask(w, last.strip("~"), _sign(last), gate["op"], _sign(first), first.strip("~"), node)

    def _ask(self, w, operand, *rest):
        line = "".join([operand, "<", *rest])
        w.think(*line, "\n")
        return line

    def _use(self, w, ask, value):
        """The next line that asks, now that the operand has this value, and the value; '' if there is nothing to ask.

        A gate's first operand is still to be asked for, or the gate has its value, and whoever asked for it can go on.
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

    def _find(self, w, node, mark):
        """The line that begins so, of which there is one at most; '' for none."""
        return "".join(symbol for line in w.find(*node, mark) for symbol in line)

    def solve_paper(self, w):
        """Depth first; the way back is in the memory."""
        node, value = self._question(w), ""
        while node:
            node, value = self._visit_paper(w, node)
        w.answer()
        w.output(value)

    def _visit_paper(self, w, node):
        """The node to visit next, if any, and this one's value if it has one now."""
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

    def _grep(self, w, node, mark):
        """Of all lines with the node the one that begins with it and the mark; '' for none."""
        lines = ("".join(line) for line in w.find(*node))
        return next((line for line in lines if line.startswith(node + mark)), "")


def _sign(name):
    return "~" if name[0] == "~" else "+"


def _operands(match):
    return [name for name in (match["a"], match["b"]) if name]


def _inputs(length):
    return min(3, (length + 1) // 2)


def _anywhere(length, rng):
    """The parents of each node, if any: up to two of those before it."""
    inputs = _inputs(length)
    return [rng.sample(range(i), min(rng.randint(1, 2), i)) if i >= inputs else [] for i in range(length)]


def _needed(length, rng):
    """The same among the last REACH, such that the last node needs all others."""
    inputs = _inputs(length)
    while True:
        parents, used = [[] for _ in range(length)], {length - 1}
        for i in range(length - 1, inputs - 1, -1):
            near = range(max(i - REACH, 0), i)
            parents[i] = rng.sample(near, min(rng.randint(1, 2), len(near)))
            if i - 1 not in used and i - 1 not in parents[i]:
                parents[i][-1] = i - 1
            used.update(parents[i])
        if len(used) == length:
            return parents
