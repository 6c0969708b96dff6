"""The `report` command: show runs in one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tallystick.cli.console import result
from tallystick.cli.options import Json, app, check_distinct, print_json


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="run folders")],
    out: Annotated[Path | None, typer.Option(help="file to write; default: report.html in the first folder")] = None,
    problems: Annotated[int, typer.Option(min=1, help="random problems for each row of `check`")] = 1000,
    as_json: Json = False,
) -> None:
    """Show runs in one HTML file that opens from disk. Prints its path last."""
    from tallystick.report import build

    check_distinct(folders)
    written = build.write(folders, out or folders[0] / "report.html", problems)
    if as_json:
        print_json(written)
    else:
        result(written["report"])
