"""Commands that look at tasks, before anything is trained."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tallystick import display, locality, tasks, tools, workspace
from tallystick.cli.options import (
    Annotate,
    Json,
    Lengths,
    Seed,
    TaskName,
    Variant,
    app,
    listing,
    load_task,
    print_json,
    read_lengths,
)
from tallystick.episode import JsonlWriter, Record, StopProgram

SHOWN = 200_000
"""The longest trajectory that `show` puts on a screen, in tokens."""


@app.command("tasks")
def list_tasks(as_json: Json = False) -> None:
    """What tasks there are."""
    rows = {}
    for name in tasks.TASKS:
        task = tasks.load(name)
        rows[name] = f"{(task.__doc__ or '').splitlines()[0]} Variants: {', '.join(task.variants)}."
    listing("tasks", rows, as_json)


@app.command("models")
def list_models(as_json: Json = False) -> None:
    """What models there are."""
    from tallystick import models

    rows = {}
    for name in models.names():
        cls = models.load_class(name)
        rows[name] = f"{(cls.__doc__ or '').splitlines()[0]} Presets: {', '.join(cls.PRESETS)}."
    listing("models", rows, as_json)


@app.command("tools")
def list_tools(as_json: Json = False) -> None:
    """What tools there are."""
    listing("tools", {name: tools.about(name) for name in tools.TOOLS}, as_json)


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
        workspace.run_problem(loaded, JsonlWriter(sys.stdout, loaded.vocab.tokens, meta), **key)
        return
    sink = _Shown()
    workspace.run_problem(loaded, sink, **key)
    if sink.size > SHOWN:
        long = f"the program has said {SHOWN:,} tokens and goes on"
        raise ValueError(f"length {length}: {long}; too long for a screen (--json has no limit), or it does not end")
    display.trajectory(loaded, sink.trajectory(loaded.vocab.tokens, key))


class _Shown(Record):
    """Ends the program once there is too much to show."""

    size = 0

    def write(self, ids, roles) -> None:
        super().write(ids, roles)
        self.size += len(ids)
        if self.size > SHOWN:
            raise StopProgram


@app.command()
def check(
    task: TaskName,
    variant: Variant = None,
    annotate: Annotate = False,
    lengths: Lengths = None,
    problems: Annotated[int, typer.Option(min=1, help="random problems for each row")] = 1000,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Tell before training what will generalise: how far back must a model look, and was it all seen?"""
    loaded = load_task(task, variant, annotate)
    report = locality.check(loaded, read_lengths(lengths, loaded, loaded.defaults.check), problems, seed)
    if annotate:
        report["notes"] = [name for name in loaded.notes if name not in load_task(task, variant, False).notes]
    if as_json:
        print_json(report)
    else:
        display.locality(report)


@app.command("data")
def write_data(
    task: TaskName,
    out: Annotated[Path, typer.Option(help="the file: .jsonl, or .parquet with chat messages and token ids")],
    variant: Variant = None,
    lengths: Lengths = None,
    samples: Annotated[int, typer.Option(min=1, help="problems of each length")] = 1000,
    split: Annotated[str, typer.Option(help="train, holdout, check (of at most a length) or test (exactly)")] = "train",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write trajectories to a file, for others to train on; by default of the training length."""
    from tallystick import export

    loaded = tasks.load(task, variant)
    wanted = read_lengths(lengths, loaded, (loaded.defaults.train_length,))
    made = export.write(loaded, out, wanted, samples, split, seed)
    if as_json:
        print_json(made)
    else:
        print(made["file"])
