"""The task contract: problems with a length, their answers, and a program that solves them through tools."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tallystick import tools as toolbox
from tallystick.problem import prompt_digest, symbols_of
from tallystick.tasks import worst_cases
from tallystick.tasks.guard import task_code
from tallystick.vocab import Vocabulary
from tallystick.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """Lengths, model and settings that the commands use unless told otherwise."""

    train_length: int = 10
    """Training problems have at most this length."""
    steps: int = 2000
    """Maximum number of optimizer steps; training stops earlier once the held-out problems are exact with a margin."""
    model: str = "mamba2:tiny"
    """The model to train."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings of that model and its training that this task needs; a user's key=value override them."""
    check: tuple[int, ...] = (3, 5, 10, 20, 50)
    """Lengths of `check`'s rows."""
    eval: tuple[int, ...] = (5, 10, 20, 100, 1000)
    """Lengths of `eval`'s rows."""


class Task:
    """A family of problems with a `length`, a ground truth, and a program that solves them through tools.

    A problem is a list of symbols, the prompt. A subclass writes `symbols`, `tools`, `sample`, `answer` and `solve`.
    """

    symbols: Sequence[str] = ()
    """Token strings beyond the tools' own; a string means its characters."""
    notes: Collection[str] = ()
    """Symbols that are notes by themselves: said, but not remembered."""
    tools: tuple[str, ...] = ("pointer:1",)
    """Tools with their options, as "pointer:3"."""
    variants: dict[str, str] = {"default": "solve"}
    """Named programs: variant -> method; the first is the default."""
    predicted: tuple[str, ...] = ()
    """Variants whose model must predict the tools' answers as well: an ablation, for it then has no tool."""
    defaults = Defaults()
    """Lengths, model and settings that the commands use unless told otherwise."""
    min_length = 1
    """The shortest problem."""
    max_length = 10_000_000
    """The longest problem that the commands take."""
    takes_options = False
    """Whether options may stand after a colon in the name, as turing:bb5; they are then in `self.options`."""
    blank = "[_]"
    """The symbol that an unwritten cell of the tape reads."""
    answers_by_token = True
    """Whether the answer is `answer(prompt)`, token for token; False where `score` decides otherwise."""
    parts: Mapping[str, Task] = {}
    """The tasks that a mixture mixes, by name."""
    marks = 0
    """Tokens at each end of a prompt that are not remembered: 1 in a mixture, whose task marks they are."""

    _built_tools: list[toolbox.Tool | toolbox.StatefulTool] | None = None
    _vocab: Vocabulary | None = None

    def __init__(self, options: str = "", variant: str | None = None):
        if options and not self.takes_options:
            raise ValueError(f"{type(self).__name__.lower()} takes no options, but was given {options!r}")
        self.options = options
        """The text after the colon of the name."""
        self.variant = variant or next(iter(self.variants))
        if self.variant not in self.variants:
            raise ValueError(f"unknown variant {self.variant!r}; there are: {', '.join(self.variants)}")
        self.name = type(self).__name__.lower()
        """The name that the task was loaded by."""
        self.home = type(self)
        """The class whose source a run folder keeps."""

    # -- what a task writes

    def sample(self, length: int, rng: random.Random) -> list[str]:
        """Draw a random prompt of complexity exactly `length`."""
        raise NotImplementedError

    def answer(self, prompt: list[str]) -> Sequence[str]:
        """Compute the ground truth, independent of the program: a sequence of symbols."""
        raise NotImplementedError

    def solve(self, w: Workspace) -> None:
        """Solve the problem that is seen through `w` alone: the program."""
        raise NotImplementedError

    # -- what a task may override

    def sample_up_to(self, length: int, rng: random.Random) -> list[str]:
        """Draw a random prompt of complexity at most `length`: the distribution of training and `check`."""
        return self.sample(rng.randint(self.min_length, length), rng)

    def worst_cases(self, length: int) -> list[list[str]]:
        """List worst cases of complexity `length`; by default generic ones, made by `sample`."""
        return self._generic_worst_cases(length)

    def solve_direct(self, w: Workspace) -> None:
        """Answer at once, from what the state holds at the end of the prompt: for a variant without a tool."""
        w.answer()
        w.output(*self.answer(w.prompt))

    def parse(self, text: str) -> list[str]:
        """Read a prompt as a user types it, one character a token. Raises ValueError for a foreign symbol."""
        foreign = [symbol for symbol in text if symbol not in self.symbols]
        if foreign or not text:
            raise ValueError(f"{foreign[0] if foreign else text!r} is not a symbol: {' '.join(self.symbols)}")
        return list(text)

    def spell(self, text: str) -> list[str]:
        """Return the symbols of a text; by default its characters."""
        return list(text)

    def format(self, tokens: list[str]) -> str:
        """Write a prompt or an answer as text, one character a token."""
        return "".join(tokens)

    def score(self, prompt: list[str], output: list[str], tools: Mapping[str, Any] | None = None) -> float:
        """Score an output: 1 if it is right, else 0. tools: what the tools keep, by name, as the shell's files."""
        return float(output == self.truth(prompt))

    def partial_score(self, prompt: list[str], output: list[str], tools: Mapping[str, Any] | None = None) -> float:
        """Score how much of the output is right, 0 to 1; by default all or nothing."""
        return self.score(prompt, output, tools)

    def tape(self, prompt: list[str]) -> tuple[list[str], int]:
        """Lay out the tape at the start: its symbols, and the cell that the head is on."""
        return prompt, 0

    def tape_limit(self, prompt: list[str]) -> int | None:
        """Number of writes after which the tape is closed and reads [EOS]; None: never."""
        return None

    def token_limit(self, prompt: Sequence[str]) -> int:
        """Number of tokens after which a program is taken for endless."""
        return 1_000_000 + 10_000 * len(prompt)

    # -- what the rest of the package calls

    def problem(self, split: str, seed: int, length: int, index: int, *, up_to: bool = False) -> list[str]:
        """Draw problem `index`: a pure function of (task, variant, options, split, seed, length, index), by SHA-256.

        split: "train", "holdout", "check" or "test"; up_to: of complexity at most `length`. Raises ProgramError for a
        `sample` that fails, does not end, or returns no list of symbols.
        """
        key = repr((type(self).__name__, self.variant, self.options, split, seed, length, index))
        rng = random.Random(int.from_bytes(hashlib.sha256(key.encode()).digest()))
        with task_code(self, f"drawing {split} problem {index} of length {length}, seed {seed}"):
            return symbols_of("sample", self.sample_up_to(length, rng) if up_to else self.sample(length, rng))

    def worst_problems(self, length: int) -> list[list[str]]:
        """List the worst cases of complexity `length`, a row of their own in `eval`."""
        with task_code(self, f"worst cases of length {length}"):
            return _prompts(self.worst_cases(length))

    def every_worst_case(self, length: int) -> list[list[str]]:
        """List the task's own worst cases and the generic ones: they are always in `check` and held out in training."""
        generic = self._generic_worst_cases(length) if self.own_worst_cases else []
        return _prompts([*self.worst_problems(length), *generic])

    @property
    def own_worst_cases(self) -> bool:
        """Whether the task names worst cases itself."""
        return type(self).worst_cases is not Task.worst_cases

    def truth(self, prompt: list[str]) -> list[str]:
        """Compute the answer as a list of symbols. Raises ProgramError for an `answer` that fails or returns none."""
        with task_code(self, "answering a problem"):
            return symbols_of("answer", self.answer(prompt))

    @property
    def program(self) -> Callable[[Any], None]:
        """The program of the variant."""
        return getattr(self, self.variants[self.variant])

    @property
    def predict_observations(self) -> bool:
        """Whether the model must predict the tools' answers as well."""
        return self.variant in self.predicted

    @property
    def built_tools(self) -> list[toolbox.Tool | toolbox.StatefulTool]:
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

    def part_of(self, prompt: list[str]) -> tuple[Task, list[str]]:
        """Find the task that solves this prompt, and what it sees of it: itself and all, except in a mixture."""
        return self, prompt

    def check_length(self, length: int) -> int:
        """Require that the task has problems of this length. Raises ValueError naming the lengths that it has."""
        if not self.min_length <= length <= self.max_length:
            raise ValueError(f"length {length}: {self.name} has lengths {self.min_length} to {self.max_length:,}")
        return length

    def _generic_worst_cases(self, length: int) -> list[list[str]]:
        with task_code(self, f"drawing generic worst cases of length {length}"):
            return _prompts(worst_cases.generic(self.sample, length))


def _prompts(value: Iterable[object]) -> list[list[str]]:
    """Require a list of prompts, and drop those that stand there twice."""
    if value is None or isinstance(value, str):
        raise TypeError(f"worst_cases must return a list of prompts, not {value!r}")
    unique: dict[str, list[str]] = {}
    for prompt in value:
        unique.setdefault(prompt_digest(symbols_of("worst_cases", prompt)), symbols_of("worst_cases", prompt))
    return list(unique.values())
