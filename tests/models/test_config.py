"""Tests of models by name, and of settings that are refused before anything is built."""

import math
import subprocess
import sys
from dataclasses import fields

import pytest
import torch

from tallystick import models
from tallystick.models.base import Model
from tallystick.models.config import Config
from tallystick.ranges import check_ranges

VOCAB = 11


def presets():
    return [f"{name}:{preset}" for name in models.names() for preset in models.load_class(name).PRESETS]


def numbers():
    """List each number in a model's `Config`, as (model, field)."""
    of = {name: fields(models.load_class(name).Config) for name in models.names()}
    return [(name, field) for name in of for field in of[name] if field.type in ("int", "float")]


def ids(value):
    return getattr(value, "name", value)


def assert_refused(said, function, *arguments, **settings):
    """Require a ValueError of one line that matches."""
    with pytest.raises(ValueError, match=said) as caught:
        function(*arguments, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "overrides", "said"),
    [
        ("mamba", {}, "mamba2"),
        ("mamba2:huge", {}, "tiny, small, paper"),
        ("mamba2:tiny:x", {}, "too many parts"),
        ("mamba2", {"width": 3}, "has no setting 'width'; choose from d_model"),
        ("mamba2", {"vocab_size": 3}, "has no setting 'vocab_size'; choose from d_model"),
        ("mamba2", {"d_state": "many"}, "not of type int"),
        ("mamba2", {"d_state": "1e9"}, "not of type int"),
        ("mamba2", {"d_state": 10**9}, "d_state=1000000000 must be between 1 and 65536"),
        ("mamba2", {"tied": "perhaps"}, "not of type bool"),
        ("mamba2", {"head_dim": 7}, "head_dim=7 does not divide d_inner=128"),
        ("mamba2", {"d_conv": 1}, "d_conv=1 must be between 2 and 64"),
        ("mamba2", {"dt_min": "0.9"}, "dt_min=0.9 must not exceed dt_max=0.5"),
        ("mamba2", {"dt_min": "nan"}, "dt_min=nan must be between"),
        ("mamba1", {"dt_max": 0}, "dt_max=0.0 must be between"),
        ("gated-deltanet", {"dt_max": "inf"}, "dt_max=inf must be between"),
        ("gated-deltanet", {"n_head": 3}, "n_head=3 does not divide d_model=64"),
        ("pythia", {"n_head": 3}, "does not divide"),
        ("pythia", {"rotary_fraction": 1.5}, "rotary_fraction=1.5 must be between 0.0 and 1.0"),
        ("mistral", {"window": 1}, "window=1 must be between 2"),
        ("hybrid", {"n_head": 3}, "n_head=3 does not divide"),
        ("hybrid", {"head_dim": 7}, "head_dim=7 does not divide"),
        ("hybrid", {"attention_every": 4}, "attention_every=4 must not exceed n_layer=3"),
        ("rmt", {"segment": 0}, "segment=0 must be between 1"),
        ("bits", {"bits": 12}, "must be a multiple of 8"),
        ("bits", {"bits": -8}, "bits=-8 must be between 8"),
        ("tallystick.nothing:Class", {}, "cannot load"),
        ("tallystick.models.mamba2:Nothing", {}, "cannot load"),
        ("collections:Counter", {}, "not a subclass of tallystick.models.base.Model"),
        ("no_such_file.py:Class", {}, "no_such_file.py"),
    ],
)
def test_mistakes_are_said_in_one_line(spec, overrides, said):
    assert_refused(said, models.resolve, spec, overrides, vocab_size=VOCAB)


@pytest.mark.parametrize(("name", "field"), numbers(), ids=ids)
def test_every_number_has_a_finite_range(name, field):
    """Values beyond its ends, and NaN, are refused by the field's name."""
    least, most = field.metadata["min"], field.metadata["max"]
    assert -math.inf < least < most < math.inf
    for value in (least - 1, most + 1, math.nan, math.inf, -math.inf):
        assert_refused(f"{field.name}={value} must be between {least} and {most}", make, name, field.name, value)


def make(name, key, value):
    return models.load_class(name).Config(**{"vocab_size": VOCAB, key: value})


