"""Training: the schedule, convergence, bit-exact resume, and what a run folder holds."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tallystick import models, runs, tasks
from tallystick.config import Settings, configure
from tallystick.data.packing import Batch
from tallystick.tasks import Defaults
from tallystick.tasks.reverse import Reverse
from tallystick.training import loop
from tallystick.training.schedule import Schedule

CAPTURED = [name for name in models.names() if models.build(name, vocab_size=5).capturable]
SMALL = {"batch_size": "4", "seq_len": "64", "validate_every": "4"}


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


@pytest.fixture(scope="module")
def lookup_run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "lookup"
    trained(path, model="lookup", overrides={})
    return path


def same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=0, msg=name)


@pytest.mark.parametrize(
    ("step", "model", "curriculum"),
    [
        (4, "mamba2:tiny", 0),
        (8, "mamba2:tiny", 100),
        (4, "pythia:tiny", 100),
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
    """reverse, trained on at most 10 bits, is exact at 100, and stops long before its budget."""
    passed, rows = trained(tmp_path / "run", overrides={})
    assert passed
    assert rows[-1]["step"] < 300
    assert [beyond["exact"] for beyond in rows[-1]["beyond"]] == [4, 4]


def test_longer_problems_decide_nothing(tmp_path, monkeypatch):
    """The same run with other lengths shown live: the same weights, the same end."""
    trained(tmp_path / "a", steps=8)
    monkeypatch.setattr(loop, "_beyond", lambda task, settings: [])
    trained(tmp_path / "b", steps=8)
    same(runs.load_progress(tmp_path / "a")[0], runs.load_progress(tmp_path / "b")[0])


def test_the_state_is_carried_over_and_gradients_are_not(tmp_path):
    trainer = loop.Trainer(tmp_path, config(), lambda row: None)
    batches = []
    with loop.Loader(loop.Source(task="reverse", variant=None, length=10, seed=0), 4, 64) as loader:
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
    """A prompt of millions of tokens fills batches with nothing to train: the state moves on, the weights do not."""
    trainer = loop.Trainer(tmp_path, config(), lambda row: None)
    ids, no = np.full((4, 65), 9, np.uint16), np.zeros((4, 64), bool)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    assert not trainer.update(Batch(ids, no, no, np.full(4, 64)))
    same(before, trainer.model.state_dict())
    assert (trainer.step, trainer.tokens, trainer.losses) == (0, 256, [])
    assert trainer.state is not None
    assert any(tensor.any() for tensor in trainer.state.values())


def test_what_is_captured_has_a_fixed_state():
    assert CAPTURED
    assert all(models.build(name, vocab_size=5).fixed_state for name in CAPTURED)


@pytest.mark.gpu
@pytest.mark.parametrize("model", CAPTURED)
def test_a_captured_step_is_the_step(tmp_path, model):
    """Losses, weights and states; some steps are not captured: a ragged batch, and one that is only read."""
    outcomes = []
    for captured in (True, False):
        trainer = loop.Trainer(tmp_path / str(captured), config(model=model, device="cuda"), lambda row: None)
        assert trainer._captured
        trainer._captured = trainer._captured if captured else None
        with loop.Loader(loop.Source(task="reverse", variant=None, length=10, seed=0), 4, 64) as loader:
            for i, batch in zip(range(12), loader, strict=False):
                trained, lengths = batch.trained & (i != 6), np.where(np.arange(4) < (i == 8), 50, batch.lengths)
                trainer.update(replace(batch, trained=trained, lengths=lengths))
        outcomes.append((torch.stack(trainer.losses), {**trainer.model.state_dict(), **trainer.state}))
    (losses, tensors), (expected, others) = outcomes
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-6)
    for name in tensors:
        torch.testing.assert_close(tensors[name], others[name], rtol=1e-5, atol=1e-6, msg=name)


def test_training_that_diverges_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="the loss is nan by step 4: try a smaller lr than 1e"):
        loop.train(tmp_path / "run", config(overrides={**SMALL, "lr": "1e20"}))


def test_schedule():
    schedule = Schedule(Settings(train_length=5, steps=1000, warmup=10, state_passing=0.5))
    assert [schedule.factor(step) for step in (0, 4, 9, 500)] == [0.1, 0.5, 1.0, 1.0]
    schedule.look(50, 0.5)
    assert schedule.fall is None
    schedule.look(300, 1e-4)
    assert schedule.fall == (300, 600)  # as many steps as it took
    assert [schedule.factor(step) for step in (300, 450, 600, 700)] == [1.0, 0.5, 0.0, 0.0]
    schedule.look(450, 0.9)
    assert schedule.fall == (300, 600)
    schedule.look(600, 1e-4)  # fallen, and asked again: it was not enough
    assert schedule.fall is None
    assert schedule.factor(604) == 0.5  # up again
    schedule.look(700, 0.5)
    assert schedule.fall == (700, 800)  # the budget ends: fall while there is time


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
    trained(run, task=f"{path}:Reverse", model="lookup", overrides={})
    assert not runs.load(run).changed
    path.write_text(path.read_text() + "# another comment\n")
    assert runs.load(run).changed


class Slow(Reverse):
    """A task that needs a longer memory."""

    defaults = Defaults(model="mamba2:tiny", settings={"dt_min": "0.001", "lr": "0.002"})


@pytest.mark.parametrize(
    ("model", "overrides", "dt_min", "lr"),
    [
        ("mamba2", {}, 0.001, 0.002),
        ("mamba2:tiny", {"dt_min": "0.01"}, 0.01, 0.002),
        ("mamba2:small", {}, 0.05, 6e-3),
    ],
)
def test_a_task_sets_its_own_model(model, overrides, dt_min, lr):
    made = configure(Slow(), model, overrides)
    assert (made["model_settings"]["dt_min"], made["settings"]["lr"]) == (dt_min, lr)


def test_a_model_that_is_not_the_tasks_own_need_not_know_its_settings():
    assert configure(Slow(), "lookup", {})["settings"]["lr"] == 6e-3


@pytest.mark.parametrize("name", tasks.TASKS)
def test_every_task_can_be_trained_as_it_is(name):
    task = tasks.load(name)
    made = configure(task, task.defaults.model, {})
    given = made["settings"] | made["model_settings"]
    assert {key: str(given[key]) for key in task.defaults.settings} == task.defaults.settings


@pytest.mark.parametrize(
    ("overrides", "given", "message"),
    [
        ({"foo": "1"}, {}, "foo"),
        ({"lr": "fast"}, {}, "lr"),
        ({"lr": "0"}, {}, "lr"),
        ({"batch_size": "-2"}, {}, "batch_size"),
        ({"curriculum": "-1"}, {}, "curriculum"),
        ({"d_model": "x"}, {}, "d_model"),
        ({"workers": "3"}, {}, "workers"),
        ({}, {"train_length": 0}, "length"),
        ({}, {"train_length": 10**12}, "length"),
        ({}, {"steps": 0}, "steps"),
        ({}, {"device": "tpu"}, "device"),
    ],
)
def test_wrong_settings(overrides, given, message):
    with pytest.raises(ValueError, match=message) as caught:
        config(overrides=overrides, **given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", models.names())
def test_a_models_own_settings(name):
    """Between the defaults and what the user gives."""
    own = models.load_class(name).TRAINING
    assert config(model=name, overrides={})["settings"].items() >= own.items()
    given = {key: "4" for key in own}
    assert all(config(model=name, overrides=given)["settings"][key] == 4 for key in own)


def test_unknown_model():
    with pytest.raises(ValueError, match="mamba2"):
        config(model="mamba9")


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU that is not there")
def test_no_gpu():
    with pytest.raises(ValueError, match="no usable GPU"):
        config(device="cuda")


class TestDamagedFolders:
    """Missing, foreign, truncated: one line each."""

    @pytest.fixture
    def folder(self, tmp_path, lookup_run):
        return shutil.copytree(lookup_run, tmp_path / "copy")

    def refuses(self, folder, match):
        with pytest.raises(runs.RunError, match=match) as caught:
            runs.load(folder)
        assert "\n" not in str(caught.value)

    def test_missing(self, tmp_path):
        self.refuses(tmp_path / "none", "no run folder")

    def test_foreign(self, tmp_path):
        self.refuses(tmp_path, "not a tallystick run folder")

    @pytest.mark.parametrize(
        "text", ["", "{", "[]", "{}", '{"format": 99}', '{"format": 2}', '{"format": 2, "task": 3}']
    )
    def test_config(self, folder, text):
        (folder / "config.json").write_text(text)
        self.refuses(folder, "config.json|format")

    @pytest.mark.parametrize("name", ["vocab.json", "model.safetensors"])
    @pytest.mark.parametrize("keep", [0, 10, None])
    def test_cut_off(self, folder, name, keep):
        data = (folder / name).read_bytes()
        (folder / name).unlink()
        if keep is not None:
            (folder / name).write_bytes(data[:keep])
        self.refuses(folder, name)

    def test_another_model(self, folder):
        text = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(text | {"model": "mamba2:tiny", "model_settings": {}}))
        self.refuses(folder, "does not fit")

    def test_other_tokens(self, folder):
        (folder / "vocab.json").write_text('["a"]')
        self.refuses(folder, "other tokens")

    def test_resume_of_a_cut_off_folder(self, tmp_path):
        trained(tmp_path / "run", steps=4)
        (tmp_path / "run" / "optimizer.safetensors").write_bytes(b"123")
        with pytest.raises(runs.RunError, match="optimizer.safetensors"):
            loop.resume(tmp_path / "run")


def test_lookup_is_resumed_by_fitting_it(tmp_path, lookup_run):
    """Wherever it was interrupted."""
    folder = shutil.copytree(lookup_run, tmp_path / "copy")
    for name in ("model.safetensors", "optimizer.safetensors", "state.json"):
        (folder / name).unlink(missing_ok=True)
    assert loop.resume(folder)
    same(runs.load_progress(lookup_run)[0], runs.load_progress(folder)[0])
    assert len(runs.read_metrics(folder)) == 1


def test_a_folder_that_is_there_is_not_touched(lookup_run):
    before = (lookup_run / "config.json").read_bytes()
    with pytest.raises(runs.RunError, match="is there already"):
        trained(lookup_run, model="lookup", overrides={})
    assert (lookup_run / "config.json").read_bytes() == before


def test_a_wrong_program_writes_nothing(tmp_path):
    path = tmp_path / "mine.py"
    text = Path(tasks.base.__file__.replace("base.py", "reverse.py")).read_text()
    path.write_text(text.replace("return prompt[-2::-1]", "return prompt[:-1]"))
    with pytest.raises(ValueError, match="length 10, seed 0"):
        trained(tmp_path / "run", task=f"{path}:Reverse")
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.py"]


def test_evals_of_the_same_weights_add_up(lookup_run, tmp_path):
    folder = shutil.copytree(lookup_run, tmp_path / "copy")
    rows = [{"length": n, "worst_cases": False, "mode": "verify", "exact": n} for n in (5, 9)]
    runs.write_eval(folder, {"task": "reverse", "rows": rows})
    runs.write_eval(folder, {"task": "reverse", "rows": [rows[0] | {"exact": 0}]})
    assert [row["exact"] for row in runs.read_eval(folder)["rows"]] == [0, 9]
    (folder / "model.safetensors").write_bytes(b"others")
    runs.write_eval(folder, {"task": "reverse", "rows": rows[:1]})
    assert [row["exact"] for row in runs.read_eval(folder)["rows"]] == [5]
