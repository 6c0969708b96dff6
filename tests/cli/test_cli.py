"""The command line: its names are frozen, results go to stdout alone, and a mistake is one line and exit code 2."""

import json
import resource
import shutil
import signal
import time
from pathlib import Path

import pytest

from tallystick import cli
from tallystick.cli.check import percent
from tallystick.launch.seeds import parse_seeds
from tallystick.tasks.annotate import traces

ROOT = Path(__file__).parents[2]
MY_TASK = str(ROOT / "examples" / "my_task.py")
QUICK = ["--model", "lookup", "examples=500"]

COMMANDS = {
    "certify": {"folder", "check", "seed", "as_json"},
    "check": {"task", "variant", "annotate", "lengths", "problems", "train_length", "seed", "as_json"},
    "collect": {
        *("task", "endpoint", "model", "out", "lengths", "samples", "steps", "config", "seed", "as_json"),
    },
    "data": {"task", "out", "variant", "annotate", "lengths", "samples", "split", "form", "seed", "as_json"},
    "eval": {"folders", "lengths", "samples", "mode", "sandbox", "part", "on", "seed", "device", "backend", "as_json"},
    "models": {"as_json"},
    "prove": {"task", "variant", "annotate", "seed", "as_json"},
    "report": {"folders", "out", "problems", "as_json"},
    "reproduce": {"name", "budget", "models", "seeds", "device", "jobs", "as_json"},
    "resume": {"folder", "steps", "as_json"},
    "show": {"task", "length", "problem", "seed", "variant", "annotate", "write", "as_json"},
    "solve": {
        "folder",
        "problem",
        "prompt",
        "out",
        "in_place",
        "diff",
        "sandbox",
        "trace",
        "max_tokens",
        "backend",
        "as_json",
    },
    "tasks": {"as_json"},
    "theory bound": {"task", "model", "lengths", "seeds", "steps", "device", "out", "as_json"},
    "theory universal": {"machine", "model", "lengths", "seeds", "epsilon", "delta", "out", "as_json"},
    "tools": {"as_json"},
    "train": {
        "task",
        "overrides",
        "model",
        "variant",
        "annotate",
        "train_length",
        "steps",
        "seed",
        "seeds",
        "device",
        "certify",
        "out",
        "as_json",
    },
}


def test_names_are_frozen():
    commands = cli.as_main().commands
    commands |= {f"theory {name}": command for name, command in commands.pop("theory").commands.items()}
    frozen = {name: {option.name for option in command.params} for name, command in commands.items()}
    assert {name: frozen[name] for name in COMMANDS} == COMMANDS


@pytest.mark.parametrize("words", [[], ["theory"]])
def test_no_summary_of_a_command_is_cut(tallystick, monkeypatch, words):
    monkeypatch.setenv("COLUMNS", "80")
    assert "..." not in tallystick(*words, "--help").out.partition("Commands:")[2]


def test_no_arguments_is_help(tallystick):
    assert "Usage" in tallystick().out


@pytest.mark.parametrize("kind", ["tasks", "models", "tools"])
def test_listings(tallystick, kind):
    rows = json.loads(tallystick(kind, "--json").out)[kind]
    assert all(row["name"] and row["about"] for row in rows)
    text = tallystick(kind).out
    assert all(line.startswith(row["name"]) for line, row in zip(text.splitlines(), rows, strict=True))


@pytest.mark.parametrize("task", ["addition", f"{MY_TASK}:Reverse"])
def test_show(tallystick, task):
    text = tallystick("show", task, "--length", 3).out
    assert "[ANS]" in text
    assert "p0 ends on cell -1, [BOS]" in text
    record = json.loads(tallystick("show", task, "--length", 3, "--json").out)
    assert record["task"] == task
    assert record["segments"][0][0] == "prompt"


