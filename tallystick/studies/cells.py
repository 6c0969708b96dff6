"""What tables and figures are made of: the share of exact problems, at each length, over all seeds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tallystick.evaluation.statistics import wilson
from tallystick.studies.base import Run
from tallystick.studies.measure import COLUMNS

if TYPE_CHECKING:
    from tallystick.studies.results import Results

Place = tuple[int, bool]
"""A length, and whether its worst cases."""


class Cell(NamedTuple):
    """What all seeds of a job did at one length."""

    percents: list[float]
    """Exact, of each seed."""
    exact: int
    problems: int
    tokens: int
    """Model tokens looked at."""
    scores: list[float]
    """Partial scores in percent, of each seed; where they are not known, those of the exact problems alone."""

    @property
    def median(self) -> float:
        """Over seeds."""
        return statistics.median(self.percents)

    def __str__(self):
        low, high = wilson(self.exact, self.problems)
        spread = f" ({min(self.percents):.0f}-{max(self.percents):.0f})" if len(set(self.percents)) > 1 else ""
        return f"{self.median:.0f}{spread} [{100 * low:.0f}-{100 * high:.0f}]"


def cells(runs: list[dict[str, Any]]) -> dict[Place, Cell]:
    """By length, and whether of the worst cases."""
    by_place: dict[Place, list[dict[str, Any]]] = {}
    for run in runs:
        for row in (row for values in run["rows"] for row in apart(values)):
            by_place.setdefault((row["length"], row["worst_cases"]), []).append(row)
    return {place: _cell(rows) for place, rows in sorted(by_place.items())}


def apart(values: list[Any]) -> Iterator[dict[str, Any]]:
    """A row of the results as one for each of its lengths, by column."""
    row = dict(zip(COLUMNS, values, strict=True))
    lengths = row["length"] if isinstance(row["length"], list) else [row["length"]]
    for i in range(len(lengths)):
        yield {name: value[i] if isinstance(value, list) else value for name, value in row.items()}


def _cell(rows: list[dict[str, Any]]) -> Cell:
    percents = [100 * row["exact"] / row["samples"] for row in rows]
    exact, samples, tokens = (sum(row[name] for row in rows) for name in ("exact", "samples", "model_tokens"))
    scores = [p if row["score"] is None else 100 * row["score"] for p, row in zip(percents, rows, strict=True)]
    return Cell(percents, exact, samples, tokens, scores)


def together(cells: Sequence[Cell]) -> Cell:
    """Lengths that have the same seeds, and as many problems each, as one."""
    return Cell(
        _means(cell.percents for cell in cells),
        sum(cell.exact for cell in cells),
        sum(cell.problems for cell in cells),
        sum(cell.tokens for cell in cells),
        _means(cell.scores for cell in cells),
    )


def _means(lists: Iterable[list[float]]) -> list[float]:
    return [statistics.mean(seed) for seed in zip(*lists, strict=True)]


def lines(jobs: list[Run], results: Results) -> list[tuple[Run, list[dict[str, Any]]]]:
    """For each line its first job, and what was done for all of its pieces."""
    by_line: dict[str, list[Run]] = {}
    for job in jobs:
        by_line.setdefault(job.line, []).append(job)
    return [(mine[0], [run for job in mine for run in results.of(job)]) for mine in by_line.values()]


def panels(runs: list[Run]) -> list[tuple[str, list[Run]]]:
    """The runs by panel, both in the order in which they come."""
    by_panel: dict[str, list[Run]] = {}
    for run in runs:
        by_panel.setdefault(run.panel, []).append(run)
    return list(by_panel.items())
