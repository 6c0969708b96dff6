"""What a task is: problems with a length, their answers, and a program that solves them through tools."""

from __future__ import annotations

import hashlib
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tallystick import tools as toolbox
from tallystick.tasks import worst_cases
from tallystick.tasks.guard import task_code
from tallystick.vocab import Vocabulary
from tallystick.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """What the commands use unless told otherwise."""

    train_length: int = 10
    """Training problems have at most this length."""
    steps: int = 2000
    """The budget of training; it stops earlier once the held-out problems are exact with a margin."""
    model: str = "mamba2:tiny"
    """The model trained."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """What that model and its training need to be set to; a user's own key=value come last. Not for other models."""
    check: tuple[int, ...] = (3, 5, 10, 20, 50)
    """Rows of `check`."""
    eval: tuple[int, ...] = (5, 10, 20, 100, 1000)
    """Rows of `eval`."""


class Task(ABC):
    """A family of problems with a `length`, a ground truth, and a program that solves them through tools.

    A problem is a list of symbols, the prompt. `symbols`, `tools`, `sample`, `answer` and a program are required.
    """

    symbols: Sequence[str] = ()
    """Token strings beyond the tools' own; a string means its characters."""
    notes: Collection[str] = ()
    """Those of the symbols that are notes by themselves: said, but not remembered."""
    tools: tuple[str, ...] = ("pointer:1",)
    """Tools with their options, as "pointer:3"."""
    variants: dict[str, str] = {"default": "solve"}
    """Named programs: variant -> method; the first is the default."""
    predicted: tuple[str, ...] = ()
    """Those of the variants whose model must predict the tools' answers, too: an ablation, for it then has no tool."""
    defaults = Defaults()
    """What the commands use unless told otherwise."""
    min_length = 1
    """The shortest problem."""
    max_length = 10_000_000
    """The longest problem that the commands take."""
    takes_options = False
    """Whether options may stand after a colon in its name, as turing:bb5; they are then in `self.options`."""
    blank = "[_]"
    """What an unwritten cell of the tape reads."""
    parts: Mapping[str, Task] = {}
    """Of a mixture: the tasks that it mixes, by name."""
    marks = 0
    """How many tokens at each end of a prompt are not remembered: 1 in a mixture, whose task marks they are."""
    _built_tools: list[toolbox.Tool] | None = None
    _vocab: Vocabulary | None = None
    answers_by_token = True
    """Whether the answer is `answer(prompt)`, token for token; False where `score` decides otherwise."""

    def __init__(self, options: str = "", variant: str | None = None):
        if options and not self.takes_options:
            raise ValueError(f"{type(self).__name__.lower()} takes no options, but was given {options!r}")
        self.options = options
        """What stands after the colon of its name."""
        self.variant = variant or next(iter(self.variants))
        if self.variant not in self.variants:
            raise ValueError(f"unknown variant {self.variant!r}; there are: {', '.join(self.variants)}")
        self.name = type(self).__name__.lower()
        """How the task was called; `load` sets it to the name it was loaded by."""
        self.home = type(self)
        """The class whose file a run keeps."""

    @abstractmethod
    def sample(self, length: int, rng: random.Random) -> list[str]:
        """A random prompt of complexity exactly `length`."""

    @abstractmethod
    def answer(self, prompt: list[str]) -> list[str]:
        """The ground truth, independent of the program."""

    def solve(self, w: Workspace) -> None:
        """The program: solves the problem that it sees through `w` alone."""
        raise NotImplementedError

    def solve_direct(self, w: Workspace) -> None:
        """For a variant without a tool: the answer at once, from what the state holds at the end of the prompt."""
        w.answer()
        w.output(*self.answer(w.prompt))

    def sample_up_to(self, length: int, rng: random.Random) -> list[str]:
        """A random prompt of complexity at most `length`: the distribution of training and `check`."""
        return self.sample(rng.randint(self.min_length, length), rng)

    def worst_cases(self, length: int) -> list[list[str]]:
        """Worst cases of complexity `length`, a row of their own in `eval`; by default generic ones."""
        return self._generic_worst_cases(length)

    @property
    def own_worst_cases(self) -> bool:
        """Whether the task names worst cases itself."""
        return type(self).worst_cases is not Task.worst_cases

    def every_worst_case(self, length: int) -> list[list[str]]:
        """The task's own worst cases and the generic ones: always among the problems of `check` and held out."""
        generic = self._generic_worst_cases(length) if self.own_worst_cases else []
        return [list(prompt) for prompt in dict.fromkeys(map(tuple, [*self.worst_cases(length), *generic]))]

    def _generic_worst_cases(self, length: int) -> list[list[str]]:
        with task_code(self, f"drawing generic worst cases of length {length}"):
            return [_prompt(prompt) for prompt in worst_cases.generic(self.sample, length)]

    def parse(self, text: str) -> list[str]:
        """A prompt from what a user typed, one character a token. Raises ValueError for a foreign symbol."""
        foreign = [symbol for symbol in text if symbol not in self.symbols]
        if foreign or not text:
            raise ValueError(f"{foreign[0] if foreign else text!r} is not a symbol: {' '.join(self.symbols)}")
        return list(text)

    def format(self, tokens: list[str]) -> str:
        """An answer as text, one character a token."""
        return "".join(tokens)

    def score(self, prompt: list[str], output: list[str], tools: object = None) -> float:
        """1 if the output is right, else 0."""
        return float(output == self.answer(prompt))

    def partial_score(self, prompt: list[str], output: list[str]) -> float:
        """How much of the output is right, 0 to 1; a task that knows no halves gives its `score`."""
        return self.score(prompt, output)

    def part_of(self, prompt: list[str]) -> tuple[Task, list[str]]:
        """The task that solves this prompt, and what it sees of it: this one and all, but for a mixture."""
        return self, prompt

    def tape(self, prompt: list[str]) -> tuple[list[str], int]:
        """What stands on the tape, and the cell that the head is on."""
        return prompt, 0

    def tape_limit(self, prompt: list[str]) -> int | None:
        """After so many writes the tape is closed and reads [EOS]; None: never."""
        return None

    def token_limit(self, prompt: Sequence[str]) -> int:
        """A program that says more tokens than this is taken for endless."""
        return 1_000_000 + 10_000 * len(prompt)

    def check_length(self, length: int) -> int:
        """The length itself. Raises ValueError if the task has no problem so short or so long."""
        if not self.min_length <= length <= self.max_length:
            raise ValueError(f"length {length}: {self.name} has lengths {self.min_length} to {self.max_length:,}")
        return length

    @property
    def program(self) -> Callable[[Any], None]:
        """The program of the variant."""
        return getattr(self, self.variants[self.variant])

    @property
    def predict_observations(self) -> bool:
        """Whether what the tools answer is the model's to say."""
        return self.variant in self.predicted

    @property
    def built_tools(self) -> list[toolbox.Tool]:
        """The tools that all its episodes share."""
        if self._built_tools is None:
            self._built_tools = [toolbox.build(spec, self) for spec in self.tools]
        return self._built_tools

    @property
    def vocab(self) -> Vocabulary:
        """The vocabulary: marks, tools' tokens, symbols; a symbol that a tool has too is one token."""
        if self._vocab is None:
            of_tools = dict.fromkeys(token for tool in self.built_tools for token in tool.tokens)
            self._vocab = Vocabulary([*of_tools, *(symbol for symbol in self.symbols if symbol not in of_tools)])
        return self._vocab

    def problem(self, split: str, seed: int, length: int, index: int, *, up_to: bool = False) -> list[str]:
        """Draw problem `index`: a pure function of (task, variant, options, split, seed, length, index), by SHA-256.

        split: "train", "holdout", "check" or "test"; up_to: of complexity at most `length`. Raises ProgramError for a
        `sample` that fails, does not end, or returns no list of symbols.
        """
        key = repr((type(self).__name__, self.variant, self.options, split, seed, length, index))
        rng = random.Random(int.from_bytes(hashlib.sha256(key.encode()).digest()))
        with task_code(self, f"drawing {split} problem {index} of length {length}, seed {seed}"):
            return _prompt(self.sample_up_to(length, rng) if up_to else self.sample(length, rng))


def _prompt(drawn: object) -> list[str]:
    """What `sample` returned. Raises TypeError if it is no list of symbols."""
    if not isinstance(drawn, list) or not all(isinstance(symbol, str) for symbol in drawn):
        raise TypeError(f"sample must return a list of symbols, not {_short(drawn)}")
    return drawn


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
