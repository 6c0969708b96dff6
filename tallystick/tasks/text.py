"""Text tasks: problems are texts with files, and programs work on them through a shell."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import cached_property
from typing import Any

from tallystick.problem import Problem
from tallystick.tasks.base import Task
from tallystick.text import tokenizers
from tallystick.tools.shell import Ran
from tallystick.tools.shell.tool import ShellState

SEEN = 64
"""Problems whose texts give a task's pieces."""


class TextTask(Task):
    """A family of problems that are texts with files, and a program (the teacher) that works on the files by a shell.

    A subclass writes `sample`, which returns ``Problem(text, files)``; `solve`, which uses ``w.say(text)`` and
    ``w.bash(command)``; and `score`, which judges the files that are left. The symbols are the tokenizer's pieces.
    """

    text = True
    tools = ("shell",)
    tokenizer = "pieces"
    """How text becomes tokens: a name that `tokenizers.choose` takes."""
    default_prompt = ""
    """What a model is asked to do in a folder of the user's, if nothing else is said; "" if it has to be said."""
    answers_by_token = False

    def answer(self, prompt: list[str]) -> list[str]:
        """Return nothing: `score` judges the files."""
        return []

    def score(self, prompt: Any, output: list[str], tools: Any = None) -> float:
        """Score what ``tools["shell"].files()`` holds: 1 if it is right, else 0."""
        raise NotImplementedError

    # -- what the rest of the package calls

    @cached_property
    def spelling(self) -> tokenizers.Tokenizer:
        """The tokenizer."""
        return tokenizers.choose(self.tokenizer, self._texts)

    @property
    def symbols(self) -> Sequence[str]:
        """The tokenizer's tokens."""
        return self.spelling.tokens

    def spell(self, text: str) -> list[str]:
        """Return the pieces of a text."""
        return self.spelling.spell(text)

    def format(self, tokens: list[str]) -> str:
        """Return the text of pieces."""
        return self.spelling.join(tokens)

    def parse(self, text: str) -> list[str]:
        """Spell a prompt, which ends with a newline so that its end is seen; it has no files."""
        return Problem(self.spell(f"{text.rstrip()}\n"))

    def problem(self, split: str, seed: int, length: int, index: int, *, up_to: bool = False) -> list[str]:
        """Draw problem `index`, with its prompt in pieces."""
        return self._spelled(super().problem(split, seed, length, index, up_to=up_to))

    def worst_problems(self, length: int) -> list[list[str]]:
        """List the worst cases of complexity `length`."""
        return [self._spelled(prompt) for prompt in super().worst_problems(length)]

    def every_worst_case(self, length: int) -> list[list[str]]:
        """List the task's own worst cases and the generic ones."""
        return [self._spelled(prompt) for prompt in super().every_worst_case(length)]

    def _spelled(self, prompt: list[str]) -> Problem:
        drawn = prompt if isinstance(prompt, Problem) else Problem(prompt)
        return drawn.spelled(self.parse("".join(drawn)))

    def _texts(self) -> list[str]:
        """Run the program on some problems, and collect what is said and read."""
        texts: list[str] = []
        length = max(self.defaults.train_length, self.min_length)
        for index in range(SEEN):
            with closing(_Draft(super().problem("pieces", 0, length, index, up_to=True), texts)) as draft:
                self.program(draft)
        return texts


class _Draft:
    """Stands in for a Workspace before there are tokens: it keeps the texts."""

    def __init__(self, problem: list[str], texts: list[str]):
        self.prompt, self._texts = problem, texts
        self._state = ShellState(problem)
        texts.append("".join(problem))

    def say(self, text: str) -> None:
        """Keep what is said."""
        self._texts.append(text)

    def bash(self, command: str) -> Ran:
        """Run a command line; keep it and its answer."""
        ran = self._state.run(command)
        self._texts += [command, f"{ran.returncode}\n{ran.output}"]
        return ran

    def close(self) -> None:
        """Remove the files."""
        self._state.close()
