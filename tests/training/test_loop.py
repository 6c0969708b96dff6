"""Tests of training: convergence, bit-exact resume, and the contents of a run folder."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tallystick import models, runs, tasks
from tallystick.config import configure
from tallystick.data.loader import Loader
from tallystick.data.packing import Batch
from tallystick.data.source import Source
from tallystick.episode import Role
from tallystick.locality import held_out
from tallystick.training import loop, validation
from tallystick.training.trainer import Trainer

CAPTURABLE = [name for name in models.names() if models.build(name, vocab_size=5).capturable]
SMALL = {"batch_size": "4", "seq_len": "64", "validate_every": "4", "train_length": "3"}


def config(task="reverse", model="mamba2:tiny", overrides=SMALL, **given):
    return configure(tasks.load(task), model, dict(overrides), **given)


def trained(path, task="reverse", model="mamba2:tiny", overrides=SMALL, **given):
    rows = []
    passed = loop.train(path, config(task, model, overrides, **given), rows.append)
    return passed, rows


def interrupt_at(step):
    def report(row):
        if row["step"] == step:
            raise KeyboardInterrupt

    return report


def same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=0, msg=name)


@pytest.mark.parametrize(
    ("step", "model", "curriculum"),
    [
        pytest.param(4, "mamba2:tiny", 0, marks=pytest.mark.slow),
        (8, "mamba2:tiny", 100),
        pytest.param(4, "pythia:tiny", 100, marks=pytest.mark.slow),
        (8, "pythia:tiny", 0),
        (4, "lstm:tiny", 0),
    ],
)
def test_resume_is_bit_exact(tmp_path, step, model, curriculum):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    settings = {**SMALL, "min_margin": "99", "curriculum": str(curriculum)}  # never passes, so both run to the end
    trained(whole, model=model, overrides=settings, steps=12)
    with pytest.raises(KeyboardInterrupt):
        loop.train(parts, config(model=model, overrides=settings, steps=12), interrupt_at(step))
    assert runs.load_progress(parts)[1]["step"] == step - 4  # the report comes before the save
    loop.resume(parts)
    (tensors, progress), (others, other) = runs.load_progress(whole), runs.load_progress(parts)
    same(tensors, others)
    for key in ("step", "tokens", "positions", "schedule"):
        assert progress[key] == other[key]
    timeless = [
        [{k: v for k, v in row.items() if "second" not in k} for row in runs.read_metrics(path)]
        for path in (whole, parts)
    ]
    assert timeless[0] == timeless[1]


def test_two_runs_are_equal_and_seeds_differ(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        trained(tmp_path / name, seed=seed, steps=4)
    a, b, c = (runs.load_progress(tmp_path / name)[0] for name in "abc")
    same(a, b)
    assert any((a[name] != c[name]).any() for name in a if a[name].shape == c[name].shape)


def test_convergence(tmp_path):
    """reverse, trained on at most 5 bits, is exact at 100, and stops long before its budget."""
    passed, rows = trained(tmp_path / "run", overrides={"batch_size": "4", "seq_len": "128", "train_length": "5"})
    assert passed
    assert rows[-1]["step"] < 300
    assert [beyond["exact"] for beyond in rows[-1]["beyond"]] == [4, 4]


def test_longer_problems_decide_nothing(tmp_path, monkeypatch):
    """A run with other lengths shown live has the same weights and the same end."""
    trained(tmp_path / "a", steps=8)
    monkeypatch.setattr(validation, "longer_problems", lambda task, settings: [])
    trained(tmp_path / "b", steps=8)
    same(runs.load_progress(tmp_path / "a")[0], runs.load_progress(tmp_path / "b")[0])


def test_the_state_is_carried_over_and_gradients_are_not(tmp_path):
    trainer = Trainer(tmp_path, config(), lambda row: None)
    batches = []
    with Loader(Source(task="reverse", variant=None, length=10, seed=0), 4, 64) as loader:
        for batch in loader:
            batches.append(batch)
            if len(batches) == 2:
                break
    trainer.update(batches[0])
    assert trainer.state is not None
    assert not any(tensor.requires_grad for tensor in trainer.state.values())
    before = {name: tensor.clone() for name, tensor in trainer.state.items()}
    trainer.update(batches[1])
    assert any((before[name] != trainer.state[name]).any() for name in before)


def test_a_batch_within_a_prompt_is_only_read(tmp_path):
    """A prompt of millions of tokens fills batches without trained tokens: only the state advances."""
    trainer = Trainer(tmp_path, config(), lambda row: None)
    ids, no = np.full((4, 65), 9, np.uint32), np.zeros((4, 64), bool)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    assert not trainer.update(Batch(ids, no, no, np.full(4, 64)))
    same(before, trainer.model.state_dict())
    assert (trainer.step, trainer.tokens, trainer.losses) == (0, 256, [])
    assert trainer.state is not None
    assert any(tensor.any() for tensor in trainer.state.values())


def test_capturable_models_have_a_fixed_state():
    assert CAPTURABLE
    assert all(models.build(name, vocab_size=5).fixed_state for name in CAPTURABLE)


@pytest.mark.gpu
@pytest.mark.parametrize("model", CAPTURABLE)
def test_a_graphed_step_equals_the_step(tmp_path, model):
    """Losses, weights and states are equal; ragged batches, and those without trained tokens, use no graph."""
    outcomes = []
    for graphed in (True, False):
        trainer = Trainer(tmp_path / str(graphed), config(model=model, device="cuda"), lambda row: None)
        assert trainer._graphed
        trainer._graphed = trainer._graphed if graphed else None
        with Loader(Source(task="reverse", variant=None, length=10, seed=0), 4, 64) as loader:
            for i, batch in zip(range(12), loader, strict=False):
                trained, lengths = batch.trained & (i != 6), np.where(np.arange(4) < (i == 8), 50, batch.lengths)
                trainer.update(replace(batch, trained=trained, lengths=lengths))
        outcomes.append((torch.stack(trainer.losses), {**trainer.model.state_dict(), **trainer.state}))
    (losses, tensors), (expected, others) = outcomes
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-6)
    for name in tensors:
        torch.testing.assert_close(tensors[name], others[name], rtol=1e-5, atol=1e-6, msg=name)


def test_training_that_diverges_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="the loss is nan at step 4; choose a smaller lr than 1e"):
        loop.train(tmp_path / "run", config(overrides={**SMALL, "lr": "1e6"}))


def test_lookup_is_fitted_to_examples_at_once(lookup_run):
    run = runs.load(lookup_run)
    assert run.examples == run.model.config.examples == 4000
    (row,) = runs.read_metrics(lookup_run)
    assert row["passed"]
    assert row["held_out"]["exact"] == row["held_out"]["samples"]


def test_run_folder(lookup_run):
    names = {path.name for path in lookup_run.iterdir()}
    assert names == {
        "config.json",
        "vocab.json",
        "task",
        "environment.json",
        "metrics.jsonl",
        "model.safetensors",
        "optimizer.safetensors",
    }
    task = tasks.load("reverse")
    assert json.loads((lookup_run / "vocab.json").read_text()) == list(task.vocab.tokens)
    assert "class Reverse" in (lookup_run / "task" / "source.py").read_text()
    environment = json.loads((lookup_run / "environment.json").read_text())
    assert environment["versions"]["torch"] == torch.__version__


def test_a_changed_task_file_is_noticed(tmp_path):
    source = (tasks.base.__file__).replace("base.py", "reverse.py")
    path = tmp_path / "mine.py"
    path.write_text(Path(source).read_text())
    run = tmp_path / "run"
    trained(run, task=f"{path}:Reverse", model="lookup", overrides={"examples": "100"})
    assert not runs.load(run).changed
    path.write_text(path.read_text() + "# another comment\n")
    assert runs.load(run).changed


def test_a_change_of_a_file_that_the_task_reads_is_noticed(tmp_path, monkeypatch):
    """Such a file is neither copied nor hashed, as the task's own is."""
    monkeypatch.chdir(tmp_path)  # the problems depend on the name of the task
    machine, run = Path("machine.txt"), Path("run")
    text = (Path(tasks.__file__).parent / "machines" / "increment.txt").read_text()
    machine.write_text(text)
    trained(run, task=f"turing:{machine}", overrides=SMALL | {"train_length": "10"}, steps=4)
    loop.resume(run, steps=8)
    machine.write_text(text.replace("A 0 0 R A", "A 0 1 R A").replace("A 1 1 R A", "A 1 0 R A"))
    with pytest.raises(runs.RunError, match="since a file that it reads or imports has changed"):
        loop.resume(run, steps=12)


