"""Tests of the collector: the real mini-swe-agent, asking a scripted server, in the sandbox."""

import importlib.util
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tallystick import tasks
from tallystick.data.collect import Record, _short
from tallystick.episode import Role
from tallystick.text import files

TASK = f"{Path(__file__).parents[2] / 'examples' / 'copy_name.py'}:CopyName"
DONE = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
needs_mini = pytest.mark.skipif(not importlib.util.find_spec("minisweagent"), reason="mini-swe-agent is not installed")


def policy(answers, first):
    """Return the next command: copy the name; at first after looking around, or the wrong name every third time."""
    if not answers:
        return "ls && cat name.txt" if first % 2 else "cat name.txt"
    if len(answers) == 1:
        name = "wrong" if first % 3 == 2 else json.loads(answers[0])["output"].split()[-1]
        return f"sed -i s/NAME/{name}/ main.py && python main.py"
    return DONE


@contextmanager
def server(fails_after=10**9):
    """Serve OpenAI's chat completions; fails_after: number of conversations after which it fails."""
    begun, asked = [], []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            messages = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"]
            answers = [message["content"] for message in messages if message["role"] == "tool"]
            asked.append(messages)
            if not answers:
                begun.append(1)
            if len(begun) > fails_after:
                return self.send_error(400)
            arguments = json.dumps({"command": policy(answers, len(begun) - 1)})
            call = {
                "id": f"call_{len(answers)}",
                "type": "function",
                "function": {"name": "bash", "arguments": arguments},
            }
            message = {"role": "assistant", "content": "So.", "tool_calls": [call]}
            choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            body = {
                "id": "x",
                "object": "chat.completion",
                "created": 0,
                "model": "m",
                "choices": [choice],
                "usage": usage,
            }
            data = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            return None

        def log_message(self, format, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}/v1", asked
        served.shutdown()


@pytest.mark.slow
@needs_mini
def test_the_right_and_short_are_kept(start, tmp_path):
    out = tmp_path / "out"
    options = ["--model", "m", "--lengths", "3,4", "--samples", "6", "--out", out]
    with server(fails_after=5) as (endpoint, _):
        failed = start(
            "collect", TASK, "--endpoint", endpoint, *options, environment={"MSWEA_GLOBAL_CONFIG_DIR": str(tmp_path)}
        )
        _, said = failed.communicate(timeout=300)
    assert failed.returncode == 2, said
    assert said.splitlines()[-1].startswith("tallystick: the agent failed, asking http://127.0.0.1")
    assert len((out / "collected.jsonl").read_text().splitlines()) == 5
    with server() as (endpoint, asked):
        done = start(
            *("collect", TASK, "--endpoint", endpoint, *options, "--json"),
            environment={"MSWEA_GLOBAL_CONFIG_DIR": str(tmp_path)},
        )
        printed, said = done.communicate(timeout=300)
    assert done.returncode == 0, said
    assert sum(messages[-1]["role"] == "user" for messages in asked) == 7  # five were done before
    records = [json.loads(line) for line in (out / "collected.jsonl").read_text().splitlines()]
    assert {record["exit_status"] for record in records} == {"Submitted"}
    assert sum(record["right"] for record in records) == 9  # in the two runs, every third is wrong
    kept = set(_short(records))
    assert json.loads(printed) == {"folder": str(out), "problems": 12, "right": 9, "kept": len(kept)}
    assert sorted(path.name for path in (out / "kept").iterdir()) == sorted(f"{name}.traj.json" for name in kept)
    assert 0 < len(kept) < 9
    loaded = files.load(out / "kept")
    commands = [text for trajectory in loaded for role, text in trajectory.segments if role == Role.COMMAND]
    assert "bash cat name.txt" in commands
    assert "bash ls && cat name.txt" not in commands
    check_table(out / "kept.parquet", loaded)


def check_table(file, loaded):
    """Its rows are the trajectories, with a role for each token, and a loss where the agent speaks."""
    from pyarrow import parquet

    rows = parquet.read_table(file).to_pylist()
    assert len(rows) == len(loaded)
    for row in rows:
        assert len(row["input_ids"]) == len(row["roles"]) == len(row["loss_mask"])
        assert [role in (0, 3) for role in row["roles"]] == [not trained for trained in row["loss_mask"]]
    said = [[trajectory.segments[1:] for trajectory in read] for read in (files.load(file), loaded)]
    assert sorted(said[0]) == sorted(said[1])


def record(name, length, right, characters):
    return Record(name=name, length=length, right=right, exit_status="Submitted", characters=characters)


def test_short_is_not_longer_than_the_mean_of_the_right_ones():
    records = [record("a", 3, True, 10), record("b", 3, True, 30), record("c", 3, False, 1), record("d", 4, True, 99)]
    assert list(_short(records)) == ["a", "d"]


@pytest.mark.parametrize("name", ["reverse", "RECORDED"])
def test_only_text_tasks_with_a_shell_are_worked_on(tallystick, tmp_path, name):
    file = tmp_path / "a.jsonl"
    file.write_text('{"format": 1, "segments": [["prompt", "x"], ["output", "y"]]}\n')
    options = ["--endpoint", "http://127.0.0.1:9/v1", "--model", "m", "--out", tmp_path / "out"]
    printed = tallystick("collect", name.replace("RECORDED", str(file)), *options, code=2)
    assert "has no shell to work in" in printed.err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(bool(importlib.util.find_spec("minisweagent")), reason="mini-swe-agent is installed")
def test_without_mini_one_line_says_what_to_do(tallystick, tmp_path):
    options = ["--endpoint", "http://127.0.0.1:9/v1", "--model", "m", "--out", tmp_path / "out"]
    assert "pip install 'tallystick[mini,data]'" in tallystick("collect", TASK, *options, code=2).err
    assert not (tmp_path / "out").exists()


def test_the_task_of_these_tests_is_there():
    assert tasks.load(TASK).text
