"""README's table: train addition on at most 5 digits with every seed, and measure exactness at up to 10,000 digits.

    python bench/headline.py                       # all of it: some two hours on a 2-core machine, most of it pythia
    python bench/headline.py --seeds 0 --models lookup

One run after the other; what stands in the results already is not run again. Writes results/headline.json (every row of
every eval, wall seconds, machine and commit) and results/headline.md, the table.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from measure import RESULTS, Measure, Results, Run, exact, markdown, span, train_and_eval

TRAINING = {"pythia:tiny": ["--steps", "2000", "lr=0.003"]}
"""Settings that are not the task's default: at its learning rate of 0.006 pythia does not learn the task."""
MEASURES = [Measure((5, 20, 100, 1000)), Measure((10_000,), samples=5)]
SEEDS = {"lookup": range(5), "mamba2:tiny": (*range(5), *range(2000, 2005)), "pythia:tiny": range(3)}
"""Of each model; those from 2000 on were used for nothing else."""
SHORTER = {"pythia:tiny": MEASURES[:1]}
"""Of a model not measured at all lengths: attention over a problem of 20,000 tokens takes hours."""


def run_one(model: str, seed: int, folder: Path) -> Run:
    """Train and evaluate one seed."""
    arguments = ["addition", "--model", model, "--seed", str(seed), *TRAINING.get(model, [])]
    run = train_and_eval(arguments, SHORTER.get(model, MEASURES), folder / f"{model.replace(':', '-')}-s{seed}")
    print(f"{model} seed {seed}: trained in {run['train_seconds']} s, evaluated in {run['eval_seconds']} s")
    return {"model": model, "seed": seed, **run}


def table(runs: list[Run]) -> str:
    """A row a model, exact problems of all seeds together; every seed's own stands in the JSON."""
    lengths = [length for measure in MEASURES for length in measure.lengths]
    rows = []
    for model in dict.fromkeys(run["model"] for run in runs):
        mine = [run for run in runs if run["model"] == model]
        cells = [*(exact(mine, length, False) for length in lengths), exact(mine, 1000, True)]
        rows.append([model, ", ".join(str(run["seed"]) for run in mine), span(mine, "train_seconds"), *cells])
    return markdown(["model", "seeds", "train, s", *(f"{length:,}" for length in lengths), "worst cases, 1,000"], rows)


def main() -> None:
    """Run all, write after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", help="by default those of README's table")
    parser.add_argument("--models", nargs="+", default=list(SEEDS))
    parser.add_argument("--out", type=Path, default=RESULTS / "headline")
    arguments = parser.parse_args()
    results = Results(arguments.out, table)
    done = {(run["model"], run["seed"]) for run in results.runs}
    with tempfile.TemporaryDirectory() as folder:
        for model in arguments.models:
            for seed in arguments.seeds or SEEDS[model]:
                if (model, seed) not in done:
                    results.add(run_one(model, seed, Path(folder)))
    print(results.table())


if __name__ == "__main__":
    main()
