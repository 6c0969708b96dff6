"""show: one trajectory."""

from __future__ import annotations

import re
import sys
from typing import Annotated

import typer
from rich.text import Text

from tallystick.cli.console import OUT, STYLES
from tallystick.cli.options import (
    Annotate,
    Json,
    Seed,
    TaskName,
    Variant,
    app,
    load_task,
)
from tallystick.episode import JsonlWriter, Recorder, Role, StopProgram, Trajectory
from tallystick.tasks import Task, runner

SHOWN = 200_000
"""The longest trajectory that `show` puts on a screen, in tokens."""


@app.command()
def show(
    task: TaskName,
    length: Annotated[int, typer.Option(help="of the problem")],
    seed: Seed = 0,
    variant: Variant = None,
    annotate: Annotate = False,
    as_json: Json = False,
) -> None:
    """Show one trajectory, coloured by role, with the memory and the pointers."""
    loaded = load_task(task, variant, annotate)
    key = {"split": "show", "seed": seed, "length": loaded.check_length(length), "index": 0}
    if as_json:
        meta = {"task": loaded.name, "variant": loaded.variant, **key}
        runner.run_problem(loaded, JsonlWriter(sys.stdout, loaded.vocab.tokens, meta), **key)
        return
    sink = _Shown()
    runner.run_problem(loaded, sink, **key)
    if sink.size > SHOWN:
        long = f"the program has said {SHOWN:,} tokens and goes on"
        raise ValueError(f"length {length}: {long}; too long for a screen (--json has no limit), or it does not end")
    trajectory(loaded, sink.trajectory(loaded.vocab.tokens, key))


POINTER = re.compile(r"\[(\S+\.)?p\d\.(read|left|right)\]")


def trajectory(task: Task, shown: Trajectory) -> None:
    """A trajectory coloured by role, then the memory that it left and where its pointers stand."""
    OUT.print(Text.assemble("roles: ", *((f"{role.name.lower()} ", STYLES[role]) for role in Role)))
    text, memory, moves = Text(), [], {}
    for role, symbols in shown.segments:
        for symbol in symbols:
            text.append(symbol, STYLES[role]).append(" ")
            name, _, verb = symbol.strip("[]").rpartition(".")
            if role == Role.COMMAND and POINTER.fullmatch(symbol):
                moves[name] = moves.get(name, 0) + {"left": -1, "right": 1}.get(verb, 0)
        if role == Role.PROMPT:
            memory += symbols[task.marks : len(symbols) - task.marks]
        elif role in (Role.THOUGHT, Role.OUTPUT):
            memory += [symbol for symbol in symbols if symbol != "[EOS]"]
    OUT.print(text)
    OUT.print(f"\nmemory, {len(memory)} cells: {' '.join(memory)}", markup=False)
    for name, at in sorted(moves.items()):
        under = "[BOS]" if at < 0 else memory[at] if at < len(memory) else "[EOS]"
        OUT.print(f"{name} ends on cell {at}, {under}", markup=False)


class _Shown(Recorder):
    """Ends the program once there is too much to show."""

    size = 0

    def write(self, ids, roles) -> None:
        super().write(ids, roles)
        self.size += len(ids)
        if self.size > SHOWN:
            raise StopProgram
