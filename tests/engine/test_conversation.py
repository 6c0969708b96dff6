"""Conversations: messages of agents, in both forms, become what a model was trained on; only new ones are read."""

import logging

import pytest

from tallystick import models, tasks
from tallystick.engine.conversation import FENCE, FINISH, NOT_RUN, Conversation
from tallystick.episode import StopReason
from tallystick.locality import sequences
from tallystick.tasks.codefix.checker import judge
from tallystick.tasks.runner import record
from tallystick.tools.shell.fast import FastShell
from tallystick.tools.shell.output import shorten

REACH = 256
"""Tokens that decide all that the teacher says."""
PROMPT = [
    {"role": "system", "content": "You are a helpful assistant that can interact with a computer."},
    {"role": "user", "content": f"Please solve this issue: nothing works.\n\n{FENCE}\nls -la\n```\n"},
]


@pytest.fixture(scope="module")
def codefix():
    return tasks.load("codefix")


@pytest.fixture(scope="module")
def problems(codefix):
    return [codefix.problem("test", 0, length, 0) for length in (4, 6)]


@pytest.fixture(scope="module")
def model(codefix, problems):
    """Lookup, fitted to the problems: it says what the teacher says."""
    told = [sequences.of(codefix, problem) for problem in problems]
    return models.build("lookup", vocab_size=len(codefix.vocab), reach=REACH).fit(told)


def turn(reply, form="text"):
    """A message as mini-swe-agent keeps it."""
    action = {"command": reply.command} | ({"tool_call_id": "1"} if form == "tool" else {})
    content = reply.text if form == "tool" else f"{reply.text}\n\n{FENCE}\n{reply.command}\n```"
    return {"role": "assistant", "content": content, "extra": {"actions": [action], "cost": 0.0}}


def answer(output, returncode=0, form="text", **extra):
    shown = f"<returncode>{returncode}</returncode>\n<output>\n{output}</output>"
    kept = {"raw_output": output, "returncode": returncode, "exception_info": "", **extra}
    return {"role": "user" if form == "text" else "tool", "content": shown, "extra": kept}


def user(text, **extra):
    return {"role": "user", "content": text, "extra": extra}


def work(talk, shell, messages, form="text"):
    """Let the model work until it finishes; return its turns."""
    turns = []
    while True:
        turns.append(talk.speak(messages))
        messages.append(turn(turns[-1], form))
        if turns[-1].command in (None, FINISH):
            return turns
        ran = shell.run(turns[-1].command)
        messages.append(answer(ran.output, ran.returncode, form))


@pytest.fixture
def talk(model, codefix):
    return Conversation(model, codefix)


@pytest.mark.parametrize("form", ["text", "tool"])
def test_a_model_works_as_its_teacher(codefix, problems, talk, form):
    shell = FastShell(problems[1].files, "/home/me/some folder")
    turns = work(talk, shell, [*PROMPT], form)
    assert judge(problems[1].data, shell.files()).passed
    assert (turns[-1].text, turns[-1].stop) == ("It runs without an error.", StopReason.EOS)
    ids = record(codefix, problems[1]).ids
    prompt = codefix.parse("\n".join(message["content"] for message in PROMPT))
    assert talk.session.tokens == len(ids) - len(problems[1]) + len(prompt) - 1, "each token is read once, [EOS] never"


def test_the_state_does_not_grow(problems, talk, model, codefix):
    work(talk, FastShell(problems[0].files), [*PROMPT])
    other = Conversation(model, codefix)
    work(other, FastShell(problems[1].files), [*PROMPT])
    assert talk.session.state_bytes == other.session.state_bytes > 0
    assert talk.session.tokens < other.session.tokens


def test_a_changed_history_is_read_again(problems, talk, model, codefix, caplog):
    messages = [*PROMPT]
    work(talk, FastShell(problems[1].files), messages)
    messages = messages[:-3]  # up to the answer before
    before = Conversation(model, codefix).speak(messages)
    assert before.command not in (None, FINISH)
    with caplog.at_level(logging.WARNING):
        assert talk.speak(messages) == before
        assert "all of them are read again" in caplog.text
        messages[1] = user("Please.")
        assert talk.speak(messages) == before
    assert len(caplog.records) == 2


def test_messages_that_are_only_appended_are_not_read_again(problems, talk, caplog):
    with caplog.at_level(logging.WARNING):
        work(talk, FastShell(problems[1].files), [*PROMPT])
    assert not caplog.records


@pytest.mark.parametrize(
    "between",
    [
        [user("Commands not executed. The user rejected your commands: no", interrupt_type="UserRejection")],
        [answer("", -1, exception_info=NOT_RUN), user("Interrupted by user: stop", interrupt_type="UserInterruption")],
        [user("User command: \n```bash\nls\n```", actions=[{"command": "ls"}]), answer("main.py\n")],
        [user("Format error", interrupt_type="FormatError")],
        [answer("", -1, exception_info=NOT_RUN)],
        [],
    ],
)
def test_a_command_without_an_answer_begins_a_new_session(problems, talk, between):
    shell, messages = FastShell(problems[1].files), [*PROMPT]
    first = talk.speak(messages)
    ran = shell.run(first.command)
    messages += [turn(first), answer(ran.output, ran.returncode)]
    messages += [turn(talk.speak(messages)), *between]
    assert talk.speak(messages) == first
    assert judge(problems[1].data, shell.files()).passed is False
    turns = work(talk, shell, messages)
    assert turns[-1].command == FINISH
    assert judge(problems[1].data, shell.files()).passed


