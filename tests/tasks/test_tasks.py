"""Every task and variant of the registry: problems, programs and answers.

The golden files hold one short trajectory each. Where one has changed on purpose, record it again with

    PYTHONPATH=. python tests/tasks/test_tasks.py
"""

import random
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tallystick.episode import Recorder, Role
from tallystick.tasks import TASKS, Task, load
from tallystick.tasks.runner import record
from tallystick.trajectory import Trajectory
from tallystick.vocab import loss_mask, render
from tallystick.workspace import start_episode

GOLDEN = Path(__file__).parents[1] / "golden"
OPTIONS = ("turing:multiplication", "turing:palindrome", "turing:bb3", "turing:bb5", "turing-universal:bb3")
MIXTURES = ("addition:0.33,multiplication-2:0.67", "turing:bb3:1,logic-graph:2,sort:3,reverse:1,shared")
CASES = [(name, variant) for name in (*TASKS, *OPTIONS, *MIXTURES) for variant in load(name).variants]
SYMBOLIC = [case for case in CASES if not load(*case).text]
SPLITS = ("train", "holdout", "check", "test")


def quick(name, variant):
    """Return whether a case is in the default run: of codefix one teacher, since the others differ in words alone."""
    return name != "codefix" or variant == "one"


@pytest.fixture(
    params=[case if quick(*case) else pytest.param(case, marks=pytest.mark.slow) for case in CASES], ids="-".join
)
def task(request):
    return load(*request.param)


def lengths(task):
    """Return short lengths, and the first ones of the task's `check`."""
    return sorted({task.min_length, task.min_length + 1, *task.defaults.check[:3]})


@cache
def _recorded(name, variant):
    task = load(name, variant)
    prompts = [task.problem("test", 0, n, i) for n in lengths(task) for i in range(2)]
    return [(prompt, record(task, prompt)) for prompt in prompts]


def recorded(task):
    """Record some problems with their trajectories."""
    return _recorded(task.name, task.variant)


def test_problems_are_pure_functions_of_their_keys(task):
    again = load(task.name, task.variant)
    for length in lengths(task):
        random.seed(length)  # exposes a task that uses the global generator
        assert task.problem("train", 0, length, 1) == again.problem("train", 0, length, 1)
        assert task.problem("train", 0, length, 1, up_to=True) == again.problem("train", 0, length, 1, up_to=True)


def test_problems_and_worst_cases_are_in_the_vocabulary(task):
    worst_cases = [prompt for n in lengths(task) for prompt in task.worst_problems(n)]
    for prompt in [*(prompt for prompt, _ in recorded(task)), *worst_cases]:
        assert task.vocab.decode(task.vocab.encode(prompt)) == list(prompt)


def test_programs_give_the_answer(task):
    for i in range(60):
        length = lengths(task)[i % len(lengths(task))]
        assert record(task, task.problem("test", 1, length, i, up_to=i % 2 == 0)).ok


def test_programs_give_the_answer_in_the_worst_cases(task):
    for length in (*lengths(task), task.defaults.check[-1]):
        assert all(record(task, prompt).ok for prompt in task.worst_problems(length))


@pytest.mark.parametrize("task", SYMBOLIC, indirect=True, ids="-".join)
def test_the_output_scores(task):
    for prompt, sink in recorded(task):
        output = task.vocab.decode(sink.ids[sink.roles == Role.OUTPUT])
        assert task.score(prompt, output) == 1.0
        assert task.score(prompt, [*output, task.vocab.tokens[-1]]) == 0.0


def test_answers_are_text_too(task):
    for prompt, _ in recorded(task):
        assert task.part_of(prompt)[0].format(task.answer(prompt)) or not task.answer(prompt)


@pytest.mark.parametrize("task", SYMBOLIC, indirect=True, ids="-".join)
@pytest.mark.parametrize("text", ["§", "§\n"])
def test_a_foreign_symbol_is_refused_in_one_line(task, text):
    with pytest.raises(ValueError, match="§") as error:
        task.parse(text)
    assert "\n" not in str(error.value)


def test_roles_stand_where_they_should(task):
    for prompt, sink in recorded(task):
        answered = int(np.flatnonzero(sink.ids == task.vocab.ids["[ANS]"])[0])
        assert np.flatnonzero(sink.roles == Role.PROMPT).tolist() == list(range(1 + len(prompt)))
        assert Role.OUTPUT not in sink.roles[:answered]
        assert sink.ids[-1] == task.vocab.ids["[EOS]"]


def test_render_gives_the_recorded_ids_and_mask(task):
    for _, sink in recorded(task):
        line = Trajectory.of(sink, task.vocab.tokens).to_json()
        ids, mask = render(Trajectory.from_json(line), task.vocab)
        assert ids.tolist() == sink.ids.tolist()
        assert mask.tolist() == [role not in (Role.PROMPT, Role.OBSERVATION) for role in sink.roles]


def replay(task, prompt, said):
    """Say tokens into a new episode with live tools, whose observations are forced in between."""
    sink = Recorder()
    episode = start_episode(task, prompt, sink)
    for token in said:
        episode.push(token)
    episode.flush()
    return sink, episode


def test_trajectories_replay_on_live_tools(task):
    for prompt, sink in recorded(task):
        again, episode = replay(task, prompt, sink.ids[loss_mask(sink.roles)].tolist())
        assert again.ids.tolist() == sink.ids.tolist()
        assert again.roles.tolist() == sink.roles.tolist()
        assert episode.done


def golden(task):
    """Write one short episode, one segment per line."""
    sink = record(task, task.problem("test", 0, task.min_length + 1, 0))
    segments = Trajectory.of(sink, task.vocab.tokens).segments
    return "".join(f"{role.name.lower()}\t{' '.join(symbols)}\n" for role, symbols in segments)


def golden_path(name, variant):
    return GOLDEN / f"{name.replace(':', '-')}-{variant}.txt"


def test_golden(task):
    assert golden(task) == golden_path(task.name, task.variant).read_text()


def test_no_golden_file_is_left_over():
    assert set(GOLDEN.iterdir()) == {golden_path(*case) for case in CASES}


class Probe(Task):
    """A task whose problems tell from which random numbers they were drawn."""

    variants = {"default": "solve", "other": "solve"}
    takes_options = True

    def sample(self, length, rng):
        return [str(rng.getrandbits(64))]

    def sample_up_to(self, length, rng):
        return self.sample(length, rng)

    def answer(self, prompt):
        return prompt


class OtherProbe(Probe):
    """The task Probe under another name."""


def test_streams_of_problems_never_meet():
    probes = [Probe(), Probe(variant="other"), Probe("option"), OtherProbe()]
    keys = [(s, seed, n, i) for s in SPLITS for seed in range(5) for n in (1, 2, 10) for i in range(20)]
    numbers = {probe.problem(*key)[0] for probe in probes for key in keys}
    assert len(numbers) == len(probes) * len(keys)


@pytest.mark.parametrize("name", ["addition", "reverse"])
def test_long_problems_do_not_repeat(name):
    task = load(name)
    prompts = [tuple(task.problem(split, seed, 40, i)) for split in SPLITS for seed in (0, 1) for i in range(50)]
    assert len(set(prompts)) == len(prompts)


if __name__ == "__main__":
    for case in CASES:
        golden_path(*case).write_text(golden(load(*case)))