def test_lookup_is_resumed_by_fitting_it(tmp_path, lookup_run):
    """This holds wherever it was interrupted."""
    folder = shutil.copytree(lookup_run, tmp_path / "copy")
    for name in ("model.safetensors", "optimizer.safetensors", "state.json"):
        (folder / name).unlink(missing_ok=True)
    assert loop.resume(folder)
    same(runs.load_progress(lookup_run)[0], runs.load_progress(folder)[0])
    assert len(runs.read_metrics(folder)) == 1


def test_a_folder_that_is_there_is_not_touched(lookup_run):
    before = (lookup_run / "config.json").read_bytes()
    with pytest.raises(runs.RunError, match="already exists; continue it with `tallystick resume`"):
        trained(lookup_run, model="lookup", overrides={})
    assert (lookup_run / "config.json").read_bytes() == before


def test_a_wrong_program_writes_nothing(tmp_path):
    path = tmp_path / "mine.py"
    text = Path(tasks.base.__file__.replace("base.py", "reverse.py")).read_text()
    path.write_text(text.replace("return prompt[-2::-1]", "return prompt[:-1]"))
    with pytest.raises(ValueError, match="length 3, seed 0"):
        trained(tmp_path / "run", task=f"{path}:Reverse")
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.py"]


def test_held_out_problems_that_came_up_in_training_are_counted(tmp_path):
    """Of at most 3 bits there are 14 problems: training soon draws them all."""
    _, rows = trained(tmp_path / "run", steps=8)
    assert [row["held_out"]["train_overlap"] for row in rows][-1] == 1.0
    _, progress = runs.load_progress(tmp_path / "run")
    assert len(progress["overlap"]) == rows[-1]["held_out"]["samples"]


