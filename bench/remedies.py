"""What is said to help a model beyond its training length, tried on a program that is not local.

    python bench/remedies.py                       # all of it: about 40 minutes on a 2-core machine
    python bench/remedies.py --seeds 0 --remedies default

The paper's way of adding, trained on at most 5 digits, with each remedy and seed: `tallystick train` and `tallystick
eval` as a user would, one after the other; what stands in the results already is not run again. Writes
results/remedies.json and results/remedies.md, the table.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from measure import RESULTS, Measure, Results, Run, markdown, train_and_eval

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


def run_one(remedy: str, seed: int, folder: Path) -> Run:
    """Train and evaluate one seed."""
    options = ["--variant", "paper", "--steps", str(STEPS), "--seed", str(seed)]
    measures = [Measure(LENGTHS, SAMPLES)]
    run = train_and_eval(
        ["addition", *REMEDIES[remedy], *options], measures, folder / f"{remedy.replace(' ', '-')}-s{seed}"
    )
    print(f"{remedy}, seed {seed}: {run['trained']['step']} steps, {run['train_seconds']} s", flush=True)
    return {"remedy": remedy, "seed": seed, **run}


def table(runs: list[Run]) -> str:
    """A row a remedy; at each length the exact problems of each seed, random ones and worst cases."""
    rows = []
    for remedy, settings in REMEDIES.items():
        mine = sorted((run for run in runs if run["remedy"] == remedy), key=lambda run: run["seed"])
        if mine:
            seeds = ", ".join(str(run["seed"]) for run in mine)
            steps = ", ".join(str(run["trained"]["step"]) for run in mine)
            name = f"{remedy} ({' '.join(settings)})" if settings else remedy
            rows.append([name, seeds, steps, *(_exact(mine, length) for length in LENGTHS)])
    return markdown(["remedy", "seeds", "steps", *map(str, LENGTHS)], rows)


def _exact(runs: list[Run], length: int) -> str:
    """Exact of the random problems and worst cases, seed by seed."""
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
    results = Results(arguments.out, table)
    done = {(run["remedy"], run["seed"]) for run in results.runs}
    with tempfile.TemporaryDirectory() as folder:
        for seed in arguments.seeds:
            for remedy in arguments.remedies:
                if (remedy, seed) not in done:
                    results.add(run_one(remedy, seed, Path(folder)))
    print(results.table())


if __name__ == "__main__":
    main()
