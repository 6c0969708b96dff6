"""Text tasks: problems with files, texts in pieces, and episodes that are judged by the files they leave."""

from contextlib import closing

import pytest

from tallystick import locality, models, tasks
from tallystick.engine.generation import generate
from tallystick.episode import Recorder, StopReason
from tallystick.problem import Problem, distinct, prompt_digest
from tallystick.tasks import runner, text
from tallystick.tasks.text import TextTask
from tallystick.text.tokenizers import Bytes, Pieces
from tallystick.tools import Live
from tallystick.tools.shell import Ran, Shell, tool
from tallystick.tools.shell.tool import ShellState
from tallystick.workspace import ProgramError, start_episode, start_tools


class Rename(TextTask):
    """Write a name, which a file has, into another file."""

    def sample(self, length, rng):
        return Problem("Copy it.", {"a.txt": f"{rng.randrange(10**length)}\n", "b.txt": "?\n"})

    def solve(self, w):
        name = w.bash("cat a.txt").output.strip()
        w.say("Now I know.")
        w.bash(f"sed -i 's/?/{name}/' b.txt")

    def score(self, prompt, output, tools=None):
        files = tools["shell"].files()
        return float(files["b.txt"] == prompt.files["a.txt"] == files["a.txt"])


class Lazy(Rename):
    """Leave the files as they are."""

    def solve(self, w):
        w.say("Done.")


class Constant(Rename):
    """Say the same thing, whatever the problem is."""

    def solve(self, w):
        w.say("Nothing is to be done.")

    def score(self, prompt, output, tools=None):
        return 1.0


class Spoken(Rename):
    """Run a command that the simulation does not know, so that bash takes over with the files as they are."""

    def solve(self, w):
        w.bash("sed -i 's/?/!/' b.txt")
        w.bash("cp -p a.txt b.txt; touch 'odd name'")


TEXTS = [
    "",
    "x",
    "def f12(v10):\n    return v10\n",
    "größe – 10 €\t\r\n",
    "a\x00b",
    "  two  spaces ",
    "[call]bash[/call]",
]


@pytest.mark.parametrize("tokenizer", [Bytes(), Pieces(TEXTS, at_least=1), Pieces([])], ids=["bytes", "pieces", "none"])
@pytest.mark.parametrize("written", TEXTS)
def test_what_is_spelled_can_be_joined(tokenizer, written):
    tokens = tokenizer.spell(written)
    assert tokenizer.join(tokens) == written
    assert set(tokens) <= set(tokenizer.tokens)
    assert len(set(tokenizer.tokens)) == len(tokenizer.tokens)


def test_bytes_that_are_no_text_are_replaced():
    assert Bytes().join(["<0xC3>", "a"]) == "\ufffda"


def test_digits_are_single_pieces_and_words_have_their_space():
    pieces = Pieces(["pass v10 to foo()"] * 2)
    assert pieces.spell("pass v10 to foo()") == ["pass", " v", "1", "0", " to", " foo", "()"]


def test_the_programs_texts_are_pieces():
    task = Rename()
    record = runner.record(task, task.problem("test", 0, 3, 0))
    assert record.ok
    words = task.vocab.decode(record.ids.tolist())
    assert words[:4] == ["[BOS]", "Copy", " it", "."]
    assert "".join(words).endswith("/' b.txt[/call][obs]0\n[/obs][EOS]")


def test_problems_are_told_apart_by_their_files():
    task = Rename()
    one, other = (task.problem("test", 0, 3, index) for index in (0, 1))
    assert list(one) == list(other)
    assert prompt_digest(one) != prompt_digest(other)
    assert distinct([one, other, task.problem("test", 0, 3, 0)]) == [one, other]


def test_a_program_whose_files_do_not_score_is_refused():
    task = Lazy()
    with pytest.raises(ProgramError, match="the files that it leaves do not score"):
        runner.record(task, task.problem("test", 0, 3, 0))


class Twice(Rename):
    """Change a file in the same command line that the simulation then does not know."""

    def solve(self, w):
        w.bash("sed -i 's/?/??/' b.txt && cp b.txt c.txt")

    def score(self, prompt, output, tools=None):
        return float(tools["shell"].files()["c.txt"] == "??\n")


def test_bash_takes_over_before_the_command_that_is_not_known(monkeypatch):
    monkeypatch.setattr(text, "SEEN", 2)
    task = Twice()
    assert runner.record(task, task.problem("test", 0, 3, 0)).ok


