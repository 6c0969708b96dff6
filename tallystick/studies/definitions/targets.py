"""The README's tables: addition far beyond training, every task at its target length, and remedies."""

from __future__ import annotations

from collections.abc import Sequence

from tallystick.studies.definitions import picture
from tallystick.studies.framework.cells import MISSING, Line, Place, panels
from tallystick.studies.framework.experiment import At, Declared, Experiment, Setting
from tallystick.studies.framework.markdown import COUNTS, document, seeds, table
from tallystick.studies.framework.results import Results
from tallystick.studies.framework.study import Study

ONE_SET = 0
"""Seed of the problems, the same for every run."""

HEADLINE = (5, 20, 100, 1000, 10_000)
FIVE = (0, 1, 2, 3, 4)


def headline(budget: str) -> list[Experiment]:
    """Declare addition at up to 10,000 digits."""
    *short, longest = HEADLINE
    near = tuple(At(length, 50, worst_cases=True) for length in short)
    whole = (*near, At(longest, 5, worst_cases=True))
    return [
        _addition("lookup", whole, FIVE),
        _addition("mamba2:tiny", whole, (*FIVE, *range(2000, 2005))),  # seeds from 2000 on were used for nothing else
        # it does not learn at the task's learning rate of 0.006; attention over 20,000 tokens takes hours
        _addition("pythia:tiny", near, FIVE[:3], steps=2000, lr=0.003),
    ]


def _addition(model: str, at: tuple[At, ...], seeds: tuple[int, ...], **settings: Setting) -> Experiment:
    return Experiment(task="addition", model=model, at=at, settings=settings, seeds=seeds, problem_seed=ONE_SET)


def headline_table(declared: Sequence[Declared], results: Results) -> str:
    """Show a row per model, with the exact problems of all seeds together."""
    places = [*map(Place, HEADLINE), Place(1000, worst_cases=True)]
    lines = [line for group in panels(declared, results).values() for line in group]
    rows = [
        [line.first.line, seeds(line.seeds), line.span(lambda training: training.wall_seconds), *_counts(line, places)]
        for line in lines
    ]
    return document(
        f"{COUNTS} *Train*: seconds from prompt to trained folder.",
        table(["model", "seeds", "train, s", *map(str, places)], rows),
    )


def _counts(line: Line, places: Sequence[Place]) -> list[str]:
    return [line.cells[place].as_counts if place in line.cells else MISSING for place in places]


BB5 = (At(1_000_000, 1, worst_cases=True), At(20_000, 1, worst_cases=True, mode="generate"))
"""Lengths of bb5, whose worst case is the blank tape: it halts after 47 million steps."""
UNIVERSAL = (At(1000, 20, worst_cases=True), At(100_000, 20, worst_cases=True))


def _at(length: int) -> tuple[At, ...]:
    return (At(length, 50, worst_cases=True),)


TARGETS: tuple[tuple[str, str, tuple[At, ...]], ...] = (
    ("addition", "lstm:tiny", _at(1000)),
    ("addition", "gru:tiny", _at(1000)),
    ("reverse", "mamba2:tiny", _at(1000)),
    ("multiplication-1", "mamba2:tiny", _at(1000)),
    ("multiplication-2", "mamba2:tiny", _at(1000)),
    ("logic-graph", "mamba2:tiny", _at(1000)),
    ("sort", "mamba2:tiny", _at(300)),
    ("hanoi-recursive", "mamba2:tiny", _at(10)),
    ("turing:bb4", "mamba2:tiny", _at(107)),
    ("turing:bb4", "lookup", _at(107)),
    ("turing:bb5", "mamba2:tiny", BB5),
    ("turing:bb5", "lookup", BB5),
    ("turing-universal", "mamba2:tiny", UNIVERSAL),
)


def targets(budget: str) -> list[Experiment]:
    """Declare every task at its target length, with the task's own settings."""
    return [Experiment(task=task, model=model, at=at, problem_seed=ONE_SET) for task, model, at in TARGETS]


def fresh(budget: str) -> list[Experiment]:
    """Declare addition again, for seeds that were used for nothing else in development."""
    return [each for each in targets(budget) if each.task == "addition"]


def targets_table(declared: Sequence[Declared], results: Results) -> str:
    """Show a row per target and place, with all seeds together."""
    groups = panels(declared, results)
    rows = [_target(line, at) for group in groups.values() for line in group for at in line.first.at]
    head = ("task", "model", "trained on", "seeds", "train, CPU s", "exact at", "random problems", "worst cases")
    return document(
        f"{COUNTS} *Train*: seconds of all processors, data workers included. *Margin*: the smallest of a logit.",
        table([*head, "margin >="], rows),
    )


