"""A trained model inside the real mini-swe-agent: its own command, configuration files and environment."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tallystick import tasks
from tallystick.tasks.codefix.checker import judge

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not importlib.util.find_spec("minisweagent"), reason="mini-swe-agent is not installed"),
]
RUN = Path(__file__).parents[1] / "models" / "codefix"


@pytest.fixture
def problem():
    return tasks.load("codefix").problem("test", 0, 5, 0)


@pytest.fixture
def folder(tmp_path, problem):
    folder = tmp_path / "some folder"
    folder.mkdir()
    for name, text in problem.files.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def mini(tmp_path, folder):
    """Return a function that runs mini in the folder, and returns what it printed and recorded."""
    own = {"MSWEA_CONFIGURED": "true", "MSWEA_GLOBAL_CONFIG_DIR": str(tmp_path), "COLUMNS": "200"}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    record = tmp_path / "record.json"

    def run(*options, model=RUN, task="Fix it.", returncode=0):
        command = [Path(sys.executable).with_name("mini"), "--model-class", "tallystick.mini.Model", "-m", model, "-y"]
        command += ["--exit-immediately", "-o", record, "-t", task, *options]
        environment = os.environ | own | {"PATH": path}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, errors="replace")
        assert done.returncode == returncode, done.stdout + done.stderr
        return done, json.loads(record.read_text()) if record.exists() else {}

    return run


@pytest.mark.parametrize(("config", "form"), [("mini.yaml", "tool"), ("mini_textbased.yaml", "user")])
def test_a_codebase_is_repaired(mini, problem, folder, config, form):
    _, record = mini("-c", config, task="Mach es heil \N{SNOWMAN}, \udcff bitte.")
    assert record["info"]["exit_status"] == "Submitted"
    files = {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}
    verdict = judge(problem.data, files)
    assert (verdict.passed, verdict.only_relevant) == (True, True)
    assert record["messages"][3]["role"] == form
    assert 0 < record["info"]["model_stats"]["state_bytes"] <= 50_000


@pytest.mark.parametrize(
    ("setting", "status"), [("environment.timeout=1", "timeout"), ("environment.cwd=/nowhere", "tool_error")]
)
def test_a_command_that_cannot_be_run_ends_the_agent(mini, folder, setting, status):
    (folder / "main.py").write_text("import time\ntime.sleep(60)\n")
    _, record = mini("-c", "mini.yaml", "-c", setting)
    assert record["info"]["exit_status"] == status
    assert record["messages"][-1]["content"].startswith(f"The model cannot go on ({status}).")


def test_a_missing_run_folder_is_named_in_one_line(mini):
    done, _ = mini(model="nowhere", returncode=2)
    assert "no run folder nowhere" in done.stderr
    assert "Traceback" not in done.stderr
