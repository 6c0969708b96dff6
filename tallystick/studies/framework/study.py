"""A study: experiments, and the page and picture made of their results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tallystick.storage import write_text
from tallystick.studies.framework import figure, markdown
from tallystick.studies.framework.experiment import Declared
from tallystick.studies.framework.results import FOLDER, Results

BUDGETS = ("small", "paper")
"""small: minutes on a GPU, or hours on one CPU core; paper: the paper's model sizes and steps."""

Table = Callable[[Sequence[Declared], Results], str]
"""Makes the Markdown of a study's results."""
Draw = Callable[[str, Sequence[Declared], Results, Path], None]
"""Writes the picture of a study with this title."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """Experiments, and how their results are shown."""

    name: str
    title: str
    about: str
    """The findings of the paper or of others, and where ours differs."""
    experiments: Callable[[str], Sequence[Declared]]
    """Budget -> everything that it measures."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of each experiment that names none itself."""
    budgets: tuple[str, ...] = BUDGETS
    results: str = ""
    """The results file that it reads and writes; its own if empty. A study that shares another's is a view of it."""
    table: Table = markdown.sections
    figure: Draw | None = figure.draw

    def declared(self, budget: str) -> list[Declared]:
        """List everything that it measures. Raises ValueError for a budget that it does not have."""
        if budget not in self.budgets:
            raise ValueError(f"--budget {budget}: {self.name} has {' and '.join(self.budgets)}")
        return list(self.experiments(budget))

    def seeds_of(self, declared: Declared, chosen: Sequence[int] | None) -> list[int]:
        """List the seeds that an experiment is done with: the chosen ones, or the study's, as far as it takes them."""
        return [seed for seed in chosen or declared.seeds or self.seeds if not declared.seeds or seed in declared.seeds]

    def stored(self, budget: str) -> Results:
        """Read its results."""
        return Results(self.results or self.name, budget)

    def path(self, budget: str, kind: str) -> Path:
        """Return the path of its page (md) or picture (png)."""
        return FOLDER / f"{self.name}-{budget}.{kind}"

    def page(self, budget: str, results: Results) -> str:
        """Make its page."""
        declared, command = self.declared(budget), f"tallystick reproduce {self.name} --budget {budget}"
        parts = [f"# {self.title}", self.about, self.table(declared, results)]
        parts += [markdown.footing(command, declared, results), self._left_out(declared, results)]
        return markdown.document(*parts)

    def _left_out(self, declared: Sequence[Declared], results: Results) -> str:
        """Name what stands in its own results file, but in no table any more."""
        names = [] if self.results else results.undeclared(declared)
        return f"Not shown, since the study does not declare them any more: {'; '.join(names)}." if names else ""

    def write(self, budget: str, results: Results) -> None:
        """Write its page and picture."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        write_text(self.path(budget, "md"), self.page(budget, results))
        if self.figure:
            self.figure(self.title, self.declared(budget), results, self.path(budget, "png"))
