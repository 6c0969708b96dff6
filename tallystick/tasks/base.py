"""The task interface: problems with a length, their answers, and a program that solves them through tools."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tallystick import tools as toolbox
from tallystick.problem import distinct, symbols_of
from tallystick.tasks import worst_cases
from tallystick.tasks.guard import task_code
from tallystick.vocab import Vocabulary
from tallystick.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """Lengths, model and settings that the commands use by default."""

    train_length: int = 10
    """Maximum length of training problems."""
    steps: int = 2000
    """Maximum number of optimizer steps; training stops earlier once the held-out problems are exact with a margin."""
    model: str = "mamba2:tiny"
    """Name and preset of the model to train."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings of that model and its training that the task needs; a user's key=value overrides them."""
    memory: Mapping[str, str] = field(default_factory=dict)
    """Settings of every model that has them, such as initial step sizes, which say how long a model remembers."""
    check: tuple[int, ...] = (3, 5, 10, 20, 50)
    """Lengths of `check`'s rows."""
    eval: tuple[int, ...] = (5, 10, 20, 100, 1000)
    """Lengths of `eval`'s rows."""


class Task:
    """A family of problems with a `length`, a ground truth, and a program that solves them through tools.

    A problem is a list of symbols, the prompt. A subclass defines `symbols`, `tools`, `sample`, `answer` and `solve`.
    """

    symbols: Sequence[str] = ()
    """Token strings in addition to the tools'; a string stands for its characters."""
    notes: Collection[str] = ()
    """Symbols that are notes without note marks: said, but not remembered."""
    shape = ""
    """Shape of the prompts, for proofs: a regular expression over symbols, as "[01]+>"; see `tasks.shape`. By default
    any string of the task's symbols."""
    tools: tuple[str, ...] = ("pointer:1",)
    """Tools with their options, such as "pointer:3"."""
    variants: dict[str, str] = {"default": "solve"}
    """Method of each program, by variant; the first is the default."""
    predicted: tuple[str, ...] = ()
    """Variants, as an ablation, whose model must also predict the tools' answers, and so works without tools."""
    defaults = Defaults()
    """Lengths, model and settings that the commands use by default."""
    min_length = 1
    """Length of the shortest problem."""
    max_length = 10_000_000
    """Length of the longest problem that the commands accept."""
    takes_options = False
    """Whether the name may have options after a colon, as in turing:bb5; they are then in `self.options`."""
    blank = "[_]"
    """The symbol of unwritten cells of the tape."""
    text = False
    """Whether problems are texts with files, as those of a TextTask."""
    live = True
    """Whether its tools can be run, as those of recorded trajectories cannot."""
    known_split = "holdout"
    """Split of the problems that `check` takes for known ones."""
    functions: Collection[str] = (toolbox.BASH,)
    """Names that ``[call]`` takes in a text task."""
    answers_by_token = True
    """Whether only `answer(prompt)` is right, token for token; False if `score` also accepts other outputs."""
    parts: Mapping[str, Task] = {}
    """The parts of a mixture, by name."""
    marks = 0
    """Number of tokens at each end of a prompt that are not remembered: 1 in a mixture, for its parts' marks."""

    _built_tools: list[toolbox.Tool | toolbox.StatefulTool] | None = None
    _vocab: Vocabulary | None = None
    compiled: Any = None
    """Its program as a machine, for `locality.programs`."""

    def __init__(self, options: str = "", variant: str | None = None):
        if options and not self.takes_options:
            raise ValueError(f"{type(self).__name__.lower()} takes no options, but was given {options!r}")
        self.options = options
        """Options: the text after the colon in the name."""
        self.variant = variant or next(iter(self.variants))
        if self.variant not in self.variants:
            raise ValueError(f"unknown variant {self.variant!r}; there are: {', '.join(self.variants)}")
        self.name = type(self).__name__.lower()
        """Name by which the task was loaded."""
        self.home = type(self)
        """Class whose source a run folder keeps."""

    # -- to be defined by every task

    def sample(self, length: int, rng: random.Random) -> list[str]:
        """Draw a random prompt of complexity exactly `length`."""
        raise NotImplementedError

    def answer(self, prompt: list[str]) -> Sequence[str]:
        """Compute the ground truth, a sequence of symbols, independently of the program."""
        raise NotImplementedError

    def solve(self, w: Workspace) -> None:
        """Solve the problem through the workspace `w`: the program."""
        raise NotImplementedError

    # -- may be overridden by a task

    def sample_up_to(self, length: int, rng: random.Random) -> list[str]:
        """Draw a random prompt of complexity at most `length`, as for training and `check`."""
        return self.sample(rng.randint(self.min_length, length), rng)

    def worst_cases(self, length: int) -> list[list[str]]:
        """List worst cases of complexity `length`; by default generic ones, made from `sample`."""
        return self._generic_worst_cases(length)

    def solve_direct(self, w: Workspace) -> None:
        """Answer directly from the state at the end of the prompt: the program of variants without a tool."""
        w.answer()
        w.output(*self.answer(w.prompt))

    def parse(self, text: str) -> list[str]:
        """Parse a prompt as a user types it, one character per token. Raises ValueError for an unknown symbol."""
        foreign = [symbol for symbol in text if symbol not in self.symbols]
        if foreign or not text:
            raise ValueError(f"{foreign[0] if foreign else text!r} is not a symbol; use {' '.join(self.symbols)}")
        return list(text)

    def spell(self, text: str) -> list[str]:
        """Return the symbols of a text; by default its characters."""
        return list(text)

    def format(self, tokens: list[str]) -> str:
        """Format a prompt or an answer as text, one character per token."""
        return "".join(tokens)

    def score(self, prompt: list[str], output: list[str], tools: Mapping[str, Any] | None = None) -> float:
        """Score an output: 1 if it is right, else 0. tools: what the tools keep, by name, as the shell's files."""
        return float(output == self.truth(prompt))

    def partial_score(self, prompt: list[str], output: list[str], tools: Mapping[str, Any] | None = None) -> float:
        """Score how much of the output is right, 0 to 1; by default all or nothing."""
        return self.score(prompt, output, tools)

    def facts(self, prompt: list[str], output: list[str], tools: Mapping[str, Any] | None = None) -> Mapping[str, bool]:
        """Tell further facts of what an episode leaves, by name; `eval` counts how often each is true."""
        return {}

    def tape(self, prompt: list[str]) -> tuple[list[str], int]:
        """Return the initial tape: its symbols, and the cell under the head."""
        return prompt, 0

    def tape_limit(self, prompt: list[str]) -> int | None:
        """Return the number of writes after which the tape is closed and reads [EOS]; None for no limit."""
        return None

    def token_limit(self, prompt: Sequence[str]) -> int:
        """Return the number of tokens after which a program is considered endless."""
        return 1_000_000 + 10_000 * len(prompt)

    # -- used by the rest of the package

    def problem(self, split: str, seed: int, length: int, index: int, *, up_to: bool = False) -> list[str]:
        """Draw problem `index`: a pure function of (task, variant, options, split, seed, length, index), by SHA-256.

        split: "train", "holdout", "check" or "test"; up_to: of complexity at most `length`. Raises ProgramError for a
        `sample` that fails, does not end, or returns no list of symbols.
        """
        key = repr((type(self).__name__, self.variant, self.options, split, seed, length, index))
        rng = random.Random(int.from_bytes(hashlib.sha256(key.encode()).digest()))
        with task_code(self, f"drawing {split} problem {index} of length {length}, seed {seed}"):
            return symbols_of("sample", self.sample_up_to(length, rng) if up_to else self.sample(length, rng))

    def indices(self, split: str, length: int, wanted: int, *, up_to: bool = False) -> range:
        """Return the indices of `wanted` problems of a split, or of as many as there are, if there are not so many."""
        return range(wanted)

    def worst_problems(self, length: int) -> list[list[str]]:
        """List the worst cases of complexity `length`, which have a row of their own in `eval`."""
        with task_code(self, f"worst cases of length {length}"):
            return _prompts(self.worst_cases(length))

    def every_worst_case(self, length: int) -> list[list[str]]:
        """List the task's own and the generic worst cases, which are always in `check` and held out in training."""
        generic = self._generic_worst_cases(length) if self.own_worst_cases else []
        return _prompts([*self.worst_problems(length), *generic])

    @property
    def is_built_in(self) -> bool:
        """Whether tallystick has it and all its parts: no user's file."""
        return all(part.home.__module__.startswith("tallystick.") for part in self.parts.values() or [self])

    @property
    def own_worst_cases(self) -> bool:
        """Whether the task gives worst cases of its own."""
        return type(self).worst_cases is not Task.worst_cases

    def truth(self, prompt: list[str]) -> list[str]:
        """Return the answer as a list of symbols. Raises ProgramError if `answer` fails or returns anything else."""
        with task_code(self, "answering a problem"):
            return symbols_of("answer", self.answer(prompt))

    @property
    def program(self) -> Callable[[Any], None]:
        """The variant's program."""
        return getattr(self, self.variants[self.variant])

    @property
    def predict_observations(self) -> bool:
        """Whether the model must also predict the tools' answers."""
        return self.variant in self.predicted

    @property
    def built_tools(self) -> list[toolbox.Tool | toolbox.StatefulTool]:
        """The tools that all its episodes share."""
        if self._built_tools is None:
            self._built_tools = [toolbox.build(spec, self) for spec in self.tools]
        return self._built_tools

    @property
    def vocab(self) -> Vocabulary:
        """The vocabulary: marks, the tools' tokens and the symbols; a symbol that a tool also has is one token."""
        if self._vocab is None:
            of_tools = dict.fromkeys(token for tool in self.built_tools for token in tool.tokens)
            self._vocab = Vocabulary([*of_tools, *(symbol for symbol in self.symbols if symbol not in of_tools)])
        return self._vocab

    def part_of(self, prompt: list[str]) -> tuple[Task, list[str]]:
        """Return the task that solves this prompt, and its prompt: in a mixture, a part and what the marks enclose."""
        return self, prompt

    def check_length(self, length: int) -> int:
        """Return the length if the task has problems of it. Raises ValueError naming the possible lengths if not."""
        if not self.min_length <= length <= self.max_length:
            raise ValueError(f"length {length}: {self.name} has lengths {self.min_length} to {self.max_length:,}")
        return length

    def _generic_worst_cases(self, length: int) -> list[list[str]]:
        with task_code(self, f"drawing generic worst cases of length {length}"):
            return _prompts(worst_cases.generic(self.sample, length))


def _prompts(value: Iterable[object]) -> list[list[str]]:
    """Return the prompts without duplicates. Raises TypeError if this is not a list of prompts."""
    if value is None or isinstance(value, str):
        raise TypeError(f"worst_cases must return a list of prompts, not {value!r}")
    return distinct(symbols_of("worst_cases", prompt) for prompt in value)
