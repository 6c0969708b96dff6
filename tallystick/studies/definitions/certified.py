"""The study `certified`: models that are proved exact at every length, and how that comes about during training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tallystick import tasks
from tallystick.studies.framework import figure
from tallystick.studies.framework.cells import MISSING, Line, panels
from tallystick.studies.framework.experiment import At, Declared, Experiment, Setting
from tallystick.studies.framework.markdown import document, seeds, table
from tallystick.studies.framework.results import Results
from tallystick.studies.framework.schema import StoredRun, attempts_of
from tallystick.studies.framework.study import Study

FLOOR: dict[str, Setting] = {"dt_floor": 2.0, "d_state": 2, "dt_min": 0.5, "dt_max": 2.0, "min_margin": 5.0}
"""Settings with which a Mamba-2 forgets so fast that it can be bounded at every length."""
FURTHER: dict[str, dict[str, Setting]] = {"sort": {"A_max": 1.0, "dt_min": 0.01, "dt_max": 0.1, "train_length": 4}}
"""Settings of a task that differ. What decides in sort lies one token further back than two convolutions see, so the
states must carry it, which heads that begin with a larger A or step size do not learn."""
TASKS = ("reverse", "sort", "turing:bb5", "addition", "multiplication-1")
"""In this order they are measured and shown."""
MODEL = "mamba2:tiny"


def experiments(budget: str) -> list[Experiment]:
    """Declare a training with certificates for each task."""
    return [_of(name) for name in TASKS]


def _of(name: str) -> Experiment:
    defaults, settings = tasks.load(name).defaults, FLOOR | FURTHER.get(name, {})
    near = int(settings.get("train_length", defaults.train_length))
    far = next((length for length in sorted(defaults.eval) if length > near), 2 * near)
    at = At(near, 20, worst_cases=True), At(far, 20, worst_cases=True)
    return Experiment(
        task=name, model=MODEL, at=at, settings=settings, certify=True,
        looks_back=True, line=name, panel="certified",
    )  # fmt: skip


HEAD = ("task", "seeds", "certified at every length", "checked", "least margins", "contexts", "steps, plain",
        "steps, certified", "k of the model", "measured", "worst cases")  # fmt: skip
READ = (
    "*Certified*: number of seeds whose model is proved to say exactly the program's tokens on every problem of the "
    "task's shape, whatever its length. *Checked*: how many of these certificates separate code verified, as "
    "`tallystick certify --check` does, of those with which it tried. *Least margins*: in logits, after rounding, of "
    "each certified seed; they are small because bounds are refined until they are above 0, and no further. *Steps, "
    "plain*: when the held-out problems were exact with the margin; *certified*: when a certificate was first found, "
    "of seed 0 perhaps before that. *Measured*: exact random problems of all seeds, at the training length and beyond."
)


def page(declared: Sequence[Declared], results: Results) -> str:
    """Show a row for each task."""
    (lines,) = panels(declared, results).values()
    return document(READ, table(HEAD, map(_row, lines)))


def _row(line: Line) -> list[object]:
    runs, found = line.runs, [run["certified"] for run in line.runs if "certified" in run]
    random = [f"{place}: {cell.as_counts}" for place, cell in line.cells.items() if not place.worst_cases]
    worst = [cell.as_counts for place, cell in line.cells.items() if place.worst_cases]
    return [
        *(line.first.line, seeds(line.seeds), f"{len(found)} of {len(runs)}" if runs else MISSING, _checked(runs)),
        ", ".join(f"{margin:.2g}" for margin in found) or MISSING,
        *(_span(runs, _contexts), _span(runs, _plain_end), _span(runs, _first_certified), _span(runs, _looks_back)),
        *("; ".join(random) or MISSING, "; ".join(worst) or MISSING),
    ]


def _checked(runs: Sequence[StoredRun]) -> str:
    """Format how many certificates separate code verified, of those with which it tried."""
    tried = [run["checked"] for run in runs if "checked" in run]
    return f"{sum(tried)} of {len(tried)}" if tried else MISSING


def _span(runs: Sequence[StoredRun], value: Callable[[StoredRun], int | None]) -> str:
    """Format the range of a value over the runs that have it."""
    known = [each for run in runs if (each := value(run)) is not None]
    if not known:
        return MISSING
    return f"{min(known):,}" if min(known) == max(known) else f"{min(known):,}-{max(known):,}"


def _contexts(run: StoredRun) -> int | None:
    return attempts_of(run)[-1].contexts if attempts_of(run) else None


def _plain_end(run: StoredRun) -> int | None:
    """Return the step of the first attempt that held-out problems with the margin came before."""
    wanted = float(FLOOR["min_margin"])
    return next((each.step for each in attempts_of(run) if (each.held_out or 0.0) >= wanted), None)


def _first_certified(run: StoredRun) -> int | None:
    return next((each.step for each in attempts_of(run) if each.certified is not None), None)


def _looks_back(run: StoredRun) -> int | None:
    return run.get("looks_back")


def draw(title: str, declared: Sequence[Declared], results: Results, path: Path) -> None:
    """Draw for each task the margin of held-out problems against the step, and the share of contexts certified."""
    (all_lines,) = panels(declared, results).values()
    lines = [line for line in all_lines if line.runs] or all_lines
    with rc_context({"font.size": 8}):
        made = Figure(figsize=(2.2 * len(lines) + 0.8, 3.6), layout="constrained")
        axes = made.subplots(2, len(lines), squeeze=False, sharex="col", sharey="row")
        for column, line in enumerate(lines):
            axes[0, column].set_title(line.first.line)
            for run in line.runs:
                _curves(axes[0, column], axes[1, column], run)
            axes[1, column].set(xlabel="training step", xlim=(0, None), ylim=(0, 105))
        axes[0, 0].set_ylabel("held-out margin\n(star: certified)")
        axes[1, 0].set_ylabel("contexts\ncertified, %")
        made.suptitle(title, fontsize=10)
        figure.save(made, path)


def _curves(above: Axes, below: Axes, run: StoredRun) -> None:
    """Draw one seed's attempts; a star marks those that certified the model."""
    found, colour = attempts_of(run), f"C{run['seed'] % 10}"
    steps = [each.step for each in found]
    above.plot(steps, [each.held_out or 0.0 for each in found], ".-", color=colour, linewidth=1)
    below.plot(steps, [100 * (1 - each.open / each.contexts) for each in found], ".-", color=colour, linewidth=1)
    done = [each for each in found if each.certified is not None]
    above.plot([each.step for each in done], [each.held_out or 0.0 for each in done], "*", color=colour)


STUDIES = (
    Study(
        name="certified",
        title="Certified exact at every length",
        about="`tallystick train --certify` trains until the model is proved to be exact on every problem, whatever "
        "its length, or no steps are left. During the training of seed 0 it was tried at each validation, too.",
        experiments=experiments,
        budgets=("small",),
        table=page,
        figure=draw,
    ),
)
