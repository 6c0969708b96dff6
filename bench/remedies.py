"""What is said to help a model beyond its training length, tried on a program that is not local.

    python bench/remedies.py                       # all of it: about 40 minutes on a 2-core machine
    python bench/remedies.py --seeds 0 --remedies default

The paper's way of adding, trained on at most 5 digits, with each remedy and seed: `tallystick train` and `tallystick
eval` as a user would, one after the other; what stands in the results already is not run again. Writes
results/remedies.json and results/remedies.md, the table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

from headline import RESULTS, tallystick

LONG = ["dt_min=0.001", "dt_max=0.1"]
"""Mamba-2's own initial step sizes: memory of up to a thousand tokens, where our default has up to twenty."""
REMEDIES = {
    "default": [],
    "no state passing": ["state_passing=0"],
    "more state passing": ["state_passing=0.9"],
    "curriculum": ["curriculum=3000"],
    "long memory": LONG,
    "all together": ["state_passing=0.9", "curriculum=3000", *LONG],
}
LENGTHS = (5, 10, 20, 100, 300, 1000)
SAMPLES, STEPS = 20, 1000
KEPT = ("length", "corners", "samples", "exact", "token_accuracy", "min_margin")
"""Of each row of an eval."""


def run_one(remedy: str, seed: int, folder: Path) -> dict[str, Any]:
    """Train and evaluate one seed."""
    out = folder / f"{remedy.replace(' ', '-')}-s{seed}"
    task = ["addition", *REMEDIES[remedy], "--variant", "paper"]
    trained = tallystick("train", *task, "--steps", str(STEPS), "--seed", str(seed), "--out", str(out), "--json")
    lengths = ",".join(map(str, LENGTHS))
    rows = tallystick("eval", str(out), "--lengths", lengths, "--samples", str(SAMPLES), "--json")["rows"]
    environment = json.loads((out / "environment.json").read_text())
    print(f"{remedy}, seed {seed}: {trained['step']} steps, {trained['seconds']:.0f} s", flush=True)
    return {
        "remedy": remedy,
        "settings": REMEDIES[remedy],
        "seed": seed,
        "steps": trained["step"],
        "seconds": trained["seconds"],
        "passed": trained["passed"],
        "commit": environment["commit"],
        "changed": bool(environment["dirty"]),
        "rows": [{key: row[key] for key in KEPT} for row in rows],
    }


def table(runs: list[dict[str, Any]]) -> str:
    """Markdown: a row a remedy; at each length the exact problems of each seed, random ones and corners."""
    lines = [f"| remedy | seeds | steps | {' | '.join(map(str, LENGTHS))} |", "|---" * (len(LENGTHS) + 3) + "|"]
    for remedy in REMEDIES:
        mine = sorted((run for run in runs if run["remedy"] == remedy), key=lambda run: run["seed"])
        if mine:
            name = f"{remedy} ({' '.join(REMEDIES[remedy])})" if REMEDIES[remedy] else remedy
            numbers = (", ".join(f"{run[key]}" for run in mine) for key in ("seed", "steps"))
            cells = [*numbers, *(_exact(mine, length) for length in LENGTHS)]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _exact(runs: list[dict[str, Any]], length: int) -> str:
    """Exact of the random problems and corners, seed by seed."""
    cells = []
    for run in runs:
        rows = [row for row in run["rows"] if row["length"] == length]
        cells.append(f"{sum(row['exact'] for row in rows)}/{sum(row['samples'] for row in rows)}")
    return ", ".join(cells)


def main() -> None:
    """Run all, write after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--remedies", nargs="+", default=list(REMEDIES), choices=REMEDIES)
    parser.add_argument("--out", type=Path, default=RESULTS / "remedies")
    arguments = parser.parse_args()
    machine = {"processor": platform.processor() or platform.machine(), "processors": os.cpu_count()}
    before = arguments.out.with_suffix(".json")
    runs: list[dict[str, Any]] = json.loads(before.read_text())["runs"] if before.exists() else []
    done = {(run["remedy"], run["seed"]) for run in runs}
    with tempfile.TemporaryDirectory() as folder:
        for seed in arguments.seeds:
            for remedy in arguments.remedies:
                if (remedy, seed) not in done:
                    runs.append(run_one(remedy, seed, Path(folder)))
                    report = {"machine": machine, "runs": runs}
                    arguments.out.parent.mkdir(parents=True, exist_ok=True)
                    arguments.out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
                    arguments.out.with_suffix(".md").write_text(table(runs))
    print(table(runs))


if __name__ == "__main__":
    main()
