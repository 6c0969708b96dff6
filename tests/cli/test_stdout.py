"""Tests that stdout has only results, and that JSON is whole and strict."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tallystick.cli.console import OUT

ROOT = Path(__file__).parents[2]


@pytest.fixture
def noisy(tmp_path):
    """Return a task that prints at import and from each of its methods."""
    text = (ROOT / "examples" / "my_task.py").read_text()
    for method in ("sample(self, length, rng)", "answer(self, prompt)", "solve(self, w)"):
        before, after = text.split(f"def {method}:", 1)
        text = f'{before}def {method}:\n        print("noise")\n{after}'
    (tmp_path / "noisy.py").write_text('print("noise")\n' + text)
    return f"{tmp_path / 'noisy.py'}:Reverse"


def strict(text):
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_what_a_task_prints_goes_to_stderr(tallystick, noisy, tmp_path):
    out = tmp_path / "run"
    train = tallystick("train", noisy, "--model", "lookup", "examples=500", "--out", out, "--json")
    assert strict(train.out)["run"] == str(out)
    assert "noise" in train.err
    assert "\n1\n" not in tallystick("solve", out, "1101>").err
    commands = {
        "solve": ("solve", out, "1101>"),
        "eval": ("eval", out, "--lengths", "3", "--samples", 2, "--json"),
        "check": ("check", noisy, "--problems", 20, "--json"),
        "show": ("show", noisy, "--length", 3, "--json"),
        "resume": ("resume", out),
    }
    for name, arguments in commands.items():
        printed = tallystick(*arguments)
        assert "noise" in printed.err, name
        assert "noise" not in printed.out, name
        assert printed.out, name


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A run whose weights are NaN."""
    from tallystick import tasks
    from tallystick.config import configure
    from tallystick.training import loop

    path = tmp_path_factory.mktemp("broken") / "run"
    loop.train(
        path,
        configure(tasks.load("reverse"), "lstm", {"batch_size": "2", "seq_len": "32", "train_length": "3"}, steps=1),
    )
    file = path / "model.safetensors"
    with safe_open(file, "pt") as opened:
        meta = opened.metadata()
    weights = {name: torch.full_like(tensor, math.nan) for name, tensor in load_file(file).items()}
    save_file(weights, file, metadata=meta)
    return path


@pytest.mark.parametrize("mode", ["verify", "generate"])
def test_logits_that_are_no_numbers_are_null(tallystick, broken, mode):
    report = strict(tallystick("eval", broken, "--lengths", "3", "--samples", 3, "--mode", mode, "--json").out)
    for row in [*report["rows"], *strict((broken / "eval.json").read_text())["rows"]]:
        assert row["min_margin"] is None
        assert row["first_errors"][0]["margin"] is None
        assert row["error_bound"] == 1.0
    assert " NaN " in tallystick("eval", broken, "--lengths", "3", "--samples", 3, "--mode", mode).out


FEW = ("check", "reverse", "--problems", 20, "--lengths", "3,5,8")


def test_a_narrow_terminal_cuts_no_results(tallystick, monkeypatch):
    monkeypatch.setattr(OUT, "width", 20)
    assert_whole(tallystick(*FEW).out)


def test_a_terminal_without_columns_cuts_no_results(start):
    """A process of its own: the width is read at import."""
    assert_whole(start(*FEW, environment={"COLUMNS": "0"}).communicate(timeout=300)[0])


def assert_whole(text):
    lines = text.splitlines()
    assert lines[0].split("  ")[-1].strip() == "coverage"
    assert [line.split()[-2:] for line in lines[1:4]] == [["100", "%"]] * 3
    assert "local: yes, k = 3" in lines


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture
def mine(tmp_path):
    """A task in a file that is not all ASCII."""
    text = (ROOT / "examples" / "my_task.py").read_text(encoding="utf-8")
    (tmp_path / "mine.py").write_text(f"# größer\n{text}", encoding="utf-8")
    return f"{tmp_path}/mine.py:Reverse"


def test_a_locale_without_utf_8(start, mine):
    """Sources are read as UTF-8, and what the terminal cannot show does not end the command."""
    process = start("show", mine, "--length", 3, environment=ASCII)
    assert "[ANS]" in process.communicate(timeout=300)[0]
    assert process.returncode == 0


@pytest.mark.slow
def test_a_source_is_copied_in_a_locale_without_utf_8(start, mine, tmp_path):
    out = tmp_path / "run"
    train = ("train", mine, "--model", "lookup", "examples=20", "train_length=3", "--out", out)
    process = start(*train, environment=ASCII)
    assert process.communicate(timeout=300)[0] == f"{out}\n"
    assert (out / "task" / "source.py").read_text(encoding="utf-8").startswith("# größer")


def test_a_reader_that_has_had_enough(start, run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    with start("eval", copy, "--lengths", "5,10,20,30", "--samples", 3) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0