def test_check_document(tallystick):
    report = json.loads(tallystick("check", "reverse", "--lengths", "3,5,8", "--problems", 50, "--json").out)
    assert {"task", "variant", "rows", "local", "covered", "ambiguous"} <= report.keys()
    keys = {"length", "problems", "worst_cases", "k", "k_random", "contexts", "unseen", "coverage", "problems_covered"}
    assert all(row.keys() == keys for row in report["rows"])
    assert (report["local"], report["covered"]) == (True, True)
    assert "local: yes" in tallystick("check", "reverse", "--lengths", "3,5,8", "--problems", 50).out
    two = tallystick("check", "reverse", "--lengths", "3,5", "--problems", 50).out
    assert "undecided: a verdict needs at least 3 lengths" in two
    assert "Nothing is predicted" in two
    text = tallystick("check", "addition", "--variant", "paper", "--problems", 50).out
    assert "after  [p1.right] [p1.read] =  comes  [p1.left]  or  [p1.right]" in text


EVAL_KEYS = {
    *("length", "worst_cases", "mode", "samples", "exact", "answer", "score", "token_accuracy", "ci95", "model_tokens"),
    *(
        "error_bound",
        "train_overlap",
        "low_margin_tokens",
        "min_margin",
        "seconds",
        "state_bytes",
        "stops",
        "first_errors",
    ),
}


def test_check_names_the_notes(tallystick, monkeypatch):
    monkeypatch.setattr(traces, "PROBLEMS", 500)
    naive = str(Path(__file__).parents[2] / "examples" / "naive.py")
    few = ("--problems", "20", "--lengths", "4,8,12")
    assert "\nnotes: {" in tallystick("check", f"{naive}:Larger", "--annotate", *few).out
    assert "\nnotes: none" in tallystick("check", "reverse", "--annotate", *few).out
    assert "notes" not in tallystick("check", "reverse", *few).out


@pytest.mark.parametrize("mode", ["verify", "generate"])
def test_eval_document(tallystick, run, mode):
    arguments = ("eval", run, "--lengths", "1,20", "--samples", 20, "--mode", mode, "--json")
    report = json.loads(tallystick(*arguments).out)
    assert {"task", "variant", "model", "train_length", "rows"} <= report.keys()
    assert all(row.keys() >= EVAL_KEYS for row in report["rows"])
    assert [(row["length"], row["worst_cases"]) for row in report["rows"]] == [
        (1, False),
        (1, True),
        (20, False),
        (20, True),
    ]
    assert all(row["exact"] == row["samples"] for row in report["rows"] if not row["worst_cases"])
    assert report["rows"][0]["train_overlap"] > 0  # of one digit there are few enough
    assert report["rows"][2]["train_overlap"] == 0
    assert json.loads((run / "eval.json").read_text())["rows"]


def test_eval_table(tallystick, tmp_path, run):
    copy = shutil.copytree(run, tmp_path / "copy")
    text = tallystick("eval", run, copy, "--lengths", "5", "--samples", 3).out
    assert text.count("3/3") == 2


def test_solve(tallystick, run):
    assert tallystick("solve", run, "999999999999+1").out == "1000000000000\n"
    assert tallystick("solve", run, "007 + 5=").out == "12\n"
    traced = tallystick("solve", run, "12+3", "--trace")
    assert traced.out == "15\n"
    assert "[p2.left]" in traced.err
    report = json.loads(tallystick("solve", run, "12+3", "--json").out)
    assert (report["answer"], report["right"], report["exact"], report["stop"]) == ("15", True, True, "eos")


def test_solve_without_an_answer(tallystick, run):
    printed = tallystick("solve", run, "12+3", "--max-tokens", 20, code=1)
    assert printed.out == ""
    assert printed.err.startswith("tallystick: no answer: token_limit")


def test_theory_bound(tallystick, tmp_path):
    out = tmp_path / "theory"
    text = tallystick("theory", "bound", "--lengths", "3,5", "--out", out).out
    assert "| bits:16 | 16 | 5 | 6 | 7 |" in text
    assert text == out.with_suffix(".md").read_text()


@pytest.mark.slow
def test_theory_bound_measured(tallystick, tmp_path):
    out = tmp_path / "theory"
    tallystick("theory", "bound", "--lengths", "3,5", "--out", out)
    quick = ("reverse", "--lengths", "1", "--model", "bits:16", "--seeds", "0", "--steps", "1", "--json")
    report = json.loads(tallystick("theory", "bound", *quick).out)
    assert (report["theorem"], len(report["models"][0]["runs"])) == ("2.1", 1)
    assert json.loads(out.with_suffix(".json").read_text()).keys() == {*report, "environment"}


