"""Episodes that run together on a GPU, in slots; one that becomes free is given to the next episode.

Pointers and tapes are the kernel's. Other tools run on the host: an episode that says a token which they may have to
answer stands still until the end of a launch, while the others go on.

Glossary: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch

from tallystick.engine import gpu_fields as at
from tallystick.engine.compared import Compared, Generated
from tallystick.engine.gpu import OnGPU, hosted
from tallystick.engine.interface import Said
from tallystick.engine.orders import Outcome
from tallystick.engine.slots import STEPS, Slots
from tallystick.episode import StopReason
from tallystick.tasks import Task
from tallystick.tools import arrays

EPISODES = 4096
"""Maximum number of episodes that run together."""
SANDBOXES = 64
"""Maximum number of episodes of a text task that run together: each has a sandbox."""
HOST_STEPS = 512
"""Maximum number of tokens of a launch where the host runs tools, so that no episode waits long for its answer."""
MOST = 2**31 - 1
"""Maximum number of tokens of an episode."""
REASONS = {
    at.ENDED: StopReason.EOS,
    at.TOKEN_LIMIT: StopReason.TOKEN_LIMIT,
    at.BAD_COMMAND: StopReason.BAD_COMMAND,
    at.UNSEEN: StopReason.UNSEEN,
}


class Pool:
    """Slots and the episodes in them. low: margin below which rounding may decide."""

    def __init__(self, reader: OnGPU, task: Task, low: float):
        self._reader, self._task, self._low = reader, task, low
        self._live: dict[int, Compared] = {}
        self._tables: list[np.ndarray] = []
        self._grammars: dict[int, tuple[int, bool]] = {}
        """Place of the table of each part of a mixture, and whether the host runs its tools."""

    def run(self, episodes: Iterator[Compared]) -> list[Generated]:
        """Run all episodes to their ends; return their results in order. Raises ValueError if memory runs out."""
        try:
            return self._run(episodes)
        except torch.OutOfMemoryError as error:
            fits = max(len(self._live) // 2, 1)
            raise ValueError(
                f"{len(self._live)} episodes at once do not fit into the GPU's memory; evaluate {fits} at a time"
            ) from error
        finally:
            for episode in self._live.values():
                episode.close()

    def _run(self, episodes: Iterator[Compared]) -> list[Generated]:
        results = list[Generated]()
        for slot, episode in enumerate(islice(episodes, SANDBOXES if self._task.text else EPISODES)):
            self._live[slot] = episode
        self._slots = Slots(self._reader.model, self._reader.packed, len(self._live))
        self._begin([*self._live])
        while self._live:
            live = [*self._live]
            steps = HOST_STEPS if self._slots.fields[live, at.HOSTED].any() else STEPS
            self._slots.run(live, self._low, steps)
            results += self._take(live)
            free = [slot for slot in live if slot not in self._live]
            for slot, episode in zip(free, episodes, strict=False):
                self._live[slot] = episode
            self._begin([slot for slot in free if slot in self._live])
        return sorted(results, key=lambda result: result.index)

    def _begin(self, slots: list[int]) -> None:
        """Put episodes that have not begun into their slots."""
        if not slots:
            return
        orders = [self._live[slot].order() for slot in slots]
        kinds = [self._grammar(self._live[slot]) for slot in slots]
        tools = [
            None if on_host else arrays.start(self._task, order.prompt)
            for order, (_, on_host) in zip(orders, kinds, strict=True)
        ]
        self._slots.start(slots, tools, [order.program for order in orders])
        for slot, order, (place, on_host) in zip(slots, orders, kinds, strict=True):
            fields = self._slots.fields[slot]
            fields[[at.GRAMMAR, at.HOSTED, at.EXACT]] = place, on_host, True
            fields[[at.POSITION, at.LIMIT]] = len(order.unread), min(order.limit, MOST)
        self._slots.feed([(slot, order.unread) for slot, order in zip(slots, orders, strict=True)])

    def _grammar(self, episode: Compared) -> tuple[int, bool]:
        """Return the place of an episode's grammar, and whether the host runs its tools."""
        part = self._task.part_of(episode.prompt)[0]
        if id(part) not in self._grammars:
            table_V3 = arrays.grammar_of(part)
            self._grammars[id(part)] = len(self._tables), table_V3 is None
            self._tables.append(hosted(episode.find_plain()) if table_V3 is None else table_V3)
            self._slots.teach(np.stack(self._tables))
        return self._grammars[id(part)]

    def _take(self, live: list[int]) -> list[Generated]:
        """Take what the last launch left; return the results of episodes that have ended."""
        results, unread = [], []
        for slot, recorded in zip(live, self._slots.recorded(live), strict=True):
            episode = self._live[slot]
            if self._slots.fields[slot, at.HOSTED]:
                self._answer(slot, episode, recorded[0])
            else:
                self._record(slot, episode, *recorded)
            if episode.stop is not None:
                results.append(self._finish(slot))
            elif self._slots.fields[slot, at.STOP] == at.WAITING:
                self._slots.fields[slot, at.POSITION] = episode.position
                unread.append((slot, episode.unread))
        self._slots.feed(unread)
        return results

    def _record(self, slot: int, episode: Compared, ids: np.ndarray, roles: np.ndarray) -> None:
        if len(ids):
            episode.record(ids, roles)
        why = int(self._slots.fields[slot, at.STOP])
        if why != at.RUNNING:
            episode.stop, episode.position = REASONS[why], int(self._slots.fields[slot, at.POSITION])

    def _answer(self, slot: int, episode: Compared, ids: np.ndarray) -> None:
        """Take plain tokens, and the token that waits, which the host's tools may answer."""
        episode.say_plain(ids.tolist())
        fields = self._slots.fields[slot].tolist()
        if fields[at.STOP] != at.RUNNING:
            silent, margin = fields[at.STOP] == at.UNSEEN, float(self._slots.measures[slot, at.SAID_MARGIN])
            episode.say_compared(Said(fields[at.SAID], margin, silent, np.zeros(0, np.float32)))

    def _finish(self, slot: int) -> Generated:
        episode = self._live.pop(slot)
        try:
            episode.take_outcome(self._outcome(slot, episode))
            episode.flush()
            return episode.finish()
        finally:
            episode.close()

    def _outcome(self, slot: int, episode: Compared) -> Outcome:
        fields, (margin, behind, _) = self._slots.fields[slot].tolist(), self._slots.measures[slot].tolist()
        said = None if fields[at.WRONG_TOKEN] == arrays.NONE else fields[at.WRONG_TOKEN]
        wrong = None if fields[at.EXACT] else (fields[at.WRONG_AT], said, behind)
        counts = fields[at.TOKENS], fields[at.SPOKEN], fields[at.LOW]
        assert episode.stop, "it has ended"
        return Outcome(episode.stop, episode.position, *counts, margin, wrong)
