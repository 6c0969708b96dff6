"""Hidden state: what a program keeps in its locals where the last tokens do not tell it.

Problems that show it may be too rare for any sample: a symbol that is remembered until a rare one asks for it. So the
program's control states are recorded at each question to a tool, with the steps between them. Where two states can take
the same steps around a cycle, and say something different later, no number of last tokens tells them apart. The tools
may never answer so, hence this is a doubt, not a proof.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from itertools import chain, combinations, product
from textwrap import shorten
from types import FrameType
from typing import NamedTuple

import numpy as np

from tallystick.episode import Recorder
from tallystick.tasks import Task, runner
from tallystick.tasks.annotate.annotated_task import AnnotatedTask
from tallystick.tasks.annotate.control import Named, Opaque, Site
from tallystick.tasks.annotate.traces import MARK, Sites, State
from tallystick.vocab import loss_mask

QUESTIONS = (10_000, 100_000)
"""Questions after which no more problems of a length are recorded: at first, and where states then look rare."""
PROBLEMS = 300
"""Random problems of each length that are recorded at least: few problems leave states rare that are not."""
RARE, MANY_RARE = 8, 0.01
"""A state met in fewer problems is rare; with a larger share of rare ones there may be others that were not met."""
PAIRS = 300_000
"""Pairs of states after which a search is given up."""
SHOWN = 40
"""Characters shown of what a local holds."""

Pair = tuple[int, int]
"""Numbers of two states, the smaller one first."""


class Unfinished(Exception):
    """There are too many pairs of states to look at."""


class _Question(NamedTuple):
    """A question and its answer, as token ids."""

    asked: tuple[int, ...]
    answer: tuple[int, ...]


class _Step(NamedTuple):
    """What follows a state: all tokens from its question to the next one."""

    tokens: tuple[int, ...]
    to: int | None
    """Number of the state at the next question; None at the end."""


class Machine:
    """The control states of a program, and the steps between them, as far as they were met."""

    def __init__(self, task: Task):
        self.steps: defaultdict[int, dict[_Question, _Step]] = defaultdict(dict)
        """For each state what follows it, by the answer to its question."""
        self.problems: Counter[int] = Counter()
        """Number of problems in which each state was met."""
        self._sites, self._numbers = Sites(), dict[State, int]()
        self._asked: list[int] = []
        self._marked = AnnotatedTask(task, [MARK], self._ask, "")
        self._mark = self._marked.vocab.ids[MARK]

    def _ask(self, frame: FrameType) -> Sequence[str]:
        self._asked.append(self._numbers.setdefault(self._sites.state(frame), len(self._numbers)))
        return (MARK,)

    def record(self, prompt: list[str]) -> int:
        """Run one problem; returns the number of its questions."""
        self._asked.clear()
        recorder = Recorder()
        runner.run(self._marked, prompt, recorder)
        tokens, said = recorder.ids, loss_mask(recorder.roles, False)
        begins = np.flatnonzero(tokens == self._mark) + 1
        for state, begin, end, to in zip(
            self._asked, begins, [*begins[1:] - 1, len(tokens)], [*self._asked[1:], None], strict=True
        ):
            question = _question(tokens[begin:end], said[begin:end])
            self.steps[state][question] = _Step(tuple(tokens[begin:end].tolist()), to)
        self.problems.update(set(self._asked))
        return len(self._asked)

    def describe(self, *numbers: int) -> list[str]:
        """Tell these states apart by their places and locals, as `solve+3 with best='1'`."""
        states = list(self._numbers)
        found = [(self._sites.all[states[n][0]], states[n][1]) for n in numbers]
        held = [dict(zip(site.locals, values, strict=True)) for site, values in found]
        return [_describe(site, mine, held) for (site, _), mine in zip(found, held, strict=True)]


def _question(tokens: np.ndarray, said: np.ndarray) -> _Question:
    """The question at the beginning of a step, and its answer."""
    changes = [*(np.flatnonzero(said[1:] != said[:-1]) + 1).tolist(), len(said), len(said)]
    heard, answered = changes[:2]
    return _Question(tuple(tokens[:heard].tolist()), tuple(tokens[heard:answered].tolist()))


def _describe(site: Site, mine: dict[tuple[int, str], Hashable], held: list[dict[tuple[int, str], Hashable]]) -> str:
    """A site and its locals that hold values; only those that differ if the states compared do."""
    values = {key: value for key, value in mine.items() if not isinstance(value, Named | Opaque)}
    differing = {key: value for key, value in values.items() if any(other.get(key, value) != value for other in held)}
    words = [f"{name}={shorten(repr(value), SHOWN)}" for (_, name), value in (differing or values).items()]
    return f"{site.places[-1]} with {' '.join(words)}" if words else str(site.places[-1])


def doubt(task: Task, lengths: Sequence[int], problems: int, seed: int) -> str:
    """Say why a task that looks local may not be; empty if nothing was found.

    problems: random ones of each length, beside the worst cases; at least PROBLEMS.
    """
    if task.text:
        return "what the program of a text task keeps in its locals is not looked at"
    for questions in QUESTIONS:
        machines = _observe(task, lengths, max(problems, PROBLEMS), seed, questions)
        for machine in machines:
            try:
                pair = _lasting(machine)
            except Unfinished:
                return _rare(machine) or f"too many pairs of {len(machine.problems):,} states of the program to compare"
            if pair:
                one, other = machine.describe(*pair)
                return f"the program may go on alike for ever, at {one} or at {other}, and then say something different"
        reason = next(filter(None, map(_rare, machines)), "")
        if not reason:
            return ""
    return reason


def _rare(machine: Machine) -> str:
    """Say which states are rare, if they are many; else return an empty string."""
    rare = [state for state, problems in machine.problems.items() if problems < RARE]
    if len(rare) <= MANY_RARE * len(machine.problems):
        return ""
    (state,) = machine.describe(min(rare, key=lambda state: machine.problems[state]))
    return (
        f"{len(rare):,} of {len(machine.problems):,} states of the program, as {state}, occurred in fewer than "
        f"{RARE} problems: there may be others that did not occur"
    )


def _observe(task: Task, lengths: Sequence[int], problems: int, seed: int, most: int) -> list[Machine]:
    """Record worst cases and random problems of each length, for each part of a mixture by itself.

    most: questions of a length after which no more of its problems are recorded.
    """
    machines: dict[str, Machine] = {}
    for length in lengths:
        random = (task.problem("check", seed, length, i, up_to=True) for i in range(problems))
        questions = 0
        for prompt in chain(task.every_worst_case(length), random):
            part, own = task.part_of(prompt)
            if part.name not in machines:
                machines[part.name] = Machine(part)
            questions += machines[part.name].record(own)
            if questions >= most:
                break
    return list(machines.values())


def _lasting(machine: Machine) -> Pair | None:
    """Find two states that may take like steps around a cycle, for any time, and differ in what they say later.

    The search goes back, from pairs that differ at once to pairs that lead there by the same tokens. Raises Unfinished
    if there are too many.
    """
    back = _steps_back(machine)
    done: set[Pair] = set()
    for first in _differing(machine):
        path = [] if first in done else [(first, _leading_to(first, back))]
        on_path = {pair for pair, _ in path}
        while path:
            pair, leading = path[-1]
            following = next((pair for pair in leading if pair not in done), None)
            if following is None:
                path.pop()
                on_path.remove(pair)
                done.add(pair)
            elif following in on_path:
                return following
            else:
                path.append((following, _leading_to(following, back)))
                on_path.add(following)
        if len(done) > PAIRS:
            raise Unfinished
    return None


def _differing(machine: Machine) -> Iterator[Pair]:
    """Pairs of states that ask different questions, or say different things after the same answer."""
    asking: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    saying: defaultdict[_Question, defaultdict[tuple[int, ...], list[int]]] = defaultdict(lambda: defaultdict(list))
    for state, steps in machine.steps.items():
        asking[next(iter(steps)).asked].append(state)
        for question, step in steps.items():
            saying[question][step.tokens].append(state)
    for alike in (asking, *saying.values()):
        for some, others in combinations(alike.values(), 2):
            yield from (_pair(a, b) for a, b in product(some, others))


def _pair(a: int, b: int) -> Pair:
    return (a, b) if a < b else (b, a)


StepsBack = dict[int, defaultdict[tuple[int, ...], list[int]]]
"""For each state the states that lead to it, by the tokens of the step."""


def _steps_back(machine: Machine) -> StepsBack:
    back: StepsBack = {state: defaultdict(list) for state in machine.steps}
    for state, steps in machine.steps.items():
        for step in steps.values():
            if step.to is not None:
                back[step.to][step.tokens].append(state)
    return back


def _leading_to(pair: Pair, back: StepsBack) -> Iterator[Pair]:
    """Pairs of different states that come to this pair by the same tokens."""
    one, other = (back[state] for state in pair)
    for tokens in one.keys() & other.keys():
        yield from (_pair(a, b) for a, b in product(one[tokens], other[tokens]) if a != b)
