"""Read a recorded episode back: the contents of the context memory, the commands, and the pointers' paths.

A recorded episode has ids and roles only. Everything else follows from them and from the task's tools, by the rules
that a live `Episode` applies; this module is the only other place that knows these rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tallystick import tools as toolbox
from tallystick.episode import BOS, EOS, Brackets, Role, not_said
from tallystick.tools.pointer import Pointer
from tallystick.workspace import Solvable

REMEMBERED = (Role.PROMPT, Role.THOUGHT, Role.OUTPUT)
"""Roles whose tokens are appended to the context memory, except [BOS], [EOS] and a mixture's marks."""


@dataclass(frozen=True)
class Command:
    """Positions of one command and its answer in a recorded episode."""

    start: int
    """Position of the command's token; with arguments, of its opening mark."""
    end: int
    """One past the command's last token: start + 1, or one past its closing mark."""
    answered: int
    """One past the last token of the tool's answer; `end` if there is none."""


class Replay:
    """A recorded episode of a task, interpreted by means of the task's tools.

    ids and roles begin with [BOS] and the whole prompt; they may break off after any later token.
    """

    def __init__(self, task: Solvable, ids: np.ndarray, roles: np.ndarray):
        self.ids, self.roles = ids, roles
        self.tokens = task.vocab.tokens
        """The vocabulary's strings, by id."""
        self.prompt_end = int(np.argmax(roles != Role.PROMPT)) or len(roles)
        """Position of the first token after the prompt."""
        self.prompt = task.vocab.decode(ids[1 : self.prompt_end].tolist())
        """The problem's symbols."""
        self.marks = task.marks
        """Number of tokens at each end of the prompt that are not remembered."""
        self.part, own = task.part_of(self.prompt)
        """The task that solves this problem: in a mixture, one of its parts."""
        commands = toolbox.start_all(self.part, own).commands
        self.command_ids = [token for token, command in commands.items() if command is not not_said]
        """Ids of the commands that a model can say."""
        self.closing_marks = {token: c.close for token, c in commands.items() if isinstance(c, Brackets)}
        """Id of each closing mark, by the id of the mark that opens a command's arguments."""

    @cached_property
    def memory(self) -> np.ndarray:
        """Positions of the remembered tokens, in order: cell i of the context memory holds token ids[memory[i]]."""
        kept = np.isin(self.roles, REMEMBERED)
        kept &= (self.roles != Role.THOUGHT) | (self.ids != EOS)
        kept[: 1 + self.marks] = kept[self.prompt_end - self.marks : self.prompt_end] = False
        return np.flatnonzero(kept)

    @cached_property
    def pointer_commands(self) -> dict[int, tuple[str, str]]:
        """Pointer, such as "p0", and verb ("read", "left" or "right") of each pointer command, by the command's id."""
        pointers = [f"p{i}" for tool in self.part.built_tools if isinstance(tool, Pointer) for i in range(tool.count)]
        ids = self.part.vocab.ids
        return {ids[f"[{name}.{verb}]"]: (name, verb) for name in pointers for verb in ("read", "left", "right")}

    @cached_property
    def pointers(self) -> dict[str, np.ndarray]:
        """Cell of each pointer after each token, int64 [length], by its name; cells may lie outside the memory."""
        said = np.where(self.roles == Role.COMMAND, self.ids, BOS)
        paths = {name: np.zeros(len(said), np.int64) for name, _ in self.pointer_commands.values()}
        for token, (name, verb) in self.pointer_commands.items():
            if verb != "read":
                paths[name] += np.cumsum(said == token) * (1 if verb == "right" else -1)
        return paths

    def read(self, cell: int) -> int:
        """Return the id that a pointer on this cell reads at the end of the episode."""
        if cell < 0:
            return BOS
        return int(self.ids[self.memory[cell]]) if cell < len(self.memory) else EOS

    def commands(self) -> Iterator[Command]:
        """Yield the commands in order; if the episode breaks off, the last one may be incomplete."""
        ids, roles = self.ids.tolist(), self.roles.tolist()
        position = self.prompt_end
        while position < len(roles):
            if roles[position] != Role.COMMAND:
                position += 1
                continue
            end = self._end(ids, position)
            answered = end
            while answered < len(roles) and roles[answered] == Role.OBSERVATION:
                answered += 1
            yield Command(position, end, answered)
            position = answered

    def _end(self, ids: list[int], start: int) -> int:
        """Return one past the last token of the command that starts here."""
        close = self.closing_marks.get(ids[start])
        if close is None:
            return start + 1
        try:
            return ids.index(close, start) + 1
        except ValueError:
            return len(ids)
