"""Mixtures of tasks: ``addition:0.33,multiplication-2:0.67`` (paper, section 4, figures 8 and 9)."""

from __future__ import annotations

import math
import random
from dataclasses import replace

from tallystick.episode import MARKS
from tallystick.tasks.base import Defaults, Task
from tallystick.tasks.numbers import short
from tallystick.vocab import Vocabulary

SHARED = "shared"
"""The last word of the name of a mixture whose parts share their commands."""
MOST_WEIGHT = 1e9
"""Largest weight of a part."""


def read(name: str) -> tuple[dict[str, float], bool]:
    """Parse "addition:1,turing:bb5:2,shared": return the parts' weights by name, and whether commands are shared.

    Raises ValueError for a part whose weight is out of range, and for one that is named twice.
    """
    texts = name.split(",")
    shared = texts[-1] == SHARED
    weights: dict[str, float] = {}
    for text in texts[:-1] if shared else texts:
        part, _, weight = text.rpartition(":")
        if not part or part in weights or not 0 < _number(weight) <= MOST_WEIGHT:
            wrong = "is there twice" if part in weights else f"is not name:weight, above 0 and up to {MOST_WEIGHT:g}"
            raise ValueError(f"{text!r} {wrong}; write a mixture as addition:0.33,multiplication-2:0.67")
        weights[part] = float(weight)
    return weights, shared


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


class Mixture(Task):
    """Problems of several tasks, drawn by weight (of any sum), each solved by its own task's program.

    A prompt begins and ends with its task's mark, such as [addition]. The marks are not remembered, so cell 0 is the
    symbol after the first mark. The mark at the end is close to the first command, whatever the length.

    Symbols that several parts have are one token, so what is learned about them in one part may serve in another. Each
    part has its own commands, such as [addition.p0.read], so a mixture of local and covered parts is local and covered.
    If commands are `shared`, as in the paper, equal commands are one token, and parts may continue differently in the
    same context. A variant names that of each part, as in local+paper.
    """

    marks = 1

    def __init__(self, parts: dict[str, Task], weights: list[float], shared: bool = False):
        if texts := [name for name, part in parts.items() if part.text]:
            raise ValueError(f"{texts[0]} is a text task, and mixtures are of symbolic ones")
        self.parts, self._weights = parts, weights
        variants = [[next(iter(part.variants)) for part in parts.values()], [part.variant for part in parts.values()]]
        self.variants = {"+".join(names): "solve" for names in variants}
        super().__init__(variant="+".join(variants[1]))
        self.options = ",".join(f"{name}:{weight}" for name, weight in zip(parts, weights, strict=True))
        self.tools = tuple(spec for part in parts.values() for spec in part.tools)
        self.min_length = max(part.min_length for part in parts.values())
        self.max_length = min(part.max_length for part in parts.values())
        self.defaults = self._defaults()
        self._vocab = self._unite(shared)

    def _defaults(self) -> Defaults:
        """Return the defaults of the heaviest part, without lengths that other parts do not have."""
        heaviest = max(zip(self._weights, self.parts.values(), strict=True), key=lambda pair: pair[0])[1].defaults
        lengths = {name: getattr(heaviest, name) for name in ("check", "eval")}
        possible = range(self.min_length, self.max_length + 1)
        return replace(heaviest, **{name: tuple(n for n in ns if n in possible) for name, ns in lengths.items()})

    def _unite(self, shared: bool) -> Vocabulary:
        """Build the common vocabulary, and for each part one with the same ids but plain names of its commands."""
        renamed = {name: {} if shared else _commands(name, part) for name, part in self.parts.items()}
        tokens = [f"[{name}]" for name in self.parts]
        for name, part in self.parts.items():
            tokens += [renamed[name].get(token, token) for token in part.vocab.tokens[len(MARKS) :]]
        self.symbols = tuple(dict.fromkeys(tokens))
        for name, part in self.parts.items():
            plain = {new: token for token, new in renamed[name].items()}
            part._vocab = Vocabulary(plain.get(token, token) for token in self.symbols)
        return Vocabulary(self.symbols)

    def part_of(self, prompt):
        """Return the task named by the marks, and the prompt between them."""
        return self.parts[prompt[0][1:-1]], prompt[1:-1]

    def sample(self, length, rng):
        """Draw a part by weight, and a problem of it with exactly `length`."""
        name = self._draw(rng)
        return marked(name, self.parts[name].sample(length, rng))

    def sample_up_to(self, length, rng):
        """Draw a part by weight, and a problem of it with at most `length`."""
        name = self._draw(rng)
        return marked(name, self.parts[name].sample_up_to(length, rng))

    def _draw(self, rng: random.Random) -> str:
        return rng.choices(list(self.parts), self._weights)[0]

    def worst_cases(self, length):
        """List the worst cases of all parts."""
        return [marked(name, prompt) for name, part in self.parts.items() for prompt in part.worst_cases(length)]

    @property
    def own_worst_cases(self) -> bool:
        """Whether all parts give worst cases of their own."""
        return all(part.own_worst_cases for part in self.parts.values())

    def every_worst_case(self, length):
        """List the own and generic worst cases of all parts."""
        return [marked(name, prompt) for name, part in self.parts.items() for prompt in part.every_worst_case(length)]

    def parse(self, text):
        """Parse a part's name and its problem, such as "addition 12+34"."""
        name, _, problem = text.partition(" ")
        if name not in self.parts:
            raise ValueError(f"{short(text)!r} does not begin with a part's name and a space: {', '.join(self.parts)}")
        return marked(name, self.parts[name].parse(problem))

    def format(self, tokens):
        """Format a problem as `parse` takes it; answers are formatted by their part."""
        part, problem = self.part_of(tokens)
        return f"{tokens[0][1:-1]} {part.format(problem)}"

    def answer(self, prompt):
        """Compute the part's answer."""
        part, own = self.part_of(prompt)
        return part.answer(own)

    def score(self, prompt, output, tools=None):
        """Return the part's score."""
        part, own = self.part_of(prompt)
        return part.score(own, output, tools)

    def partial_score(self, prompt, output, tools=None):
        """Score as the part does."""
        part, own = self.part_of(prompt)
        return part.partial_score(own, output, tools)

    def facts(self, prompt, output, tools=None):
        """Tell the part's facts."""
        part, own = self.part_of(prompt)
        return part.facts(own, output, tools)

    def token_limit(self, prompt):
        """Return the part's token limit."""
        part, own = self.part_of(list(prompt))
        return part.token_limit(own)


def marked(name: str, prompt: list[str]) -> list[str]:
    """Put a part's prompt between its marks."""
    return [f"[{name}]", *prompt, f"[{name}]"]


def _commands(name: str, part: Task) -> dict[str, str]:
    """Map a part's commands, and the marks around its tools' answers, to their names in the mixture."""
    tokens = dict.fromkeys(token for tool in part.built_tools for token in tool.tokens)
    words = {*part.symbols, part.blank}
    return {token: f"[{name}.{token[1:-1]}]" for token in tokens if token[0] == "[" and token not in words}
