"""Figure 1 of the paper: coding agents by teacher and model, working in live sandboxes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tallystick.studies.framework import figure
from tallystick.studies.framework.cells import MISSING, Line, Place, panels, passed
from tallystick.studies.framework.experiment import At, Declared, Experiment, Setting
from tallystick.studies.framework.markdown import document, seeds, table
from tallystick.studies.framework.results import Results
from tallystick.studies.framework.schema import rows_of
from tallystick.studies.framework.study import Study

TEACHERS = {
    "one": "one edit between two runs",
    "three": "at most three files between two runs, the paper's interactive agent",
    "all": "one command a function",
    "single-turn": "all files read, all edits at once, nothing run",
}
MODELS = ("mamba2", "pythia")
LENGTHS = (4, 8, 16, 30)
FAR = 100
"""Length at which models of constant state are also measured, unless they learn from single turns."""
LARGE: dict[str, Setting] = {"batch_size": 32, "seq_len": 512, "validate_every": 200}
"""Batches of 16,384 tokens."""
ATTENDING: dict[str, Setting] = {"batch_size": 8, "seq_len": 2048, "lr": 1e-3, "validate_every": 200}
"""Batches of 16,384 tokens, in windows that hold most trajectories whole."""
STEPS = {"one": 2400, "three": 4000, "all": 2400, "single-turn": 3200}
"""Steps of such batches."""
WHOLE: dict[str, Setting] = {"min_margin": 1e9}
"""No training ends early: rows whose tests fail are to have at least the tokens that the others needed."""


def experiments(budget: str) -> list[Experiment]:
    """Declare every model with every teacher."""
    return [_experiment(teacher, model) for teacher in TEACHERS for model in MODELS]


def _experiment(teacher: str, model: str) -> Experiment:
    name, given = _settings(teacher, model)
    at = [At(length, 20, mode="generate") for length in LENGTHS]
    if model != "pythia" and teacher != "single-turn":
        at.append(At(FAR, 5, mode="generate"))
    settings = {**given, "workers": 4}
    return Experiment(
        task="codefix", variant=teacher, model=name, at=tuple(at), settings=settings, panel=teacher, seeds=(1, 2, 3)
    )


def _settings(teacher: str, model: str) -> tuple[str, dict[str, Setting]]:
    """Return the model's preset and the settings that differ from the defaults."""
    if model == "pythia":
        return "pythia:small", {**ATTENDING, **WHOLE, "steps": STEPS[teacher]}
    if teacher == "single-turn":
        return f"{model}:small", {**LARGE, **WHOLE, "d_state": 256, "steps": STEPS[teacher]}
    if teacher == "three":
        return f"{model}:small", {**LARGE, "d_state": 256, "steps": STEPS[teacher]}
    return f"{model}:tiny", {"steps": 3000, "validate_every": 100}


READ = (
    "A cell: codebases that were repaired, of all seeds together (range over seeds where they differ): the code runs, "
    "and foo prints the right v10 on every path. The models work free-running, each command in a sandbox of its own. "
    f"{MISSING}: not measured. *Held out*: problems of the training length that are exact, token for token, when "
    "training ends. *State*: what a session keeps at 30 functions."
)


def tables(declared: Sequence[Declared], results: Results) -> str:
    """Show a section per teacher, and a row per model."""
    parts = [READ]
    for teacher, lines in panels(declared, results, passed).items():
        places = sorted({place for line in lines for place in _planned(line)})
        head = ["", "seeds", "tokens, million", "train, s", "held out", "state, KB", *(str(p.length) for p in places)]
        rows = [[*_trained(line), *(_count(line, place) for place in places)] for line in lines]
        parts += [f"## {teacher}: {TEACHERS[teacher]}", table(head, rows)]
    return document(*parts)


def _planned(line: Line) -> list[Place]:
    return [Place(at.length, mode=at.mode) for at in line.first.at]


def _count(line: Line, place: Place) -> str:
    return line.cells[place].as_counts if place in line.cells else MISSING


def _trained(line: Line) -> list[str]:
    held_out = [f"{t.held_out['exact']:.0f}/{t.held_out['samples']:.0f}" for t in line.trainings if t.held_out]
    return [
        *(line.first.line, seeds(line.seeds), line.span(lambda training: (training.tokens or 0) / 1e6)),
        *(line.span(lambda training: training.seconds), ", ".join(dict.fromkeys(held_out)) or MISSING, _state(line)),
    ]


def _state(line: Line) -> str:
    sizes = [row.state_bytes or 0 for run in line.runs for row in rows_of(run) if row.length == LENGTHS[-1]]
    return f"{max(sizes) / 1000:,.0f}" if sizes else MISSING


STUDIES = (
    Study(
        name="figure1",
        title="Figure 1: coding agents, trained on 4 to 16 functions",
        about="In the paper, Pythia-1.4B is better up to 16 functions and with single turns; beyond, Mamba-1.4B keeps "
        "much higher pass rates with interactive agents and fails with single turns. Its numbers were not published as "
        "a table. Here the models are a thousand times smaller and trained from scratch, on teachers written for this "
        "bug: what is compared is what they do beyond the training length, not how well they read code.",
        experiments=experiments,
        budgets=("small",),
        table=tables,
        figure=partial(figure.draw, count=passed),
    ),
)