def _target(line: Line, at: At) -> list[str]:
    places = [Place(at.length, worst, at.mode) for worst in (False, True)]
    margins = [cell.min_margin for place in places if (cell := line.cells.get(place)) and cell.min_margin is not None]
    return [
        *(line.first.panel, line.first.line, f"<= {line.first.train_length}", seeds(line.seeds)),
        *(line.span(lambda training: training.cpu_seconds), str(places[0]), *_counts(line, places)),
        f"{min(margins):.1f}" if margins else MISSING,
    ]


LONG: dict[str, Setting] = {"dt_min": 0.001, "dt_max": 0.1}
"""Initial step sizes of the published Mamba-2: a memory of up to a thousand tokens, against twenty by default here."""
REMEDIES: dict[str, dict[str, Setting]] = {
    "default": {},
    "no state passing": {"state_passing": 0},
    "more state passing": {"state_passing": 0.9},
    "curriculum": {"curriculum": 3000},
    "long memory": LONG,
    "all together": {"state_passing": 0.9, "curriculum": 3000, **LONG},
}
REMEDY_LENGTHS = (5, 10, 20, 100, 300, 1000)


def remedies(budget: str) -> list[Experiment]:
    """Declare the paper's program of addition with each remedy."""
    at = tuple(At(length, 20, worst_cases=True) for length in REMEDY_LENGTHS)
    return [
        Experiment(
            task="addition", variant="paper", model="mamba2:tiny", at=at, settings={"steps": 1000, **given},
            problem_seed=ONE_SET, panel="addition, the paper's program", line=remedy,
        )
        for remedy, given in REMEDIES.items()
    ]  # fmt: skip


def remedies_table(declared: Sequence[Declared], results: Results) -> str:
    """Show a row per remedy with each seed's exact problems at each length, random ones and worst cases together."""
    (lines,) = panels(declared, results).values()
    head = ["remedy", "seeds", "steps", *(f"{length:,}" for length in REMEDY_LENGTHS)]
    read = (
        "Exact problems of each seed in turn, random ones and worst cases together; *steps*: of each seed's training."
    )
    return document(read, table(head, [_remedy(line) for line in lines]))


def _remedy(line: Line) -> list[str]:
    given = " ".join(f"{key}={value}" for key, value in REMEDIES[line.first.line].items())
    steps = ", ".join(str(training.step) for training in line.trainings) or MISSING
    name = f"{line.first.line} ({given})" if given else line.first.line
    return [name, seeds(line.seeds), steps, *(_each_seed(line, length) for length in REMEDY_LENGTHS)]


def _each_seed(line: Line, length: int) -> str:
    cells = [cell for place, cell in line.cells.items() if place.length == length]
    problems = sum(cell.problems for cell in cells) // max(1, len(line.seeds))
    exact = map(sum, zip(*(cell.counts for cell in cells), strict=True))
    return ", ".join(f"{count}/{problems}" for count in exact) or MISSING


STUDIES = (
    Study(
        name="headline",
        title="Addition, trained on at most 5 digits",
        about="Exact problems at each number of digits. lookup is a table of strings fitted to 4,000 problems; pythia "
        "is a Transformer with the cache that such a one needs. Seeds from 2000 on were used for nothing else. The "
        "picture adds mamba2:small beyond 10,000 digits, of the study `far`; dashed: computed, not measured.",
        experiments=headline,
        budgets=("small",),
        table=headline_table,
        figure=picture.draw,
    ),
    Study(
        name="targets",
        title="Every task at its target",
        about="Tasks and models trained on short problems with the settings that they bring, each seed in a few "
        "minutes of one core. *Generate* is free running, with the live tools. lstm's and gru's initial memory was "
        "chosen after the worst cases of these seeds had been seen; targets-fresh has other seeds.",
        experiments=targets,
        budgets=("small",),
        table=targets_table,
        figure=None,
    ),
    Study(
        name="targets-fresh",
        title="LSTM and GRU at their target, on fresh seeds",
        about="The same trainings as in targets, on seeds that nothing was chosen by.",
        experiments=fresh,
        seeds=(10, 11, 12, 13, 14, 15),
        budgets=("small",),
        table=targets_table,
        figure=None,
    ),
    Study(
        name="remedies",
        title="What is said to help beyond the training length, on a program that is not local",
        about="The paper's way of adding, trained on at most 5 digits.",
        experiments=remedies,
        budgets=("small",),
        table=remedies_table,
    ),
)
