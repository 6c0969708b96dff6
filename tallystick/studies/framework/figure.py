"""Figures of a study: small multiples of exactness by length, or a grid of percents.

Each line has axes of its own, one row of axes per panel, so that no line hides or displaces another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from tallystick.studies.framework.cells import Cell, Count, Line, exact, panels
from tallystick.studies.framework.experiment import Declared
from tallystick.studies.framework.results import Results

ACROSS = 4
"""Maximum number of axes in a row of axes, if there is only one panel."""
WRAPPED = 14
"""Maximum number of characters in a line of a panel's name."""
APART = 0.2
"""Minimum distance between two labelled lengths, as a share of the axis."""
RANDOM: dict[str, Any] = {"color": "C0", "marker": "o", "markersize": 4, "linewidth": 1.2}
WORST: dict[str, Any] = {"color": "C3", "marker": "x", "markersize": 5, "linewidth": 1.0, "linestyle": "none"}
STAR: dict[str, Any] = {"color": "C1", "marker": "*", "s": 90, "alpha": 0.8, "zorder": 0}
TRAINED: dict[str, Any] = {"color": "grey", "linewidth": 0.8, "linestyle": ":"}


def draw(
    title: str, declared: Sequence[Declared], results: Results, path: Path, *, count: Count = exact
) -> None:  # fmt: skip
    """Write a PNG of small multiples, with axes for each line of each panel.

    count: what is counted in the place of exact problems.
    """
    groups = panels(declared, results, count)
    longest = max(len(group) for group in groups.values())
    across = min(ACROSS, longest) if len(groups) == 1 else longest
    down = math.ceil(longest / across) if len(groups) == 1 else len(groups)
    with rc_context({"font.size": 8}):
        figure = Figure(figsize=(1.75 * across + 1.0, 1.5 * down + 0.9), layout="constrained")
        axes = figure.subplots(down, across, squeeze=False, sharey=True)
        for axis in axes.flat:
            axis.set_axis_off()
        for row, (panel, group) in enumerate(groups.items()):
            for axis, line in zip(axes.flat[row * across :], group, strict=False):
                _axes(axis, line, _lengths(group))
            if len(groups) > 1:
                axes[row, 0].set_ylabel(fill(panel, WRAPPED), rotation=0, ha="right", va="center")
        figure.suptitle(title, fontsize=10)
        _legend(figure, axes[0, 0], [line for group in groups.values() for line in group])
        save(figure, path)


def save(figure: Figure, path: Path, dpi: int = 80) -> None:
    """Write a PNG file, which is identical for identical results."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi, metadata={"Software": None})


def _legend(figure: Figure, axis: Axes, lines: Sequence[Line]) -> None:
    """Add a legend of everything that is drawn in any of the axes."""
    said = "random problems: median over seeds; dots: seeds; bar: 95 % interval"
    handles: list[Any] = [axis.plot([], [], label=said, **RANDOM)[0]]
    if any(place.worst_cases for line in lines for place in line.cells):
        handles.append(axis.plot([], [], label="worst cases, likewise", **WORST)[0])
    if any(isinstance(line.first.paper, tuple) for line in lines):
        handles.append(axis.scatter([], [], label="the paper's best", **STAR))
    handles.append(axis.plot([], [], label="longest in training", **TRAINED)[0])
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)


def _lengths(lines: Sequence[Line]) -> list[int]:
    """List in order all lengths at which a panel's lines are trained, measured or reported."""
    experiments = [experiment for line in lines for experiment in line.experiments]
    lengths = {length for experiment in experiments for at in experiment.at for length in at.lengths}
    reported = {experiment.paper[0] for experiment in experiments if isinstance(experiment.paper, tuple)}
    return sorted(lengths | reported | {experiment.train_length for experiment in experiments})


def _axes(axis: Axes, line: Line, lengths: Sequence[int]) -> None:
    axis.set_axis_on()
    random = {place.length: cell for place, cell in line.cells.items() if not place.worst_cases}
    worst = {place.length: cell for place, cell in line.cells.items() if place.worst_cases}
    for cells, style in ((random, RANDOM), (worst, WORST)):
        _curve(axis, cells, style)
    if isinstance(line.first.paper, tuple):
        axis.scatter(*line.first.paper, **STAR)
    axis.axvline(line.first.train_length, **TRAINED)
    if not line.cells:
        axis.text(0.5, 0.5, "not measured", ha="center", va="center", transform=axis.transAxes, color="grey")
    _scale(axis, lengths)
    axis.set_title(line.first.line, fontsize=8)


def _curve(axis: Axes, cells: Mapping[int, Cell], style: Mapping[str, Any]) -> None:
    """Draw a line through the medians, a bar for the interval of all problems, and a dot for each seed."""
    lengths = list(cells)
    axis.plot(lengths, [cell.median for cell in cells.values()], **style)
    for length, cell in cells.items():
        axis.vlines(length, *cell.interval, color=style["color"], linewidth=2.5, alpha=0.35)
        axis.scatter([length] * len(cell.percents), cell.percents, s=6, color=style["color"], alpha=0.5)


def _scale(axis: Axes, lengths: Sequence[int]) -> None:
    """Set the scale that all axes of a panel share."""
    first, last = lengths[0], lengths[-1]
    axis.set(ylim=(-6, 106), yticks=[0, 50, 100])
    if last > 10 * first:
        margin = (last / first) ** 0.06
        axis.set(xscale="log", xlim=(first / margin, last * margin))
        axis.xaxis.set_major_locator(FixedLocator(_named(lengths)))
        axis.xaxis.set_minor_locator(NullLocator())
    else:
        margin = 0.06 * (last - first) + 0.1
        axis.set(xlim=(first - margin, last + margin))
        axis.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    axis.xaxis.set_major_formatter(lambda length, _: _short(length))
    axis.grid(alpha=0.25)


def _short(length: float) -> str:
    """Format a length in a few characters, such as 47.2M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if length >= size:
            return f"{length / size:.3g}{letter}"
    return f"{length:g}"


def _named(lengths: Sequence[int]) -> list[int]:
    """Choose the lengths that a logarithmic axis has room to label: both ends, and others that are far enough apart."""
    named, whole = [lengths[0], lengths[-1]], math.log(lengths[-1] / lengths[0])
    for length in lengths[-2:0:-1]:
        if all(abs(math.log(length / other)) > APART * whole for other in named):
            named.append(length)
    return named


def grid(title: str, percents: Mapping[tuple[str, str], float], framed: set[tuple[str, str]], path: Path) -> None:
    """Write a PNG of percentages by (row, column); framed ones get a red frame, NaN stays white."""
    rows, columns = (list(dict.fromkeys(place[i] for place in percents)) for i in (0, 1))
    values = np.full((len(rows), len(columns)), np.nan)
    with rc_context({"font.size": 8}):
        figure = Figure(figsize=(3 + 0.7 * len(columns), 1.5 + 0.22 * len(rows)), layout="constrained")
        axis = figure.subplots()
        for (row, column), percent in percents.items():
            y, x = rows.index(row), columns.index(column)
            values[y, x] = percent
            if not math.isnan(percent):
                axis.text(x, y, f"{percent:.0f}", ha="center", va="center", color="black" if percent > 40 else "white")
            if (row, column) in framed:
                axis.add_patch(Rectangle((x - 0.46, y - 0.42), 0.92, 0.84, fill=False, edgecolor="red", linewidth=1.5))
        axis.imshow(values, vmin=0, vmax=100, aspect="auto")
        axis.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
        axis.set_yticks(range(len(rows)), rows)
        axis.set_title(title)
        save(figure, path)
