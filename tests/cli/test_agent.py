"""`solve` in a folder: models at work in a copy, what is printed, written and refused, and models that misbehave."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from tallystick import tasks
from tallystick.cli import agent
from tallystick.config import configure
from tallystick.tools.shell import Shell, sandbox, tool
from tallystick.training import loop

TASK = '''
from tallystick import Problem, TextTask

class Spelling(TextTask):
    """Correct a word in a file."""

    default_prompt = "Correct it."

    def sample(self, length, rng):
        return Problem("Correct it.", {"a.txt": "teh word\\n" * length, "b.txt": f"{rng.random()}\\n"})

    def solve(self, w):
        w.say("One word is wrong.")
        w.bash("sed -i s/teh/the/ a.txt")

    def score(self, prompt, output, tools=None):
        return float("teh" not in tools["shell"].files()["a.txt"])

    def facts(self, prompt, output, tools=None):
        files = tools["shell"].files()
        return {"one_file": files["b.txt"] == prompt.files["b.txt"], "long": len(files["a.txt"]) > 100}
'''
FILES = {"a.txt": "teh end\n", "b.txt": "b\n", "odd name \x1b[1m": "x\n"}


@pytest.fixture(scope="module")
def speller(tmp_path_factory):
    """Return the run folder of a table that corrects one word."""
    folder = tmp_path_factory.mktemp("agent")
    (folder / "task.py").write_text(TASK)
    loop.train(folder / "run", configure(tasks.load(f"{folder}/task.py:Spelling"), "lookup", {"examples": "20"}))
    return folder / "run"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Make a folder to work in, and go to its parent."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop").mkdir()
    for name, text in FILES.items():
        (tmp_path / "shop" / name).write_text(text)
    return tmp_path / "shop"


def files(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


FIXED = {**FILES, "a.txt": "the end\n"}


def test_the_changed_files_are_printed_and_the_folder_is_left_alone(tallystick, speller, folder):
    printed = tallystick("solve", speller, "shop")
    assert printed.out == "changed a.txt\n"
    assert "sandbox: bubblewrap (" in printed.err
    assert "1 file changed, 1 command, " in printed.err
    assert "the copy was thrown away; keep it with --out DIR" in printed.err
    assert files(folder) == FILES


def test_the_copy_can_be_kept(tallystick, speller, folder):
    assert "written to new/copy" in tallystick("solve", speller, "shop", "-o", "new/copy").err
    assert files(folder.parent / "new" / "copy") == FIXED
    assert files(folder) == FILES


def test_the_folder_is_changed_only_if_that_is_said(tallystick, speller, folder):
    tallystick("solve", speller, "shop", "--in-place")
    assert files(folder) == FIXED


def test_the_diff_alone_is_printed(tallystick, speller, folder):
    printed = tallystick("solve", speller, "shop", "--diff")
    assert printed.out == ("diff --git a/a.txt b/a.txt\n--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-teh end\n+the end\n")


def test_the_document(tallystick, speller, folder):
    document = json.loads(tallystick("solve", speller, "shop", "--json", "-o", "copy").out)
    assert document.keys() == agent.Document.__annotations__.keys()
    assert (document["stop"], document["commands"], document["sandbox"]) == ("eos", 1, "bwrap")
    assert document["changed"] == [{"name": "a.txt", "change": "changed"}]
    assert document["written"] == "copy"
    assert document["diff"].endswith("+the end\n")


def test_the_trace_is_readable(tallystick, speller, folder):
    printed = tallystick("solve", speller, "shop", "--trace").err
    assert "\nCorrect it.\n\nOne word is wrong.\n$ sed -i s/teh/the/ a.txt\n" in printed


@pytest.mark.parametrize(
    ("level", "said"), [("bwrap", "sandbox: bubblewrap ("), ("landlock", "sandbox: Landlock version "),
                        ("none", "warning: sandbox: none, as asked for: commands can read, change and send all")]
)  # fmt: skip
def test_the_level_is_said(tallystick, speller, folder, level, said):
    printed = tallystick("solve", speller, "shop", "--sandbox", level)
    assert printed.err.startswith(said)
    assert printed.err.count("sandbox: ") == 1


def test_landlock_says_why_it_is_not_bubblewrap(tallystick, speller, folder, monkeypatch):
    monkeypatch.setattr(sandbox, "_fault", lambda level: "it is not installed" if level == "bwrap" else "")
    printed = tallystick("solve", speller, "shop")
    assert printed.err.partition("\n")[0].endswith("; not bubblewrap: it is not installed")


def test_without_a_sandbox_nothing_runs(tallystick, speller, folder, monkeypatch):
    monkeypatch.setattr(sandbox, "_fault", lambda level: "it is broken")
    printed = tallystick("solve", speller, "shop", code=2)
    assert printed.err.startswith("tallystick: no sandbox works here: bwrap: it is broken; landlock: it is broken.")


WRONG = {
    "no folder": (["nowhere"], "nowhere is not a folder; models of "),
    "a file": (["shop/a.txt"], "shop/a.txt is not a folder"),
    "out is there": (["shop", "-o", "shop"], "shop already exists"),
    "out below a file": (["shop", "-o", "shop/a.txt/new"], "a.txt"),
    "both targets": (["shop", "-o", "new", "--in-place"], "choose one"),
    "no such sandbox": (["shop", "--sandbox", "jail"], "unknown sandbox 'jail'; there are: auto, bwrap, landlock"),
}


@pytest.mark.parametrize("name", WRONG)
def test_mistakes(tallystick, speller, folder, name):
    words, message = WRONG[name]
    printed = tallystick("solve", speller, *words, code=2)
    assert message in printed.err
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert files(folder) == FILES
    assert [path.name for path in folder.parent.iterdir()] == ["shop"]


@pytest.mark.parametrize("option", [["--diff"], ["--in-place"], ["-o", "x"], ["--prompt", "x"], ["--sandbox", "none"]])
def test_a_folders_options_are_refused_for_problems_of_symbols(tallystick, run, option):
    printed = tallystick("solve", run, "1+2", *option, code=2)
    assert "has no effect: addition is no text task" in printed.err


def test_a_task_without_a_prompt_needs_one(tallystick, speller, folder, tmp_path):
    copy = shutil.copytree(speller, tmp_path / "run")
    (tmp_path / "task.py").write_text(TASK.replace("default_prompt", "unused"))
    config = json.loads((copy / "config.json").read_text())
    config["task"] = f"{tmp_path}/task.py:Spelling"
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "task" / "source.py").write_text(TASK.replace("default_prompt", "unused"))
    assert "say what is to be done, as in --prompt" in tallystick("solve", copy, "shop", code=2).err
    assert tallystick("solve", copy, "shop", "--prompt", "Correct it.").out == "changed a.txt\n"


@pytest.fixture
def scripted(says, speller):
    """Return a maker of runs whose model says the pieces of these texts and commands, whatever it is answered."""
    from tallystick import runs

    task = runs.load(speller).task

    def make(*commands, end="[EOS]"):
        script = ["[ANS]"]
        for command in commands:
            script += ["[call]", "bash", *task.spell(command), "[/call]"]
        return SimpleNamespace(task=task, model=says(task, [*script, *end.split()]))

    return make


def order(folder, **options):
    return agent.Order(folder, "Go.", **{"out": None, "in_place": True, "sandbox": None, "max_tokens": None} | options)


def document(run, order, capsys, code=0):
    if code:
        with pytest.raises(SystemExit) as exit:
            agent.work(run, order, False, False, True)
        assert exit.value.code == code
    else:
        agent.work(run, order, False, False, True)
    printed = capsys.readouterr()
    return json.loads(printed.out), printed.err


class Impatient(Shell):
    """A shell whose commands have a second."""

    def __init__(self, repo, sandbox):
        super().__init__(repo, sandbox, timeout=1.0)


@pytest.mark.parametrize(
    ("commands", "end", "stop"),
    [
        (["echo x > a.txt; sleep 60"], "[EOS]", "timeout"),
        (["echo x > a.txt"], "[call] bash l s [EOS]", "bad_command"),
        (["echo x > a.txt"], "[call] l s [/call]", "bad_command"),
        (["echo x > a.txt"], "[call] bash a", "token_limit"),
    ],
)
def test_a_model_that_is_stopped_writes_nothing(scripted, folder, capsys, monkeypatch, commands, end, stop):
    monkeypatch.setattr(tool, "Shell", Impatient)
    shown, said = document(scripted(*commands, end=end), order(folder, max_tokens=300), capsys, code=1)
    assert (shown["stop"], shown["written"]) == (stop, None)
    assert f"tallystick: not finished: {stop} after" in said
    assert files(folder) == FILES


@pytest.mark.parametrize("level", ["bwrap", "landlock", "none"])
def test_commands_run_at_the_level_that_is_said(scripted, folder, capsys, level):
    """The copy is at /repo in bubblewrap alone, and only without a sandbox can the test's own file be read."""
    run = scripted(f"pwd > a.txt; cat {__file__} > b.txt 2> /dev/null")
    shown, _ = document(run, order(folder, sandbox=level), capsys)
    assert shown["sandbox"] == level
    assert (files(folder)["a.txt"] == "/repo\n") == (level == "bwrap")
    assert (files(folder)["b.txt"] != "") == (level == "none")


