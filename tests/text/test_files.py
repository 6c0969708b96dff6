"""Tests of the reader: every form gives the same texts, and what is broken is named with its place."""

import json

import pytest

from tallystick.episode import Role
from tallystick.text import files
from tallystick.text.conversation import argument_text, arguments_of
from tallystick.trajectory import Trajectory

P, T, C, A, S = Role.PROMPT, Role.THOUGHT, Role.COMMAND, Role.OBSERVATION, Role.OUTPUT
SEGMENTS = [
    (P, "You fix code.\nFix it."),
    (S, "Look first."),
    (C, "bash ls -a"),
    (A, "0\nmain.py\n"),
    (S, "Run it."),
    (C, "bash python main.py"),
    (A, "1\nError: größe\n"),
    (S, "I give up."),
]
GIVEN = [{"role": "system", "content": "You fix code."}, {"role": "user", "content": "Fix it."}]


def call(id, command, as_json=False):
    arguments = {"command": command}
    return {
        "id": id,
        "type": "function",
        "function": {"name": "bash", "arguments": json.dumps(arguments) if as_json else arguments},
    }


def assistant(text, *calls, **more):
    return {"role": "assistant", "content": text, **({"tool_calls": list(calls)} if calls else {}), **more}


def tool(id, text, **more):
    return {"role": "tool", "tool_call_id": id, "content": text, **more}


def user(text, **more):
    return {"role": "user", "content": text, **more}


def ran(code, output):
    return {"raw_output": output, "returncode": code, "exception_info": ""}


def parts(text):
    return [{"type": "text", "text": text}]


OPENAI = [
    *GIVEN,
    assistant("Look first.", call("a", "ls -a", as_json=True)),
    tool("a", "0\nmain.py\n"),
    assistant("Run it.", call("b", "python main.py")),
    tool("b", "1\nError: größe\n"),
    assistant("I give up."),
]
MINI_END = [
    assistant("I give up.", call("c", "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT", as_json=True)),
    {"role": "exit", "content": "", "extra": {"exit_status": "Submitted"}},
]
MINI = [
    *OPENAI[:3],
    tool("a", '{"returncode": 0, "output": "main.py\\n"}', extra=ran(0, "main.py\n")),
    OPENAI[4],
    tool("b", "...", extra=ran(1, "Error: größe\n")),
    *MINI_END,
]


def in_text(form, first, second):
    """Return messages whose commands stand in the text, and what follows them is from the user."""
    return [
        *GIVEN,
        assistant(form.format(text="Look first.", command="ls -a")),
        first,
        assistant(form.format(text="Run it.", command="python main.py")),
        second,
        assistant("I give up."),
    ]


MINI_TEXT = in_text(
    "{text}\n\n```mswea_bash_command\n{command}\n```",
    user("<returncode>0</returncode>", extra=ran(0, "main.py\n")),
    user("<returncode>1</returncode>", extra=ran(1, "Error: größe\n")),
)
PLAIN = user("0\nmain.py\n"), user("1\nError: größe\n")
SMITH_XML = in_text("{text}\n\n<function=bash>\n<parameter=command>{command}</parameter>\n</function>", *PLAIN)
SMITH_TICKS = in_text("{text}\n\n```\n{command}\n```", *PLAIN)
SMITH_TOOL = [
    *({**message, "content": parts(message["content"]), "agent": "main"} for message in GIVEN),
    assistant("Look first.", call("a", "ls -a", as_json=True), thought="Look first.", action="ls -a"),
    {"role": "tool", "content": parts("0\nmain.py\n"), "tool_call_ids": ["a"]},
    assistant("Run it.", call("b", "python main.py", as_json=True)),
    {"role": "tool", "content": parts("1\nError: größe\n"), "tool_call_ids": ["b"]},
    assistant("I give up.", tool_calls=None),
]
RESPONSES = [
    *GIVEN,
    {
        "object": "response",
        "output": [
            {"type": "message", "content": [{"type": "output_text", "text": "Look first."}]},
            {"type": "function_call", "call_id": "a", "name": "bash", "arguments": '{"command": "ls -a"}'},
        ],
    },
    {"type": "function_call_output", "call_id": "a", "output": "...", "extra": ran(0, "main.py\n")},
    *MINI[4:],
]


def step(number, source, message, *calls, **more):
    functions = [{"tool_call_id": id, "function_name": "bash", "arguments": {"command": c}} for id, c in calls]
    return {
        "step_id": number,
        "source": source,
        "message": message,
        **({"tool_calls": functions} if calls else {}),
        **more,
    }


def results(*pairs):
    return {"results": [{"source_call_id": id, "content": text} for id, text in pairs]}


