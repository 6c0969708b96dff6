"""check: locality and coverage, before training."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from tallystick import locality
from tallystick.cli.console import OUT
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
from tallystick.locality.checks import CheckReport


@app.command()
def check(
    task: TaskName,
    variant: Variant = None,
    annotate: Annotate = False,
    lengths: Lengths = None,
    problems: Annotated[int, typer.Option(min=1, help="random problems for each row")] = 1000,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Tell before training what will generalise: how far back must a model look, and was it all seen?"""
    loaded = load_task(task, variant, annotate)
    report = locality.check(loaded, read_lengths(lengths, loaded, loaded.defaults.check), problems, seed)
    if annotate:
        report["notes"] = [name for name in loaded.notes if name not in load_task(task, variant, False).notes]
    if as_json:
        print_json(report)
    else:
        print_report(report)


def print_report(report: CheckReport) -> None:
    """The rows of `check`, its verdict, and the contexts that make a task not local."""
    table = Table("length <=", "problems", "worst_cases", "k", "k, random", "contexts", "unseen", "coverage", box=None)
    for row in report["rows"]:
        cells = (row["length"], row["problems"], row["worst_cases"], row["k"], row["k_random"], row["contexts"])
        table.add_row(*map(str, cells), str(row["unseen"]), f"{100 * row['coverage']:.4g} %")
    for column in table.columns:
        column.justify = "right"
    OUT.print(table)
    if "notes" in report:
        OUT.print(_notes(report["notes"]), markup=False)
    words = {True: "yes", False: "no", None: "not decided, that takes three lengths"}
    OUT.print(
        f"\nlocal: {words[report['local']]}.  covered at length {report['train_length']}: {words[report['covered']]}."
    )
    OUT.print(_prediction(report["local"], report["covered"]))
    for context in report["ambiguous"]:
        place = f"{context['distance']} tokens back" if context["distance"] >= 0 else "nothing"
        OUT.print(f"  after  {' '.join(context['context'])}  comes  {'  or  '.join(context['next'])}", markup=False)
        OUT.print(f"    what decides it: {place}", markup=False)


def _notes(notes: list[str], most: int = 6) -> str:
    """Which there are; where each is said stands in a trajectory (`show`)."""
    if not notes:
        return "\nnotes: none, for the last few tokens decide everything."
    more = f" and {len(notes) - most} more" if len(notes) > most else ""
    return f"\nnotes: {', '.join(notes[:most])}{more}; `show --annotate` has them where they are said."


def _prediction(local: bool | None, covered: bool) -> str:
    if local is None:
        return "Nothing is predicted from fewer than three lengths."
    if local and covered:
        return "Predicted: lookup solves it at any length, and so does every fixed-state model that learns it."
    if local:
        return "Predicted: lookup fails on contexts it never saw; a model must generalise over contents."
    return "Predicted: fails beyond the training length; these contexts need more than a fixed number of last tokens:"
