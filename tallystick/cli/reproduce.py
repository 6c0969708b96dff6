"""The `reproduce` command: measure the tables and figures in results/."""

from __future__ import annotations

from typing import Annotated

import typer

from tallystick import studies
from tallystick.cli.console import result
from tallystick.cli.options import Device, Json, app, fail, listing


@app.command()
def reproduce(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="a study; without it, all are listed")] = None,
    budget: Annotated[str, typer.Option(help="small (minutes to hours) or paper (the paper's sizes)")] = "small",
    models: Annotated[str | None, typer.Option(help="only these of the study's models, such as lookup,mamba2")] = None,
    seeds: Annotated[str | None, typer.Option(help="0-4 or 0,3; default: the study's")] = None,
    device: Device = "cpu",
    jobs: Annotated[int, typer.Option(min=1, help="number of runs in parallel")] = 1,
    as_json: Json = False,
) -> None:
    """Measure what a study still lacks. Writes its table and figure into results/."""
    if name is None:
        listing("studies", {each: studies.load(each).title for each in studies.MODULES}, as_json)
        return
    study = studies.load(name)
    from tallystick.config import check_device
    from tallystick.launch.seeds import parse_seeds
    from tallystick.studies.framework.reproduce import reproduce as make

    check_device(device)
    chosen = models.split(",") if models else None
    failures = make(study, budget, chosen, parse_seeds(seeds) if seeds else None, device, jobs)
    text = study.stored(budget).text() if as_json else study.path(budget, "md").read_text(encoding="utf-8")
    result(text.rstrip("\n"))
    if failures:
        raise SystemExit(fail(f"{len(failures)} results are missing: {'; '.join(failures)}", 1))
