"""The `bench` command: speeds, beside the machine's limits and other implementations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tallystick.bench import KINDS
from tallystick.cli.console import note, result
from tallystick.cli.options import Device, Json, app, fail, print_json
from tallystick.storage import write_json, write_text

FOLDER = Path("results", "bench")


@app.command()
def bench(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help=f"one of {', '.join(KINDS)}; default: all")
    ] = None,
    device: Device = "cpu",
    quick: Annotated[bool, typer.Option(help="tiny sizes, which say little of speed; nothing is written")] = False,
    as_json: Json = False,
) -> None:
    """Measure speeds beside the machine's limits.

    Other implementations with the same weights take turns with ours. Writes into results/bench/.
    """
    if name is not None and name not in KINDS:
        raise ValueError(f"unknown kind of speed {name!r}; there are: {', '.join(KINDS)}")
    from tallystick.bench import measure, page
    from tallystick.config import check_device

    check_device(device)
    found = [measure.measure(kind, device, quick=quick, say=note) for kind in ([name] if name else KINDS)]
    documents = [measure.document(each) for each in found]
    if not quick:
        FOLDER.mkdir(parents=True, exist_ok=True)
        for document in documents:
            write_json(FOLDER / f"{document['kind']}-{device}.json", document)
            write_text(FOLDER / f"{document['kind']}-{device}.md", page.markdown(document))
    if as_json:
        print_json(documents)
    else:
        for row in (row for each in found for row in each.rows):
            result("\n".join(page.lines(row)))
    failures = [failure for each in found for failure in each.failures]
    if failures:
        raise SystemExit(fail("; ".join(failures), 1))