ATIF = [
    step(1, "system", "You fix code."),
    step(2, "user", parts("Fix it.")),
    step(3, "agent", "Look first.", ("a", "ls -a"), observation=results(("a", "0\nmain.py\n"))),
    step(4, "agent", "Run it.", ("b", "python main.py"), observation=results(("b", "1\nError: größe\n"))),
    step(5, "agent", "I give up."),
]
DOCUMENTS = {
    "OpenAI": {"messages": OPENAI, "tools": [{"type": "function", "function": {"name": "bash"}}]},
    "messages as text": {"messages": json.dumps(OPENAI), "instance_id": "x", "resolved": False},
    "mini-swe-agent": {"messages": MINI, "info": {}, "trajectory_format": "mini-swe-agent-1.1"},
    "mini-swe-agent in text": {"messages": MINI_TEXT, "info": {}, "trajectory_format": "mini-swe-agent-1.1"},
    "mini-swe-agent, Responses": {"messages": RESPONSES, "trajectory_format": "mini-swe-agent-1.1"},
    "SWE-smith, xml": {"messages": SMITH_XML, "instance_id": "x"},
    "SWE-smith, ticks": {"messages": SMITH_TICKS},
    "SWE-smith, tool": {"messages": SMITH_TOOL},
    "ATIF": {"schema_version": "ATIF-v1.7", "agent": {"name": "a", "version": "1"}, "steps": ATIF},
    "own": {"format": 1, "segments": [[role.name.lower(), text] for role, text in SEGMENTS]},
}


def write(path, *documents):
    path.write_text("".join(json.dumps(document) + "\n" for document in documents), encoding="utf-8")
    return path


def read(path, document):
    (trajectory,) = files.load(write(path / "a.jsonl", document))
    return trajectory.segments


@pytest.mark.parametrize("form", DOCUMENTS)
def test_every_form_has_the_same_texts(tmp_path, form):
    assert read(tmp_path, DOCUMENTS[form]) == SEGMENTS


def test_forms_may_be_mixed_in_a_file_and_in_a_folder(tmp_path):
    (tmp_path / "a").mkdir()
    write(tmp_path / "a" / "b.jsonl", *DOCUMENTS.values())
    (tmp_path / "a" / "b.traj.json").write_text(json.dumps(DOCUMENTS["mini-swe-agent"], indent=2))
    (tmp_path / "a" / "trajectory.json").write_text(json.dumps(DOCUMENTS["ATIF"]))
    (tmp_path / "a" / "result.json").write_text("{}")
    loaded = files.load(tmp_path)
    assert [trajectory.segments[1:] for trajectory in loaded] == [SEGMENTS[1:]] * (len(DOCUMENTS) + 2)


def test_descriptions_of_tools_stand_in_the_prompt_where_they_differ(tmp_path):
    plain = {"messages": OPENAI}
    same, other = files.load(write(tmp_path / "a.jsonl", plain, {**plain, "tools": [{"name": "x"}]}))
    assert same.segments == SEGMENTS
    assert other.segments[0] == (P, '[{"name": "x"}]\n\nYou fix code.\nFix it.')


def test_parquet_of_our_own_is_read(tmp_path):
    from tallystick import tasks
    from tallystick.data.files import write as write_data

    task = tasks.load("codefix")
    write_data(task, tmp_path / "a.parquet", [5], 2, "train", 0)
    write_data(task, tmp_path / "a.jsonl", [5], 2, "train", 0, "openai")
    assert files.load(tmp_path / "a.parquet") == files.load(tmp_path / "a.jsonl")


CHAT = [
    (
        "several calls are answered one after the other",
        [*GIVEN, assistant(None, call("a", "ls"), call("b", "pwd")), tool("b", "2"), tool("a", "1")],
        [(C, "bash ls"), (A, "1"), (C, "bash pwd"), (A, "2")],
    ),
    (
        "the user is heard at the end of a turn",
        [*GIVEN, assistant("What?"), user("That."), assistant("Yes."), user("Thanks.")],
        [(S, "What?"), (C, "[user]"), (A, "That."), (S, "Yes.")],
    ),
    (
        "reasoning is thought",
        [*GIVEN, assistant("Yes.", reasoning_content="Is it?")],
        [(T, "Is it?"), (S, "Yes.")],
    ),
    (
        "a call may have other arguments, or none",
        [
            *GIVEN,
            assistant("", {"function": {"name": "open", "arguments": {"path": "ä", "line": 3}}}),
            tool("", "x"),
            assistant("", {"function": {"name": "submit", "arguments": "{}"}}),
        ],
        [(C, 'open {"path": "ä", "line": 3}'), (A, "x"), (C, "submit")],
    ),
    (
        "arguments that are no JSON stay as they were said",
        [*GIVEN, assistant("", {"function": {"name": "bash", "arguments": '{"command": "ls'}})],
        [(C, 'bash {"command": "ls')],
    ),
    (
        "a block of code in a lone answer is no command",
        [*GIVEN, assistant("So:\n```bash\nls\n```")],
        [(S, "So:\n```bash\nls\n```")],
    ),
    ("half a surrogate pair can be encoded", [*GIVEN, assistant("\ud83d!")], [(S, "?!")]),
]


