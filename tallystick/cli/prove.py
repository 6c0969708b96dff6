"""The `prove` command: locality of a task's program at every length."""

from __future__ import annotations

from tallystick.cli.check import print_missing, say
from tallystick.cli.console import visible
from tallystick.cli.options import Annotate, Json, Seed, TaskName, Variant, app, load_task, print_json
from tallystick.locality.conflicts import Conflict
from tallystick.locality.proof import Proof, prove

EXIT = {"proved": 0, "refuted": 1, "unknown": 1}
SHORT = 100
"""Characters shown of a problem."""


@app.command(name="prove")
def command(
    task: TaskName, variant: Variant = None, annotate: Annotate = False, seed: Seed = 0, as_json: Json = False
) -> int:
    """Prove how many last tokens decide, at every length. Says why not if that fails."""
    proof = prove(load_task(task, variant, annotate), seed)
    if as_json:
        print_json(proof)
    else:
        _print(proof)
    return EXIT[proof["verdict"]]


def _print(proof: Proof) -> None:
    name = f"{proof['task']}, {proof['variant']}"
    if proof["verdict"] == "proved":
        say(
            f"{name}: proved local at every length: the last {proof['k']} tokens decide, {proof['contexts']:,} contexts"
        )
        if proof["copied"]:
            say(_renamed(proof["copied"]))
        say(_covered(proof))
        for missing in proof["missing"]:
            print_missing(missing["context"], missing["next"], missing["problem"])
        say("assuming that")
        for assumption in proof["assumptions"]:
            say(f"  {assumption}")
    else:
        say(f"{name}: {proof['verdict']}: {proof['reason']}")
        for conflict in proof["conflicts"]:
            _print_conflict(conflict)
    say(f"{proof['states']:,} control states, {proof['seconds']:.1f} s")


def _renamed(copied: list[str]) -> str:
    """Say in one line how to read contexts that are counted up to renaming."""
    other, said = map(visible, copied[:2])
    return (
        f"contexts are counted up to renaming of {len(copied)} symbols, which the program only copies: "
        f"{said} is the one said next, {other} any other"
    )


def _covered(proof: Proof) -> str:
    """Say in one line whether training problems have all contexts."""
    length = f"covered at length {proof['train_length']}"
    if not proof["lacking"]:
        if proof["copied"]:
            return f"{length}: yes, up to renaming"
        return f"{length}: yes, so lookup is exact at any length; a fixed-state model that learns it is predicted to be"
    lacking = f"{proof['lacking']:,} of {proof['contexts']:,} contexts are not among training problems"
    found = proof["covered"] is not None
    return f"{length}: {'no' if found else 'unknown'}, {lacking}{'' if found else '; no problem found has one of them'}"


def _print_conflict(conflict: Conflict) -> None:
    one, other = map(visible, conflict["next"])
    shown = [visible(problem) for problem in conflict["problems"]]
    shown = [problem if len(problem) <= SHORT else f"{problem[: SHORT - 3]}..." for problem in shown]
    where = f"within {shown[0]}" if shown[0] == shown[1] else f"in {shown[0]} and in {shown[1]}"
    say(f"  after the same {conflict['agree']} tokens comes {one} or {other} {where}")