def test_the_simulation_shortens_what_bash_would():
    state = ShellState(Problem("", {"long.txt": "0123456789\n" * 2000}))
    with closing(state), Shell({"long.txt": "0123456789\n" * 2000}) as shell:
        assert state.run("cat long.txt") == shell.run("cat long.txt")
        assert "characters left out" in state.last.output


class Failing:
    """A scripted shell: every command takes too long, and the files cannot be read."""

    def run(self, command):
        return Ran("", -1, "timeout after 30 s")

    def files(self):
        raise OSError("too many bytes")

    def close(self):
        pass


@pytest.mark.parametrize(
    ("script", "stop"),
    [
        ("[ANS] [call] bash a [/call]", StopReason.TIMEOUT),
        ("[ANS] [EOS]", StopReason.TOOL_ERROR),
        ("[ANS] [call] a [/call]", StopReason.BAD_COMMAND),
        ("[ANS] [call] [EOS]", StopReason.BAD_COMMAND),
        ("[call] bash a", StopReason.TOKEN_LIMIT),
    ],
)
def test_how_an_episode_with_a_failing_shell_ends(monkeypatch, says, script, stop):
    task = Rename()
    prompt = task.problem("test", 0, 2, 0)
    monkeypatch.setattr(tool, "Shell", lambda files, sandbox: Failing())
    (result,) = generate(says(task, script.split()), task, [prompt])
    assert (result.stop, result.answer, result.exact) == (stop, False, False)


def test_text_tasks_take_no_notes_and_no_mixture():
    with pytest.raises(ValueError, match="codefix: notes are for programs of symbols; this is a text task"):
        tasks.load("codefix", "one+notes")
    with pytest.raises(ValueError, match="codefix is a text task, and mixtures are of symbolic ones"):
        tasks.load("codefix:1,reverse:1")


def test_a_text_task_is_never_called_local():
    """Its k stays, but what its teacher keeps is not looked at."""
    report = locality.check(Constant(), [2, 3, 4], 60)
    assert report["local"] is None
    assert "text task" in report["reason"]


def test_bash_takes_over_from_the_simulation(monkeypatch):
    monkeypatch.setattr(text, "SEEN", 2)
    task = Spoken()
    assert runner.record(task, task.problem("test", 0, 3, 0)).ok


def live(task, prompt, said):
    """Say tokens into an episode whose commands run in bash."""
    tools = start_tools(task, prompt, live=Live())
    try:
        episode = start_episode(task, prompt, sink := Recorder(), tools)
        for token in said:
            episode.push(token)
        episode.flush()
        return sink, task.score(prompt, [], tools.states)
    finally:
        tools.close()


@pytest.mark.parametrize("name", ["codefix", "codefix:mixed"])
def test_the_sandbox_gives_the_simulations_answers(name):
    task = tasks.load(name)
    prompt = task.problem("test", 0, 6, 0)
    record = runner.record(task, prompt)
    said = record.ids[(record.roles != 0) & (record.roles != 3)].tolist()
    sink, score = live(task, prompt, said)
    assert sink.ids.tolist() == record.ids.tolist()
    assert score == 1


def test_a_model_that_says_nonsense_is_an_episode_with_a_reason():
    task = Rename()
    model = models.build("mamba2:tiny", vocab_size=len(task.vocab))
    (result,) = generate(model, task, [task.problem("test", 0, 2, 0)], max_tokens=60)
    assert result.stop in (StopReason.BAD_COMMAND, StopReason.TOKEN_LIMIT, StopReason.EOS)
    assert not result.answer


TEXT_TASK = """
from tallystick import Problem, TextTask

class Mine(TextTask):
    def sample(self, length, rng):
        return Problem("Do it.", {"a.txt": str(rng.randrange(10**length))})

    def solve(self, w):
        w.bash("cat a.txt")

    def score(self, prompt, output, tools=None):
        return 1.0
"""


def run_once(path):
    task = tasks.load(f"{path}:Mine")
    return runner.record(task, task.problem("test", 0, 3, 0))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def score", "def scores", r"Mine has no score\(\): a text task needs sample"),
        ("def solve", "def solves", r"Mine has no solve\(\), the program of its variant 'default'"),
        ("return 1.0", "return 0.0", "the files that it leaves do not score"),
    ],
)
def test_a_users_text_task(tmp_path, old, new, message):
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text(TEXT_TASK)
    bad.write_text(TEXT_TASK.replace(old, new))
    assert run_once(good).ok
    with pytest.raises(ValueError, match=message):
        run_once(bad)