def test_a_new_task_begins_a_new_session(problems, talk):
    messages = [*PROMPT]
    first = work(talk, FastShell(problems[0].files), messages)
    messages += [answer("", -1, exception_info=NOT_RUN), user("Now here.", interrupt_type="UserNewTask")]
    shell = FastShell(problems[1].files)
    again = work(talk, shell, messages)
    assert again[0] == first[0]
    assert judge(problems[1].data, shell.files()).passed


@pytest.mark.parametrize(
    ("kind", "stop"), [("TimeoutExpired", StopReason.TIMEOUT), ("FileNotFoundError", StopReason.TOOL_ERROR)]
)
def test_a_command_that_fails_to_run_ends_the_work(talk, kind, stop):
    messages = [*PROMPT]
    messages += [turn(talk.speak(messages)), answer("half", -1, exception_info="timed out", exception_type=kind)]
    ended = talk.speak(messages)
    assert (ended.command, ended.stop) == (None, stop)
    assert "timed out" in ended.text
    messages.append(user("Try again.", interrupt_type="UserNewTask"))
    assert talk.speak(messages).command is not None


@pytest.mark.parametrize(
    ("output", "returncode", "want"),
    [
        ("", 0, "0\n"),
        ("a\r\nb\rc\n", 1, "1\na\nb\nc\n"),
        ("\ufffd\x00\udcff\N{SNOWMAN}", 0, "0\n\ufffd\x00?\N{SNOWMAN}"),
        ("x" * 30_000, 0, f"0\n{shorten('x' * 30_000)}"),
        ("", -9, "137\n"),
    ],
)
def test_answers_are_read_as_the_shell_gives_them(codefix, says, output, returncode, want):
    read = []

    class Listener(says):
        def forward(self, ids_BL, *rest, **named):
            read.extend(ids_BL[0].tolist())
            return super().forward(ids_BL, *rest, **named)

    talk = Conversation(Listener(codefix, ["[ANS]", "[call]", "bash", "sed", "[/call]", "[EOS]"]), codefix)
    messages = [*PROMPT]
    messages += [turn(talk.speak(messages)), answer(output, returncode)]
    assert talk.speak(messages).command == FINISH
    tokens = codefix.vocab.decode(read)
    assert codefix.format(tokens[tokens.index("[obs]") + 1 : -1]) == want


@pytest.mark.parametrize(
    "content", ["", None, [], "\x00\udcff\r\n", "x" * 20_000, [{"type": "text", "text": "Go."}, 7]]
)
def test_any_prompt_is_read(talk, content):
    assert talk.speak([{"role": "system"}, {"role": "user", "content": content}]).text == "Run it."
    assert talk.speak([]).text == "Run it."


@pytest.mark.parametrize(
    ("message", "wrong"),
    [
        ({"role": "tool", "content": "0"}, "message 3 cannot be read: it answers a command, but has no extra"),
        (user("<returncode>0</returncode>"), "it answers a command, but has no extra"),
        (answer(None), "raw_output is no text"),
        (answer("", None), "returncode no number"),
        ({"role": "assistant", "content": "Hello."}, "it has 0 commands"),
        ({"role": "assistant", "extra": {"actions": [{"command": "ls"}] * 2}}, "it has 2 commands"),
    ],
)
def test_what_another_agent_made_is_refused(talk, message, wrong):
    messages = [*PROMPT]
    messages += [turn(talk.speak(messages)), message]
    with pytest.raises(ValueError, match=wrong):
        talk.speak(messages)


@pytest.mark.parametrize(
    ("script", "stop"),
    [
        ("[ANS] sed [/call]", StopReason.BAD_COMMAND),
        ("[ANS] [call] sed [/call]", StopReason.BAD_COMMAND),
        ("[ANS] [call] [EOS]", StopReason.BAD_COMMAND),
    ],
)
def test_a_model_that_cannot_go_on_says_why(codefix, says, script, stop):
    ended = Conversation(says(codefix, script.split()), codefix).speak(PROMPT)
    assert (ended.command, ended.stop) == (None, stop)


def test_a_model_that_abstains_cannot_go_on(codefix):
    untrained = models.build("lookup", vocab_size=len(codefix.vocab))
    assert Conversation(untrained, codefix).speak(PROMPT).stop == StopReason.UNSEEN


def test_an_endless_turn_is_ended(codefix, talk, monkeypatch):
    monkeypatch.setattr("tallystick.engine.session.LONGEST_TURN", 3)
    assert talk.speak(PROMPT).stop == StopReason.TOKEN_LIMIT


def test_a_command_that_ends_at_the_limit_counts(talk, model, codefix, monkeypatch):
    first = talk.speak(PROMPT)
    before = talk.session._talker.position
    messages = [*PROMPT, turn(first), answer("")]
    want = talk.speak(messages)
    exact = Conversation(model, codefix)
    monkeypatch.setattr("tallystick.engine.session.LONGEST_TURN", before - len(exact_prompt(codefix)))
    assert exact.speak(PROMPT) == first
    monkeypatch.undo()
    assert exact.speak(messages) == want


def exact_prompt(codefix):
    return ["[BOS]", *codefix.parse("\n".join(message["content"] for message in PROMPT))]


def test_other_tasks_are_refused():
    reverse = tasks.load("reverse")
    model = models.build("lookup", vocab_size=len(reverse.vocab))
    with pytest.raises(ValueError, match="a text task whose only tool is the shell, not reverse"):
        Conversation(model, reverse)
