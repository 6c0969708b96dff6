"""Cells of tables and points of figures: the share of exact problems at one place, over all seeds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tallystick.evaluation.statistics import poisson_bound, wilson
from tallystick.studies.framework.experiment import Declared, Experiment
from tallystick.studies.framework.results import Results
from tallystick.studies.framework.schema import Outcome, Row, StoredRun, Training, rows_of, training_of

MISSING = "-"
"""Text shown where nothing was measured."""


Count = Callable[[Row], int]
"""A function that counts the problems of a row that are right."""


def exact(row: Row) -> int:
    """Count exact problems: every token that the model has to say is right."""
    return row.exact


def passed(row: Row) -> int:
    """Count problems that are solved, whatever was said on the way; only free-running episodes tell."""
    assert row.answer is not None, "answers are judged in mode generate"
    return round(row.answer * row.samples)


class Place(NamedTuple):
    """A place of measurement: a length, random problems or worst cases, and the mode."""

    length: int
    worst_cases: bool = False
    mode: str = "verify"

    def __str__(self) -> str:
        mode = "" if self.mode == "verify" else f", {self.mode}"
        return f"{self.length:,}{' worst cases' if self.worst_cases else ''}{mode}"


@dataclass(frozen=True)
class Cell:
    """The results of all seeds of an experiment at one place."""

    counts: tuple[int, ...]
    """Number of exact problems of each seed."""
    problems: int
    """Number of problems of all seeds together."""
    tokens: int | None
    """Number of model tokens compared, over all seeds; a problem counts up to its first error. None if unknown."""
    percents: tuple[float, ...]
    """Percentage of exact problems of each seed."""
    scores: tuple[float, ...]
    """Partial score of each seed, in percent; where it is unknown, the percentage of exact problems."""
    min_margin: float | None

    @property
    def exact(self) -> int:
        """Number of exact problems of all seeds together."""
        return sum(self.counts)

    @property
    def is_exact(self) -> bool:
        """Whether every problem of every seed is exact."""
        return self.exact == self.problems

    @property
    def median(self) -> float:
        """Percentage of exact problems, median over seeds."""
        return statistics.median(self.percents)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the percentage of exact problems, over all problems together."""
        low, high = wilson(self.exact, self.problems)
        return 100 * low, 100 * high

    def __str__(self) -> str:
        low, high = self.interval
        spread = f" ({min(self.percents):.0f}-{max(self.percents):.0f})" if len({*self.percents}) > 1 else ""
        return f"{self.median:.0f}{spread} [{low:.0f}-{high:.0f}]"

    @property
    def as_counts(self) -> str:
        """Number of exact problems of all seeds together, with the range over seeds if they differ, as text."""
        spread = f" ({min(self.counts)}-{max(self.counts)} a seed)" if len({*self.counts}) > 1 else ""
        return f"{self.exact}/{self.problems}{spread}"


def error_bound(cells: Sequence[Cell]) -> str:
    """Format the 95 % upper bound on the errors per token of all cells together."""
    errors, tokens = sum(cell.problems - cell.exact for cell in cells), add_known(cell.tokens for cell in cells)
    return f"{poisson_bound(errors) / tokens:.0e}" if tokens else MISSING


def cells(runs: Iterable[Outcome], count: Count = exact) -> dict[Place, Cell]:
    """Return a cell for each place where the runs were measured, the shortest length first.

    count: what is counted in the place of exact problems.
    """
    by_place: dict[Place, list[Row]] = {}
    for run in runs:
        for row in rows_of(run):
            by_place.setdefault(Place(row.length, row.worst_cases, row.mode), []).append(row)
    return {place: _cell(rows, count) for place, rows in sorted(by_place.items())}


def _cell(rows: Sequence[Row], count: Count) -> Cell:
    counts = tuple(map(count, rows))
    percents = tuple(100 * right / row.samples for right, row in zip(counts, rows, strict=True))
    return Cell(
        counts=counts,
        problems=sum(row.samples for row in rows),
        tokens=add_known(row.model_tokens for row in rows),
        percents=percents,
        scores=tuple(p if row.score is None else 100 * row.score for p, row in zip(percents, rows, strict=True)),
        min_margin=_least(row.min_margin for row in rows),
    )


def together(cells: Sequence[Cell]) -> Cell:
    """Pool cells with the same seeds and equally many problems each."""
    return Cell(
        counts=tuple(map(sum, zip(*(cell.counts for cell in cells), strict=True))),
        problems=sum(cell.problems for cell in cells),
        tokens=add_known(cell.tokens for cell in cells),
        percents=_means(cell.percents for cell in cells),
        scores=_means(cell.scores for cell in cells),
        min_margin=_least(cell.min_margin for cell in cells),
    )


def add_known(values: Iterable[int | None]) -> int | None:
    """Return the sum; None if one of the values is unknown."""
    known = list(values)
    return None if None in known else sum(value or 0 for value in known)


def _least(values: Iterable[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _means(lists: Iterable[tuple[float, ...]]) -> tuple[float, ...]:
    return tuple(statistics.mean(seed) for seed in zip(*lists, strict=True))


class Line(NamedTuple):
    """A row of a table, or a line of a figure: one or several experiments with the same name there."""

    experiments: list[Experiment]
    runs: list[StoredRun]
    cells: dict[Place, Cell]

    @property
    def first(self) -> Experiment:
        """The experiment that names the line; the others measure further parts of it."""
        return self.experiments[0]

    @property
    def seeds(self) -> list[int]:
        """Seeds of the runs."""
        return sorted({run["seed"] for run in self.runs})

    @property
    def trainings(self) -> list[Training]:
        """Final state of each run's training."""
        return [training_of(run) for run in self.runs]

    def span(self, column: Callable[[Training], float | None]) -> str:
        """Format the rounded range of a training value over the seeds; MISSING if no seed has it."""
        found = [value for training in self.trainings if (value := column(training)) is not None]
        return f"{min(found):.0f}-{max(found):.0f}" if found else MISSING


def panels(declared: Iterable[Declared], results: Results, count: Count = exact) -> dict[str, list[Line]]:
    """Group the experiments by panel and line, both in order of first appearance.

    count: what is counted in the place of exact problems.
    """
    groups: dict[str, dict[str, list[Experiment]]] = {}
    for each in declared:
        if isinstance(each, Experiment):
            groups.setdefault(each.panel, {}).setdefault(each.line, []).append(each)
    return {panel: [_line(group, results, count) for group in lines.values()] for panel, lines in groups.items()}


def _line(experiments: list[Experiment], results: Results, count: Count) -> Line:
    runs = [run for experiment in experiments for run in results.of(experiment)]
    return Line(experiments, runs, cells(runs, count))
