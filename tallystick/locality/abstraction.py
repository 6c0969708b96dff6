"""All that may happen in any problem of a task: its machine against an abstraction of prompt, memory and tools.

The abstraction allows too much, never too little, so what holds in it holds in each problem:

- A prompt is any string of the task's shape.
- A memory cell is a label: its token, and where in the shape or in the program it was said. Which label may stand next
  to which is gathered until nothing is added.
- A pointer is a set of labels, or spots before or behind the memory: a right one is always among them.
- In the coarse form it is kept which pointers stand on the same cell, since they began there and moved alike.
- The tape answers anything that may stand on it, at any time.
- A search finds any line that labels in a row allow and that contains its symbols. If it finds none or more than one,
  the program fails.

An answer for which the program fails is left out, for on a problem that it solves it does not fail.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

from tallystick.episode import ANS, BOS, EOS, MARKS
from tallystick.locality.extraction import SEARCH, TAPE, Action, Answer, Machine, Refusal, Step, own_task
from tallystick.locality.lines import Lines
from tallystick.locality.memory import ANY, Label, Memory, Spot, Spots
from tallystick.tasks import Task
from tallystick.tasks.shape import Shape

NODES, COARSE_NODES = 100_000, 400_000
"""Maximum number of nodes of a token graph before it is minimised."""


class TooMany(Refusal):
    """There are too many situations; a coarser abstraction may have fewer."""


class Situation(NamedTuple):
    """A question, and what is known of the tools then."""

    state: int
    """The machine's state."""
    pointers: tuple[Spots, ...]
    last: Label
    """The last cell of the memory."""
    together: tuple[int, ...]
    """For each pointer the first one that is known to stand on the same cell."""


@dataclass
class Edges:
    """A token graph: nodes are numbers, and node 0 stands before [BOS]."""

    limit: int
    """Maximum number of nodes."""
    nodes: int = 1
    begin: list[int] = field(default_factory=list)
    token: list[int] = field(default_factory=list)
    end: list[int] = field(default_factory=list)
    said: dict[int, int] = field(default_factory=dict)
    """The token that the program says next at a node, if it does."""

    def node(self) -> int:
        """Add a node."""
        self.nodes += 1
        if self.nodes > self.limit:
            raise TooMany(f"there are more than {self.limit:,} situations")
        return self.nodes - 1

    def edge(self, begin: int, token: int, end: int) -> None:
        """Add an edge."""
        self.begin.append(begin)
        self.token.append(token)
        self.end.append(end)


