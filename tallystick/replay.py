"""Read a recorded episode back: what the context memory held, where commands stand, and where the pointers went.

A record has ids and roles only. Everything else follows from them and from the task's tools, by the rules that a live
`Episode` applies; this module is the only other place that knows these rules.
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
"""Roles whose tokens are appended to the context memory, but for [BOS], [EOS] and a mixture's marks."""


@dataclass(frozen=True)
class Command:
    """One command and its answer, by positions in the record."""

    start: int
    """The command's token; with arguments, its opening mark."""
    end: int
    """One past its last token: start + 1, or one past the closing mark."""
    answered: int
    """One past the last token of the tool's answer; `end` if there is none."""


class Replay:
    """A recorded episode of a task, read against the task's tools.

    ids and roles are a record from its first token, [BOS], with the whole prompt; it may break off after any token.
    """

    def __init__(self, task: Solvable, ids: np.ndarray, roles: np.ndarray):
        self.ids, self.roles = ids, roles
        self.tokens = task.vocab.tokens
        """The vocabulary's strings, by id."""
        self.prompt_end = int(np.argmax(roles != Role.PROMPT)) or len(roles)
        """Position of the first token after the prompt."""
        self.prompt = task.vocab.decode(ids[1 : self.prompt_end].tolist())
        """The problem."""
        self.marks = task.marks
        """How many tokens at each end of the prompt are not remembered."""
        self.part, own = task.part_of(self.prompt)
        """The task that solves this problem: in a mixture, one of its parts."""
        commands = toolbox.start_all(self.part, own).commands
        self.command_ids = [token for token, command in commands.items() if command is not not_said]
        """Ids of the commands that can be said."""
        self.closing_marks = {token: c.close for token, c in commands.items() if isinstance(c, Brackets)}
        """Id of the closing mark, by the id of the mark that opens a command's arguments."""

    @cached_property
    def memory(self) -> np.ndarray:
        """Positions of the remembered tokens, in order: cell i of the context memory holds token ids[memory[i]]."""
        kept = np.isin(self.roles, REMEMBERED)
        kept &= (self.roles != Role.THOUGHT) | (self.ids != EOS)
        kept[: 1 + self.marks] = kept[self.prompt_end - self.marks : self.prompt_end] = False
        return np.flatnonzero(kept)

    @cached_property
    def pointer_commands(self) -> dict[int, tuple[str, str]]:
        """The pointer, as "p0", and the verb ("read", "left" or "right") of each pointer command, by id."""
        pointers = [f"p{i}" for tool in self.part.built_tools if isinstance(tool, Pointer) for i in range(tool.count)]
        ids = self.part.vocab.ids
        return {ids[f"[{name}.{verb}]"]: (name, verb) for name in pointers for verb in ("read", "left", "right")}

    @cached_property
    def pointers(self) -> dict[str, np.ndarray]:
        """The cell that each pointer stands on after each token, int64 [length]; it may lie outside the memory."""
        said = np.where(self.roles == Role.COMMAND, self.ids, BOS)
        paths = {name: np.zeros(len(said), np.int64) for name, _ in self.pointer_commands.values()}
        for token, (name, verb) in self.pointer_commands.items():
            if verb != "read":
                paths[name] += np.cumsum(said == token) * (1 if verb == "right" else -1)
        return paths

    def read(self, cell: int) -> int:
        """Return the id that a pointer on this cell reads at the record's end."""
        if cell < 0:
            return BOS
        return int(self.ids[self.memory[cell]]) if cell < len(self.memory) else EOS

    def commands(self) -> Iterator[Command]:
        """Yield the commands in order; where the record breaks off, so may the last of them."""
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
