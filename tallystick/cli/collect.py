"""The `collect` command: let another model work on a task's problems, and keep its good trajectories."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tallystick.cli.console import note, result
from tallystick.cli.options import Json, Lengths, Seed, TaskName, app, load_task, print_json, read_lengths


@app.command()
def collect(
    task: TaskName,
    endpoint: Annotated[str, typer.Option(help="address of an OpenAI-compatible server, as http://localhost:8000/v1")],
    model: Annotated[str, typer.Option(help="the model's name there")],
    out: Annotated[Path, typer.Option(help="folder to collect in; one that is there is taken up again")],
    lengths: Lengths = None,
    samples: Annotated[int, typer.Option(min=1, help="problems of each length")] = 100,
    steps: Annotated[int, typer.Option(min=1, help="maximum number of the model's turns on a problem")] = 250,
    config: Annotated[str, typer.Option(help="configuration file of mini-swe-agent")] = "mini.yaml",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Collect trajectories of another model in mini-swe-agent. Keeps those that are right and short."""
    from tallystick.data.collect import Collector, Record

    def report(record: Record) -> None:
        note(f"{record['name']}: {'right' if record['right'] else 'wrong'}, {record['exit_status']}")

    loaded = load_task(task, None, False)
    wanted = read_lengths(lengths, loaded, (loaded.defaults.train_length,))
    collected = Collector(loaded, endpoint, model, out, config, steps).collect(wanted, samples, seed, report)
    if as_json:
        print_json(collected)
    else:
        note(f"{collected['problems']} problems, {collected['right']} right, {collected['kept']} kept")
        result(collected["folder"])
