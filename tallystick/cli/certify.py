"""The `certify` command: whether a trained model is exact at every length."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tallystick.cli.check import say
from tallystick.cli.console import note, visible, visible_line
from tallystick.cli.options import Json, Seed, app, fail, print_json
from tallystick.storage import parse_json

if TYPE_CHECKING:  # imports torch, which takes a second
    from tallystick.locality.certify.certificate import OpenContext, Verdict
    from tallystick.runs import Run

NAMED = 8
"""Number of open contexts that are printed."""


@app.command(name="certify")
def command(
    folder: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="a run folder")] = None,
    check: Annotated[Path | None, typer.Option(help="a certificate.json to verify, by other code")] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> int:
    """Prove that a trained model is exact at every length.

    Otherwise the contexts that stay open are named, with problems that show real errors, and the exit code is 1. A
    certificate is written into the run folder.
    """
    if (folder is None) == (check is None):
        raise ValueError("give a run folder to certify, or --check with the certificate.json of one")
    if check is not None:
        return _check(check, as_json)
    assert folder is not None
    return _certify(folder, seed, as_json)


def _certify(folder: Path, seed: int, as_json: bool) -> int:
    from tallystick.evaluation.certified import certify_run
    from tallystick.locality import Refusal

    run = _load(folder)
    try:
        verdict = certify_run(run, seed, note)
    except Refusal as refusal:
        raise ValueError(f"{folder} cannot be certified: {refusal}") from None
    if as_json:
        print_json(verdict)
    else:
        _print(run, verdict)
    return 0 if verdict["verdict"] == "certified" else 1


def _load(folder: Path) -> Run:
    import torch

    from tallystick import runs

    run = runs.load(folder)
    torch.set_num_threads(run.config.settings.threads)
    return run


def _print(run: Run, verdict: Verdict) -> None:
    name = f"{run.path}: {run.config.task}, {run.config.variant}"
    seconds = f"{verdict['contexts']:,} contexts, {verdict['seconds']:.1f} s"
    if verdict["verdict"] == "certified":
        say(f"{name}: certified exact at every length: each margin is at least {verdict['min_margin']:.2g} logits")
        say("assuming that")
        for assumption in verdict["assumptions"]:
            say(f"  {assumption}")
    else:
        real = sum(row["real_error"] is True for row in verdict["open"])
        say(f"{name}: not certified: {len(verdict['open']):,} contexts are open, {real:,} of them real errors")
        for row in verdict["open"][:NAMED]:
            _print_open(row)
    say(seconds)


def _print_open(row: OpenContext) -> None:
    kind = "undecided" if row["problem"] is None else f"a real error, on {visible(row['problem'])[:100]}"
    want, rival = visible(row["want"]), visible(row["rival"])
    say(f"  after  {visible_line(row['context'])}  comes {want}, perhaps {rival} is said: {kind}")


def _check(file: Path, as_json: bool) -> int:
    from tallystick.evaluation.certified import verify

    try:
        document = parse_json(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{file} is not a certificate: {error}") from None
    run = _load(file.parent)
    against = verify(document, run, note)
    if as_json:
        print_json({"verified": not against, "reason": against})
    elif against:
        fail(f"{file} is not verified: {against}", 1)
    else:
        say(f"{file} is verified: {run.config.task} is certified exact at every length")
    return 1 if against else 0