def test_a_model_that_does_nothing(scripted, folder, capsys):
    shown, said = document(scripted(), order(folder), capsys)
    assert (shown["stop"], shown["commands"], shown["changed"], shown["diff"]) == ("eos", 0, [], "")


ODD = {
    "huge output": "yes 'a long line of output' | head -c 3000000",
    "invalid UTF-8": r"printf '\xff\xfe\n'; printf '\xff' > $(printf 'b\xff')",
    "no command": ": \x00",
    "an endless loop of its own": "(while true; do sleep 1; done) & echo started",
    "files that may not be read": "echo 1 > c; chmod 000 c; mkdir d; chmod 000 d",
    "pipes and links": "mkfifo p; ln -s /etc/passwd l; ln -s loop loop; ln -s b.txt k",
}


@pytest.mark.parametrize("name", ODD)
def test_odd_commands_are_data(scripted, folder, capsys, name):
    shown, said = document(scripted(ODD[name], "echo done > a.txt"), order(folder, in_place=False), capsys)
    assert shown["stop"] == "eos"
    assert {"name": "a.txt", "change": "changed"} in shown["changed"]


def test_an_odd_folder(scripted, folder, capsys):
    (folder / "binary").write_bytes(bytes(range(256)))
    (folder / "inside").symlink_to("a.txt")
    (folder / "outside").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe")
    (folder / os.fsdecode(b"\xff")).write_text("x\n")
    (folder / "-rf").write_text("x\n")
    (folder / "none").mkdir()
    run = scripted("rm ./-rf; echo y >> inside; printf '\\0' >> binary; ls -b")
    shown, said = document(run, order(folder, out=folder.parent / "copy", in_place=False), capsys)
    assert [change["name"] for change in shown["changed"]] == ["-rf", "a.txt", "binary"]
    assert "not copied, for they lead out of the folder or are no files: outside, pipe\n" in said
    assert (folder.parent / "copy" / "inside").readlink().name == "a.txt"
    assert "Binary files a/binary and b/binary differ" in shown["diff"]


