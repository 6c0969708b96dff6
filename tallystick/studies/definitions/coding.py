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
MODELS = ("mamba2", "mamba1", "lstm", "pythia")
LENGTHS = (4, 8, 16, 30)
FAR = 100
SINGLE = "single-turn"
STEPS = 5000
"""Maximum steps of a Transformer and with single turns: 82 million tokens, ten times what mamba2 needs with `one`."""
CONVERGED: dict[str, Setting] = {"decay_at_error": 1e-4, "min_margin": 1.0}
"""A training ends once all held-out problems are exact, as codefix's own settings have it."""
WHOLE: dict[str, Setting] = {"min_margin": 1e9}
"""No single-turn training ends early."""
LARGE: dict[str, Setting] = {"batch_size": 32, "seq_len": 512, "lr": 3e-3, "validate_every": 200}
"""Batches of 16,384 tokens."""
ATTENDING: dict[str, Setting] = {
    "batch_size": 8, "seq_len": 2048, "lr": 1e-3, "validate_every": 200, "precision": "bf16",
}  # fmt: skip
"""Batches of 16,384 tokens, in windows that hold most trajectories whole."""
CONSTANT: dict[str, tuple[str, dict[str, Setting]]] = {
    "mamba2": ("tiny", {"batch_size": 32, "seq_len": 256, "steps": 4000, "validate_every": 100}),
    "mamba1": (
        "small",
        {**CONVERGED, "batch_size": 32, "seq_len": 256, "lr": 2e-3, "steps": 4000, "validate_every": 100},
    ),
    "lstm": (
        "small",
        {**CONVERGED, "batch_size": 128, "seq_len": 256, "lr": 3e-3, "forget_bias": 3.0, "steps": 4000,
         "validate_every": 100},
    ),
}  # fmt: skip
"""Presets and settings of the models of constant state; with smaller batches an LSTM does not learn to copy names."""
WIDE: dict[str, dict[str, Setting]] = {"mamba2": {"d_state": 256}, "mamba1": {"d_state": 64}, "lstm": {"d_model": 512}}
"""Larger states, for files that have to be kept in mind."""


def experiments(budget: str) -> list[Experiment]:
    """Declare every model with every teacher; problems of 100 functions apart, since they take long."""
    pairs = [(teacher, model) for teacher in TEACHERS for model in MODELS]
    near = [
        _experiment(teacher, model, [At(length, 20, mode="generate") for length in LENGTHS]) for teacher, model in pairs
    ]
    far = [
        _experiment(teacher, model, [At(FAR, 5, mode="generate")], piece=f"{FAR} functions")
        for teacher, model in pairs
        if teacher != SINGLE
    ]
    return near + far


def _experiment(teacher: str, model: str, at: Sequence[At], piece: str = "") -> Experiment:
    name, given = _settings(teacher, model)
    return Experiment(
        task="codefix", variant=teacher, model=name, at=tuple(at), settings={**given, "workers": 4},
        panel=teacher, piece=piece, seeds=(1, 2, 3),
    )  # fmt: skip


def _settings(teacher: str, model: str) -> tuple[str, dict[str, Setting]]:
    """Return the model with its preset, and the settings that differ from the defaults."""
    if model == "pythia":
        return "pythia:small", {**ATTENDING, **(WHOLE if teacher == SINGLE else CONVERGED), "steps": STEPS}
    if teacher == SINGLE:
        return f"{model}:small", {**LARGE, **WHOLE, **WIDE[model], "steps": STEPS}
    preset, given = CONSTANT[model]
    return f"{model}:{preset}", given


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
    return [Place(at.length, mode=at.mode) for experiment in line.experiments for at in experiment.at]


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
