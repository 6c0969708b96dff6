"""The `theory` commands: the paper's theorems, executable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tallystick import tasks
from tallystick.cli.console import note, result
from tallystick.cli.options import Device, Json, Lengths, app, print_json, read_lengths
from tallystick.launch.seeds import parse_seeds
from tallystick.storage import check_makable, write_json, write_text

theory = typer.Typer(rich_markup_mode=None, help="The paper's theorems, executable.")
app.add_typer(theory, name="theory")

Names = Annotated[str | None, typer.Option(help="models, such as bits:16,mamba2:tiny")]
Out = Annotated[Path | None, typer.Option(help="write the result to OUT.json and OUT.md")]


@theory.command()
def bound(
    task: Annotated[str, typer.Argument(metavar="TASK", help="a task whose answers are counted")] = "addition",
    model: Names = None,
    lengths: Lengths = "3,5,10,20",
    seeds: Annotated[str | None, typer.Option(help="train with these and measure (addition, reverse)")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="maximum number of optimizer steps")] = None,
    device: Device = "cpu",
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Theorem 2.1: where a fixed state cannot do without interaction. Also shows what models without it reach."""
    from tallystick.studies.theory.bound import MODELS
    from tallystick.studies.theory.reports import report_bound

    wanted, numbers = read_lengths(lengths, tasks.load(task), ()), parse_seeds(seeds) if seeds else []
    _check_out(out)
    document, text = report_bound(task, _names(model, MODELS), wanted, numbers, steps=steps, device=device, say=note)
    _show(document, text, out, as_json)


@theory.command()
def universal(
    machine: Annotated[str, typer.Argument(metavar="MACHINE", help="bb5, or your own file, as for the task turing")],
    model: Names = None,
    lengths: Lengths = "40,1000,10000",
    seeds: Annotated[str, typer.Option(help="0-2 or 0,3")] = "0-2",
    epsilon: Annotated[float, typer.Option(help="share of problems that may be wrong")] = 0.05,
    delta: Annotated[float, typer.Option(help="probability that more are wrong")] = 0.05,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Theorem 2.2: any Turing machine, learned from short runs. Shows the samples that it takes beside the bound."""
    from tallystick.studies.theory.reports import report_universal
    from tallystick.studies.theory.universal import MODELS

    wanted, numbers = read_lengths(lengths, tasks.load(f"turing:{machine}"), ()), parse_seeds(seeds)
    _check_out(out)
    document, text = report_universal(machine, _names(model, MODELS), wanted, numbers, epsilon, delta, say=note)
    _show(document, text, out, as_json)


def _check_out(out: Path | None) -> None:
    """Check in advance that both files of --out can be written. Raises OSError if not."""
    for suffix in (".json", ".md") if out else ():
        assert out
        check_makable(out.with_suffix(suffix))


def _names(text: str | None, default: tuple[str, ...]) -> list[str]:
    return text.split(",") if text else list(default)


def _show(document: dict[str, Any], text: str, out: Path | None, as_json: bool) -> None:
    """Print the document or its text; with --out, write both to files, with the machine and the commit."""
    if out:
        from tallystick.provenance import environment

        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out.with_suffix(".json"), document | {"environment": _place(environment())})
        write_text(out.with_suffix(".md"), text)
    if as_json:
        print_json(document)
    else:
        result(text.rstrip("\n"))


def _place(environment: dict[str, Any]) -> dict[str, Any]:
    """Replace the uncommitted changes by whether there are any."""
    return environment | {"dirty": bool(environment["dirty"])}
