"""The default programs are local and covered, so lookup, trained on short problems, is exact on long ones."""

import pytest

from tallystick import locality, models
from tallystick.evaluation.verify import verify
from tallystick.locality import sequences
from tallystick.tasks import load

K = {
    "multiplication-1": 6,
    "multiplication-2": 7,
    "multiplication": 7,
    "hanoi": 7,
    "hanoi-recursive": 3,
    "sort": 8,
}
"""The number of last tokens that decide, as the task's docstring has it."""
SHORT = {"multiplication": [3, 4, 5], "hanoi": [3, 4, 5], "hanoi-recursive": [3, 4, 5], "sort": [4, 5, 6]}
PROBLEMS = {"multiplication-1": 300, "sort": 60}
"""Random problems for each length, enough to cover the task; 200 for the others."""
DEAR = ("multiplication-1", "multiplication-2", "multiplication", "hanoi", "hanoi-recursive")
"""Tasks that take seconds to check; golden trajectories tell in the default run when a program changes."""
FAR = {
    "multiplication-1": 1000,
    "multiplication-2": 1000,
    "multiplication": 30,
    "hanoi": 12,
    "hanoi-recursive": 12,
    "sort": 1000,
}
NOT_LOCAL = ["multiplication-1", "multiplication-2", "hanoi"]


def fitted_lookup(task, examples):
    lookup = models.build("lookup", vocab_size=len(task.vocab))
    return lookup.fit(sequences.sample(task, "train", 0, task.defaults.train_length, examples))


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in DEAR else ()) for name in K])
def test_local_and_covered(name):
    report = locality.check(load(name), SHORT.get(name, [4, 6, 8]), problems=PROBLEMS.get(name, 200))
    assert [row["k"] for row in report["rows"]] == [K[name]] * 3
    assert report["local"]
    assert all(row["coverage"] > 0.9999 for row in report["rows"])


@pytest.mark.parametrize("name", NOT_LOCAL)
def test_the_papers_form_is_not_local(name):
    report = locality.check(load(name, "paper"), [2, 3, 4, 5], problems=10)
    assert report["local"] is False
    assert report["rows"][-1]["k"] > K[name] + 1


@pytest.mark.slow
@pytest.mark.parametrize("name", K)
def test_local_and_covered_as_check_prints_it(name):
    report = locality.check(load(name))
    assert [row["k"] for row in report["rows"]][-3:] == [K[name]] * 3
    assert (report["local"], report["covered"]) == (True, True)


@pytest.mark.slow
@pytest.mark.parametrize("name", K)
def test_lookup_is_exact_far_beyond(name):
    task, length = load(name), FAR[name]
    prompts = [task.problem("test", 0, length, i) for i in range(3)] + task.worst_cases(length)
    assert all(result.exact for result in verify(fitted_lookup(task, 4000), task, prompts))
