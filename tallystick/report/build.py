"""report: run folders as one HTML file that opens from disk and asks no network for anything.

`collect` gathers everything into one JSON-able dict, `render` puts it into the page; the page's scripts draw it.
"""

from __future__ import annotations

import hashlib
import json
import math
import shlex
import time
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment
from markupsafe import Markup

import tallystick
from tallystick import locality, models, runs
from tallystick.episode import Role
from tallystick.locality.verdict import predict
from tallystick.report import replay
from tallystick.tasks import Task
from tallystick.vocab import TRAINED

CACHE = "pythia:tiny"
"""The Transformer whose cache is drawn beside the runs' states."""
EPISODES = 12
"""First errors of one run that can be stepped through."""
POINTS = 400
"""Rows of metrics drawn for a run."""
SCRIPTS = ("charts.js", "tape.js", "viewer.js", "results.js", "report.js")
"""In the order in which the page runs them."""
DIFF = 20_000
"""Characters kept of what was not committed when the run was trained."""


def write(paths: list[Path], out: Path, problems: int = 1000) -> dict[str, Any]:
    """Write the report of these run folders to `out`; problems: of each row of `check`. Raises RunError.

    Returns the `report` document: {"report": path, "bytes": size, "runs": [path]}.
    """
    page = render(collect(paths, problems))
    runs.write_report(out, page)
    return {"report": str(out), "bytes": len(page.encode()), "runs": [str(path) for path in paths]}


def collect(paths: list[Path], problems: int = 1000) -> dict[str, Any]:
    """Everything that the page shows."""
    pages = {"runs": [_run(path, number) for number, path in enumerate(paths)], "tasks": {}, "episodes": []}
    for run in pages["runs"]:
        task = _task(run)
        key = _key(run)
        if key not in pages["tasks"]:
            pages["tasks"][key] = _about_task(run, task, problems)
        if task is not None:
            _count_tokens(pages["tasks"][key], run, task)
            _add_episodes(pages["episodes"], run, task)
    check = {key: entry["check"] for key, entry in pages["tasks"].items()}
    return {
        **pages,
        "groups": _groups(pages["runs"]),
        "predictions": [p for run in pages["runs"] for p in predictions(run, check[_key(run)])],
        "roles": [role.name.lower() for role in Role],
        "trained": TRAINED.tolist(),
        "cache": CACHE,
        "version": tallystick.__version__,
        "made": time.strftime("%Y-%m-%d %H:%M"),
    }


def _key(run: dict[str, Any]) -> str:
    return f"{run['task']} {run['variant']}"


def _run(path: Path, number: int) -> dict[str, Any]:
    """One folder; whatever is missing or damaged in it is None, with a note."""
    config = runs.read_config(path)
    notes: list[str] = []
    report = _read(lambda: runs.read_eval(path), "eval.json", notes)
    if report and report.get("weights", _digest(path)) != _digest(path):
        notes.append(f"eval.json was measured on other weights than the folder holds now; again: {_again(path)}")
    metrics = _read(lambda: runs.read_metrics(path), "metrics.jsonl", notes) or []
    environment = _read(lambda: json.loads((path / "environment.json").read_text()), "environment.json", notes)
    parameters, fixed = _size(config, path)
    return {
        "id": number,
        "path": str(path),
        "name": path.resolve().name,
        **{name: config[name] for name in ("task", "variant", "model")},
        "seed": config["settings"]["seed"],
        "train_length": config["settings"]["train_length"],
        "parameters": parameters,
        "fixed_state": fixed,
        "config": config["settings"] | {f"model: {name}": value for name, value in config["model_settings"].items()},
        "environment": _short(environment or {}),
        "metrics": metrics[:: math.ceil(len(metrics) / POINTS) or 1] + metrics[-1:],
        "rows": report["rows"] if report else None,
        "command": _again(path),
        "notes": notes,
    }


def _read(read: Any, name: str, notes: list[str]) -> Any:
    try:
        return read()
    except (OSError, ValueError) as error:
        notes.append(f"{name} cannot be read: {error}")
        return None


def _again(path: Path) -> str:
    return f"tallystick eval {shlex.quote(str(path))}"


def _digest(path: Path) -> str | None:
    """SHA-256 of the weights, as eval.json has it; None where there are none."""
    weights = path / "model.safetensors"
    return hashlib.sha256(weights.read_bytes()).hexdigest() if weights.exists() else None


def _short(environment: dict[str, Any]) -> dict[str, Any]:
    dirty = environment.get("dirty") or ""
    more = f"\n[{len(dirty) - DIFF:,} more characters in environment.json]" if len(dirty) > DIFF else ""
    return environment | {"dirty": dirty[:DIFF] + more}


