"""How a recipe's results are shown: a line a run, a Markdown table, a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tallystick.evaluation.statistics import poisson_bound
from tallystick.studies import figure
from tallystick.studies.base import Job, Recipe, Run
from tallystick.studies.cells import Cell, Place, apart, cells, lines, panels
from tallystick.studies.results import Results

MISSING = "-"
REACHES = 5.0
"""The paper's n -> m (p %): m is the largest length with p of at least so many percent."""
READ = (
    "A cell: % of the problems that are exact, median over seeds (range over seeds) [95 % interval of all problems "
    f"together]; {MISSING}: not measured. *Reach*: the largest length measured at which the median is at least "
    f"{REACHES:g} %. *Errors a token*: 95 % upper bound of their rate at the largest length measured, where a problem "
    "counts up to its first error."
)


def write(recipe: Recipe, jobs: Sequence[Job], results: Results) -> None:
    """Write the table and the figure."""
    table = (recipe.table or markdown)(jobs, results)
    results.write("md", f"# {recipe.title}\n\n{recipe.about}\n\n{table}\n{footing(results)}\n")
    draw = recipe.figure or figure.draw
    draw(recipe, [job for job in jobs if isinstance(job, Run)], results)


def markdown(jobs: Sequence[Job], results: Results) -> str:
    """A section a panel, a row a line, a column a length."""
    parts = [READ, ""]
    for panel, group in panels([job for job in jobs if isinstance(job, Run)]):
        parts += [f"## {panel}", "", *_section(group, results), ""]
    return "\n".join(parts)


def _section(jobs: list[Run], results: Results) -> list[str]:
    found = [(job, runs, cells(runs)) for job, runs in lines(jobs, results)]
    planned = {(length, False) for job in jobs for at in job.lengths if at.problems for length in at.lengths}
    places = sorted(planned.union(*(mine for _, _, mine in found)))
    heads = [f"{length:,}{' worst cases' if worst_cases else ''}" for length, worst_cases in places]
    columns = ["", "seeds", *heads, "errors a token <", "reach", "the paper's best"]
    table = [row(columns), "|---" * len(columns) + "|"]
    for job, runs, mine in found:
        shown = [str(mine.get(place, MISSING)) for place in places]
        table.append(row([job.line, _seeds(runs), *shown, _bound(mine), _reach(mine), paper(job.paper)]))
    trained = " or ".join(map(str, sorted({job.train_length for job in jobs})))
    return [f"Trained on lengths up to {trained}.", "", *table]


def row(parts: Sequence[str]) -> str:
    """Of a Markdown table."""
    return f"| {' | '.join(parts)} |"


def _seeds(runs: list[dict[str, Any]]) -> str:
    found = sorted({run["seed"] for run in runs})
    whole = len(found) > 2 and found == list(range(found[0], found[-1] + 1))
    return (f"{found[0]}-{found[-1]}" if whole else ", ".join(map(str, found))) or MISSING


def _bound(found: dict[Place, Cell]) -> str:
    far = [cell for (_, worst_cases), cell in found.items() if not worst_cases]
    return bound(far[-1].problems - far[-1].exact, far[-1].tokens) if far else MISSING


def bound(errors: int, tokens: int) -> str:
    """95 % upper bound on the errors a token."""
    return f"{poisson_bound(errors) / tokens:.0e}"


def _reach(found: dict[Place, Cell]) -> str:
    far = [(n, cell.median) for (n, worst_cases), cell in found.items() if not worst_cases and cell.median >= REACHES]
    return paper(far[-1]) if far else "none" if found else MISSING


def paper(value: Any) -> str:
    """The paper's result, as 1,000 (100 %)."""
    if isinstance(value, tuple):
        return f"{value[0]:,} ({value[1]:.0f} %)"
    return value or ""


def footing(results: Results) -> str:
    """On which commits and machines it was measured, by which commands."""
    lines = [f"Made by `tallystick reproduce {results.recipe} --budget {results.budget}`. Measured with:", ""]
    used = {run["environment"] for run in results.runs}
    for where in (each for i, each in enumerate(results.environments) if i in used):
        machine = ", ".join(filter(None, (where["gpu"], f"{where['processors']} processors {where['machine']}")))
        commit = f"{(where['commit'] or 'unknown')[:7]}{' and changes' if where['dirty'] else ''}"
        torch = where["versions"]["torch"]
        lines.append(f"- `{where['command']}`, commit {commit}, torch {torch}, {machine}, {where['date']}")
    return "\n".join(lines if used else ["Nothing was measured yet."])


def line(job: Job, run: dict[str, Any]) -> str:
    """A run's outcome on one line."""
    if "check" in run:
        ks = ", ".join(str(row[1]) for row in run["check"]["rows"])
        return f"k = {ks}; {'covered' if run['check']['covered'] else 'not covered'}"
    steps, _, seconds, passed = run["train"]
    held_out = "held out exact" if passed else "held out NOT exact"
    return f"{steps} steps in {seconds:.0f} s, {held_out}; exact at {', '.join(map(_exact, run['rows']))}"


def _exact(values: list[Any]) -> str:
    rows = list(apart(values))
    lengths = "-".join(f"{row['length']:,}" for row in (rows[0], rows[-1])[: len(rows)])
    exact, samples = (sum(row[name] for row in rows) for name in ("exact", "samples"))
    return f"{lengths}{' worst cases' if rows[0]['worst_cases'] else ''}: {exact}/{samples}"
