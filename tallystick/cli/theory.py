"""theory: the paper's theorems."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tallystick import tasks
from tallystick.cli.console import note
from tallystick.cli.options import Device, Json, Lengths, app, print_json, read_lengths

theory = typer.Typer(rich_markup_mode=None, help="The paper's theorems, executable.")


app.add_typer(theory, name="theory")


Names = Annotated[str | None, typer.Option(help="as bits:16,mamba2:tiny")]


Out = Annotated[Path | None, typer.Option(help="keep the result as OUT.json and OUT.md")]


@theory.command()
def bound(
    task: Annotated[str, typer.Argument(metavar="TASK", help="a task whose answers are counted")] = "addition",
    model: Names = None,
    lengths: Lengths = "3,5,10,20",
    seeds: Annotated[str | None, typer.Option(help="train with these and measure (addition, reverse)")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="the budget of training")] = None,
    device: Device = "cpu",
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Theorem 2.1: from which length a fixed state cannot do without interaction, and what models without it reach."""
    from tallystick.launch.seeds import parse_seeds
    from tallystick.studies.theory import bound as theorem
    from tallystick.studies.theory.answers import share

    share(task, 1, 1)  # refuses a task without counted answers
    wanted, numbers = read_lengths(lengths, tasks.load(task), ()), parse_seeds(seeds) if seeds else []
    names = _names(model, theorem.MODELS)
    report = theorem.bound(task, names, wanted, numbers, steps=steps, device=device, report=note)
    _theorem(report, theorem.text(report), out, as_json)


@theory.command()
def universal(
    machine: Annotated[str, typer.Argument(metavar="MACHINE", help="bb5, or your own file, as for turing")],
    model: Names = None,
    lengths: Lengths = "40,1000,10000",
    seeds: Annotated[str, typer.Option(help="as 0-2")] = "0-2",
    epsilon: Annotated[float, typer.Option(help="share of problems that may be wrong")] = 0.05,
    delta: Annotated[float, typer.Option(help="chance that more are")] = 0.05,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Theorem 2.2: any Turing machine, learned from short runs, run at any length; samples needed beside the bound."""
    from tallystick.launch.seeds import parse_seeds
    from tallystick.studies.theory import universal as theorem

    wanted = read_lengths(lengths, tasks.load(f"turing:{machine}"), ())
    report = theorem.universal(
        machine, _names(model, theorem.MODELS), wanted, parse_seeds(seeds), epsilon, delta, report=note
    )
    _theorem(report, theorem.text(report), out, as_json)


def _names(text: str | None, default: tuple[str, ...]) -> list[str]:
    return text.split(",") if text else list(default)


def _theorem(report: dict[str, Any], text: str, out: Path | None, as_json: bool) -> None:
    from tallystick.studies.theory.measure import keep

    if out:
        keep(report, text, out)
    if as_json:
        print_json(report)
    else:
        print(text, end="")
