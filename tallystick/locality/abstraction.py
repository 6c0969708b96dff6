"""All that may happen in any problem of a task, at once: its machine against an abstraction of prompt, memory and tools.

The abstraction allows too much, never too little, so what holds in it holds in each problem:

- A prompt is any string of the task's shape.
- A memory cell is a label: its token, and where in the shape or in the program it was said. Which label may stand next
  to which is gathered until nothing is added.
- A pointer is a set of labels, or places before or behind the memory: a right one is always among them.
- The tape answers anything that may stand on it, at any time.

An answer for which the program fails is left out, for on a problem that it solves it does not fail.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from tallystick.episode import ANS, BOS, EOS
from tallystick.locality.extraction import TAPE, Action, Machine, Refusal, Step
from tallystick.tasks import Task
from tallystick.tasks.shape import Shape

NODES = 400_000
"""Maximum number of nodes of a token graph before it is minimised."""


class Label(NamedTuple):
    """What is known of a memory cell."""

    token: int
    site: Hashable
    """Place in the prompt's shape, or in the program."""
    in_answer: bool
    """Whether it is [ANS] or was said after it."""


class Outside(NamedTuple):
    """A position outside of the memory."""

    token: int
    """What is read there: [BOS] or [EOS]."""
    near: bool
    """Whether it is next to the memory."""


Place = Label | Outside
Places = frozenset[Place]
"""Places at which a pointer may stand."""
BEFORE, FAR_BEFORE, BEHIND, FAR_BEHIND = Outside(BOS, True), Outside(BOS, False), Outside(EOS, True), Outside(EOS, False)


class Situation(NamedTuple):
    """A question, and what is known of the tools then."""

    state: int
    """The machine's state."""
    pointers: tuple[Places, ...]
    last: Label
    """The last cell of the memory."""


@dataclass
class Edges:
    """A token graph: nodes are numbers, and node 0 stands before [BOS]."""

    nodes: int = 1
    begin: list[int] = field(default_factory=list)
    token: list[int] = field(default_factory=list)
    end: list[int] = field(default_factory=list)
    said: dict[int, int] = field(default_factory=dict)
    """The token that the program says next at a node, if it does."""

    def node(self) -> int:
        """Add a node."""
        self.nodes += 1
        if self.nodes > NODES:
            raise Refusal(f"there are more than {NODES:,} situations")
        return self.nodes - 1

    def edge(self, begin: int, token: int, end: int) -> None:
        """Add an edge."""
        self.begin.append(begin)
        self.token.append(token)
        self.end.append(end)


class Memory:
    """Which labels may stand next to each other in the memory."""

    def __init__(self, first: Iterable[Label]):
        self.first = frozenset(first)
        self.after: dict[Label, set[Label]] = {}
        self.before: dict[Label, set[Label]] = {}
        self.has_grown = False
        self._moves: dict[tuple[Places, int, Label], Places] = {}

    def add(self, label: Label, following: Label) -> None:
        """Note that a label may follow another one."""
        known = self.after.setdefault(label, set())
        if following not in known:
            known.add(following)
            self.before.setdefault(following, set()).add(label)
            self.has_grown = True
            self._moves.clear()

    def move(self, places: Places, step: int, last: Label) -> Places:
        """Return the places to which a pointer may come by a step of -1 or 1."""
        key = places, step, last
        if key not in self._moves:
            moved = (self._right(place, last) if step > 0 else self._left(place, last) for place in places)
            self._moves[key] = frozenset().union(*moved)
        return self._moves[key]

    def _right(self, place: Place, last: Label) -> set[Place]:
        if isinstance(place, Outside):
            if place.token == EOS:
                return {FAR_BEHIND}
            return set(self.first) if place.near else {BEFORE, FAR_BEFORE}
        there = {label for label in self.after.get(place, ()) if last.in_answer or not label.in_answer}
        return {*there, BEHIND} if place == last else {*there}

    def _left(self, place: Place, last: Label) -> set[Place]:
        if isinstance(place, Outside):
            if place.token == BOS:
                return {FAR_BEFORE}
            return {last} if place.near else {BEHIND, FAR_BEHIND}
        return {*self.before.get(place, ()), *((BEFORE,) if place in self.first else ())}


def _grow(places: Places, label: Label) -> Places:
    """Return the places after the memory has grown by one cell."""
    if BEHIND not in places and FAR_BEHIND not in places:
        return places
    moved: set[Place] = {place for place in places if place not in (BEHIND, FAR_BEHIND)}
    moved |= {label} if BEHIND in places else set()
    return frozenset(moved | ({BEHIND, FAR_BEHIND} if FAR_BEHIND in places else set()))


