"""The `data` command: write trajectories to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tallystick.cli.console import result
from tallystick.cli.options import (
    Annotate,
    Json,
    Lengths,
    Seed,
    TaskName,
    Variant,
    app,
    load_task,
    print_json,
    read_lengths,
)


@app.command("data")
def write_data(
    task: TaskName,
    out: Annotated[Path, typer.Option(help="file to write, .jsonl or .parquet; a folder for mini and atif")],
    variant: Variant = None,
    annotate: Annotate = False,
    lengths: Lengths = None,
    samples: Annotated[int, typer.Option(min=1, help="problems of each length")] = 1000,
    split: Annotated[str, typer.Option(help="train, holdout, check (up to a length) or test (exactly)")] = "train",
    form: Annotated[str, typer.Option(help="tokens, openai (messages and tools), mini or atif")] = "tokens",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write trajectories to a file, for others to train on. By default they are of the training length."""
    from tallystick.data import files

    loaded = load_task(task, variant, annotate)
    wanted = read_lengths(lengths, loaded, (loaded.defaults.train_length,))
    made = files.write(loaded, out, wanted, samples, split, seed, form)
    if as_json:
        print_json(made)
    else:
        result(made["file"])