def test_theory_universal(tallystick):
    arguments = ("bb2", "--model", "lookup", "--seeds", "0", "--lengths", "40", "--json")
    report = json.loads(tallystick("theory", "universal", *arguments).out)
    assert (report["theorem"], report["states"], report["bound"]) == ("2.2", 2, 14_023)
    assert [row["exact"] for run in report["runs"] for row in run["rows"]] == [20, 1]
    assert 1 < report["needed"][0]["examples"] <= 64


def test_train_prints_its_folder_last(tallystick, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = tallystick("train", "reverse", *QUICK).out
    assert out == "runs/reverse-lookup-s0\n"
    again = tallystick("train", "reverse", *QUICK).out
    assert again == "runs/reverse-lookup-2-s0\n"
    report = json.loads(tallystick("train", f"{MY_TASK}:Reverse", *QUICK, "--out", "mine", "--json").out)
    assert report["run"] == "mine"
    assert tallystick("solve", "mine", "1101>").out == "1011\n"


@pytest.mark.slow
def test_seeds_side_by_side(tallystick, tmp_path):
    out = tmp_path / "many"
    printed = tallystick("train", "reverse", *QUICK, "--seeds", "0-1", "--out", out, "--json")
    rows = json.loads(printed.out)["runs"]
    assert [row["run"] for row in rows] == [f"{out}-s0", f"{out}-s1"]
    assert all(row["passed"] for row in rows)
    seeds_used = [json.loads((Path(row["run"]) / "config.json").read_text())["settings"]["seed"] for row in rows]
    assert seeds_used == [0, 1]


@pytest.mark.parametrize(("text", "numbers"), [("0-4", [0, 1, 2, 3, 4]), ("3", [3]), ("0,7", [0, 7])])
def test_seed_lists(text, numbers):
    assert parse_seeds(text) == numbers


WRONG = {
    "no such command": ["frob"],
    "no task": ["train"],
    "unknown task": ["show", "additon", "--length", "3"],
    "unknown variant": ["check", "addition", "--variant", "fast"],
    "unknown model": ["train", "addition", "--model", "mamba9"],
    "unknown preset": ["train", "addition", "--model", "mamba2:huge"],
    "unknown key": ["train", "addition", "colour=red"],
    "not a setting": ["train", "addition", "colour"],
    "unknown option": ["train", "addition", "--fast"],
    "an option twice": ["show", "addition", "--length", "3", "--length", "4"],
    "an option twice in another form": ["train", "reverse", "--out=a", "--out", "b"],
    "a flag twice": ["tasks", "--json", "--json"],
    "a theorem's option twice": ["theory", "bound", "reverse", "--model", "bits:16", "--model", "bits:32"],
    "no lengths": ["check", "reverse", "--lengths", ""],
    "no name of a model": ["train", "reverse", "--model", ""],
    "no name of a variant": ["show", "reverse", "--length", "3", "--variant="],
    "no name of a folder": ["train", "reverse", "--out", ""],
    "a folder twice": ["eval", "RUN", "RUN"],
    "a folder twice in a report": ["report", "RUN", "RUN/."],
    "too many seeds": ["train", "reverse", "--seeds", "0-99999999999"],
    "unknown mode": ["eval", "RUN", "--mode", "guess"],
    "data of another ending": ["data", "addition", "--out", "data.csv"],
    "data of another split": ["data", "addition", "--split", "live", "--out", "data.jsonl"],
    "data of a wrong length": ["data", "addition", "--lengths", "0", "--out", "data.jsonl"],
    "data into no folder": ["data", "addition", "--out", "nowhere/data.jsonl"],
    "data of no file": ["data", "addition"],
    "data of another form": ["data", "codefix", "--form", "chatml", "--out", "data.jsonl"],
    "data of a form in a folder": ["data", "codefix", "--form", "mini", "--out", "data.jsonl"],
    "no file of trajectories": ["train", "nowhere.jsonl"],
    "no folder of trajectories": ["train", str(ROOT / "docs")],
    "unknown tokenizer": ["train", "codefix", "tokenizer=words"],
    "no tokenizer there": ["train", "codefix", "tokenizer=hf:nowhere"],
    "tokenizer of symbols": ["train", "reverse", "tokenizer=bpe"],
    "zero length": ["show", "addition", "--length", "0"],
    "negative length": ["show", "addition", "--length", "-5"],
    "huge length": ["show", "addition", "--length", str(10**15)],
    "long for a screen": ["show", "addition", "--length", "9000"],
    "length in words": ["check", "addition", "--lengths", "five"],
    "zero train length": ["train", "addition", "--train-length", "0"],
    "zero steps": ["train", "addition", "--steps", "0"],
    "zero samples": ["eval", "RUN", "--samples", "0"],
    "negative seed": ["train", "addition", "--seed", "-1"],
    "no theorem": ["theory"],
    "unknown theorem": ["theory", "halting"],
    "answers not counted": ["theory", "bound", "turing:bb5"],
    "growing state": ["theory", "bound", "--model", "pythia"],
    "no model without tools": ["theory", "bound", "sort", "--seeds", "0", "--model", "bits:16"],
    "no machine": ["theory", "universal", "bb6"],
    "no probability": ["theory", "universal", "bb2", "--epsilon", "2"],
    "wrong seeds": ["train", "addition", "--seeds", "4-0"],
    "no folder": ["eval", "nowhere"],
    "no folder to resume": ["resume", "nowhere"],
    "foreign folder": ["solve", str(ROOT), "1+2"],
    "empty operands": ["solve", "RUN", "+"],
    "empty problem": ["solve", "RUN", ""],
    "empty left": ["solve", "RUN", "+3"],
    "empty right": ["solve", "RUN", "3+"],
    "letters": ["solve", "RUN", "12+x"],
    "two plus signs": ["solve", "RUN", "1+2+3"],
    "other digits": ["solve", "RUN", "\u0661+\u0662"],
    "no task file": ["show", "nowhere.py:Task", "--length", "3"],
    "no class": ["show", MY_TASK, "--length", "3"],
    "another class": ["show", f"{MY_TASK}:Forward", "--length", "3"],
    "folder is there": ["train", "addition", "--out", "RUN"],
    "unknown recipe": ["reproduce", "figure99"],
    "unknown budget": ["reproduce", "figure2", "--budget", "large"],
    "another recipe's model": ["reproduce", "figure2", "--models", "lookup,rmt"],
    "no GPU": ["reproduce", "figure2", "--device", "gpu"],
    "no GPU to measure on": ["eval", "RUN", "--device", "gpu"],
    "no layers": ["train", "addition", "n_layer=0"],
    "negative width": ["train", "addition", "--model", "lstm", "d_model=-1"],
    "no model": ["train", "addition", "--model", "torch.nn:Linear"],
    "no folder for a report": ["report", "RUN", "--out", "nowhere/page.html"],
    "no file for a theorem": [
        "theory",
        "universal",
        "bb2",
        "--model",
        "lookup",
        "--seeds",
        "0",
        "--out",
        "/proc/theory",
    ],
    "cannot be written": ["train", "addition", *QUICK, "--out", "/proc/no/run"],
}


@pytest.mark.parametrize("name", WRONG)
def test_mistakes(tallystick, tmp_path, monkeypatch, run, name):
    monkeypatch.chdir(tmp_path)
    printed = tallystick(*[word.replace("RUN", str(run)) for word in WRONG[name]], code=2)
    assert printed.out == ""
    assert printed.err.startswith("tallystick: ")
    assert printed.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_broken_line_of_trajectories_is_one_line(tallystick, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("fixes.jsonl").write_text('\n{"messages": [\n')
    for command in ("train", "check"):
        printed = tallystick(command, "fixes.jsonl", code=2)
        assert printed.err.startswith("tallystick: fixes.jsonl, line 2: not JSON")
        assert printed.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["fixes.jsonl"]


def test_trajectories_are_written_trained_on_and_measured(tallystick, tmp_path, monkeypatch):
    """A task's trajectories in another project's form train a model, which no tool can serve."""
    monkeypatch.chdir(tmp_path)
    tallystick("data", "codefix", "--form", "atif", "--lengths", "4", "--samples", "12", "--out", "fixes")
    assert tallystick("train", "fixes", *QUICK).out == "runs/fixes-lookup-s0\n"
    shutil.rmtree("fixes")
    report = json.loads(tallystick("eval", "runs/fixes-lookup-s0", "--json").out)
    assert [row["samples"] > 0 for row in report["rows"]]
    assert sum(row["samples"] for row in report["rows"]) <= 2
    refused = tallystick("eval", "runs/fixes-lookup-s0", "--mode", "generate", code=2)
    assert refused.out == ""
    assert (
        refused.err
        == "tallystick: fixes is recorded: there is no live tool to run for a model; measure it with verify\n"
    )


BROKEN = {
    "syntax error": ("class Reverse(", "SyntaxError"),
    "fails at import": ("raise RuntimeError('no')", "RuntimeError"),
    "wrong program": (None, "answer", "return prompt[-2::-1]", "return prompt[:-1]"),
    "endless program": (None, "does not end", "p.right()", "pass"),
    "foreign token": (None, "vocabulary", "w.output(symbol)", "w.output('z')"),
    "sample of the wrong type": (None, "ValueError|TypeError", "return [*rng", "return [1, *rng"),
    "program that fails": (None, "ZeroDivisionError", "w.answer()", "1 / 0"),
}


@pytest.mark.parametrize("command", ["show", "check", "train"])
@pytest.mark.parametrize("name", BROKEN)
def test_broken_task_files(tallystick, tmp_path, monkeypatch, name, command):
    monkeypatch.chdir(tmp_path)
    text, message, *change = BROKEN[name]
    Path("mine.py").write_text(text or Path(MY_TASK).read_text().replace(*change))
    arguments = {"show": ["--length", "3"], "check": [], "train": []}[command]
    printed = tallystick(command, "mine.py:Reverse", *arguments, code=2)
    assert printed.err.count("\n") == 1
    assert any(part in printed.err for part in message.split("|"))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


@pytest.mark.parametrize(
    "wait",
    ["imports", *(pytest.param(wait, marks=pytest.mark.slow) for wait in ("0.3", "2", "step    50", "step   100"))],
)
def test_ctrl_c_leaves_a_folder_to_resume_or_none(tallystick, tmp_path, start, wait):
    """While modules are imported, and in training, which `test_ctrl_c_says_how_to_go_on` has in the default run."""
    out = tmp_path / "run"
    process = start("train", "reverse", "--out", out, "steps=120", "min_margin=99", "batch_size=2", "seq_len=64")
    assert process.stderr is not None
    lines = []
    if wait == "imports":
        while "/numpy/" not in Path(f"/proc/{process.pid}/maps").read_text():
            time.sleep(0.01)
    elif wait.startswith("step"):
        while not lines or not lines[-1].startswith(wait):
            lines.append(process.stderr.readline())
    else:
        time.sleep(float(wait))
    process.send_signal(signal.SIGINT)
    error = process.stderr.read()  # communicate() would lose what readline() has buffered
    process.communicate(timeout=300)
    assert process.returncode == 130
    assert error.splitlines()[-1] == "tallystick: interrupted"
    assert "Traceback" not in error
    assert {path.name for path in tmp_path.iterdir()} <= {"run"}
    assert out.exists() or not lines
    if out.exists():
        assert tallystick("resume", out).out == f"{out}\n"


@pytest.fixture
def full_disk():
    """Files may not grow beyond 4,000 bytes: the small ones can be written, the weights cannot."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk(tallystick, tmp_path, full_disk):
    out = tmp_path / "run"
    printed = tallystick("train", "reverse", "batch_size=2", "seq_len=64", "--out", out, code=2)
    assert printed.out == ""
    assert printed.err.splitlines()[-1].startswith("tallystick: ")
    assert "Traceback" not in printed.err
    assert not out.exists()


def test_check_names_what_training_lacks(tallystick):
    few = ("check", "addition", "--lengths", "3,5,10", "--problems", 50)
    text = tallystick(*few).out
    assert "local: yes, k = 7" in text
    assert "are not among its 232 problems" in text
    assert "  missing  " in text
    report = json.loads(tallystick(*few, "--json").out)
    assert all(missing["problem"].endswith("=") for missing in report["missing"])
    longer = json.loads(tallystick(*few, "--train-length", 10, "--json").out)
    assert longer["rows"][-1]["unseen"] < report["rows"][-1]["unseen"]


def test_only_all_is_a_hundred_percent():
    assert [percent(share) for share in (1.0, 1 - 1e-9, 0.5, 0.0)] == ["100 %", "99.9999 %", "50 %", "0 %"]
