"""Commands that reproduce the paper: its tables and figures, and its theorems."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tallystick import display, tasks
from tallystick.cli.options import Device, Json, Lengths, app, fail, listing, print_json, read_lengths

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
    from tallystick import seeds as several
    from tallystick.theory import bound as theorem
    from tallystick.theory.answers import share

    share(task, 1, 1)  # refuses a task without counted answers
    wanted, numbers = read_lengths(lengths, tasks.load(task), ()), several.parse(seeds) if seeds else []
    names = _names(model, theorem.MODELS)
    report = theorem.bound(task, names, wanted, numbers, steps=steps, device=device, report=display.note)
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
    from tallystick import seeds as several
    from tallystick.theory import universal as theorem

    wanted = read_lengths(lengths, tasks.load(f"turing:{machine}"), ())
    report = theorem.universal(
        machine, _names(model, theorem.MODELS), wanted, several.parse(seeds), epsilon, delta, report=display.note
    )
    _theorem(report, theorem.text(report), out, as_json)


def _names(text: str | None, default: tuple[str, ...]) -> list[str]:
    return text.split(",") if text else list(default)


def _theorem(report: dict[str, Any], text: str, out: Path | None, as_json: bool) -> None:
    from tallystick.theory.measure import keep

    if out:
        keep(report, text, out)
    if as_json:
        print_json(report)
    else:
        print(text, end="")


@app.command()
def reproduce(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="a recipe; without it, all are listed")] = None,
    budget: Annotated[str, typer.Option(help="small (minutes) or paper (its sizes and steps)")] = "small",
    models: Annotated[str | None, typer.Option(help="some of the recipe's, as lookup,mamba2")] = None,
    seeds: Annotated[str | None, typer.Option(help="0-4 or 0,3; by default the recipe's")] = None,
    device: Device = "cpu",
    jobs: Annotated[int, typer.Option(min=1, help="runs side by side")] = 1,
    as_json: Json = False,
) -> None:
    """Make a table and a figure of the paper, ours beside its numbers, in results/; goes on where it stopped."""
    from tallystick import recipes

    if name is None:
        listing("recipes", {each: recipes.load(each).title for each in recipes.RECIPES}, as_json)
        return
    from tallystick import seeds as several
    from tallystick.recipes import reproduce as reproducing
    from tallystick.recipes.results import Results
    from tallystick.settings import check_device

    check_device(device)
    chosen = models.split(",") if models else None
    numbers = several.parse(seeds) if seeds else None
    recipe, results = recipes.load(name), Results(name, budget)
    failures = reproducing.reproduce(recipe, results, chosen, numbers, device, jobs)
    print(results.text() if as_json else results.place("md").read_text(), end="")
    if failures:
        raise SystemExit(fail(f"{len(failures)} missing in the results: {'; '.join(failures)}", 1))