class Abstraction:
    """The token graph of all problems of a task's shape.

    coarse: tell the cells of the memory apart by their sites alone. marks: tokens that are counted, see `Memory`.
    """

    def __init__(
        self, machine: Machine, shape: Shape, coarse: bool = False, marks: Sequence[int] = (), nodes: int = NODES
    ):
        self.machine, self.shape, self._coarse, self._marks = machine, shape, coarse, marks
        task = machine.task
        self._ids, self._tokens = task.vocab.ids, task.vocab.tokens
        self._pointers = [tool for tool in _tools(task) if tool != TAPE]
        self._on_tape = _on_tape(task, shape)
        self._memory = Memory(marks)
        self._memory.first = frozenset(label for place in shape.first for _, label in self._labels(place))
        for place, following in enumerate(shape.following):
            for after in following:
                for (_, label), (_, next_label) in product(self._labels(place), self._labels(after)):
                    self._memory.add(label, next_label)
        self._memory.has_grown = True
        while self._memory.has_grown:
            self._memory.has_grown = False
            self.edges = Edges(nodes)
            self._nodes: dict[Situation, int] = {}
            self._waiting: deque[Situation] = deque()
            self._explore()

    @property
    def remembered(self) -> frozenset[int]:
        """Tokens that the program says and that are remembered."""
        said = (tokens for label, tokens in self._memory.tokens.items() if not isinstance(label.site, int))
        return frozenset().union(*said)

    def _label(self, token: int, site: Hashable, in_answer: bool) -> Label:
        known = not self._coarse or (token in self._marks and not isinstance(site, int))
        return self._memory.say(token, Label(token if known else ANY, site, in_answer))

    def _labels(self, place: int) -> list[tuple[int, Label]]:
        """Return the tokens that may stand at a place of the shape, with their labels."""
        tokens = [self._ids[symbol] for symbol in sorted(self.shape.symbols[place])]
        return [(token, self._label(token, place, False)) for token in tokens]

    def _explore(self) -> None:
        edges = self.edges
        bos = edges.node()
        edges.edge(0, BOS, bos)
        together = tuple(0 if self._coarse else n for n in range(len(self._pointers)))
        for node, token, label in self._prompts(bos):
            step = self.machine.start(self._tokens[token])
            for first in self.shape.first:
                if step is not None and label.site in self.shape.reach(first):
                    self._follow(node, step, (self._memory.start(first),) * len(together), label, together)
        while self._waiting:
            situation = self._waiting.popleft()
            for answer, heard, pointers in self._answers(situation):
                step = self.machine.step(situation.state, answer)
                if step is not None:
                    self._follow(self._hear(situation, heard), step, pointers, situation.last, situation.together)

    def _prompts(self, bos: int) -> list[tuple[int, int, Label]]:
        """Add the prompt's nodes; return those at which it may end, with the last token and label."""
        edges, shape = self.edges, self.shape
        nodes = [[(edges.node(), *found) for found in self._labels(place)] for place in range(len(shape.symbols))]
        for place, here in enumerate(nodes):
            for node, token, _ in here:
                if place in shape.first:
                    edges.edge(bos, token, node)
                for after in shape.following[place]:
                    for end, following, _ in nodes[after]:
                        edges.edge(node, following, end)
        return [found for place in sorted(shape.last) for found in nodes[place]]

    def _hear(self, situation: Situation, heard: Sequence[int]) -> int:
        """Add nodes for an answer; return the last one."""
        node = self._nodes[situation]
        for token in heard:
            before, node = node, self.edges.node()
            self.edges.edge(before, token, node)
        return node

    def _answers(self, situation: Situation) -> list[tuple[Answer, tuple[int, ...], tuple[Spots, ...]]]:
        """Return the answers that a tool may give, with their ids and with what is known of the pointers then."""
        tool, pointers = self.machine.states[situation.state].tool, situation.pointers
        if tool == SEARCH:
            return [*self._found(situation)]
        if tool == TAPE:
            return [(self._tokens[answer], (answer,), pointers) for answer in self._on_tape]
        which, by_token = self._pointers.index(tool), dict[int, set[Spot]]()
        here = [together == situation.together[which] for together in situation.together]
        for spot in pointers[which]:
            for token in self._memory.read(spot):
                by_token.setdefault(token, set()).add(spot)
        return [
            (
                self._tokens[token],
                (token,),
                tuple(frozenset(spots) if is_here else other for other, is_here in zip(pointers, here, strict=True)),
            )
            for token, spots in sorted(by_token.items())
        ]

    def _found(self, situation: Situation) -> Iterator[tuple[Answer, tuple[int, ...], tuple[Spots, ...]]]:
        """Yield the lines that a search may find, one of them at a time."""
        ids, searched = self._ids, self.machine.states[situation.state].searched
        lines = Lines(self._memory, [ids[symbol] for symbol in searched], ids["\n"], situation.last)
        for line in lines.all:
            answer = tuple(self._tokens[token] for token in line)
            yield answer, (ids["[obs]"], *line, ids["[/line]"], ids["[/obs]"]), situation.pointers

    def _follow(
        self, node: int, step: Step, pointers: tuple[Spots, ...], last: Label, together: tuple[int, ...]
    ) -> None:
        """Add nodes for what the program says, up to the next question."""
        edges, moved = self.edges, Counter[str]()
        for i, action in enumerate(step.actions):
            edges.said[node] = action.token
            pointers, last = self._act(action, pointers, last)
            moved[action.pointer] += action.step
            if i < len(step.actions) - 1 or step.to is None:
                following = edges.node()
            else:
                at = [(n, moved[name]) for n, name in zip(together, self._pointers, strict=True)]
                following = self._situation(Situation(step.to, pointers, last, tuple(map(at.index, at))))
            edges.edge(node, action.token, following)
            node = following

    def _act(self, action: Action, pointers: tuple[Spots, ...], last: Label) -> tuple[tuple[Spots, ...], Label]:
        if action.pointer:
            which = self._pointers.index(action.pointer)
            moved = self._memory.move(pointers[which], action.step, last)
            return (*pointers[:which], moved, *pointers[which + 1 :]), last
        if action.site is None:
            return pointers, last
        label = self._label(action.token, action.site, action.token == ANS or last.in_answer)
        self._memory.add(last, label)
        return tuple(self._memory.grow(spots, label) for spots in pointers), label

    def _situation(self, situation: Situation) -> int:
        node = self._nodes.get(situation)
        if node is None:
            node = self._nodes[situation] = self.edges.node()
            self._waiting.append(situation)
        return node


def _tools(task: Task) -> list[str]:
    """Return the pointers and the tape of a task."""
    ids = task.vocab.ids
    return [name for name in (*(f"p{i}" for i in range(10)), TAPE) if f"[{name}.read]" in ids]


def _on_tape(task: Task, shape: Shape) -> list[int]:
    """Return the ids of what may stand on the tape: what is written, the blank, the prompt if it stands there."""
    if TAPE not in _tools(task):
        return []
    own = own_task(task)
    symbols = {*writable(task), *([MARKS[EOS]] if not _is_default(own.tape_limit, Task.tape_limit) else [])}
    if _is_default(own.tape, Task.tape):
        symbols.update(*shape.symbols)
    return sorted(task.vocab.ids[symbol] for symbol in symbols)


def _is_default(method: Any, default: object) -> bool:
    """Return whether a task's method is this one of Task; an object may have one of its own."""
    return getattr(method, "__func__", None) is default


def writable(task: Task) -> set[str]:
    """Return the symbols that can be written on the tape, and the blank."""
    return {task.blank, *(token for token in task.vocab.tokens if f"[tape.write {token}]" in task.vocab.ids)}
