"""Recorded trajectories as a task: its program says again what the agent said."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path

from tallystick.episode import Brackets, Commands, Role, not_said
from tallystick.problem import Problem
from tallystick.tasks.base import Defaults
from tallystick.tasks.recorded.collection import Collection
from tallystick.tasks.text import TextTask
from tallystick.text import files
from tallystick.tools import ToolUser
from tallystick.trajectory import Trajectory
from tallystick.vocab import Vocabulary
from tallystick.workspace import Workspace

SETTINGS = {"d_state": "32", "batch_size": "16", "lr": "0.003", "decay_at_error": "0.0001"}
"""Settings of the default model and its training, as for codefix."""
MEMORY = {"dt_min": "0.001", "dt_max": "0.1"}
"""Settings of the memory of any model: text needs a longer one than symbols."""


def is_recorded(name: str) -> bool:
    """Return whether a task's name is that of a file or folder of trajectories."""
    return Path(name).suffix in files.SUFFIXES or (name != "" and Path(name).is_dir())


class RecordedProblem(Problem):
    """A prompt whose trajectory was recorded."""

    def __init__(self, symbols: Iterable[str], trajectory: Trajectory):
        super().__init__(symbols)
        self.trajectory = trajectory

    @property
    def texts(self) -> list[tuple[Role, str]]:
        """The segments of the trajectory."""
        return [(role, text) for role, text in self.trajectory.segments if isinstance(text, str)]

    @property
    def identity(self) -> str:
        """The trajectory: one prompt may have several."""
        return self.trajectory.to_json()


class Recorded(TextTask):
    """The trajectories of a file or folder. No tool can be run, so a model of them is measured by `verify`.

    `length` is the number of calls, and 1 without any. Problems of exactly some length are those with at most so many
    calls and more than half as many.
    """

    tools = ("recorded",)
    variants = {"recorded": "solve"}
    live = False
    known_split = "train"

    def __init__(self, path: str):
        super().__init__()
        self.name = path
        self.collection = Collection(path, files.load(Path(path)))
        self.functions = tuple(sorted({_call(text)[0] for text in self._all_texts(Role.COMMAND)}))
        self._built_tools = [RecordedTool(self.functions)]
        self.min_length, self.max_length = self.collection.limits
        rows = self.collection.rows
        self.defaults = Defaults(train_length=self.max_length, settings=SETTINGS, memory=MEMORY, check=rows, eval=rows)

    def solve(self, w: Workspace) -> None:
        """Say again what the agent said."""
        assert isinstance(w.prompt, RecordedProblem)
        w.answer()
        for role, text in w.prompt.texts:
            if role == Role.OUTPUT:
                w.say(text)
            elif role == Role.THOUGHT:
                w.think(*self.spell(text))
            elif role == Role.COMMAND:
                name, arguments = _call(text)
                w.call(name, self.spell(arguments))

    def parse(self, text: str) -> list[str]:
        """Refuse all problems but those of the file."""
        raise ValueError(f"{self.name} has only the problems that are recorded in it, and no tool can be run on others")

    def worst_cases(self, length: int) -> list[list[str]]:
        """List no problems beyond those of the file."""
        return []

    @property
    def own_worst_cases(self) -> bool:
        """Whether the task gives worst cases of its own."""
        return False

    def token_limit(self, prompt: Sequence[str]) -> int:
        """Return a number that no trajectory reaches, since all of them end."""
        return 2**62

    def problem(self, split: str, seed: int, length: int, index: int, *, up_to: bool = False) -> list[str]:
        """Take problem `index` of those that there are, in a random order."""
        trajectory = self.collection.take(split, seed, length, index, up_to=up_to)
        return RecordedProblem(super().parse(str(trajectory.segments[0][1])), trajectory)

    def indices(self, split: str, length: int, wanted: int, *, up_to: bool = False) -> range:
        """Return the indices of at most `wanted` different problems. Raises ValueError if there are none."""
        return range(min(wanted, self.collection.count(split, length, up_to=up_to)))

    def _texts(self) -> list[str]:
        """Return the texts of the training trajectories, by which a tokenizer is made."""
        return [str(text) for trajectory in self.collection.training() for _, text in trajectory.segments]

    def _all_texts(self, role: Role) -> Iterable[str]:
        return (str(text) for each in self.collection.trajectories for has, text in each.segments if has == role)


class RecordedTool:
    """Answer calls as it was recorded: ``[call]``, a function's name, the pieces of its arguments, ``[/call]``."""

    reads_memory = False

    def __init__(self, functions: Iterable[str]):
        self.tokens = ("[call]", "[/call]", "[obs]", "[/obs]", *functions)

    def start(self, vocab: Vocabulary, memory: array | None, task: ToolUser, prompt: Sequence[str]) -> Commands:
        """Return the command that answers the next call, whatever it is."""
        answers = iter(_answers(prompt.texts if isinstance(prompt, RecordedProblem) else []))
        ids = vocab.ids
        first, last = ids["[obs]"], ids["[/obs]"]

        def call(said: list[int]) -> Sequence[int]:
            answer = next(answers, None)
            return () if answer is None else [first, *vocab.encode(task.spell(answer)), last]

        return {ids["[call]"]: Brackets(ids["[/call]"], call)} | dict.fromkeys((ids["[/call]"], first, last), not_said)


def _answers(texts: list[tuple[Role, str]]) -> list[str | None]:
    """Return the answer of each call; None for a call without one."""
    answers: list[str | None] = []
    for role, text in texts:
        if role == Role.COMMAND:
            answers.append(None)
        elif role == Role.OBSERVATION:
            answers[-1] = text
    return answers


def _call(text: str) -> tuple[str, str]:
    """Return the name and the arguments of a call."""
    name, _, arguments = text.partition(" ")
    return name, arguments