def test_held_out_problems_that_lookup_was_fitted_to_are_counted(lookup_run):
    (row,) = runs.read_metrics(lookup_run)
    task = tasks.load("reverse")
    source = Source.of(runs.read_config(lookup_run))
    drawn = {tuple(source.problem(task, example)) for example in range(4000)}
    records, _ = held_out.choose(task, 0, 10)
    prompts = [tuple(task.vocab.decode(record.ids[record.roles == Role.PROMPT][1:].tolist())) for record in records]
    assert row["held_out"]["train_overlap"] == sum(prompt in drawn for prompt in prompts) / len(prompts)
    assert 0 < row["held_out"]["train_overlap"] < 1


def test_the_last_row_names_what_is_wrong(tmp_path):
    _, rows = trained(tmp_path / "run", steps=4)
    known = rows[-1]["held_out"]
    assert known["k"] == 3
    assert len(known["first_errors"]) == 3
    assert known["first_errors"][0].keys() == {"index", "position", "context", "want", "got", "margin"}


IMPURE = Path(__file__).parents[1] / "data" / "impure.py"


@pytest.mark.parametrize("model", ["mamba2:tiny", "lookup"])
def test_an_impure_task_writes_nothing(tmp_path, model):
    with pytest.raises(ValueError, match="another process draws other problems"):
        trained(tmp_path / "run", f"{IMPURE}:Hashed", model, {})
    assert not list(tmp_path.iterdir())
