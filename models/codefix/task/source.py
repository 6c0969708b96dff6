"""The task codefix: problems, teachers and score, for each kind of bug."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial
from typing import Any

from tallystick.problem import Problem
from tallystick.tasks.base import Defaults
from tallystick.tasks.codefix import prompts, teachers
from tallystick.tasks.codefix.bugs import KINDS, Case, draw_case
from tallystick.tasks.codefix.checker import Verdict, judge, only_relevant
from tallystick.tasks.text import TextTask
from tallystick.tools.shell import Ran, Shell

TRAINED_BUGS = 3
"""Most bugs of a problem whose name gives no number."""
WORST_OF = 8


class CodeFix(TextTask):
    """Repair a codebase of Python functions, one a file, by running it: sed edits what the traceback names.

    `length` is the number of functions: main calls down to foo. The kinds of bugs are

        codefix             v10 is declared in main and used in foo, but not passed (the paper's); also codefix:pass
        codefix:rename      a function was renamed, and some callers import or call it by its old name
        codefix:import      an import is missing, or names a module that has no such function or does not exist
        codefix:signature   a call lacks an argument, or has one too many, out of order or by a wrong name; or a default
                            value stands first in a definition
        codefix:mixed       bugs of all these kinds

    All but the first have 1 to 3 bugs, or as many as the name says: codefix:mixed-10. A model that has learned one of
    these has learned a handful of rules and to copy names, from a teacher written for these bugs: no more.
    """

    takes_options = True
    default_prompt = prompts.SENTENCE
    variants = {"one": "one", "three": "three", "all": "everywhere", "single-turn": "single_turn", "general": "repair"}
    defaults = Defaults(
        train_length=16,
        settings={
            **{"d_state": "32", "dt_max": "0.01", "batch_size": "16", "lr": "0.003"},
            **{"decay_at_error": "0.0001", "min_margin": "1.0", "validate_every": "200"},
        },
        memory={"dt_min": "0.001", "dt_max": "0.1"},
        check=(4, 8, 16, 30),
        eval=(16, 30, 100, 300, 1000),
    )
    min_length = 4
    max_length = 1000

    def __init__(self, options: str = "", variant: str | None = None):
        self.kind, self.bugs = read_options(options)
        if self.kind != "pass":
            self.variants = {"general": "repair"}
        self.min_length = max(CodeFix.min_length, (self.bugs or 0) + 1)
        super().__init__(options, variant)

    def sample(self, length, rng):
        """Draw a codebase of `length` functions with bugs, and a prompt."""
        return self._problem(self._case(length, rng), prompts.draw(rng))

    def worst_cases(self, length):
        """The codebase with the most places to repair, of several."""
        cases = [self._case(length, random.Random(f"worst {length} {i}")) for i in range(WORST_OF)]
        return [self._problem(max(cases, key=lambda case: case.places), prompts.SENTENCE)]

    def one(self, w):
        """Pass v10 with one edit a run."""
        teachers.one(w)

    def three(self, w):
        """Pass v10 with edits of at most three files between two runs: the paper's."""
        teachers.three(w)

    def everywhere(self, w):
        """Pass v10 with one command a function."""
        teachers.everywhere(w)

    def single_turn(self, w):
        """Pass v10 with one long command, without running the code."""
        teachers.single_turn(w)

    def repair(self, w):
        """Repair bugs of every kind, with one edit a run."""
        teachers.repair(w)

    def verdict(self, prompt: list[str], tools: Mapping[str, Any]) -> Verdict:
        """Judge the files that are left, and whether only relevant ones were changed."""
        assert isinstance(prompt, Problem), "a problem of this task"
        shell = tools["shell"]
        return judge(prompt.data, shell.files(), partial(_execute, sandbox=shell.sandbox))

    def score(self, prompt: list[str], output: list[str], tools: Mapping[str, Any] | None = None) -> float:
        """Run what is left: 1 if foo prints the right v10 on every path and everything else is as before."""
        assert tools is not None, "the shell's files are judged"
        return float(self.verdict(prompt, tools).passed)

    def facts(self, prompt: list[str], output: list[str], tools: Mapping[str, Any] | None = None) -> Mapping[str, bool]:
        """Tell whether only files that had to be changed were."""
        assert tools is not None, "the shell's files are judged"
        assert isinstance(prompt, Problem), "a problem of this task"
        return {"only_relevant": only_relevant(prompt.data, tools["shell"].files())}

    def _case(self, length: int, rng: random.Random) -> Case:
        return draw_case(self.kind, length, rng, self.bugs or rng.randint(1, TRAINED_BUGS))

    def _problem(self, case: Case, prompt: str) -> Problem:
        return Problem([prompt], case.files, data=case)


def read_options(options: str) -> tuple[str, int | None]:
    """Read KIND or KIND-BUGS. Raises ValueError for another."""
    kind, dash, count = options.partition("-")
    kind = kind or "pass"
    right = kind in KINDS and (count.isdecimal() and 0 < int(count) < 1000 and kind != "pass" if dash else True)
    if not right:
        raise ValueError(f"codefix:{options}: the kinds are {', '.join(KINDS)}; bugs can be counted as in mixed-10")
    return kind, int(count) if dash else None


def _execute(files: Mapping[str, str], sandbox: str) -> Ran:
    with Shell(files, sandbox, output_limit=10_000_000) as shell:
        return shell.run("python main.py 2>&1")
