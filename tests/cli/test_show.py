"""Tests of `show` and `data`: a user's own problem, whole JSON or none, and visible blanks."""

import json
import sys

import pytest

from tallystick import cli, tasks
from tallystick.cli import console
from tallystick.tasks.codefix import teachers
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


def test_files_of_a_problem_are_written(tallystick, tmp_path):
    folder = tmp_path / "new" / "shop"
    printed = tallystick("show", "codefix", "--length", 7, "--seed", 1, "--write", folder)
    assert printed.out == f"{folder}\n"
    problem = tasks.load("codefix").problem("show", 1, 7, 0)
    assert {path.name: path.read_text() for path in folder.iterdir()} == problem.files
    assert printed.err.startswith("7 files; the prompt: ")
    assert "already exists" in tallystick("show", "codefix", "--length", 7, "--write", folder, code=2).err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["reverse", "--length", 4, "--write", "x"], "--write has no effect: problems of reverse have no files"),
        (["codefix", "--length", 4, "--write", "x", "--json"], "--write and --json are given; choose one"),
        (["codefix", "--problem", "Fix it."], "the problems of codefix have files; draw one by --length"),
    ],
)
def test_no_files_to_write(tallystick, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    assert message in tallystick("show", *words, code=2).err
    assert not list(tmp_path.iterdir())


def test_a_text_task_is_shown_as_a_session_in_a_shell(tallystick):
    head, roles, _, blank, said, command, *rest = tallystick("show", "codefix", "--length", 5).out.split("\n")
    assert (head, roles) == (
        "a folder of 5 files; --write DIR writes them",
        "roles: prompt command observation output ",
    )
    assert (blank, said, command) == ("", "Run it.", f"$ {teachers.SHORT_RUN}")
    assert "NameError: name 'v10' is not defined" in rest
    assert "0" not in rest


def test_return_codes_and_unprintable_characters_are_seen(tallystick, tmp_path):
    (tmp_path / "odd.py").write_text(ODD)
    shown = tallystick("show", f"{tmp_path}/odd.py:Odd", "--length", 3).out
    assert shown.endswith("\n$ cat a b\n\\x1b[31m\\x07\ncat: b: No such file or directory\n[return code 1]\n")


ODD = '''
from tallystick import Problem, TextTask

class Odd(TextTask):
    """Read a file that is not there."""

    tokenizer = "bytes"  # the default one runs the program, and with it a real shell, on many problems

    def sample(self, length, rng):
        return Problem("Read.", {"a": "\\x1b[31m\\x07\\n", "c": f"{rng.randrange(10**length)}"})

    def solve(self, w):
        w.bash("cat a b")

    def score(self, prompt, output, tools=None):
        return 1.0
'''


def test_data_of_a_program_with_notes(capsys, monkeypatch, tmp_path):
    made = tmp_path / "data.jsonl"
    options = ["--annotate", "--variant", "paper", "--lengths", 3, "--samples", 2, "--out", made]
    tallystick(capsys, monkeypatch, "data", "addition", *options)
    trajectories = [Trajectory.from_json(line) for line in made.read_text("utf-8").splitlines()]
    assert [t.meta["variant"] for t in trajectories] == ["paper+notes"] * 2
    assert all(any(role.name == "NOTE" for role, _ in t.segments) for t in trajectories)
