"""Tests of `train` and `resume`: settings given once, advice at the end, and how to continue."""

import json
import signal

import pytest

from tallystick.cli.train import _pairs

SMALL = ("batch_size=4", "seq_len=64", "validate_every=4", "min_margin=99", "train_length=3")
TWICE = {
    "two pairs": (["lr=.1", "lr=.2"], "lr is given twice: lr=.1 and lr=.2"),
    "steps": (["--steps", "1", "steps=2"], "steps is given twice: --steps 1 and steps=2"),
    "seed": (["seed=3", "--seed", "4"], "seed is given twice: --seed 4 and seed=3"),
    "seed 0": (["seed=3", "--seed", "0"], "seed is given twice"),
    "device": (["device=cpu", "--device", "cpu"], "device is given twice"),
    "train length": (["train_length=3", "--train-length", "3"], "train_length is given twice: --train-length 3"),
}


@pytest.mark.parametrize("name", TWICE)
def test_a_setting_is_given_once(tallystick, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    arguments, message = TWICE[name]
    printed = tallystick("train", "reverse", "--model", "lookup", *arguments, code=2)
    assert printed.err.startswith(f"tallystick: {message}")
    assert printed.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_value_may_hold_an_equals_sign():
    assert _pairs(["a=b=c"]) == {"a": "b=c"}


def test_a_training_that_fails_says_what_to_try_and_how_to_go_on(tallystick, tmp_path):
    out = tmp_path / "run"
    printed = tallystick("train", "reverse", *SMALL, "--steps", 4, "--out", out)
    assert printed.out == f"{out}\n"
    end = printed.err[printed.err.index("4 steps, ") :].splitlines()
    assert "NOT all exact with the margin" in end[0]
    assert "of them also came up in training" in end[0]
    assert any(line.startswith("  try: a first error: after  ") for line in end)
    command = f"tallystick resume {out} --steps 8"
    assert end[-1] == f"  continue with: {command}"
    again = tallystick(*command.split()[1:], "--json")
    assert json.loads(again.out)["step"] == 8


def test_a_resumed_run_with_nothing_to_do_says_how_to_go_on(tallystick, tmp_path):
    out = tmp_path / "run"
    tallystick("train", "reverse", *SMALL, "--steps", 4, "--out", out)
    assert "continue with: tallystick resume" in tallystick("resume", out).err
    assert tallystick("resume", out, "--steps", 4, code=2).err.endswith("has already made 4 steps; choose more\n")


def test_an_empty_metrics_file_is_a_line(tallystick, tmp_path):
    out = tmp_path / "run"
    tallystick("train", "reverse", *SMALL, "--steps", 4, "--out", out)
    (out / "metrics.jsonl").write_text("")
    assert "metrics.jsonl is empty" in tallystick("resume", out, code=2).err


def test_ctrl_c_says_how_to_go_on(start, tmp_path):
    """This includes folders whose name was chosen by the command."""
    process = start("train", "reverse", *SMALL, "steps=100000", cwd=tmp_path)
    while not process.stderr.readline().startswith("step"):
        pass
    process.send_signal(signal.SIGINT)
    error = process.stderr.read()
    process.communicate(timeout=300)
    assert error.splitlines()[-2:] == [
        "continue with: tallystick resume runs/reverse-mamba2-tiny-s0",
        "tallystick: interrupted",
    ]


def test_ctrl_c_names_the_seeds_that_had_not_begun(tallystick, tmp_path, monkeypatch):
    def interrupted(config, paths):
        paths[3].mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr("tallystick.cli.train.train_side_by_side", interrupted)
    error = tallystick("train", "reverse", *SMALL, "--seeds", "3-5", "--out", tmp_path / "run", code=130).err
    assert error.splitlines() == [
        f"continue with: tallystick resume {tmp_path / 'run-s3'}",
        "not begun: seeds 4,5; train them with the same command and --seeds 4,5",
        "tallystick: interrupted",
    ]


def test_a_training_that_fails_late_names_its_folder(tallystick, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = ("batch_size=2", "seq_len=64", "validate_every=2", "train_length=3")
    error = tallystick("train", "reverse", *small, "lr=1000000", "grad_clip=1000", "--steps", 40, code=2).err
    assert "what was trained so far is in runs/reverse-mamba2-tiny-s0\n" in error
    assert error.splitlines()[-1].startswith("tallystick: the loss is nan")
    assert "what was trained" not in tallystick("train", "reverse", "--out", "runs", code=2).err


def test_a_changed_file_is_noted_and_its_copy_used(tallystick, tmp_path):
    from pathlib import Path

    mine, out = tmp_path / "mine.py", tmp_path / "run"
    text = (Path(__file__).parents[2] / "examples" / "my_task.py").read_text()
    mine.write_text(text)
    tallystick("train", f"{mine}:Reverse", "--model", "lookup", "examples=100", "--out", out)
    mine.write_text(text + "# edited\n")
    assert "has changed since" in tallystick("resume", out).err