def _size(config: dict[str, Any], path: Path) -> tuple[int | None, bool | None]:
    """Parameters, and whether the state stops growing; without making a weight."""
    try:
        tokens = json.loads((path / "vocab.json").read_text())
        with torch.device("meta"):
            model = models.build(config["model"], vocab_size=len(tokens), **config["model_settings"])
        count = sum(parameter.numel() for parameter in model.parameters())
        return count, model.state_bytes(10**8) == model.state_bytes(2 * 10**8)
    except (OSError, ValueError, RuntimeError):
        return None, None


def _task(run: dict[str, Any]) -> Task | None:
    """The run's task, if it can still be had."""
    config = {"task": run["task"], "variant": run["variant"]}
    return _read(lambda: runs.load_task(Path(run["path"]), config), "the task", run["notes"])


def _about_task(run: dict[str, Any], task: Task | None, problems: int) -> dict[str, Any]:
    about = " ".join((type(task).__doc__ or "").split()) if task else ""
    vocab = list(task.vocab.tokens) if task else []
    check = _read(lambda: locality.check(task, problems=problems), "check", run["notes"]) if task else None
    names = {name: run[name] for name in ("task", "variant")}
    return names | {"about": about, "check": check, "vocab": vocab, "tokens": {}}


def _count_tokens(entry: dict[str, Any], run: dict[str, Any], task: Task) -> None:
    """Tokens of an episode and a Transformer's cache after them, for each length that the run was measured at."""
    for length in {row["length"] for row in run["rows"] or []} - entry["tokens"].keys():
        count = _read(lambda n=length: replay.tokens(task, n), f"an episode of length {length}", run["notes"])
        if count is not None:
            entry["tokens"][length] = {"tokens": count, "cache": _transformer(len(task.vocab)).state_bytes(count)}


@cache
def _transformer(vocab_size: int) -> Any:
    return models.build(CACHE, vocab_size=vocab_size)


def _add_episodes(episodes: list[dict[str, Any]], run: dict[str, Any], task: Task) -> None:
    """The episode that the program solves, once for all runs trained on it, and the run's first errors."""
    key = {"task": _key(run), "run": None, "row": None}
    lengths = {(e["task"], e["length"]) for e in episodes if e["run"] is None}
    if (_key(run), run["train_length"]) not in lengths:
        part = _read(lambda: replay.solved(task, run["train_length"]), "the program's episode", run["notes"])
        episodes.extend([key | part] if part else [])
    failed = [(i, row) for i, row in enumerate(run["rows"] or []) if row["first_errors"]]
    for i, row in failed[:: math.ceil(len(failed) / EPISODES) or 1]:
        what = f"the first error at length {row['length']}"
        part = _read(lambda r=row: replay.around(task, r, r["first_errors"][0]), what, run["notes"])
        episodes.extend([key | {"run": run["id"], "row": i} | part] if part else [])


def _groups(shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Runs that differ in nothing but the seed."""
    groups: dict[str, dict[str, Any]] = {}
    for run in shown:
        same = {name: value for name, value in run["config"].items() if name not in ("seed", "device", "threads")}
        key = json.dumps([run["task"], run["variant"], run["model"], same])
        groups.setdefault(key, {"task": _key(run), "model": run["model"], "variant": run["variant"], "runs": []})
        groups[key]["runs"].append(run["id"])
    return list(groups.values())


def predictions(run: dict[str, Any], check: dict[str, Any] | None) -> list[dict[str, Any]]:
    """For each row of eval.json what `check` predicts, and whether that is what was measured."""
    found = []
    for row in run["rows"] or []:
        predicted = predict(run, check, row["length"])
        exact = row["exact"] == row["samples"]
        agrees = None if predicted not in ("exact", "fails") else exact == (predicted == "exact")
        kept = {name: row[name] for name in ("length", "worst_cases", "mode", "samples", "exact")}
        found.append({"run": run["id"], "predicted": predicted, "agrees": agrees, **kept})
    return found


def render(data: dict[str, Any]) -> str:
    """The page. Nothing in `data` can end its script: <, > and & are escaped."""
    parts = files("tallystick") / "report" / "files"
    text = json.dumps(_finite(data), separators=(",", ":"), allow_nan=False)
    for symbol in "<>&":
        text = text.replace(symbol, f"\\u{ord(symbol):04x}")
    style, *scripts = [Markup((parts / name).read_text("utf-8")) for name in ("report.css", *SCRIPTS)]
    page = Environment(autoescape=True).from_string((parts / "page.html.jinja").read_text("utf-8"))
    return page.render(data=Markup(text), title=_title(data), style=style, scripts=scripts)


def _title(data: dict[str, Any]) -> str:
    names = list(dict.fromkeys(run["task"] for run in data["runs"]))
    return f"{', '.join(names)}: {len(data['runs'])} {'run' if len(data['runs']) == 1 else 'runs'}"


def _finite(value: Any) -> Any:
    """JSON has no infinities: a browser would refuse them."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
