"""Let a trained model repair codebases inside the unmodified mini-swe-agent, and count how many it repairs.

    python examples/repair_in_mini.py RUN 30:20 100:5 1000:1

RUN is a run folder of codefix; 30:20 means 20 codebases of 30 functions. Each is written into a fresh folder, and the
command `mini` works there as a user would start it, once with each form of messages.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from tallystick import tasks
from tallystick.runs import read_config
from tallystick.tasks.codefix.checker import judge

TASK = "Fix the code in this folder, so that python main.py runs without an error."
FORMS = {"tool calls": "mini.yaml", "text": "mini_textbased.yaml"}


def repair(run, form, folder, record):
    """Run mini in a folder; return what it recorded of the work."""
    mini = [Path(sys.executable).with_name("mini"), "--model-class", "tallystick.mini.Model", "-m", run]
    command = [*mini, "-y", "--exit-immediately", "-c", FORMS[form], "-t", TASK, "-o", record]
    own = {"MSWEA_CONFIGURED": "true", "MSWEA_GLOBAL_CONFIG_DIR": str(record.parent)}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # so that `python` is found
    done = subprocess.run(command, cwd=folder, env=os.environ | own | {"PATH": path}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"mini failed in {folder}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return json.loads(record.read_text())["info"]


def measure(run, task, form, length, index):
    """Let the model repair one codebase; return its verdict, and what mini recorded."""
    problem = task.problem("test", 13, length, index)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, f"a folder {index}")
        folder.mkdir()
        for name, text in problem.files.items():
            (folder / name).write_text(text)
        info = repair(run, form, folder, Path(scratch, "record.json"))
        files = {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}
    return judge(problem.data, files), info


def row(run, task, form, length, count):
    """Measure several codebases, and print the result."""
    begun = time.monotonic()
    measured = [measure(run, task, form, length, index) for index in range(count)]
    passed = sum(verdict.passed and info["exit_status"] == "Submitted" for verdict, info in measured)
    relevant = sum(verdict.only_relevant for verdict, _ in measured)
    stats = [info["model_stats"] for _, info in measured]
    commands, tokens = (median(stat[key] for stat in stats) for key in ("api_calls", "tokens"))
    state = ", ".join(f"{size:,}" for size in {stat["state_bytes"] for stat in stats})
    print(
        f"{length:,} functions, {form}: {passed}/{count} repaired, {relevant}/{count} changed only what is wrong; "
        f"median {commands:.0f} turns and {tokens:,.0f} tokens; state {state} bytes; {time.monotonic() - begun:.0f} s",
        flush=True,
    )


if __name__ == "__main__":
    folder = Path(sys.argv[1]).resolve()
    trained = read_config(folder)
    for counted in sys.argv[2:]:
        for kind in FORMS:
            row(folder, tasks.load(trained.task, trained.variant), kind, *map(int, counted.split(":")))
