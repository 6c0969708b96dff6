"""Codebases and bugs: drawn by their seed alone, cheap to run, and with a bug that shows."""

import random
import statistics

import pytest

from tallystick.tasks.codefix import codebase
from tallystick.tasks.codefix.bugs import KINDS
from tallystick.tools.shell import python


@pytest.mark.parametrize("kind", KINDS)
def test_cases_are_pure_functions_of_their_seed(codefix, kind):
    random.seed(1)  # exposes use of the global generator
    before = codefix.draw(kind, 16, 3)
    random.seed(2)
    assert codefix.draw(kind, 16, 3) == before
    assert codefix.draw(kind, 16, 4) != before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [4, 16, 30])
def test_the_reference_runs_and_the_bug_shows(codefix, kind, n):
    for seed in range(20):
        case = codefix.draw(kind, n, seed)
        assert len(case.files) == len(case.reference) == n
        assert python.run(case.reference, "main.py", "/repo").returncode == 0
        assert python.run(case.files, "main.py", "/repo").returncode == 1
        assert case.relevant


def test_v10_goes_from_main_to_foo_on_every_path(codefix):
    for seed in range(20):
        case = codefix.draw("pass", 16, seed)
        printed = python.run(case.reference, "main.py", "/repo").stdout.splitlines()
        declared = next(line for line in case.files["main.py"].splitlines() if line.startswith("    v10 = "))
        of_foo = [line for line in printed if line == f"foo {declared.rpartition(' ')[2]}"]
        assert len(of_foo) >= 1
        assert "v10" not in "".join(text for name, text in case.files.items() if name not in ("main.py", "foo.py"))


@pytest.mark.parametrize(("n", "functions"), [(16, 6), (100, 40), (1000, 350)])
def test_a_bug_concerns_many_functions(codefix, n, functions):
    seeds = range(15 if n < 1000 else 3)
    assert statistics.median(len(codefix.draw("pass", n, seed).relevant) for seed in seeds) >= functions


def test_a_thousand_functions_are_cheap_to_run():
    graph = codebase.draw_graph(1000, random.Random(0))
    calls = [1]
    depth = [0]
    for parents in graph[1:]:
        calls.append(sum(calls[parent] for parent in parents))
        depth.append(1 + max(depth[parent] for parent in parents))
    assert sum(calls[:-1]) <= codebase.RUN_COST * 1000
    assert calls[-1] <= 2 * 1000
    assert max(depth) <= codebase.MAX_DEPTH + 1