def test_numbers_of_a_users_own_model_are_finite(tmp_path):
    """This holds for fields without a declared range."""
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\nfrom tallystick.models.base import Model\n"
        "class Mine(Model):\n    PRESETS = {'tiny': {}}\n    @dataclass(frozen=True, kw_only=True)\n"
        "    class Config(Model.Config):\n        size: int = 3\n        share: float = 0.5\n"
    )
    spec = f"{tmp_path}/mine.py:Mine"
    assert models.resolve(spec, {"share": "-2"}, vocab_size=VOCAB)[1].share == -2.0
    for overrides in ({"size": 0}, {"size": 2**31}, {"share": "inf"}, {"share": "nan"}):
        assert_refused("must be between", models.resolve, spec, overrides, vocab_size=VOCAB)


def test_a_users_own_model_that_does_not_run(tmp_path):
    (tmp_path / "mine.py").write_text("1 / 0")
    assert_refused("mine.py", models.load_class, f"{tmp_path}/mine.py:Mine")
    (tmp_path / "mine.py").write_text("from tallystick.models.base import Model\nclass Mine(Model):\n    Config = dict")
    assert_refused("its Config is not a subclass", models.load_class, f"{tmp_path}/mine.py:Mine")


def test_a_state_that_grows_must_be_declared(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from tallystick.models.transformer import NoPE\nclass Mine(NoPE):\n    fixed_state = True\n"
    )
    assert_refused("fixed_state=True", models.build, f"{tmp_path}/mine.py:Mine", vocab_size=VOCAB)


@pytest.mark.parametrize("spec", presets())
def test_parameters_are_counted_without_weights(spec):
    model_class, config = models.resolve(spec, vocab_size=VOCAB)
    count = models.count_parameters(model_class, config)
    if spec.endswith(":tiny"):
        assert count == sum(parameter.numel() for parameter in model_class(config).parameters())
    if spec.endswith(":paper"):
        assert count > 10**7


def test_a_resolved_config_is_refused_nowhere_else():
    """Everything that `resolve` accepts can be built, also at the largest sizes."""
    largest = {"d_model": 2**16, "n_layer": 2, "d_state": 2**16, "expand": 64, "d_conv": 64, "dt_min": 1e-6}
    model_class, config = models.resolve("mamba2", largest, vocab_size=2**24)
    assert models.count_parameters(model_class, config) > 10**12


def test_overrides_and_other_places(tmp_path):
    model = models.build("mamba2:small", vocab_size=VOCAB, d_state="32", tied="false")
    assert (model.config.d_model, model.config.d_state, model.config.tied) == (128, 32, False)
    (tmp_path / "mine.py").write_text("from tallystick.models.mamba2 import Mamba2\nclass Mine(Mamba2):\n    pass\n")
    for spec in (f"{tmp_path}/mine.py:Mine", "tallystick.models.mamba2:Mamba2:small"):
        logits_BLV, _ = models.build(spec, vocab_size=VOCAB)(torch.zeros(2, 3, dtype=torch.int64))
        assert logits_BLV.shape == (2, 3, VOCAB)


@pytest.mark.parametrize("name", models.names())
def test_presets(name):
    model_class = models.load_class(name)
    assert issubclass(model_class.Config, Config)
    assert model_class.Config(vocab_size=VOCAB, **model_class.PRESETS["tiny"]) == model_class.Config(vocab_size=VOCAB)
    for preset in model_class.PRESETS.values():
        check_ranges(model_class.Config(vocab_size=VOCAB, **preset))


@pytest.mark.parametrize("name", models.names())
def test_a_model_sets_no_attribute_that_nothing_reads(name):
    """A misspelt or renamed setting such as `verify_chunk` would keep its default in silence."""
    family = [cls for cls in models.load_class(name).__mro__ if issubclass(cls, Model)]
    declared = {*dir(Model)}.union(*(cls.__annotations__ for cls in family))
    for cls in family:
        assert {key for key in vars(cls) if not key.startswith("_") and not callable(getattr(cls, key))} <= declared


def test_import_is_quiet_and_lazy():
    code = "import sys, tallystick.models; assert not {'torch', 'triton'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
