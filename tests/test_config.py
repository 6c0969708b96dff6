"""The configuration of a run: where values come from, and what is refused."""

import json
from dataclasses import MISSING, fields, replace

import pytest
import torch

from tallystick import models, tasks
from tallystick.config import RunConfig, Settings, configure
from tallystick.tasks import Defaults
from tallystick.tasks.reverse import Reverse

NUMBERS = [field for field in fields(Settings) if field.name not in ("device", "precision")]


def config(task="reverse", model="mamba2:tiny", overrides=(), **given):
    return configure(tasks.load(task), model, dict(overrides), **given)


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
    assert (made.model_settings["dt_min"], made.settings.lr) == (dt_min, lr)


class Remembering(Reverse):
    """A task that needs a longer memory of any model."""

    defaults = Defaults(settings={"d_state": "32"}, memory={"dt_min": "0.001"})


@pytest.mark.parametrize("model", [name for name in models.names() if "dt_min" in models.setting_kinds(name)])
def test_a_task_sets_the_memory_of_every_model_that_has_one(model):
    preset = list(models.load_class(model).PRESETS)[-1]
    assert configure(Remembering(), f"{model}:{preset}", {}).model_settings["dt_min"] == 0.001
    assert configure(Remembering(), f"{model}:{preset}", {"dt_min": "0.002"}).model_settings["dt_min"] == 0.002


def test_models_without_such_a_memory_need_not_know_it():
    assert "dt_min" not in configure(Remembering(), "lstm", {}).model_settings


def test_a_model_that_is_not_the_tasks_own_need_not_know_its_settings():
    assert configure(Slow(), "lookup", {}).settings.lr == 6e-3


@pytest.mark.parametrize("name", tasks.TASKS)
def test_every_task_can_be_trained_as_it_is(name):
    task = tasks.load(name)
    made = configure(task, task.defaults.model, {}).to_json()
    given = made["settings"] | made["model_settings"]
    assert {key: str(given[key]) for key in task.defaults.settings} == task.defaults.settings


@pytest.mark.parametrize("name", models.names())
def test_a_models_own_settings(name):
    """A model's own settings override the defaults, and the user's override both."""
    own = models.load_class(name).TRAINING
    assert config(model=name).to_json()["settings"].items() >= own.items()
    given = {key: "4" for key in own}
    made = config(model=name, overrides=given).to_json()["settings"]
    assert all(made[key] == 4 for key in own)


@pytest.mark.parametrize("name", models.names())
def test_state_passing_is_off_where_the_state_grows(name):
    model = models.build(name, vocab_size=5)
    assert config(model=name).settings.state_passing == (0.5 if model.fixed_state else 0.0)


def test_no_weights_are_built():
    """A model whose weights no machine can hold is configured in no time."""
    made = config(overrides={"d_model": "65536", "n_layer": "200"})
    assert made.model_settings["d_model"] == 65536


@pytest.mark.parametrize("name", models.names())
def test_json_goes_round(name):
    made = replace(config(model=name), extended_from=(100, 200))
    document = json.loads(json.dumps(made.to_json(), allow_nan=False))
    assert RunConfig.from_json(document) == made
    assert "extended_from" not in config(model=name).to_json()


BROKEN = {
    "no object": (lambda document: [], "the document must be of type dict, not list"),
    "no settings": (lambda document: without(document, "settings"), "no settings"),
    "settings of another type": (lambda document: document | {"settings": []}, "settings must be of type dict"),
    "unknown key": (lambda document: document | {"colour": 1}, "unknown colour"),
    "unknown setting": (lambda document: changed(document, rows=8), "unknown settings.rows"),
    "missing setting": (lambda document: without_setting(document, "lr"), "no settings.lr"),
    "text for a number": (lambda document: changed(document, lr="fast"), "settings.lr must be of type float, not str"),
    "bool for a number": (lambda document: changed(document, seed=True), "settings.seed must be of type int, not bool"),
    "fraction for an int": (lambda document: changed(document, steps=1.5), "settings.steps must be of type int"),
    "out of range": (
        lambda document: changed(document, state_passing=2),
        "state_passing=2.0 must be between 0.0 and",
    ),
    "not a number": (lambda document: changed(document, min_margin=float("nan")), "min_margin=nan must be between"),
    "another device": (lambda document: changed(document, device="tpu"), "device must be cpu or cuda, got 'tpu'"),
    "no name": (lambda document: document | {"task": 3}, "task must be of type str, not int"),
}


def without(document, key):
    return {name: value for name, value in document.items() if name != key}


def without_setting(document, key):
    return document | {"settings": without(document["settings"], key)}


def changed(document, **values):
    return document | {"settings": document["settings"] | values}


@pytest.mark.parametrize("name", BROKEN)
def test_json_that_is_no_configuration_is_refused(name):
    damage, message = BROKEN[name]
    with pytest.raises(ValueError, match=message) as caught:
        RunConfig.from_json(damage(config().to_json()))
    assert "\n" not in str(caught.value)


def test_a_configuration_from_before_precision_was_a_setting():
    document = without_setting(config().to_json(), "precision")
    assert RunConfig.from_json(document) == config()


@pytest.mark.parametrize("field", NUMBERS, ids=lambda field: field.name)
def test_every_number_has_a_finite_range(field):
    least, most = field.metadata["min"], field.metadata["max"]
    given = {"train_length": 5, "steps": 5, "state_passing": 0.5, "workers": 1}
    default = given.get(field.name) if field.default is MISSING else field.default
    assert -1e300 < least <= default <= most < 1e300
    for value in (least - 1, 2 * most + 1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"^{field.name}=.* must be between"):
            Settings(**{**given, field.name: value})


@pytest.mark.parametrize(
    ("overrides", "given", "message"),
    [
        ({"foo": "1"}, {}, "no setting 'foo'.*training settings: train_length, steps"),
        ({"lr": "fast"}, {}, "lr"),
        ({"lr": "0"}, {}, "lr"),
        ({"lr": "nan"}, {}, "lr"),
        ({"grad_clip": "inf"}, {}, "grad_clip"),
        ({"batch_size": "-2"}, {}, "batch_size"),
        ({"threads": "100000"}, {}, "threads"),
        ({"curriculum": "-1"}, {}, "curriculum"),
        ({"d_model": "x"}, {}, "d_model"),
        ({"vocab_size": "3"}, {}, "vocab_size cannot be set"),
        ({"workers": "3"}, {}, "workers=3 does not divide batch_size=8"),
        ({}, {"train_length": 0}, "length"),
        ({}, {"train_length": 10**12}, "length"),
        ({}, {"steps": 0}, "steps"),
        ({}, {"device": "tpu"}, "device must be cpu or cuda, got 'tpu'"),
        ({"precision": "fp16"}, {}, "precision must be fp32 or bf16, got 'fp16'"),
        ({"steps": "2"}, {"steps": 1}, "steps is given twice: --steps 1 and steps=2"),
        ({"seed": "0"}, {"seed": 0}, "seed is given twice"),
        ({"device": "cpu"}, {"device": "cpu"}, "device is given twice"),
    ],
)
def test_wrong_settings(overrides, given, message):
    with pytest.raises(ValueError, match=message) as caught:
        config(overrides=overrides, **given)
    assert "\n" not in str(caught.value)


def test_unknown_model():
    with pytest.raises(ValueError, match="mamba2"):
        config(model="mamba9")


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU that is not there")
def test_no_gpu():
    with pytest.raises(ValueError, match="no usable GPU"):
        config(device="cuda")
