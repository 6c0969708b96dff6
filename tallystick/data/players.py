"""Run programs in worker processes, for a GPU that would wait for them here."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection

import numpy as np

from tallystick import tasks
from tallystick.data.loader import MISTAKES
from tallystick.episode import Sink, StopProgram
from tallystick.launch.lifetime import die_with_parent
from tallystick.launch.signals import ignore_interrupts, interrupts_blocked
from tallystick.locality import programs
from tallystick.tasks import Task

LONG = 10_000
"""Symbols of a long problem's prompt."""
PATIENCE = 2.0
"""Seconds for which the programs of long problems run here, too: about as long as it takes to start the processes."""
PIPE_BYTES, F_SETPIPE_SZ = 1 << 20, 1031
"""Room for what a worker writes ahead, as much as Linux gives to everybody, and Linux's command to ask for it."""


class Player:
    """A worker process, which writes one episode after the other."""

    def __init__(self, task: Task):
        context = multiprocessing.get_context("spawn")
        self._blocks, blocks = context.Pipe(duplex=False)
        orders, self._orders = context.Pipe(duplex=False)
        _widen(self._blocks)
        self._process = context.Process(target=_work, args=(task.name, task.variant, orders, blocks), daemon=True)
        with interrupts_blocked():
            self._process.start()
        orders.close()
        blocks.close()

    def begin(self, prompt: list[str]) -> None:
        """Let it begin a problem; `play` has to follow before the next one."""
        self._orders.send(prompt)

    def play(self, sink: Sink) -> None:
        """Pass on the episode that it writes. Raises what the program raised there, and StopProgram of the sink."""
        try:
            for block in self._received():
                sink.write(*block)
        except StopProgram:
            self._orders.send(None)
            for _ in self._received():
                pass
            raise

    def _received(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        while True:
            try:
                message = self._blocks.recv()
            except EOFError:
                self._process.join()
                raise ChildProcessError(f"a process that runs programs died ({self._process.exitcode})") from None
            if isinstance(message, Exception):
                raise message
            if message is None:
                return
            yield message

    def end(self) -> None:
        """End the process, whatever it does."""
        self._process.terminate()
        self._process.join()


class Players:
    """Up to `most` workers for the programs of a task, each started when it is needed; a context manager."""

    def __init__(self, task: Task, most: int):
        self._task, self._left = task, most if task.is_built_in and not task.text else 0
        self._idle, self._all = list[Player](), list[Player]()
        self._since = time.monotonic()

    def begin(self, prompt: list[str]) -> Player | None:
        """Let a worker begin a long problem; None if it is short, all of them are busy, or it is early."""
        if len(prompt) < LONG or not (self._idle or self._left) or time.monotonic() - self._since < PATIENCE:
            return None
        if not self._idle:
            self._left -= 1
            self._all.append(Player(self._task))
            self._idle.append(self._all[-1])
        player = self._idle.pop()
        player.begin(prompt)
        return player

    def take_back(self, player: Player) -> None:
        """Take back a worker whose episode has been played."""
        self._idle.append(player)

    def __enter__(self) -> Players:
        return self

    def __exit__(self, *exception: object) -> None:
        for player in self._all:
            player.end()


class _Pipe:
    """A sink at the worker's end."""

    def __init__(self, orders: Connection, blocks: Connection):
        self._orders, self._blocks = orders, blocks

    def write(self, ids: np.ndarray, roles: np.ndarray) -> None:
        if self._orders.poll():  # no more is wanted
            raise StopProgram
        self._blocks.send((ids, roles))

    def close(self, ok: bool) -> None:
        """Do nothing: a wrong answer raises."""


def _work(name: str, variant: str, orders: Connection, blocks: Connection) -> None:
    die_with_parent()
    ignore_interrupts()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # the parent's stdout is for results
    task = tasks.load(name, variant)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            prompt = orders.recv()
            if prompt is None:  # a stop that came when the episode had ended
                continue
            try:
                programs.run(task, prompt, _Pipe(orders, blocks))
                blocks.send(None)
            except MISTAKES as error:
                blocks.send(error)


def _widen(pipe: Connection) -> None:
    if sys.platform == "linux":
        import fcntl

        with suppress(OSError):  # an administrator may allow less
            fcntl.fcntl(pipe.fileno(), F_SETPIPE_SZ, PIPE_BYTES)
