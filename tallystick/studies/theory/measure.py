"""Models trained and measured for a theorem's table, and the files that the tables are kept in."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tallystick import runs, tasks
from tallystick.config import configure
from tallystick.evaluation.sweep import evaluate
from tallystick.training import loop

KEPT = ("length", "worst_cases", "samples", "exact", "ci95", "model_tokens", "min_margin", "seconds")
"""Of a row of `eval`."""


def measure(
    task: tasks.Task, model: str, seed: int, lengths: list[int], samples: int, overrides: dict[str, str], **given: Any
) -> dict[str, Any]:
    """Train a model in a folder that is thrown away; how it went, and a row for each length (and its worst cases).

    overrides, given: as for `settings.configure`.
    """
    config = configure(task, model, overrides, seed=seed, **given)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        loop.train(path, config)
        last = runs.read_metrics(path)[-1]
        run = runs.load(path, config["settings"]["device"])
        rows = evaluate(run, lengths, samples)
    trained = {key: last[key] for key in ("step", "tokens", "seconds", "passed")} | {"examples": run.examples}
    return {
        "model": model,
        "seed": seed,
        "train_length": config["settings"]["train_length"],
        "trained": trained,
        "rows": [{key: row[key] for key in KEPT} for row in rows],
    }


def keep(report: dict[str, Any], text: str, out: Path) -> None:
    """Write OUT.json, with the machine and the commit that it was measured on, and OUT.md."""
    there = runs.environment()
    place = {key: there[key] for key in ("python", "versions", "machine", "processors", "gpu", "commit", "command")}
    place["changed"] = bool(there["dirty"])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(report | {"environment": place}, indent=1) + "\n")
    out.with_suffix(".md").write_text(text)


def table(head: list[str], rows: list[list[Any]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)
