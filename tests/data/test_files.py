"""Tests of `data`: files are read back unchanged by our own reader and by Hugging Face datasets."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tallystick import tasks
from tallystick.data import chat, files
from tallystick.episode import Recorder, Role
from tallystick.locality import sequences
from tallystick.replay import Replay
from tallystick.tasks.runner import run_problem
from tallystick.trajectory import Trajectory
from tallystick.vocab import loss_mask, render

NAMES = [*tasks.TASKS, "turing:bb3", "addition:1,turing:bb3:2"]


def recorded(task, split="test", length=None, index=0):
    sink = Recorder()
    run_problem(task, sink, split, 0, length or task.min_length + 1, index, up_to=split != "test")
    return sink


def as_chat(task, sink):
    replay = Replay(task, sink.ids, sink.roles)
    return chat.messages(replay), chat.schemas(replay)


def spelled(task):
    """Return each command's token, by function name and symbol."""
    words = [token[1:-1].partition(" ") for token in task.vocab.tokens if re.fullmatch(r"\[.+\]", token)]
    return {(re.sub(r"\W", "_", word), symbol): f"[{word}{space}{symbol}]" for word, space, symbol in words}


def said(task, messages):
    """Read the episode's tokens back from the chat."""
    commands, waiting, words = spelled(task), [], []
    for message in messages:
        if message["role"] == "tool":
            words += [*waiting.pop(0), *(message["content"].split(" ") if message["content"] else [])]
            continue
        assert not waiting
        words += message["content"].split(" ") if message["content"] else []
        for call in message.get("tool_calls", []):
            name, arguments = call["function"]["name"], call["function"]["arguments"]
            token = commands[name, arguments.get("symbol", "")]
            inner = [*arguments["symbols"].split(" "), f"[/{token[1:]}"] if "symbols" in arguments else []
            waiting.append([token, *inner])
    return words


@pytest.mark.parametrize("name", [name for name in NAMES if name != "codefix"])
def test_the_chat_loses_nothing(name):
    task = tasks.load(name)
    for index in range(3):
        sink = recorded(task, index=index)
        messages, _ = as_chat(task, sink)
        assert said(task, messages) == task.vocab.decode(sink.ids[1:-1])


def test_the_chat_of_a_text_task_is_its_texts():
    task = tasks.load("codefix")
    (user, first, answer, *_), _ = as_chat(task, recorded(task))
    assert user == {"role": "user", "content": task.format(task.problem("test", 0, task.min_length + 1, 0))}
    assert first["content"] == "Run it."
    (call,) = first["tool_calls"]
    assert call["function"]["name"] == "bash"
    assert call["function"]["arguments"]["command"].startswith("python main.py 2>&1 | grep ")
    assert answer["content"].startswith('0\nfoo.py", line ')


@pytest.mark.parametrize("name", NAMES)
def test_every_call_is_answered_and_has_a_schema(name):
    task = tasks.load(name)
    messages, tools = as_chat(task, recorded(task))
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}
    assert len(schemas) == len(tools)
    calls = [call for message in messages for call in message.get("tool_calls", [])]
    answers = [message for message in messages if message["role"] == "tool"]
    assert [(call["id"], call["function"]["name"]) for call in calls] == [
        (answer["tool_call_id"], answer["name"]) for answer in answers
    ]
    assert len({call["id"] for call in calls}) == len(calls)
    for call in calls:
        parameters, arguments = schemas[call["function"]["name"]], call["function"]["arguments"]
        assert sorted(arguments) == sorted(parameters["required"])
        allowed = parameters["properties"].get("symbol", {}).get("enum")
        assert allowed is None or arguments["symbol"] in allowed


