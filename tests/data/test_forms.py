"""Tests of trajectories in others' forms: our reader gives the same texts back, and the others' programs open them."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tallystick import tasks
from tallystick.data.files import write
from tallystick.text import files

LENGTHS, SAMPLES = [5, 6], 3
HARBOR = os.environ.get("TALLYSTICK_HARBOR_PYTHON", "")
"""The Python of an environment with Harbor, whose pins collide with ours."""


def written(path, form, name="codefix"):
    write(tasks.load(name), path, LENGTHS, SAMPLES, "train", 0, form)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The same trajectories in every form."""
    folder = tmp_path_factory.mktemp("forms")
    for name, form in [("o.jsonl", "openai"), ("p.parquet", "tokens"), ("mini", "mini"), ("atif", "atif")]:
        written(folder / name, form)
    return folder


@pytest.mark.parametrize("name", ["p.parquet", "mini", "atif"])
def test_every_form_has_the_same_texts(folder, name):
    known = files.load(folder / "o.jsonl")
    assert len(known) == len(LENGTHS) * SAMPLES
    assert files.load(folder / name) == known


def test_mini_submits_at_the_end(folder):
    document = json.loads(next((folder / "mini").iterdir()).read_text())
    *_, last, end = document["messages"]
    assert last["content"] == "It runs without an error."
    assert last["extra"]["actions"][0]["command"] == "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
    assert end["extra"] == {"exit_status": "Submitted", "submission": ""}
    assert document["info"]["model_stats"]["api_calls"] == sum(m["role"] == "assistant" for m in document["messages"])


def test_recorded_trajectories_are_written_again(folder, tmp_path):
    """A conversation with other functions and with a user goes through ATIF unchanged; mini has no form for it."""
    call = {"id": "a", "function": {"name": "open", "arguments": {"path": "x"}}}
    messages = [
        {"role": "user", "content": "Hi.\n"},
        {"role": "assistant", "content": "What?"},
        {"role": "user", "content": "Open it."},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "empty"},
        {"role": "assistant", "content": "Done."},
    ]
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps({"messages": messages}) + "\n")
    task = tasks.load(str(file))
    for form, out in [("atif", tmp_path / "atif"), ("openai", tmp_path / "b.jsonl")]:
        assert write(task, out, [2], 5, "train", 0, form)["trajectories"] == 1
        assert files.load(out) == files.load(file)
    with pytest.raises(ValueError, match="open is called, and agents of mini-swe-agent call bash alone"):
        write(task, tmp_path / "mini", [2], 5, "train", 0, "mini")
    assert not (tmp_path / "mini").exists()


@pytest.mark.parametrize(
    ("out", "form", "wrong"),
    [
        ("a.jsonl", "mini", "--form mini takes a folder's name"),
        ("a", "openai", "--form openai takes .jsonl or .parquet"),
        ("a.jsonl", "chatml", "unknown form 'chatml'; there are: tokens, openai, mini, atif"),
    ],
)
def test_wrong_forms(tmp_path, out, form, wrong):
    with pytest.raises(ValueError, match=wrong):
        write(tasks.load("codefix"), tmp_path / out, [5], 1, "train", 0, form)
    assert not list(tmp_path.iterdir())


def run(python, code, path, tmp_path):
    """Run code in another environment, with the path as its argument."""
    settings = {"MSWEA_CONFIGURED": "true", "MSWEA_SILENT_STARTUP": "1", "MSWEA_GLOBAL_CONFIG_DIR": str(tmp_path)}
    done = subprocess.run([python, "-c", code, str(path)], capture_output=True, text=True, env=settings)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


INSPECT = """
import asyncio, json, sys
from pathlib import Path
from minisweagent.run.utilities.inspector import TrajectoryInspector

async def main():
    app = TrajectoryInspector(sorted(Path(sys.argv[1]).rglob("*.traj.json")))
    async with app.run_test() as pilot:
        await pilot.press("right")
        await pilot.pause()
        shown = [str(widget.content) for widget in app.query(".message-content")]
        print(json.dumps([app.n_trajectories, app.n_steps, shown]))

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("minisweagent"), reason="mini-swe-agent is not installed")
def test_the_inspector_of_mini_swe_agent_opens_ours(folder, tmp_path):
    trajectories, steps, (said, answered) = run(sys.executable, INSPECT, folder / "mini", tmp_path)
    assert trajectories == len(LENGTHS) * SAMPLES
    first = json.loads(min((folder / "mini").iterdir()).read_text())
    assert steps == 1 + sum(message["role"] == "assistant" for message in first["messages"])
    assert said.startswith("Run it.\n\n```\npython main.py 2>&1")
    assert answered.startswith("<returncode>\n0\n<output>\nfoo.py")


VALIDATE = """
import json, sys
from pathlib import Path
from harbor.models.trajectories import Trajectory

loaded = [Trajectory.model_validate_json(file.read_text()) for file in sorted(Path(sys.argv[1]).iterdir())]
print(json.dumps([[trajectory.schema_version, len(trajectory.steps)] for trajectory in loaded]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which(HARBOR), reason="TALLYSTICK_HARBOR_PYTHON names no Python that has Harbor")
@pytest.mark.parametrize("name", ["codefix", "addition"])
def test_harbor_validates_ours(tmp_path, name):
    folder = written(tmp_path / "atif", "atif", name)
    found = run(HARBOR, VALIDATE, folder, tmp_path)
    documents = [json.loads(file.read_text()) for file in sorted(Path(folder).iterdir())]
    assert found == [["ATIF-v1.7", len(document["steps"])] for document in documents]