def test_a_models_files_cannot_write_to_the_terminal(scripted, folder, capsys):
    run = scripted("printf '\\033[2J' > a.txt; printf '\\033]0;x\\a'; echo > $'\\033[31m'")
    agent.work(run, order(folder, in_place=False), trace=True, as_diff=False, as_json=False)
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err
    assert 'added "\\033[31m"' in printed.out
    assert r"\x1b]0;x\x07" in printed.err


def test_eval_counts_right_answers_and_facts(tallystick, speller):
    words = ("eval", speller, "--lengths", 3, "--samples", 2, "--mode", "generate")
    (row,) = (row for row in json.loads(tallystick(*words, "--json").out)["rows"] if not row["worst_cases"])
    assert (row["answer"], row["facts"]) == (
        1.0,
        {"one_file": {"true": 2, "known": 2}, "long": {"true": 0, "known": 2}},
    )
    printed = tallystick(*words, "--sandbox", "landlock")
    assert printed.err.startswith("sandbox: Landlock version ")
    table = [line.split() for line in printed.out.splitlines()]
    assert table[1][:3] == ["length", "right", "exact"]
    assert table[2][:3] == ["3", "2/2", "2/2"]
    assert table[3:5] == [["one", "file:", "2/2"], ["long:", "0/2"]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sandbox", "bwrap"], "--sandbox has no effect: only --mode generate runs a model's commands"),
        (["--mode", "generate", "--sandbox", "jail"], "unknown sandbox 'jail'"),
    ],
)
def test_a_sandbox_of_eval_that_cannot_be(tallystick, speller, options, message):
    assert message in tallystick("eval", speller, "--lengths", 3, *options, code=2).err


def test_a_sandbox_is_refused_where_nothing_runs(tallystick, run):
    said = tallystick("eval", run, "--lengths", 3, "--mode", "generate", "--sandbox", "none", code=2).err
    assert "--sandbox has no effect: models of addition run no commands" in said


def test_the_document_of_eval_without_facts(tallystick, run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    words = ("eval", copy, "--lengths", 3, "--samples", 2, "--mode", "generate", "--json")
    rows = json.loads(tallystick(*words).out)["rows"]
    assert [row["facts"] for row in rows] == [{}] * len(rows)


def test_models_of_recorded_trajectories_work_in_no_folder(tallystick, folder, tmp_path):
    answer = {"role": "assistant", "content": "Done."}
    lines = [json.dumps({"messages": [{"role": "user", "content": f"Go {i}."}, answer]}) for i in range(20)]
    (tmp_path / "others.jsonl").write_text("\n".join(lines))
    tallystick("train", "others.jsonl", "--model", "lookup", "examples=20", "--out", "run")
    said = tallystick("solve", "run", "shop", "--prompt", "Go 1.", code=2).err
    assert said.endswith("others.jsonl is recorded: there is no live tool to run for a model; measure it with verify\n")


def test_backends_do_the_same_work(tallystick, tmp_path):
    """Each token that the model says is the same, and so are the commands' answers."""
    for name, text in tasks.load("codefix").problem("test", 0, 4, 0).files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    words = ("solve", Path(__file__).parents[2] / "models" / "codefix", tmp_path, "--sandbox", "none", "--json")
    documents = [json.loads(tallystick(*words, "--backend", name).out) | {"seconds": 0} for name in ("eager", "cpu")]
    assert documents[0] == documents[1]
    assert documents[0]["stop"] == "eos"
    assert documents[0]["changed"]
