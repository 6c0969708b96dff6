"""The README's figure: exactness and state size by length, for a model of constant state and a Transformer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tallystick import studies
from tallystick.studies.framework import figure
from tallystick.studies.framework.cells import Cell, Line, panels
from tallystick.studies.framework.experiment import Declared
from tallystick.studies.framework.results import Results
from tallystick.studies.framework.schema import rows_of

LONGEST = 10_000_000
STYLES: dict[str, dict[str, Any]] = {
    "mamba2": {"label": "Mamba-2, through tools", "color": "C0", "marker": "o"},
    "pythia": {"label": "Transformer, through the same tools", "color": "C3", "marker": "s"},
}
"""Styles of the models in the figure, by the beginning of their names."""


def draw(title: str, declared: Sequence[Declared], results: Results, path: Path) -> None:
    """Write the PNG from the results of `headline`, and those of `far` beyond 10,000 digits."""
    far = studies.load("far")
    lines = [*_lines(declared, results), *_lines(far.declared("paper"), far.stored("paper"))]
    with rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        picture = Figure(figsize=(9, 3.3), layout="constrained")
        exact, state = picture.subplots(1, 2)
        for name, style in STYLES.items():
            mine = [line for line in lines if line.first.model.startswith(name)]
            _exactness(exact, mine, style)
            _state(state, mine, style)
        trained = lines[0].first.train_length
        for axis in (exact, state):
            axis.axvline(trained, color="grey", linewidth=0.8, linestyle=":")
            axis.set(xscale="log", xlim=(3, 2 * LONGEST), xlabel="digits of both numbers")
            axis.grid(alpha=0.25)
        exact.set(ylim=(-4, 106), ylabel="% exact, every token right")
        exact.annotate("longest in training", (trained, 86), xytext=(6, 0), textcoords="offset points", color="grey")
        state.set(yscale="log", ylabel="state")
        state.yaxis.set_major_formatter(FuncFormatter(lambda size, _: _bytes(size)))
        exact.legend(loc="center right", frameon=False, title="bars: 95 % intervals")
        picture.suptitle(title)
        figure.save(picture, path, dpi=110)


def _lines(declared: Sequence[Declared], results: Results) -> list[Line]:
    """Return the lines of addition with the figure's models."""
    lines = panels(declared, results).get("addition", [])
    return [line for line in lines if line.first.model.startswith(tuple(STYLES))]


def _exactness(axis: Axes, lines: Sequence[Line], style: Mapping[str, Any]) -> None:
    """Draw all seeds together with 95 % intervals; of two sizes measured at a length, the one with more problems."""
    cells: dict[int, Cell] = {}
    for line in lines:
        for place, cell in line.cells.items():
            if not place.worst_cases and cell.problems > getattr(cells.get(place.length), "problems", 0):
                cells[place.length] = cell
    lengths = sorted(cells)
    percents = [100 * cells[n].exact / cells[n].problems for n in lengths]
    axis.plot(lengths, percents, markersize=4, **style)
    for length in lengths:
        axis.vlines(length, *cells[length].interval, color=style["color"], linewidth=3, alpha=0.35)


def _state(axis: Axes, lines: Sequence[Line], style: Mapping[str, Any]) -> None:
    """Draw the bytes that a model carries from token to token at the end of the longest problem.

    Of several sizes that were measured at a length the smallest is drawn; a dashed line goes on from the last length.
    """
    sizes: dict[int, int] = {}
    for row in (row for line in lines for run in line.runs for row in rows_of(run)):
        if row.state_bytes is not None:
            sizes[row.length] = min(row.state_bytes, sizes.get(row.length, row.state_bytes))
    # an episode is read up to its first wrong token, so a cache may have been smaller at a greater length
    lengths = [n for n in sorted(sizes) if sizes[n] == max(size for length, size in sizes.items() if length <= n)]
    axis.plot(lengths, [sizes[n] for n in lengths], markersize=4, **style)
    last, before = lengths[-1], lengths[-2]
    slope = (sizes[last] - sizes[before]) / (last - before)  # bytes per digit, 0 for a constant state
    further = [last, *(n for n in (10**e for e in range(1, 8)) if n > last)]
    beyond = [sizes[last] + slope * (n - last) for n in further]
    axis.plot(further, beyond, color=style["color"], linestyle="--", linewidth=1)
    axis.annotate(_bytes(beyond[-1]), (LONGEST, beyond[-1]), xytext=(-8, 5), textcoords="offset points", ha="right")


def _bytes(size: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.3g} {unit}"
        size /= 1000
    raise AssertionError
