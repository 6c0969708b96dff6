"""Several seeds side by side: one process each, as many at a time as there are processors."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
from typing import Any


def parse_seeds(text: str) -> list[int]:
    """ "0-4" or "0,3,7". Raises ValueError for anything else."""
    try:
        first, dash, last = text.partition("-")
        seeds = list(range(int(first), int(last) + 1)) if dash else [int(word) for word in text.split(",")]
    except ValueError:
        raise ValueError(f"--seeds {text}: write 0-4 or 0,3,7") from None
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"--seeds {text}: no seed, or one twice")
    return seeds


def train_side_by_side(commands: dict[int, list[str]]) -> None:
    """Run `tallystick` with each seed's arguments; every line that it reports comes with its seed before it.

    Raises ValueError with the last line of a seed that failed, after the others have ended.
    """
    waiting, failures = list(commands.items()), []
    with selectors.DefaultSelector() as running:
        while waiting or running.get_map():
            while waiting and len(running.get_map()) < (os.cpu_count() or 1):
                seed, arguments = waiting.pop(0)
                process = _start(arguments)
                running.register(process.stderr, selectors.EVENT_READ, (seed, process))
            for key, _ in running.select():
                failures += _listen(running, key.fileobj, *key.data)
    if failures:
        raise ValueError("; ".join(failures))


def _start(arguments: list[str]) -> Any:
    command = [sys.executable, "-m", "tallystick", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, bufsize=1)


def _listen(running: selectors.BaseSelector, stream: Any, seed: int, process: Any) -> list[str]:
    """Print the seed's next line; at its end, what went wrong if something did."""
    line = stream.readline().rstrip()
    if line:
        process.last = line
        print(f"seed {seed} | {line}", file=sys.stderr, flush=True)
        return []
    running.unregister(stream)
    stream.close()
    return [] if process.wait() == 0 else [f"seed {seed} failed: {process.last.removeprefix('tallystick: ')}"]
