"""Tests of `train --seeds`: lists of seeds, and the report of a seed that fails."""

import sys

import pytest

from tallystick import cli, runs, tasks
from tallystick.cli.train import train_side_by_side
from tallystick.config import configure
from tallystick.launch.seeds import parse_seeds


@pytest.mark.parametrize("text", ["", "a", "4-0", "1,1", "0-", "1.5", "0-99999999999", f"0,{2**63}", "-1,2"])
def test_what_is_no_list_of_seeds(text):
    with pytest.raises(ValueError, match="--seeds"):
        parse_seeds(text)


@pytest.mark.slow
def test_a_seed_that_fails_is_named_after_the_others_have_ended(tmp_path):
    paths = {seed: tmp_path / f"run-s{seed}" for seed in (0, 1)}
    paths[0].mkdir()  # so that it cannot be made
    config = configure(tasks.load("reverse"), "lookup", {"examples": "20"})
    with pytest.raises(ValueError, match=r"^seed 0 failed: .*run-s0 already exists; [^;]*$"):
        train_side_by_side(config, paths)
    assert runs.load(paths[1]).config.settings.seed == 1


@pytest.mark.parametrize("words", [("--seed", "1"), ("seed=1",)])
def test_one_seed_beside_several_is_refused(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tallystick", "train", "reverse", "--seeds", "0-1", *words])
    with pytest.raises(SystemExit) as exit:
        cli.main()
    assert exit.value.code == 2
    assert "another seed are given; list all seeds" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
