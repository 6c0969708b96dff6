"""Tests of `show` and `data`: a user's own problem, whole JSON or none, and visible blanks."""

import json
import sys

import pytest

from tallystick import cli, tasks
from tallystick.cli import console
from tallystick.trajectory import Trajectory

BLANKS = '''
from tallystick import Task

class Blanks(Task):
    """Say the prompt again."""
    symbols = (" ", "\\n", "a b", ">")

    def sample(self, length, rng):
        return [*rng.choices(self.symbols[:3], k=length), ">"]

    def answer(self, prompt):
        return prompt[:-1]

    def solve(self, w):
        p = w.pointer(0)
        w.answer()
        while (symbol := p.read()) != ">":
            w.output(symbol)
            p.right()
'''


def tallystick(capsys, monkeypatch, *arguments, code=0):
    """Run a command in this process; returns what it printed on stdout and stderr."""
    monkeypatch.setattr(sys, "argv", ["tallystick", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit:
        cli.main()
    assert (exit.value.code or 0) == code
    return capsys.readouterr()


@pytest.fixture
def blanks(tmp_path):
    (tmp_path / "blanks.py").write_text(BLANKS)
    return f"{tmp_path}/blanks.py:Blanks"


@pytest.mark.parametrize(
    ("token", "shown"),
    [("a", "a"), ("é", "é"), (" ", "␣"), ("\n", "⏎"), ("\t", "⇥"), ("a b\n", "a␣b⏎"), ("\x1b", r"\x1b"),
     ("\u2028", r"\u2028")],
)  # fmt: skip
def test_what_cannot_be_seen_is_made_visible(token, shown):
    assert console.visible(token) == shown


def test_tokens_in_one_line():
    assert console.visible_line(["a", " ", "\n"]) == "a ␣ ⏎"


def test_a_problem_of_the_users_own(capsys, monkeypatch):
    shown = tallystick(capsys, monkeypatch, "show", "addition", "--problem", "12+7").out
    assert shown.splitlines()[1].startswith("1 2 + 7 = [p0.read] 1")
    assert "memory, 12 cells: 1 2 + 7 = 9 c0 1 c0 [ANS] 1 9" in shown
    assert "p2 ends on cell 4, =" in shown
    line = tallystick(capsys, monkeypatch, "show", "addition", "--problem", "12+7", "--json").out
    trajectory = Trajectory.from_json(line)
    assert trajectory.segments[0][1] == tasks.load("addition").parse("12+7")
    assert trajectory.meta == {"task": "addition", "variant": "local", "problem": "12+7", "ok": True}


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ([], "either --length or --problem"),
        (["--length", 3, "--problem", "1+2"], "either --length or --problem"),
        (["--problem", "1+2", "--seed", 1], "--seed has no effect with --problem"),
        (["--problem", "12<7?"], "'12<7?' is not a sum"),
        (["--length", 9000], "--json, which has no limit"),
    ],
)
def test_options_that_do_not_fit(capsys, monkeypatch, options, advice):
    printed = tallystick(capsys, monkeypatch, "show", "addition", *options, code=2)
    assert printed.out == ""
    assert advice in printed.err
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(("old", "new"), [("p.right()", "1 / 0"), ("return [*", "return 1 / 0, [*")])
def test_json_is_whole_or_not_printed(capsys, monkeypatch, blanks, tmp_path, old, new):
    (tmp_path / "blanks.py").write_text(BLANKS.replace(old, new))
    printed = tallystick(capsys, monkeypatch, "show", blanks, "--length", 3, "--json", code=2)
    assert printed.out == ""
    assert "ZeroDivisionError" in printed.err


def test_json_is_whole(capsys, monkeypatch):
    assert json.loads(tallystick(capsys, monkeypatch, "show", "sort", "--length", 30, "--json").out)["ok"] is True


def test_blanks_of_a_task_are_visible(capsys, monkeypatch, blanks):
    prompt = tasks.load(blanks).problem("show", 0, 9, 0)
    assert {" ", "\n", "a b"} <= set(prompt)
    shown = tallystick(capsys, monkeypatch, "show", blanks, "--length", 9).out
    memory = [line for line in shown.splitlines() if line.startswith("memory")]
    assert memory[0].startswith(f"memory, 20 cells: {console.visible_line(prompt)} [ANS]")
    assert shown.splitlines()[1].startswith(console.visible_line(prompt)[:9])


def test_data_of_a_program_with_notes(capsys, monkeypatch, tmp_path):
    made = tmp_path / "data.jsonl"
    options = ["--annotate", "--variant", "paper", "--lengths", 3, "--samples", 2, "--out", made]
    tallystick(capsys, monkeypatch, "data", "addition", *options)
    trajectories = [Trajectory.from_json(line) for line in made.read_text("utf-8").splitlines()]
    assert [t.meta["variant"] for t in trajectories] == ["paper+notes"] * 2
    assert all(any(role.name == "NOTE" for role, _ in t.segments) for t in trajectories)
