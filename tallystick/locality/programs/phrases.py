"""Cut a step of a machine into phrases: tokens that a compiled loop says at once, with all that they do.

A step's tokens and their roles are always the same, so that the grammar is applied to them once, by an `Episode`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy import ndarray as Array

from tallystick.episode import ANS, BadCommand, Commands, Episode, Recorder, Role, id_array
from tallystick.tasks import Task
from tallystick.tools.arrays import MOVE, NONE, READ, TAPE_MOVE, TAPE_READ, TAPE_WRITE

LONGEST = 16
"""Maximum number of tokens of a phrase: the loop copies as many, whatever the phrase's length."""
POINTERS = 2
"""Maximum number of pointers that a phrase moves."""
BEGIN, LENGTH, REMEMBERED, OUTPUT, FIRST, FIRST_MOVE, SECOND, SECOND_MOVE = range(8)
WRITE, TAPE, THEN, WHICH, TO, STEP, COLUMNS = range(8, 15)
"""Columns of a phrase as numbers: its span of the tokens; how many of them are remembered; the place in it of its token
of the answer, or NONE; the pointers that it moves, and how far; the symbol that it writes on the tape, or NONE, and
then the head's move; what comes next, and which pointer is asked; the state that its step leads to, and the step."""
GO_ON, ASK_POINTER, ASK_TAPE, ASK_TRUTH, REFUSE, END = range(6)
"""What comes next: another phrase of the step; a question to a pointer or to the tape; another phrase, before which the
answer must be known; nothing, since the last token is not allowed, or since it ends the episode."""


@dataclass
class Phrase:
    """At most LONGEST tokens of a step."""

    tokens: list[int] = field(default_factory=list)
    roles: list[int] = field(default_factory=list)
    remembered: list[int] = field(default_factory=list)
    """The tokens of it that are remembered."""
    output: int = NONE
    """The place of its token that is compared with the answer."""
    moves: dict[int, int] = field(default_factory=dict)
    """How far it moves which pointers."""
    write: int = NONE
    tape: int = 0
    then: int = GO_ON
    which: int = 0

    def takes(self, kind: int, which: int, is_output: bool) -> bool:
        """Return whether a token can be a part of it, too."""
        if len(self.tokens) == LONGEST or self.then != GO_ON or (is_output and self.output != NONE):
            return False
        if kind == MOVE:
            return which in self.moves or len(self.moves) < POINTERS
        if kind == TAPE_WRITE:
            return self.write == NONE and not self.tape
        return kind != TAPE_MOVE or not self.tape

    def add(self, token: int, role: int, kind: int, which: int, argument: int) -> None:
        """Append a token; which, argument: the pointer, and the step or symbol, of a command."""
        self.tokens.append(token)
        self.roles.append(role)
        if kind == MOVE:
            self.moves[which] = self.moves.get(which, 0) + argument
        elif kind == TAPE_WRITE:
            self.write = argument
        elif kind == TAPE_MOVE:
            self.tape = argument
        elif kind in (READ, TAPE_READ):
            self.then, self.which = ASK_POINTER if kind == READ else ASK_TAPE, which

    def numbers(self, begin: int, to: int, step: int) -> list[int]:
        """Return its columns; begin: number of tokens before it."""
        pairs = [*self.moves.items(), *[(0, 0)] * POINTERS][:POINTERS]
        moves = [number for pair in pairs for number in pair]
        said = [begin, len(self.tokens), len(self.remembered), self.output]
        return [*said, *moves, self.write, self.tape, self.then, self.which, to, step]


def cut(part: Task, grammar: Array, answered: bool, heard: int, tokens: Sequence[int]) -> list[Phrase]:
    """Cut a step into phrases; the last one asks a question, ends the episode, or is refused.

    grammar: what tokens do, see `tools.arrays`. answered: whether [ANS] was said before. heard: the observation that it
    begins with, or NONE. tokens: what is said then.
    """
    phrases, said = [Phrase() if heard == NONE else Phrase([heard], [Role.OBSERVATION])], 0
    for token, role, remembered in _said(part, grammar, answered, tokens):
        kind, which, argument = grammar[token].tolist()
        is_output = role == Role.OUTPUT and part.answers_by_token
        if not phrases[-1].takes(kind, which, is_output):
            phrases.append(Phrase())
        phrases[-1].output = len(phrases[-1].tokens) if is_output else phrases[-1].output
        phrases[-1].add(token, role, kind, which, argument)
        phrases[-1].remembered += remembered
        if token == ANS:
            phrases[-1].then = ASK_TRUTH
            phrases.append(Phrase())
        said += 1
    if said < len(tokens):
        phrases.append(Phrase([tokens[said]], [Role.THOUGHT], then=REFUSE))
    elif phrases[-1].then == GO_ON:
        phrases[-1].then = END
    return phrases


def _said(part: Task, grammar: Array, answered: bool, tokens: Sequence[int]) -> Iterator[tuple[int, int, list[int]]]:
    """Yield each token, its role, and what is remembered of it, up to one that is not allowed."""
    memory = id_array() if any(tool.reads_memory for tool in part.built_tools) else None
    commands: Commands = dict.fromkeys(np.flatnonzero(grammar[:, 0] >= READ).tolist(), lambda: ())
    notes, recorder = frozenset(part.vocab.encode(part.notes)), Recorder()
    episode = Episode((), commands, memory, recorder, notes)
    role = Role.OUTPUT if answered else Role.THOUGHT
    episode.mode = [role, role, answered]
    for token in tokens:
        before = len(memory or ())
        try:
            episode.push(token)
        except BadCommand:
            return
        episode.flush()
        yield token, int(recorder.blocks[-1][1][-1]), [*(memory or ())][before:]
