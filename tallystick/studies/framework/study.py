"""A study: experiments, with the page and the figure made from their results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tallystick.storage import write_text
from tallystick.studies.framework import figure, markdown
from tallystick.studies.framework.experiment import Declared
from tallystick.studies.framework.results import FOLDER, Results

BUDGETS = ("small", "paper")
"""Budgets: small takes minutes on a GPU or hours on one CPU core; paper has the paper's model sizes and steps."""

Table = Callable[[Sequence[Declared], Results], str]
"""A function that returns a study's results as Markdown."""
Draw = Callable[[str, Sequence[Declared], Results, Path], None]
"""A function that writes a study's figure, with this title, to a path."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """A set of experiments and the presentation of their results."""

    name: str
    title: str
    about: str
    """Introduction of the page: the findings of the paper or of others, and how this study differs."""
    experiments: Callable[[str], Sequence[Declared]]
    """Function from a budget to the declarations that the study measures."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the experiments that do not name their own."""
    budgets: tuple[str, ...] = BUDGETS
    results: str = ""
    """Name of the results file; the study's own if empty. A study that uses another's is a view of it."""
    table: Table = markdown.sections
    figure: Draw | None = figure.draw

    def declared(self, budget: str) -> list[Declared]:
        """List the declarations of a budget. Raises ValueError for a budget that the study does not have."""
        if budget not in self.budgets:
            raise ValueError(f"--budget {budget}: the budgets of {self.name} are {' and '.join(self.budgets)}")
        return list(self.experiments(budget))

    def seeds_of(self, declared: Declared, chosen: Sequence[int] | None) -> list[int]:
        """List the seeds of an experiment: the chosen ones, else its own or the study's, and only those it allows."""
        return [seed for seed in chosen or declared.seeds or self.seeds if not declared.seeds or seed in declared.seeds]

    def stored(self, budget: str) -> Results:
        """Read the stored results of a budget."""
        return Results(self.results or self.name, budget)

    def path(self, budget: str, kind: str) -> Path:
        """Return the path of the page (kind "md") or figure (kind "png")."""
        return FOLDER / f"{self.name}-{budget}.{kind}"

    def page(self, budget: str, results: Results) -> str:
        """Return the study's page as Markdown."""
        declared, command = self.declared(budget), f"tallystick reproduce {self.name} --budget {budget}"
        parts = [f"# {self.title}", self.about, self.table(declared, results)]
        parts += [markdown.footing(command, declared, results), self._left_out(declared, results)]
        return markdown.document(*parts)

    def _left_out(self, declared: Sequence[Declared], results: Results) -> str:
        """Describe runs in the study's results file that are no longer in any table."""
        names = [] if self.results else results.undeclared(declared)
        return f"Not shown, since the study does not declare them any more: {'; '.join(names)}." if names else ""

    def write(self, budget: str, results: Results) -> None:
        """Write the study's page and figure."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        write_text(self.path(budget, "md"), self.page(budget, results))
        if self.figure:
            self.figure(self.title, self.declared(budget), results, self.path(budget, "png"))
