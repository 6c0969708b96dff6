"""What the benches that make tables share: `tallystick train` and `eval` as a user runs them, results that are kept.

Results are a JSON file of runs and a Markdown file beside it, written anew after each run; what stands in them is not
run again.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent.parent / "results"
Run = dict[str, Any]
"""One trained and measured seed, as it stands in the JSON."""


@dataclass(frozen=True)
class Measure:
    """One call of `tallystick eval`."""

    lengths: tuple[int, ...]
    """Of the problems."""
    samples: int = 50
    """Random problems of each length; the worst cases come on top."""
    mode: str = "verify"
    """verify or generate."""


def train_and_eval(arguments: list[str], measures: list[Measure], out: Path) -> Run:
    """Train into the folder `out` and measure; arguments: of `tallystick train`, without --out.

    Keeps of each row all but the contexts of its first errors, and says what ran where.
    """
    trained, seconds, cpu_seconds = tallystick("train", *arguments, "--out", str(out), "--json")
    began, rows = time.monotonic(), []
    for measure in measures:
        lengths = ",".join(map(str, measure.lengths))
        options = ["--lengths", lengths, "--samples", str(measure.samples), "--mode", measure.mode]
        rows += tallystick("eval", str(out), *options, "--json")[0]["rows"]
    environment = json.loads((out / "environment.json").read_text())
    return {
        "train_seconds": round(seconds, 1),
        "train_cpu_seconds": round(cpu_seconds, 1),
        "eval_seconds": round(time.monotonic() - began, 1),
        "command": " ".join(["tallystick train", *arguments]),
        "trained": {key: trained[key] for key in ("step", "tokens", "loss", "held_out", "carried", "passed")},
        "rows": [{key: value for key, value in row.items() if key not in ("ci95", "first_errors")} for row in rows],
        "python": environment["python"],
        "torch": environment["versions"]["torch"],
        "commit": environment["commit"],
        "changed_since": bool(environment["dirty"]),
    }


def tallystick(*arguments: str) -> tuple[dict[str, Any], float, float]:
    """The JSON document of one command, its wall seconds, and its CPU seconds, worker processes included."""
    began = time.monotonic()
    command = [sys.executable, "-m", "tallystick", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return json.loads(text), time.monotonic() - began, usage.ru_utime + usage.ru_stime


class Results:
    """The runs in `path`.json, and the table that is made of them in `path`.md."""

    def __init__(self, path: Path, table: Callable[[list[Run]], str]):
        self.path, self._table = path, table
        self.runs = self._stored()

    def _stored(self) -> list[Run]:
        stored = self.path.with_suffix(".json")
        return json.loads(stored.read_text())["runs"] if stored.exists() else []

    def add(self, run: Run) -> None:
        """Take a run in, and write both files; what another process has put there meanwhile is kept."""
        self.runs = [*self._stored(), run]
        machine = {"processor": platform.processor() or platform.machine(), "processors": os.cpu_count()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = ",\n".join(json.dumps(run) for run in self.runs)
        report = f'{{"machine": {json.dumps(machine)}, "runs": [\n{lines}\n]}}\n'
        self.path.with_suffix(".json").write_text(report)
        self.path.with_suffix(".md").write_text(self.table())

    def table(self) -> str:
        """The Markdown."""
        return self._table(self.runs)


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table."""
    first, *others = (f"| {' | '.join(line)} |" for line in [head, *rows])
    return "\n".join([first, "|---" * len(head) + "|", *others]) + "\n"


def exact(runs: list[Run], length: int, worst_cases: bool, mode: str = "verify") -> str:
    """Exact problems of all runs together, and the range over seeds where they differ; - if none was measured."""
    wanted = (length, worst_cases, mode)
    rows = [row for run in runs for row in run["rows"] if (row["length"], row["worst_cases"], row["mode"]) == wanted]
    counts = [row["exact"] for row in rows]
    spread = f" ({min(counts)}-{max(counts)} a seed)" if len(set(counts)) > 1 else ""
    return f"{sum(counts)}/{sum(row['samples'] for row in rows)}{spread}" if rows else "-"


def span(runs: list[Run], key: str) -> str:
    """The least and the largest of a figure."""
    values = [run[key] for run in runs]
    return f"{min(values):.0f}-{max(values):.0f}"
