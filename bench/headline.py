"""README's table: train addition on at most 5 digits with every seed, and measure exactness at up to 10,000 digits.

    python bench/headline.py                       # all of it: about 20 minutes on a 2-core machine
    python bench/headline.py --seeds 0 --models lookup

Runs `tallystick train` and `tallystick eval` as a user would, one after the other; what stands in the results already
is not run again. Writes results/headline.json (every row of every eval, wall seconds, machine and commit) and
results/headline.md, the table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent.parent / "results"
TRAINING = {"pythia:tiny": ["--steps", "2000", "lr=0.003"]}
"""Settings that are not the task's default: at its learning rate of 0.006 pythia does not learn the task."""
LENGTHS = [(5, 50), (20, 50), (100, 50), (1000, 50), (10_000, 5)]
"""Digits and problems."""
LONGEST = {"pythia:tiny": 1000}
"""Beyond, attention over the problem itself, 20,000 tokens, takes hours."""


def run_one(model: str, seed: int, folder: Path) -> dict[str, Any]:
    """Train and evaluate one seed."""
    out = folder / f"{model.replace(':', '-')}-s{seed}"
    began = time.monotonic()
    trained = tallystick(
        "train",
        "addition",
        "--model",
        model,
        "--seed",
        str(seed),
        "--out",
        str(out),
        "--json",
        *TRAINING.get(model, []),
    )
    train_seconds, began, rows = time.monotonic() - began, time.monotonic(), []
    for samples in sorted({samples for _, samples in LENGTHS}, reverse=True):
        wanted = [length for length, n in LENGTHS if n == samples and length <= LONGEST.get(model, length)]
        if not wanted:
            continue
        lengths = ",".join(map(str, wanted))
        rows += tallystick("eval", str(out), "--lengths", lengths, "--samples", str(samples), "--json")["rows"]
    print(f"{model} seed {seed}: trained in {train_seconds:.0f} s, evaluated in {time.monotonic() - began:.0f} s")
    return {
        "model": model,
        "seed": seed,
        "train_seconds": round(train_seconds, 1),
        "eval_seconds": round(time.monotonic() - began, 1),
        "trained": trained,
        "environment": json.loads((out / "environment.json").read_text()),
        "rows": rows,
    }


def tallystick(*arguments: str) -> dict[str, Any]:
    """The JSON document of one command."""
    command = [sys.executable, "-m", "tallystick", *arguments]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout)


def table(runs: list[dict[str, Any]]) -> str:
    """Markdown: a row a model, exact problems of all seeds together; every seed's own stands in the JSON."""
    names = [f"{length:,}" for length, _ in LENGTHS]
    lines = [f"| model | seeds | train, s | {' | '.join(names)} | corners, 1,000 |", "|---" * (len(names) + 4) + "|"]
    for model in dict.fromkeys(run["model"] for run in runs):
        mine = [run for run in runs if run["model"] == model]
        seconds = sorted(run["train_seconds"] for run in mine)
        cells = [_exact(mine, length, False) for length, _ in LENGTHS] + [_exact(mine, 1000, True)]
        seeds = ", ".join(str(run["seed"]) for run in mine)
        lines.append(f"| {model} | {seeds} | {seconds[0]:.0f}-{seconds[-1]:.0f} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _exact(runs: list[dict[str, Any]], length: int, corners: bool) -> str:
    """Exact of all, and the range over seeds where they differ."""
    rows = [row for run in runs for row in run["rows"] if row["length"] == length and row["corners"] == corners]
    if not rows:
        return "not measured"
    exact = [row["exact"] for row in rows]
    spread = f" ({min(exact)}-{max(exact)} a seed)" if len(set(exact)) > 1 else ""
    return f"{sum(exact)}/{sum(row['samples'] for row in rows)}{spread}"


def main() -> None:
    """Run all, write after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--models", nargs="+", default=["lookup", "pythia:tiny", "mamba2:tiny"])
    parser.add_argument("--out", type=Path, default=RESULTS / "headline")
    arguments = parser.parse_args()
    machine = {"processor": platform.processor() or platform.machine(), "processors": os.cpu_count()}
    before = arguments.out.with_suffix(".json")
    runs: list[dict[str, Any]] = json.loads(before.read_text())["runs"] if before.exists() else []
    done = {(run["model"], run["seed"]) for run in runs}
    with tempfile.TemporaryDirectory() as folder:
        for model in arguments.models:
            for seed in arguments.seeds:
                if (model, seed) in done:
                    continue
                runs.append(run_one(model, seed, Path(folder)))
                report = {"machine": machine, "runs": runs}
                arguments.out.parent.mkdir(parents=True, exist_ok=True)
                arguments.out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
                arguments.out.with_suffix(".md").write_text(table(runs))
    print(table(runs))


if __name__ == "__main__":
    main()
