"""Every built-in task at its target: trained on short problems with three seeds, measured far beyond.

    python bench/targets.py                                # all of it: hours on one core
    python bench/targets.py --only sort reverse --seeds 0 --jobs 2

What stands in the results already is not run again. Writes results/targets.json (every row of every eval, commands,
seconds, machine and commit) and results/targets.md, the table.
"""

from __future__ import annotations

import argparse
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from measure import RESULTS, Measure, Results, Run, exact, markdown, span, train_and_eval

from tallystick import tasks


@dataclass(frozen=True)
class Target:
    """What must be exact, trained with which model and settings."""

    task: str
    """Its name."""
    measures: list[Measure]
    """Where."""
    model: str = ""
    """As for `tallystick train`; the task's own if empty."""
    settings: tuple[str, ...] = ()
    """Of training, as "lr=0.003"."""

    @property
    def of(self) -> tuple[str, str]:
        """What names it: task and model."""
        return self.task, self.model or tasks.load(self.task).defaults.model


def at(length: int, samples: int = 50, mode: str = "verify") -> Measure:
    """Random problems of one length, and its worst cases."""
    return Measure((length,), samples, mode)


BB5 = [at(1_000_000, samples=1), at(20_000, samples=1, mode="generate")]
"""The worst case is the blank tape, from which it halts after 47 million steps."""
TARGETS = [
    Target("addition", [at(1000)], model="lstm:tiny"),
    Target("addition", [at(1000)], model="gru:tiny"),
    Target("reverse", [at(1000)]),
    Target("multiplication-1", [at(1000)]),
    Target("multiplication-2", [at(1000)]),
    Target("logic-graph", [at(1000)]),
    Target("sort", [at(300)]),
    Target("hanoi-recursive", [at(10)]),
    Target("turing:bb4", [at(107)]),
    Target("turing:bb4", [at(107)], model="lookup"),
    Target("turing:bb5", BB5),
    Target("turing:bb5", BB5, model="lookup"),
    Target("turing-universal", [at(1000, samples=20), at(100_000, samples=20)]),
]


def run_one(target: Target, seed: int, folder: Path) -> Run:
    """Train and evaluate one seed."""
    task, model = target.of
    arguments = [task, "--model", model, "--seed", str(seed), *target.settings]
    run = train_and_eval(arguments, target.measures, folder / f"{'-'.join(target.of).replace(':', '-')}-s{seed}")
    length = tasks.load(task).defaults.train_length
    return {"task": task, "model": model, "seed": seed, "train_length": length, **run}


def table(runs: list[Run]) -> str:
    """A row a target and measure, all seeds together; every seed's own stands in the JSON."""
    head = [
        "task",
        "model",
        "trained on",
        "seeds",
        "train, CPU s",
        "exact at",
        "random problems",
        "worst_cases",
        "margin >=",
    ]
    rows = []
    for target in TARGETS:
        mine = sorted((run for run in runs if (run["task"], run["model"]) == target.of), key=lambda run: run["seed"])
        for measure in target.measures if mine else []:
            (length,), mode = measure.lengths, measure.mode
            margins = [row["min_margin"] for run in mine for row in run["rows"] if row["length"] == length]
            seeds = ", ".join(str(run["seed"]) for run in mine)
            told = [f"<= {mine[0]['train_length']}", seeds, span(mine, "train_cpu_seconds")]
            where = f"{length:,}" + (", generate" if mode == "generate" else "")
            counts = [exact(mine, length, worst_cases, mode) for worst_cases in (False, True)]
            rows.append([*target.of, *told, where, *counts, f"{min(margins):.1f}"])
    return markdown(head, rows)


def main() -> None:
    """Run all, write after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", help="tasks", choices=sorted({target.task for target in TARGETS}))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument("--out", type=Path, default=RESULTS / "targets")
    arguments = parser.parse_args()
    results = Results(arguments.out, table)
    done = {(run["task"], run["model"], run["seed"]) for run in results.runs}
    chosen = [target for target in TARGETS if not arguments.only or target.task in arguments.only]
    todo = [(target, seed) for seed in arguments.seeds for target in chosen if (*target.of, seed) not in done]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(arguments.jobs) as pool:
        for future in as_completed([pool.submit(run_one, *each, Path(folder)) for each in todo]):
            results.add(run := future.result())
            print(f"{run['task']} {run['model']} seed {run['seed']}: {run['train_cpu_seconds']} s of CPU", flush=True)
    print(results.table())


if __name__ == "__main__":
    main()