@pytest.mark.parametrize(("messages", "segments"), [case[1:] for case in CHAT], ids=[case[0] for case in CHAT])
def test_chats(tmp_path, messages, segments):
    assert read(tmp_path, {"messages": messages}) == [SEGMENTS[0], *segments]


def test_steps_that_no_model_said_are_given(tmp_path):
    steps = [
        step(1, "user", "Go on."),
        step(2, "agent", "Earlier.", ("a", "ls"), observation=results(("a", "x")), is_copied_context=True),
        step(3, "agent", "Now.", observation=results((None, "seen")), reasoning_content="Hm."),
        step(4, "agent", "Later.", llm_call_count=0),
        step(5, "agent", "End."),
    ]
    segments = read(tmp_path, {"schema_version": "ATIF-v1.7", "steps": steps})
    assert segments == [
        (P, "Go on.\nEarlier.\nbash ls\nx"),
        *[(T, "Hm."), (S, "Now."), (C, "[user]"), (A, "seen"), (C, "[user]"), (A, "Later."), (S, "End.")],
    ]


def test_trajectories_of_called_agents_are_read_too(tmp_path):
    inner = {**DOCUMENTS["ATIF"], "trajectory_id": "x"}
    loaded = files.load(write(tmp_path / "a.jsonl", {**DOCUMENTS["ATIF"], "subagent_trajectories": [inner]}))
    assert [trajectory.segments for trajectory in loaded] == [SEGMENTS, SEGMENTS]


GOOD = json.dumps(DOCUMENTS["OpenAI"]).encode()
BROKEN = {
    "no JSON": (b'{"messages": [', "not JSON"),
    "no UTF-8": (b'{"messages": "\xff"}', "not UTF-8"),
    "no object": (b"[1, 2]", "not a JSON object"),
    "no known form": (b'{"text": "x"}', "no known form"),
    "no list": (b'{"messages": {}}', "not a list of objects"),
    "nobody speaks": (json.dumps({"messages": GIVEN}).encode(), "the agent says nothing"),
    "unknown role": (b'{"messages": [{"role": "alien", "content": "x"}]}', r"message 0 \(alien\): unknown role"),
    "a picture": (
        b'{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}',
        r"message 0 \(user\): .*'image_url'; only text",
    ),
    "an answer to nothing": (b'{"messages": [{"role": "tool", "content": "x"}]}', "no call waits"),
    "another call's answer": (
        json.dumps({"messages": [*GIVEN, assistant("", call("a", "ls")), tool("b", "x")]}).encode(),
        r"message 3 \(tool\): it answers the call 'b'",
    ),
    "no name": (
        b'{"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "a b"}}]}]}',
        "'a b' is not",
    ),
    "no function": (b'{"messages": [{"role": "assistant", "tool_calls": [{}]}]}', "a tool call has no function"),
    "unknown source": (
        b'{"schema_version": "ATIF-v1.7", "steps": [{"source": "me"}]}',
        r"step 1 \(me\): unknown source",
    ),
    "tokens": (b'{"format": 1, "segments": [["prompt", ["a", "b"]]]}', "tokens, not texts"),
    "deep": (b"[" * 100_000, "nested too deeply|not JSON"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_line_names_file_and_line(tmp_path, name):
    line, wrong = BROKEN[name]
    path = tmp_path / "a.jsonl"
    path.write_bytes(GOOD + b"\n\n" + line + b"\n" + GOOD + b"\n")
    with pytest.raises(ValueError, match=f"a.jsonl, line 3: .*({wrong})"):
        files.load(path)


@pytest.mark.parametrize("name", ["nowhere.jsonl", "empty.jsonl", "folder", "no.parquet"])
def test_files_without_trajectories(tmp_path, name):
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "no.parquet").write_text("x")
    with pytest.raises(ValueError, match=f"{name} (has no trajectories|is not a Parquet file)|no file .*{name}"):
        files.load(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("bash", {"command": "ls"}), ("bash", {"command": '{"a": 1}'}), ("bash", {"command": "ls", "timeout": 3})]
    + [("open", {"path": "a"}), ("submit", {}), ("bash", {"command": ""})],
)
def test_arguments_are_read_back(name, arguments):
    assert arguments_of(name, argument_text(arguments)) == arguments


def test_own_trajectories_are_written_and_read_back(tmp_path):
    line = Trajectory(SEGMENTS).to_json()
    (tmp_path / "a.jsonl").write_text(line + "\n", encoding="utf-8")
    assert files.load(tmp_path / "a.jsonl") == [Trajectory(SEGMENTS)]
