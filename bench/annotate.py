"""Programs that are not local, before and after --annotate: k, coverage, tokens, and exactness far beyond training.

    python bench/annotate.py --models lookup                                # about 15 minutes on one core
    python bench/annotate.py --models mamba2:tiny --seeds 0 1 2 --tasks addition multiplication-1 --device cuda

Runs `tallystick check`, `train` and `eval` as a user would; what stands in the results already is not run again, what
is missing there is shown as -. Writes results/annotate.json and results/annotate.md, the table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tallystick import tasks
from tallystick.evaluation.statistics import wilson
from tallystick.locality import sequences

ROOT = Path(__file__).parent.parent
NAIVE = "examples/naive.py"
FAR: dict[tuple[str, str], tuple[int, int, int]] = {
    ("addition", "paper"): (1000, 20, 1000),
    ("multiplication-1", "paper"): (1000, 20, 1000),
    ("multiplication-2", "paper"): (1000, 20, 1000),
    ("hanoi-recursive", "paper"): (12, 5, 1000),
    ("hanoi", "paper"): (12, 3, 100),
    ("logic-graph", "paper"): (1000, 20, 100),
    (f"{NAIVE}:Larger", "default"): (1000, 20, 1000),
    (f"{NAIVE}:Majority", "default"): (1000, 20, 1000),
}
"""By program: the length to reach, problems there, and problems of each row of `check`."""
BATCH = ("rows=32", "lr=0.004", "steps=5000")
LARGE = (*BATCH[:2], "steps=6000", "ready=1e-05", "d_state=64")
"""The learning rate stays up for more than half of the budget, and a head remembers more symbols apart."""
SETTINGS = {"multiplication-1": BATCH, "hanoi": LARGE}
"""Of training, where 2,048 tokens a step left some seeds wrong far beyond."""


def tallystick(*arguments: str) -> dict[str, Any]:
    """The JSON document of one command. Raises ValueError with its message if it is refused (exit code 2)."""
    command = [sys.executable, "-m", "tallystick", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode == 2:
        raise ValueError(done.stderr.splitlines()[-1].removeprefix("tallystick: "))
    done.check_returncode()
    return json.loads(done.stdout)


def look(task: str, variant: str) -> dict[str, Any]:
    """What `check` says, and how long problems are; or why there are no notes."""
    length, _, problems = FAR[task, variant.removesuffix(tasks.NOTES)]
    try:
        report = tallystick("check", task, "--variant", variant, "--problems", str(problems))
    except ValueError as error:
        return {"refused": str(error), "runs": []}
    loaded, base = tasks.load(task, variant), tasks.load(task, variant.removesuffix(tasks.NOTES))
    prompts = [base.problem("test", 0, length, i) for i in range(2)]
    return {
        "k": [row["k"] for row in report["rows"]],
        "lengths": [row["length"] for row in report["rows"]],
        "coverage": report["rows"][-1]["coverage"],
        "unseen": report["rows"][-1]["unseen"],
        "local": report["local"],
        "covered": report["covered"],
        "notes": len(loaded.notes) - len(base.notes),
        "tokens": sum(len(sequences.of(loaded, prompt)[0]) for prompt in prompts),
        "runs": [],
    }


def chosen(task: str, model: str) -> tuple[str, ...]:
    """The settings that a model is trained with."""
    return SETTINGS.get(task, ()) if model.startswith("mamba2") else ()


def reach(task: str, variant: str, model: str, seed: int, device: str) -> dict[str, Any]:
    """Train one seed, and measure it far beyond."""
    length, samples, _ = FAR[task, variant.removesuffix(tasks.NOTES)]
    settings = chosen(task, model)
    with tempfile.TemporaryDirectory() as folder:
        out = ["--out", f"{folder}/run", "--device", device]
        named = ["--variant", variant, "--model", model, "--seed", str(seed), *out]
        trained = tallystick("train", task, *named, *settings)
        arguments = ["--lengths", str(length), "--samples", str(samples), "--device", device]
        rows = tallystick("eval", f"{folder}/run", *arguments)["rows"]
        environment = json.loads(Path(folder, "run", "environment.json").read_text())
    keys = ("length", "worst_cases", "samples", "exact", "model_tokens", "error_bound", "min_margin", "stops")
    return {
        "model": model,
        "seed": seed,
        "device": device,
        "settings": " ".join(settings),
        "commit": environment["commit"],
        "passed": trained["passed"],
        "steps": trained["step"],
        "train_seconds": trained["seconds"],
        "rows": [{key: row[key] for key in keys} for row in rows],
    }


def table(results: dict[str, dict[str, Any]], models: list[str]) -> str:
    """Markdown: two lines a program, exact problems far beyond of all seeds together, worst cases behind a +."""
    heads = ["program", "variant", "k", "coverage", "notes", "tokens", *models]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for (task, variant), (length, _, _) in FAR.items():
        before = results.get(f"{task} {variant}", {})
        for name in (variant, variant + tasks.NOTES):
            found = results.get(f"{task} {name}", {})
            first = [f"{task.removeprefix('examples/')}, to {length:,}", name]
            if "refused" in found:
                lines.append(f"| {' | '.join(first)} | {found['refused']} |{' |' * (len(heads) - 3)}")
                continue
            cells = [_k(found), _coverage(found), str(found.get("notes", "-")), _added(found, before)]
            cells += [_exact([run for run in found.get("runs", []) if run["model"] == model]) for model in models]
            lines.append(f"| {' | '.join([*first, *cells])} |")
    return "\n".join(lines) + "\n"


def _k(found: dict[str, Any]) -> str:
    return ", ".join(map(str, found["k"])) if found else "-"


def _coverage(found: dict[str, Any]) -> str:
    return f"{100 * found['coverage']:.6g} %" if found else "-"


def _added(found: dict[str, Any], before: dict[str, Any]) -> str:
    if not found or "tokens" not in before:
        return "-"
    return f"{found['tokens']:,}" if found is before else f"+{100 * (found['tokens'] / before['tokens'] - 1):.1f} %"


def _exact(runs: list[dict[str, Any]]) -> str:
    """Exact of all, random problems and worst cases, with 95 % intervals, the seeds, and settings that are no defaults."""
    if not runs:
        return "-"
    parts = []
    for worst_cases in (False, True):
        rows = [row for run in runs for row in run["rows"] if row["worst_cases"] == worst_cases]
        if rows:
            exact, samples = (sum(row[name] for row in rows) for name in ("exact", "samples"))
            low, high = wilson(exact, samples)
            parts.append(f"{exact}/{samples} [{100 * low:.0f}-{100 * high:.0f}]")
    settings = "".join(f"; {given}" for given in dict.fromkeys(run["settings"] for run in runs) if given)
    return f"{' + '.join(parts)} (seeds {', '.join(str(run['seed']) for run in runs)}{settings})"


def main() -> None:
    """Run what is missing, write after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=["lookup"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--tasks", nargs="+", default=[task for task, _ in FAR])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only-notes", action="store_true", help="train the annotated programs alone")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "annotate")
    arguments = parser.parse_args()
    file = arguments.out.with_suffix(".json")
    results: dict[str, dict[str, Any]] = json.loads(file.read_text()) if file.exists() else {}

    def write() -> None:
        file.write_text(json.dumps(results, indent=1) + "\n")
        models = dict.fromkeys(run["model"] for found in results.values() for run in found["runs"])
        arguments.out.with_suffix(".md").write_text(table(results, list(models)))

    programs = [(task, name) for task, variant in FAR if task in arguments.tasks
                for name in (variant, variant + tasks.NOTES)]  # fmt: skip
    for task, variant in programs:
        key = f"{task} {variant}"
        if key not in results:
            results[key] = look(task, variant)
            write()
        runs = results[key]["runs"]  # less those of other settings than now
        results[key]["runs"] = [run for run in runs if run["settings"] == " ".join(chosen(task, run["model"]))]
    for model in arguments.models:
        for seed in arguments.seeds:
            for task, variant in programs:
                found = results[f"{task} {variant}"]
                done = any((run["model"], run["seed"]) == (model, seed) for run in found["runs"])
                skipped = arguments.only_notes and not variant.endswith(tasks.NOTES)
                if not done and not skipped and "refused" not in found:
                    found["runs"].append(reach(task, variant, model, seed, arguments.device))
                    write()
    print(arguments.out.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
