"""reproduce: a table and figure of the paper."""

from __future__ import annotations

from typing import Annotated

import typer

from tallystick import studies
from tallystick.cli.options import Device, Json, app, fail, listing


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

    if name is None:
        listing("recipes", {each: studies.load(each).title for each in studies.RECIPES}, as_json)
        return
    from tallystick.config import check_device
    from tallystick.launch.seeds import parse_seeds
    from tallystick.studies import reproduce as reproducing
    from tallystick.studies.results import Results

    check_device(device)
    chosen = models.split(",") if models else None
    numbers = parse_seeds(seeds) if seeds else None
    recipe, results = studies.load(name), Results(name, budget)
    failures = reproducing.reproduce(recipe, results, chosen, numbers, device, jobs)
    print(results.text() if as_json else results.place("md").read_text(), end="")
    if failures:
        raise SystemExit(fail(f"{len(failures)} missing in the results: {'; '.join(failures)}", 1))
