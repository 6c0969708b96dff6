"""Commands that train a model, measure it, and let it work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tallystick import display, tasks
from tallystick.cli.options import (
    Annotate,
    Device,
    Folder,
    Json,
    Lengths,
    Seed,
    TaskName,
    Variant,
    app,
    fail,
    load_task,
    print_json,
    read_lengths,
)


@app.command()
def train(
    task: TaskName,
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="any setting")] = None,
    model: Annotated[str | None, typer.Option(help="name:preset")] = None,
    variant: Variant = None,
    annotate: Annotate = False,
    train_length: Annotated[int | None, typer.Option(help="problems are at most this long")] = None,
    steps: Annotated[int | None, typer.Option(help="the budget")] = None,
    seed: Seed = 0,
    seeds: Annotated[str | None, typer.Option(help="several, side by side: 0-4 or 0,3")] = None,
    device: Device = "cpu",
    out: Annotated[Path | None, typer.Option(help="the run folder; with --seeds, its beginning")] = None,
    as_json: Json = False,
) -> None:
    """Train a model; the run folder's path is the last line."""
    from tallystick import seeds as several
    from tallystick import train as training
    from tallystick.settings import configure

    loaded = load_task(task, variant, annotate)
    model = model or loaded.defaults.model
    given = {"train_length": train_length, "steps": steps, "device": device}
    config = configure(loaded, model, _pairs(overrides or []), seed=seed, **given)
    if seeds is not None:
        paths = {s: _folder(out, loaded, model, s) for s in several.parse(seeds)}
        several.train({s: _arguments(config, path, overrides or []) for s, path in paths.items()})
    else:
        paths = {seed: _folder(out, loaded, model, None if out else seed)}
        with display.Progress(config) as progress:
            training.train(paths[seed], config, progress.row)
    _trained(list(paths.values()), as_json)


def _arguments(config: dict[str, Any], path: Path, overrides: list[str]) -> list[str]:
    """The command line that trains one seed of several."""
    settings = config["settings"]
    named = {name: config[name] for name in ("model", "variant")} | {"seed": path.name.rpartition("-s")[2]}
    named |= {name: settings[name] for name in ("train_length", "steps", "device")} | {"out": path}
    options = [text for name, value in named.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    return ["train", config["task"], *overrides, *options]


def _pairs(words: list[str]) -> dict[str, str]:
    for word in words:
        if "=" not in word:
            raise ValueError(f"{word!r} is not a setting; write key=value, as in lr=0.003")
    return dict(word.split("=", 1) for word in words)


def _folder(out: Path | None, task: tasks.Task, model: str, seed: int | None) -> Path:
    """--out, or a fresh name under runs/."""
    name = [Path(task.name.replace(":", "-")).name.replace(".py", ""), *([task.variant] if _other(task) else [])]
    base, number = out or Path("runs") / "-".join([*name, model.replace(":", "-")]), 1
    while True:
        again = "" if number == 1 else f"-{number}"
        path = base if seed is None else base.with_name(f"{base.name}{again}-s{seed}")
        if out or not path.exists():
            return path
        number += 1


def _other(task: tasks.Task) -> bool:
    return task.variant != next(iter(task.variants))


def _trained(paths: list[Path], as_json: bool) -> None:
    from tallystick import runs

    rows = [{"run": str(path), **runs.read_metrics(path)[-1]} for path in paths]
    if as_json:
        print_json(rows[0] if len(rows) == 1 else {"runs": rows})
    else:
        display.trained(rows)


@app.command()
def resume(folder: Folder, as_json: Json = False) -> None:
    """Go on with an interrupted run."""
    from tallystick import runs
    from tallystick import train as training

    with display.Progress(runs.read_config(folder)) as progress:
        training.resume(folder, progress.row)
    _trained([folder], as_json)


@app.command("eval")
def evaluate(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="run folders")],
    lengths: Lengths = None,
    samples: Annotated[int, typer.Option(min=1, help="random problems of each length")] = 50,
    mode: Annotated[str, typer.Option(help="verify (fast) or generate (free-running, live tools)")] = "verify",
    part: Annotated[str | None, typer.Option(help="of a mixture: problems of this task alone")] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Measure exactness at each length."""
    import torch

    from tallystick import evaluate as evaluation
    from tallystick import runs
    from tallystick.settings import check_device

    check_device(device)
    if mode not in evaluation.MODES:
        raise ValueError(f"unknown mode {mode!r}; there are: {', '.join(evaluation.MODES)}")
    loaded = [runs.load(folder, device) for folder in folders]
    posed = [evaluation.part_of(run.task, part) for run in loaded]
    rows = [read_lengths(lengths, task, task.defaults.eval) for task in posed]
    reports = []
    for run, wanted in zip(loaded, rows, strict=True):
        torch.set_num_threads(run.config["settings"]["threads"])
        with display.Evaluation(run, quiet=as_json) as table:
            made = evaluation.evaluate(run, wanted, samples, mode, seed, table.row, part)
            report = evaluation.report(run, made, part)
        runs.write_eval(run.path, report)
        reports.append(report)
    if as_json:
        print_json(reports[0] if len(reports) == 1 else {"runs": reports})


@app.command()
def solve(
    folder: Folder,
    problem: Annotated[str, typer.Argument(help='as "123+456"')],
    trace: Annotated[bool, typer.Option("--trace", help="show what the model says, on stderr")] = False,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="of the whole episode")] = None,
    as_json: Json = False,
) -> None:
    """Let the model solve one problem; prints the answer alone."""
    import torch

    from tallystick import engine, runs

    run = runs.load(folder)
    torch.set_num_threads(run.config["settings"]["threads"])
    prompt = run.task.parse(problem)
    sink = display.Trace(run.task) if trace else None
    (result,) = engine.generate(run.model, run.task, [prompt], max_tokens=max_tokens, sink=sink)
    answer = run.task.part_of(prompt)[0].format(result.output)
    if as_json:
        print_json({"answer": answer, "right": result.answer, "exact": result.exact, "stop": result.stop,
                     "tokens": result.tokens, "first_error": result.first_error})  # fmt: skip
    elif result.stop == "eos":
        print(answer)
    if result.stop != "eos":
        raise SystemExit(fail(f"no answer: {result.stop} after {result.tokens:,} tokens", 1))
    if not result.answer:
        fail("the answer differs from the ground truth", 0)


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="run folders")],
    out: Annotated[Path | None, typer.Option(help="the file; by default report.html in the first folder")] = None,
    problems: Annotated[int, typer.Option(min=1, help="random problems for each row of `check`")] = 1000,
    as_json: Json = False,
) -> None:
    """Show runs in one HTML file that opens from disk; its path is the last line."""
    from tallystick import report as reporting

    made = reporting.write(folders, out or folders[0] / "report.html", problems)
    if as_json:
        print_json(made)
    else:
        print(made["report"])
