"""metrics.jsonl: one line per validation."""

from __future__ import annotations

import json
from pathlib import Path

from tallystick.rows import MetricsRow, require
from tallystick.runs.reading import RunError, read_text
from tallystick.storage import parse_json, write_text, writing


def add_metrics(path: Path, row: MetricsRow) -> None:
    """Append a line to metrics.jsonl."""
    with writing(path / "metrics.jsonl"), (path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, allow_nan=False) + "\n")


def read_metrics(path: Path) -> list[MetricsRow]:
    """Read the complete lines of metrics.jsonl. Raises RunError if one is damaged."""
    lines = read_text(path / "metrics.jsonl").split("\n")[:-1]
    try:
        rows = [parse_json(line) for line in lines]
        require(list[MetricsRow], rows, "its rows")
        return rows
    except ValueError as error:
        raise RunError(f"{path / 'metrics.jsonl'} is damaged: {error}") from error


def last_metrics(path: Path) -> MetricsRow:
    """Read the last line of metrics.jsonl. Raises RunError if there is none."""
    rows = read_metrics(path)
    if not rows:
        raise RunError(f"{path / 'metrics.jsonl'} is empty: the run has not been validated yet")
    return rows[-1]


def keep_metrics(path: Path, step: int) -> None:
    """Drop the lines of metrics.jsonl after `step`, since resuming writes them again."""
    rows = [row for row in read_metrics(path) if row["step"] <= step]
    write_text(path / "metrics.jsonl", "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))