def test_what_a_killed_process_has_left_is_removed(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = tmp_path / f".data.jsonl.{gone.pid}"
    left.write_text("half of a file")
    files.write(tasks.load("reverse"), tmp_path / "data.jsonl", [3], 1, "test", 0)
    assert [path.name for path in tmp_path.iterdir()] == ["data.jsonl"]


def test_problems_are_not_listed_before_the_first_is_written(tmp_path):
    """A billion of them would take a hundred gigabytes."""
    task, drawn = tasks.load("reverse"), []

    def stop(*arguments, **options):
        drawn.append(1)
        raise KeyboardInterrupt

    task.problem = stop
    with pytest.raises(KeyboardInterrupt):
        files.write(task, tmp_path / "data.jsonl", [3], 10**15, "test", 0)
    assert drawn == [1]
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """Load a file with Hugging Face datasets."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    import datasets  # not at the top: it reads these variables when it is imported

    datasets.disable_progress_bars()

    def load(kind, file):
        return datasets.load_dataset(kind, data_files=str(file), split="train", cache_dir=str(tmp_path / "cache"))

    return load


@pytest.mark.parametrize(
    ("name", "variant"), [("logic-graph", None), ("addition:1,turing:bb3:2", None), ("addition", "no-tool")]
)
def test_parquet_through_datasets(loaded, tmp_path, name, variant):
    """The second has calls without arguments and with them, which Arrow would make alike; of the third what the tool
    answers is to be predicted, too."""
    task, file = tasks.load(name, variant), tmp_path / "data.parquet"
    made = files.write(task, file, [3, 4], 3, "test", 0)
    rows = loaded("parquet", file)
    assert made == {"file": str(file), "trajectories": 6, "bytes": file.stat().st_size}
    assert [(row["length"], row["index"]) for row in rows] == [(n, i) for n in (3, 4) for i in range(3)]
    for row in rows:
        sink = recorded(task, length=row["length"], index=row["index"])
        assert [row["messages"], row["tools"]] == list(as_chat(task, sink))
        assert row["input_ids"] == sink.ids.tolist()
        assert row["roles"] == sink.roles.tolist()
        assert row["loss_mask"] == sequences.of(task, task.problem("test", 0, row["length"], row["index"]))[1].tolist()
        assert (row["task"], row["variant"], row["split"]) == (task.name, task.variant, "test")


def test_parquet_says_what_its_numbers_mean(tmp_path, monkeypatch):
    from pyarrow import parquet

    monkeypatch.setattr(files, "ROW_GROUP", 100)
    task, file = tasks.load("reverse"), tmp_path / "data.parquet"
    files.write(task, file, [3], 10, "test", 0)
    about = json.loads(parquet.read_schema(file).metadata[b"tallystick"])
    assert about["tokens"] == list(task.vocab.tokens)
    assert about["roles"][Role.OUTPUT] == "output"
    groups = parquet.ParquetFile(file)
    assert sum(groups.metadata.row_group(i).num_rows for i in range(groups.num_row_groups)) == 10
    assert 3 < groups.num_row_groups <= 10


@pytest.mark.parametrize("name", ["addition", "logic-graph"])
def test_jsonl_is_our_own_format_and_loads_with_datasets(loaded, tmp_path, name):
    task, file = tasks.load(name), tmp_path / "data.jsonl"
    files.write(task, file, [4], 5, "train", 0)
    lines, rows = file.read_text().splitlines(), loaded("json", file)
    assert len(lines) == len(rows) == 5
    for index, (line, row) in enumerate(zip(lines, rows, strict=True)):
        sink = recorded(task, "train", 4, index)
        trajectory = Trajectory.from_json(line)
        ids, mask = render(trajectory, task.vocab)
        assert (ids.tolist(), mask.tolist()) == (sink.ids.tolist(), loss_mask(sink.roles).tolist())
        assert Trajectory.from_json(json.dumps(row)) == trajectory
        assert trajectory.meta == {"task": name, "variant": task.variant, "split": "train", "seed": 0, "length": 4,
                                   "index": index, "ok": True}  # fmt: skip


def test_training_problems_are_those_of_training(tmp_path):
    task, file = tasks.load("addition"), tmp_path / "data.jsonl"
    files.write(task, file, [5], 20, "train", 7)
    prompts = [Trajectory.from_json(line).segments[0][1] for line in file.read_text().splitlines()]
    assert prompts == [task.problem("train", 7, 5, i, up_to=True) for i in range(20)]
    assert len({len(prompt) for prompt in prompts}) > 1


def test_without_pyarrow_one_line_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"pip install 'tallystick\[data\]'"):
        files.write(tasks.load("reverse"), tmp_path / "data.parquet", [3], 1, "test", 0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_wrong_program_leaves_no_file(tmp_path, ending):
    mine = tmp_path / "mine.py"
    text = Path(tasks.base.__file__.replace("base.py", "reverse.py")).read_text()
    mine.write_text(text.replace("return prompt[-2::-1]", "return prompt[:-1]"))
    with pytest.raises(ValueError, match="the answer has"):
        files.write(tasks.load(f"{mine}:Reverse"), tmp_path / f"data.{ending}", [9], 20, "test", 0)
    assert list(tmp_path.iterdir()) == [mine]


def test_a_file_that_is_there_is_not_touched(tmp_path):
    file = tmp_path / "data.jsonl"
    file.write_text("mine")
    with pytest.raises(ValueError, match="already exists"):
        files.write(tasks.load("reverse"), file, [3], 1, "test", 0)
    assert file.read_text() == "mine"


def test_roles_are_small_numbers():
    assert np.array(list(Role)).max() < 128  # int8 in the file
