"""The figure of a recipe: exact problems by length, a dot a seed, a line through the medians, a star for the paper.

Each line is drawn a little below the one before, or those at 100 % would hide each other; the figure says so. Or, where
there is but one length, a grid.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter, MaxNLocator, NullFormatter

from tallystick.studies.base import Recipe, Run
from tallystick.studies.cells import Cell, Place, cells, lines, panels
from tallystick.studies.results import Results

MARKERS = "os^vDP"
APART = 0.9
"""Percent between two lines at the same height."""
STAR: dict[str, Any] = {"marker": "*", "s": 110, "alpha": 0.6, "zorder": 0}
TRAINED: dict[str, Any] = {"color": "grey", "linewidth": 0.8, "linestyle": ":"}
FEW = 6
"""So many lengths are all named on the axis."""
UNDATED: dict[str, dict[str, Any]] = {"png": {}, "svg": {"Date": None}}
"""So that the same results make the same files."""


def draw(recipe: Recipe, runs: list[Run], results: Results) -> None:
    """Write the PNG and the SVG."""
    groups = panels(runs)
    across = min(3, len(groups))
    down = -(-len(groups) // across)
    numbers = {line: i for i, line in enumerate(dict.fromkeys(run.line for run in runs))}
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "tallystick", "font.size": 9}):
        figure = Figure(figsize=(4.5 * across + 1.5, 3.2 * down + 0.4), layout="constrained")
        axes = list(figure.subplots(down, across, squeeze=False, sharey=True).flat)
        for axis, (panel, group) in zip(axes, groups, strict=False):
            _panel(axis, panel, group, results, numbers)
        for axis in axes[len(groups) :]:
            axis.set_axis_off()
        _legend(
            figure,
            numbers,
            {run.line for run in runs if results.of(run)},
            any(isinstance(run.paper, tuple) for run in runs),
        )
        if len(numbers) > 1:
            figure.supxlabel(f"each line is drawn {APART} % below the one before it in the legend", fontsize=7)
        if len(groups) > 1:
            figure.suptitle(recipe.title)
        _save(figure, results)


def _save(figure: Figure, results: Results) -> None:
    for kind, metadata in UNDATED.items():
        figure.savefig(results.place(kind), dpi=80, metadata=metadata)


def grid(title: str, percents: dict[tuple[str, str], float], framed: set[tuple[str, str]], results: Results) -> None:
    """Write a grid of percents by (row, column), the framed ones in red; what is not measured stays white."""
    rows, columns = (list(dict.fromkeys(place[i] for place in percents)) for i in (0, 1))
    values = np.full((len(rows), len(columns)), np.nan)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "tallystick", "font.size": 8}):
        figure = Figure(figsize=(3 + 0.7 * len(columns), 1.5 + 0.22 * len(rows)), layout="constrained")
        axis = figure.subplots()
        for (row, column), percent in percents.items():
            y, x = rows.index(row), columns.index(column)
            values[y, x] = percent
            if percent == percent:
                axis.text(x, y, f"{percent:.0f}", ha="center", va="center", color="black" if percent > 40 else "white")
            if (row, column) in framed:
                axis.add_patch(Rectangle((x - 0.46, y - 0.42), 0.92, 0.84, fill=False, edgecolor="red", linewidth=1.5))
        axis.imshow(values, vmin=0, vmax=100, aspect="auto")
        axis.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
        axis.set_yticks(range(len(rows)), rows)
        axis.set_title(title)
        _save(figure, results)


def _legend(figure: Figure, numbers: dict[str, int], measured: set[str], starred: bool) -> None:
    """One for all panels; lines that have nothing yet are named as such."""
    axis = figure.axes[0]
    names = {line: line if line in measured else f"{line} (not measured)" for line in numbers}
    handles: list[Any] = [axis.plot([], [], label=names[line], **_style(i))[0] for line, i in numbers.items()]
    if starred:
        handles.append(axis.scatter([], [], label="the paper's best", color="grey", **STAR))
    handles.append(axis.plot([], [], label="longest in training", **TRAINED)[0])
    figure.legend(handles=handles, loc="outside right upper", frameon=False)


def _style(i: int) -> dict[str, Any]:
    return {"color": f"C{i % 10}", "marker": MARKERS[i % len(MARKERS)], "markersize": 4, "linewidth": 1.2}


def _curve(found: dict[Place, Cell]) -> dict[int, Cell]:
    """By length; the worst cases where nothing else was measured."""
    return {n: cell for (n, worst_cases), cell in found.items() if not worst_cases or (n, False) not in found}


def _panel(axis: Axes, panel: str, runs: list[Run], results: Results, numbers: dict[str, int]) -> None:
    for run, done in lines(runs, results):
        found, number = _curve(cells(done)), numbers[run.line]
        style, lower = _style(number), APART * number
        axis.plot(list(found), [cell.median - lower for cell in found.values()], **style)
        for length, cell in found.items():
            dots = [percent - lower for percent in cell.percents]
            axis.scatter([length] * len(dots), dots, s=8, color=style["color"], alpha=0.5)
        if isinstance(run.paper, tuple):
            axis.scatter(*run.paper, color=style["color"], **STAR)
    trained = {run.train_length for run in runs}
    for length in trained:
        axis.axvline(length, **TRAINED)
    measured = {length for run in runs for at in run.lengths for length in at.lengths}
    reach = sorted(trained | measured)
    scale = "log" if reach[-1] > 10 * reach[0] else "linear"
    axis.set(title=panel, xscale=scale, ylim=(-4 - APART * len(numbers), 104), xlabel="length", ylabel="% exact")
    if len(measured) <= FEW:
        axis.set_xticks(reach)
    elif scale == "linear":
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.grid(alpha=0.25)
