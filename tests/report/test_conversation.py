"""Episodes of text tasks in the report: their turns, the files that commands change, and where a model goes wrong."""

import json
import sys
from pathlib import Path

import pytest

from tallystick import tasks
from tallystick.episode import MARKS, Role
from tallystick.problem import Problem
from tallystick.report import build, page
from tallystick.report.conversation import MOST_DIFF, conversation
from tallystick.tasks import runner
from tallystick.tasks.codefix import teachers
from tallystick.tasks.text import TextTask
from tallystick.vocab import TRAINED

sys.path.insert(0, str(Path(__file__).parent))
from test_report import folder, row

PROBLEMS = 5
"""Random problems of each row of `check`."""


@pytest.fixture(scope="module")
def task():
    return tasks.load("codefix")


@pytest.fixture(scope="module")
def prompt(task):
    return task.problem("test", 0, 6, 1)


@pytest.fixture(scope="module")
def recorder(task, prompt):
    return runner.record(task, prompt)


def shown(task, prompt, recorder, first=0, last=10**9, error=None):
    return conversation(task, prompt, recorder, first, last, error)


def test_turns_are_the_teachers(task, prompt, recorder):
    talk = shown(task, prompt, recorder)
    assert (talk.prompt.strip(), talk.files, talk.before, talk.whole) == ("".join(prompt).strip(), 6, 0, True)
    assert (talk.turns[0].said, talk.turns[0].command) == (teachers.FIRST_THOUGHT, teachers.SHORT_RUN)
    assert [turn.code for turn in talk.turns[:-1]] == ["0"] * (len(talk.turns) - 1)
    assert "NameError: name 'v10' is not defined" in talk.turns[0].output
    assert (talk.turns[-1].said, talk.turns[-1].command) == (teachers.LAST_THOUGHT, None)
    ends = [turn.end for turn in talk.turns]
    assert [turn.start for turn in talk.turns[1:]] == ends[:-1]
    assert ends[-1] == len(recorder.ids)


def test_changed_files_have_their_diff(task, prompt, recorder):
    changes = [change for turn in shown(task, prompt, recorder).turns for change in turn.changes]
    assert {change.kind for change in changes} == {"changed"}
    assert {change.name for change in changes} == prompt.data.relevant
    first = next(change for change in changes if change.name == "foo.py")
    added = [line[1:] for line in first.diff.splitlines() if line.startswith("+")]
    assert added == [line for line in prompt.data.reference["foo.py"].splitlines() if line.startswith("def")]


def test_a_part_is_shown_of_what_is_long(task, prompt, recorder):
    every = shown(task, prompt, recorder).turns
    talk = shown(task, prompt, recorder, every[2].start + 1, every[4].start)
    assert (talk.before, talk.turns, talk.whole) == (2, every[2:4], False)


def test_a_wrong_token_has_its_place(task, prompt, recorder):
    """Tokens that the model has to say stand at the places that are named for them."""
    places = set()
    for position in TRAINED[recorder.roles].nonzero()[0].tolist()[::11]:
        talk = shown(task, prompt, recorder, error=position)
        turn, word = talk.turns[talk.slip.turn], task.vocab.tokens[recorder.ids[position]]
        text = getattr(turn, talk.slip.part)[talk.slip.offset :]
        places.add(talk.slip.part)
        if recorder.ids[position] < len(MARKS) or word in ("[call]", "bash", "[/call]"):
            assert text in ("", turn.said, turn.command)
        else:
            assert text.startswith(word)
    assert places == {"said", "command"}


class Many(TextTask):
    """Add, remove and lengthen files, by commands that the simulation does not know."""

    def sample(self, length, rng):
        return Problem("Do.", {"a": "1\n", "b": f"{rng.randrange(10**length)}\n"})

    def solve(self, w):
        w.bash("rm a; mkdir d; echo new > 'd/c c'; seq 9999 > b; exit 3")

    def score(self, prompt, output, tools=None):
        return 1.0


def test_files_are_added_and_removed_and_long_diffs_say_so(monkeypatch):
    monkeypatch.setattr("tallystick.tasks.text.SEEN", 2)
    task = Many()
    prompt = task.problem("test", 0, 3, 0)
    (turn, _) = shown(task, prompt, runner.record(task, prompt)).turns
    assert turn.code == "3"
    assert [(change.name, change.kind) for change in turn.changes] == [
        ("a", "removed"), ("b", "changed"), ("d/c c", "added")
    ]  # fmt: skip
    assert turn.changes[2].diff == "@@ -0,0 +1 @@\n+new\n"
    long = turn.changes[1].diff
    assert MOST_DIFF < len(long) < MOST_DIFF + 100
    assert long.endswith(" more characters]\n")


def test_it_is_in_the_reports_data(tmp_path):
    loaded = tasks.load("codefix")
    rows = [row(16, False, first_errors=[wrong(loaded)])]
    html = page.render(build.collect([folder(tmp_path / "run", "codefix", rows=rows)], PROBLEMS))
    episodes = json.loads(html.partition('id="data">')[2].partition("</script>")[0])["episodes"]
    assert [episode["stretch"] for episode in episodes] == [None, None]
    own, slipped = (episode["conversation"] for episode in episodes)
    assert (own["slip"], own["whole"]) == (None, True)
    assert slipped["slip"]["part"] == "command"
    assert slipped["turns"][slipped["slip"]["turn"]]["command"].startswith("sed -i")


def wrong(task):
    """Return a first error in the middle of the second command of test problem 0 of length 16."""
    recorder = runner.record(task, task.problem("test", 0, 16, 0))
    words = task.vocab.decode(recorder.ids.tolist())
    second = [i for i, word in enumerate(words) if word == "[call]"][1]
    position = second + 12
    assert recorder.roles[position] == Role.COMMAND
    return {"index": 0, "position": position, "context": words[position - 16 : position], "want": words[position],
            "got": "<b>", "margin": -0.5}  # fmt: skip


def test_recorded_commands_are_not_run(tmp_path):
    """Trajectories of other agents come without their files, and answers may have no return code."""
    call = {"id": "1", "type": "function", "function": {"name": "bash", "arguments": '{"command": "touch x"}'}}
    answers = ["removed", "2\nno such file"]
    messages = [{"role": "user", "content": "Remove it."}]
    for answer in answers:
        messages += [{"role": "assistant", "content": "So.", "tool_calls": [call]},
                     {"role": "tool", "tool_call_id": "1", "content": answer}]  # fmt: skip
    lines = [json.dumps({"messages": [{**messages[0], "content": f"Remove {i}."}, *messages[1:]]}) for i in range(20)]
    (tmp_path / "others.jsonl").write_text("\n".join(lines))
    task = tasks.load(str(tmp_path / "others.jsonl"))
    prompt = task.problem("train", 0, task.max_length, 0)
    talk = shown(task, prompt, runner.record(task, prompt))
    assert [(turn.code, turn.output, turn.changes) for turn in talk.turns if turn.command] == [
        ("", "removed", []), ("2", "no such file", [])
    ]  # fmt: skip