class Abstraction:
    """The token graph of all problems of a task's shape."""

    def __init__(self, machine: Machine, shape: Shape):
        self.machine, self.shape = machine, shape
        task = machine.task
        self._ids, self._tokens = task.vocab.ids, task.vocab.tokens
        self._pointers = [tool for tool in _tools(task) if tool != TAPE]
        self._on_tape = _on_tape(task, shape)
        self._memory = Memory(label for place in shape.first for label in self._labels(place))
        for place, following in enumerate(shape.following):
            for label in self._labels(place):
                for after in following:
                    for next_label in self._labels(after):
                        self._memory.add(label, next_label)
        self._memory.has_grown = True
        while self._memory.has_grown:
            self._memory.has_grown = False
            self.edges = Edges()
            self._nodes: dict[Situation, int] = {}
            self._waiting: deque[Situation] = deque()
            self._explore()

    def _labels(self, place: int) -> list[Label]:
        return [Label(self._ids[symbol], place, False) for symbol in sorted(self.shape.symbols[place])]

    def _explore(self) -> None:
        edges = self.edges
        bos = edges.node()
        edges.edge(0, BOS, bos)
        for node, label in self._prompts(bos):
            step = self.machine.start(self._tokens[label.token])
            if step is not None:
                self._follow(node, step, (self._memory.first,) * len(self._pointers), label)
        while self._waiting:
            situation = self._waiting.popleft()
            for answer, pointers in self._answers(situation):
                step = self.machine.step(situation.state, self._tokens[answer])
                if step is not None:
                    heard = edges.node()
                    edges.edge(self._nodes[situation], answer, heard)
                    self._follow(heard, step, pointers, situation.last)

    def _prompts(self, bos: int) -> list[tuple[int, Label]]:
        """Add the prompt's nodes; return those at which it may end, with the last label."""
        edges, shape = self.edges, self.shape
        nodes = {label: edges.node() for place in range(len(shape.symbols)) for label in self._labels(place)}
        for label, node in nodes.items():
            place = label.site
            assert isinstance(place, int)
            if place in shape.first:
                edges.edge(bos, label.token, node)
            for after in shape.following[place]:
                for following in self._labels(after):
                    edges.edge(node, following.token, nodes[following])
        return [(node, label) for label, node in nodes.items() if label.site in shape.last]

    def _answers(self, situation: Situation) -> list[tuple[int, tuple[Places, ...]]]:
        """Return the answers that a tool may give, as ids, with what is known of the pointers then."""
        tool, pointers = self.machine.states[situation.state].tool, situation.pointers
        if tool == TAPE:
            return [(answer, pointers) for answer in self._on_tape]
        which = self._pointers.index(tool)
        by_token: dict[int, set[Place]] = {}
        for place in pointers[which]:
            by_token.setdefault(place.token, set()).add(place)
        return [
            (token, (*pointers[:which], frozenset(places), *pointers[which + 1 :]))
            for token, places in sorted(by_token.items())
        ]

    def _follow(self, node: int, step: Step, pointers: tuple[Places, ...], last: Label) -> None:
        """Add nodes for what the program says, up to the next question."""
        edges = self.edges
        for i, action in enumerate(step.actions):
            edges.said[node] = action.token
            pointers, last = self._act(action, pointers, last)
            if i < len(step.actions) - 1 or step.to is None:
                following = edges.node()
            else:
                following = self._situation(Situation(step.to, pointers, last))
            edges.edge(node, action.token, following)
            node = following

    def _act(self, action: Action, pointers: tuple[Places, ...], last: Label) -> tuple[tuple[Places, ...], Label]:
        if action.pointer:
            which = self._pointers.index(action.pointer)
            moved = self._memory.move(pointers[which], action.step, last)
            return (*pointers[:which], moved, *pointers[which + 1 :]), last
        if action.site is None:
            return pointers, last
        label = Label(action.token, action.site, action.token == ANS or last.in_answer)
        self._memory.add(last, label)
        return tuple(_grow(places, label) for places in pointers), label

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
    """Return the ids of what may stand on the tape: what is written, the blank, and the prompt's symbols."""
    if TAPE not in _tools(task):
        return []
    written = [token for token in task.vocab.tokens if f"[tape.write {token}]" in task.vocab.ids]
    symbols = {*written, task.blank, *frozenset().union(*shape.symbols), "[EOS]"}
    return sorted(task.vocab.ids[symbol] for symbol in symbols)
