"""eval.json: the rows that `eval` has measured."""

from __future__ import annotations

from pathlib import Path

from tallystick.rows import EvalReport, EvalRow, require
from tallystick.runs.reading import RunError, read_json
from tallystick.storage import locked, write_json


def write_eval(path: Path, report: EvalReport, weights: str) -> None:
    """Add rows to eval.json, or to eval-PART.json for one part of a mixture; weights: hash of those measured.

    Rows of the same weights are kept, unless a new one with the same length, worst_cases and mode replaces them.
    """
    part = report.get("part") or report.get("on")
    with locked(path / "config.json", wait=True):  # two evals may add rows at the same time
        before = read_eval(path, part)
        old = before["rows"] if before and before.get("weights") == weights else []
        rows = {(row["mode"], row["length"], row["worst_cases"]): row for row in [*old, *report["rows"]]}
        write_json(eval_file(path, part), report | {"weights": weights, "rows": [rows[key] for key in sorted(rows)]})


def read_eval(path: Path, part: str | None = None) -> EvalReport | None:
    """Read eval.json, or eval-PART.json; None if the run was never evaluated. Raises RunError if it is damaged."""
    file = eval_file(path, part)
    if not file.exists():
        return None
    report = read_json(file)
    try:
        require(dict, report, "it")
        require(list[EvalRow], report.get("rows"), "its rows")
    except ValueError as error:
        raise RunError(f"{file} is damaged: {error}; remove it to measure again") from error
    return report


def eval_file(path: Path, part: str | None = None) -> Path:
    """Return the path of eval.json, or of eval-PART.json for one part of a mixture or another task."""
    return path / (f"eval-{part.replace(':', '-').replace('/', '-')}.json" if part else "eval.json")
