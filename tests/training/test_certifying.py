"""Tests of `train --certify`: it goes on until certified, says so plainly, and is resumed and repeated bit for bit."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from tallystick import runs, tasks
from tallystick.config import configure
from tallystick.data.source import Source
from tallystick.evaluation import certified
from tallystick.locality.certify import reaching
from tallystick.locality.certify.certificate import contexts_of
from tallystick.locality.certify.reaching import _windows, problems_with
from tallystick.locality.proof import proved_graph
from tallystick.training import loop

SETTINGS = {
    **{"d_model": "16", "head_dim": "16", "d_state": "2", "dt_floor": "2", "dt_min": "0.5", "dt_max": "2"},
    **{"train_length": "1", "min_margin": "0", "decay_at_error": "1", "validate_every": "10"},
    **{"batch_size": "4", "seq_len": "64"},
}
"""Settings whose training on single bits ends after 110 steps: two symbols in a row are contexts that it never met."""
PLAIN_END = 110


def config(**given):
    return replace(configure(tasks.load("reverse"), "mamba2:tiny", SETTINGS, **given), certify=True)


@pytest.fixture(scope="module")
def spent(tmp_path_factory):
    """Return the folder of a run whose budget is spent when the first attempt shows errors, and its lines."""
    path, lines = tmp_path_factory.mktemp("spent") / "run", []
    loop.train(path, config(steps=PLAIN_END), say=lines.append)
    return path, lines


def test_a_spent_budget_names_the_open_contexts(spent):
    path, lines = spent
    (at,) = [number for number, line in enumerate(lines) if line.startswith("NOT CERTIFIED, since no steps are left")]
    assert len(lines) > at + 1
    assert all(line.startswith("  after  ") and "a real error, on " in line for line in lines[at + 1 :])
    assert not (path / certified.FILE).exists()
    assert runs.last_metrics(path)["passed"]


def test_more_steps_go_on_until_the_model_is_certified(spent, tallystick, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(spent[0], out)
    printed = tallystick("resume", out, "--steps", 400, "--json")
    assert "real errors among them: 0; training goes on" not in printed.err
    assert "training goes on with" in printed.err
    assert "CERTIFIED exact at every length: each margin is at least " in printed.err
    document, run = json.loads(printed.out), runs.load(out)
    assert PLAIN_END < document["step"] < 400
    stored = certified.read(out, run.config, run.task, run.weights)
    assert document["certified"] == stored.certified
    assert stored.certified["min_margin"] > 0
    again = tallystick("resume", out).err
    assert "CERTIFIED exact" in again
    assert "certifying ..." not in again, "the certificate is still of these weights"
    (focus,) = run.focus
    assert focus["prompts"]
    assert all(len(prompt) > 2 for prompt in focus["prompts"]), "single bits were trained already"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the folder of a run that is certified in its second attempt, and its steps of validation."""
    path, steps = tmp_path_factory.mktemp("certified") / "run", []
    loop.train(path, config(), lambda row: steps.append(row["step"]))
    assert PLAIN_END in steps[:-3]
    return path, steps


@pytest.mark.slow
def test_an_interrupted_one_ends_with_the_same_weights(whole, tmp_path):
    """It is interrupted on its way to the first attempt, during it, and after it."""
    path, steps = whole
    again = tmp_path / "run"

    def interrupt(when):
        def take(thing):
            if when(thing):
                raise KeyboardInterrupt

        return take

    def at(step):
        return interrupt(lambda row: row["step"] == step)

    attempt = interrupt(lambda line: "open with 4 tokens" in line)
    with pytest.raises(KeyboardInterrupt):
        loop.train(again, config(), at(50))
    with pytest.raises(KeyboardInterrupt):
        loop.resume(again, say=attempt)
    assert not (again / certified.FILE).exists()
    with pytest.raises(KeyboardInterrupt):
        loop.resume(again, at(steps[-3]))
    loop.resume(again)
    for name, tensor in runs.load(path).model.state_dict().items():
        torch.testing.assert_close(runs.load(again).model.state_dict()[name], tensor, rtol=0, atol=0)
    assert runs.load(again).focus == runs.load(path).focus
    assert (again / certified.FILE).exists()


@pytest.mark.slow
def test_without_it_training_is_as_before(whole, tmp_path):
    """The certificate decides nothing until the first attempt."""
    rows = []
    loop.train(tmp_path / "plain", replace(config(), certify=False), rows.append)
    assert [row["step"] for row in rows] == [step for step in whole[1] if step <= PLAIN_END]
    assert not (tmp_path / "plain" / certified.FILE).exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reverse"], "--certify: reverse with mamba2:tiny cannot be certified: its step size has no floor"),
        (["reverse", "--model", "lstm:tiny"], "forget gate"),
        (["reverse:0.5,turing:bb2:0.5", "dt_floor=2"], "a mixture is not proved as a whole"),
    ],
)
def test_what_cannot_be_certified_is_refused_before_training(tallystick, tmp_path, arguments, message):
    error = tallystick("train", *arguments, "--certify", "--out", tmp_path / "run", code=2).err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_examples_of_a_focus_are_a_pure_function_of_their_number():
    task, prompts = tasks.load("reverse"), [["1", "1", ">"], ["0", "1", ">"]]
    plain = Source(task="reverse", variant=None, length=5, seed=3)
    aimed = replace(plain, focus=({"first": 20, "prompts": prompts}, {"first": 40, "prompts": prompts[:1]}))
    drawn = [aimed.problem(task, example) for example in range(400)]
    assert drawn == [aimed.problem(task, example) for example in range(400)]
    assert drawn[:20] == [plain.problem(task, example) for example in range(20)]
    focused = [example for example in range(400) if aimed.focused(example)]
    assert 140 < len(focused) < 240
    assert all(drawn[example] in prompts for example in focused)
    assert all(drawn[example] == prompts[0] for example in focused if example >= 40)
    assert all(drawn[e] == plain.problem(task, e) for e in range(400) if e not in focused)


@pytest.mark.parametrize("train_length", [1, 9])
def test_problems_are_found_for_contexts(spent, monkeypatch, train_length):
    """train_length: 1, where random problems have the context, or 9, where none has it and a shortest way is taken."""
    monkeypatch.setattr(reaching, "RANDOM", 40 if train_length == 1 else 0)
    monkeypatch.setattr(reaching, "LENGTHS", 0)
    run = runs.load(spent[0])
    task, contexts = run.task, contexts_of(run.model, proved_graph(run.task).graph)
    row = {"context": ["[BOS]", "1", ">"], "want": "[p0.read]", "rival": "", "bound": 0.0, "real_error": None}
    found = problems_with(task, contexts, [{**row, "problem": None}], 0, train_length)
    assert found == [["1", ">"]]
    assert (-1, *task.vocab.encode(["[BOS]", "1", ">"])) in _windows(task, ["1", ">"], 4)
    assert _windows(task, [">", "1"], 4) == set()
    nowhere = {**row, "context": ["[BOS]", "1", "0", ">", "0"], "problem": None}
    assert problems_with(task, contexts, [nowhere], 0, train_length) == []
