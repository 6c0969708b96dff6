"""The `check` command: locality and coverage, before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import typer

from tallystick import locality, tasks
from tallystick.cli.console import OUT, table, visible, visible_line
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
from tallystick.locality.checks import Ambiguous, CheckReport
from tallystick.locality.verdict import predict

SHOWN = 12
"""Number of last tokens shown of a context."""
FEW = 6
"""Maximum number of notes, ambiguous contexts and missing contexts shown; --json has more."""


@app.command()
def check(
    task: TaskName,
    variant: Variant = None,
    annotate: Annotate = False,
    lengths: Lengths = None,
    problems: Annotated[int, typer.Option(min=1, help="random problems for each row")] = 1000,
    train_length: Annotated[int | None, typer.Option(help="longest training problems, for coverage")] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Predict length generalization before training. Says how many last tokens decide, and if training meets all."""
    loaded = load_task(task, variant, annotate)
    trained = None if train_length is None else loaded.check_length(train_length)
    report = locality.check(loaded, read_lengths(lengths, loaded, loaded.defaults.check), problems, seed, trained)
    if annotate:
        plain = load_task(task, variant, False)
        report["notes"] = [name for name in loaded.notes if name not in plain.notes]
    proof = locality.prove(loaded, seed, quick=True)
    if proof["verdict"] == "proved":
        report["proved"] = proof["k"] or 0
    if as_json:
        print_json(report)
    else:
        _print(loaded, report)


def _print(task: tasks.Task, report: CheckReport) -> None:
    _print_rows(report)
    own = "the task's own and generic ones" if report["own_worst_cases"] else "generic ones; the task gives none"
    say(f"\nworst cases: {own if task.live else 'none; only the recorded problems are known'}")
    if task.text:
        say("k counts words, signs and spaces; contexts that differ only in names (words with a digit) are alike")
    if "notes" in report:
        say(_notes(report["notes"], report["local"]))
    last, length = report["rows"][-1], report["train_length"]
    local = {True: f"yes, k = {last['k']}", False: "no", None: "undecided"}[report["local"]]
    if (k := report.get("proved")) is not None:
        say(f"proved at every length: the last {k} tokens decide; `prove` has more")
    say(f"local: {local}{f': {reason}' if (reason := report['reason']) else ''}")
    lacking = f"no, {last['unseen']:,} of {last['contexts']:,} contexts"
    covered = "yes" if report["covered"] else f"{lacking} are not among its {report['train_problems']:,} problems"
    say(f"covered at length {length}: {covered}")
    say(_prediction(report))
    for context in _grouped(report["ambiguous"])[:FEW]:
        _print_ambiguous(context)
    if report["local"]:
        for missing in report["missing"][:FEW]:
            print_missing(missing["context"], missing["next"][0], missing["problem"])


def _print_rows(report: CheckReport) -> None:
    heads = ("length <=", "problems", "worst cases", "k", "k, random", "contexts", "unseen", "coverage")
    counts = ("length", "problems", "worst_cases", "k", "k_random", "contexts", "unseen")
    table(heads, [[*(str(row[name]) for name in counts), percent(row["coverage"])] for row in report["rows"]])


def percent(share: float) -> str:
    """Format a share in percent, rounded down, so that 100 % means all."""
    return f"{math.floor(share * 1e6) / 1e4:.6g} %"


def say(line: str) -> None:
    """Print one line of a result as it is."""
    OUT.print(line, markup=False, soft_wrap=True)


def _notes(notes: list[str], local: bool | None) -> str:
    """Describe the notes of an annotated program in one line."""
    if not notes:
        why = "the last few tokens decide everything" if local else "no note would decide what comes next"
        return f"notes: none, since {why}"
    more = f" and {len(notes) - FEW} more" if len(notes) > FEW else ""
    return f"notes: {', '.join(notes[:FEW])}{more}; `show --annotate` prints them in place"


def _prediction(report: CheckReport) -> str:
    """Explain in one sentence what the verdict means for a trained model."""
    beyond = report["train_length"] + 1
    run = {"model": "", "train_length": report["train_length"], "fixed_state": True}
    share = percent(1 - report["rows"][-1]["problems_covered"])
    return {
        "exact": "Predicted: exact at any length, lookup and every fixed-state model that learns it.",
        "fails": "Predicted: fails from some length on. These contexts take more and more last tokens to decide:",
        "open": f"Nothing is predicted: {share} of the problems have contexts that do not occur in training. lookup "
        "stops there, and a model must generalise over contents:",
        "undecided": "Nothing is predicted.",
        "none": "Nothing is predicted.",
    }[predict(run, report, beyond)]


def _grouped(contexts: Sequence[Ambiguous]) -> list[Ambiguous]:
    """Shorten contexts to their last tokens, and merge those that differ in one place into one, written {a|b}."""
    groups: list[tuple[list[set[str]], Ambiguous]] = []
    for context in contexts:
        words = context["context"][-SHOWN:]
        for places, first in groups:
            differing = [i for i, word in enumerate(words) if len(places) == len(words) and word not in places[i]]
            varying = {i for i, place in enumerate(places) if len(place) > 1}
            if len(places) == len(words) and first["next"] == context["next"] and len({*differing} | varying) <= 1:
                for i, word in enumerate(words):
                    places[i].add(word)
                break
        else:
            groups.append(([{word} for word in words], context))
    return [{**context, "context": [_either(place) for place in places]} for places, context in groups]


def _either(words: set[str]) -> str:
    return next(iter(words)) if len(words) == 1 else f"{{{'|'.join(sorted(words))}}}"


def _print_ambiguous(context: Ambiguous) -> None:
    distance = context["distance"]
    say(f"  after  {_text(context['context'])}  comes  {'  or  '.join(map(visible, context['next']))}")
    say(f"    what decides it lies {distance} tokens back" if distance >= 0 else "    nothing before decides it")


def print_missing(context: list[str], following: str, problem: str | None) -> None:
    """Print a context that training lacks, what follows it, and a problem that has it."""
    shown = "no problem found" if problem is None else visible(problem)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    say(f"  missing  {_text(context)}  then  {visible(following)}  in  {shown}")


def _text(words: Sequence[str]) -> str:
    return f"{'... ' if len(words) > SHOWN else ''}{visible_line(words[-SHOWN:])}"
