"""The command line. Results go to stdout, everything else to stderr; a user's mistake is one line and exit code 2."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tallystick import display, locality, tasks, tools, workspace
from tallystick.episode import JsonlWriter, Record, StopProgram

# torch takes seconds to import: the commands that need it import it themselves

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Small-state models that solve problems through tools, at any length.",
)  # fmt: skip

TaskName = Annotated[str, typer.Argument(metavar="TASK", help="addition, or your own file: my_task.py:Class")]
Variant = Annotated[str | None, typer.Option(help="which of the task's programs")]
Annotate = Annotated[bool, typer.Option("--annotate", help="the program says its control state: variant V+notes")]
Json = Annotated[bool, typer.Option("--json", help="one JSON document on stdout")]
Seed = Annotated[int, typer.Option(min=0, help="of the problems")]
Lengths = Annotated[str | None, typer.Option(help="as 5,100,1000")]
Device = Annotated[str, typer.Option(help="cpu or cuda")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="a run folder")]
SHOWN = 200_000
"""The longest trajectory that `show` puts on a screen, in tokens."""


UsageError: Any = typer.BadParameter.__base__  # click's, which newer versions of typer carry inside themselves


def main() -> None:
    """The console script."""
    try:
        code = app(["--help"] if len(sys.argv) == 1 else None, standalone_mode=False)
        sys.exit(_fail("interrupted", 130) if code == 130 else code)  # newer versions of typer turn Ctrl-C into 130
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(_fail("interrupted", 130))
    except UsageError as error:
        sys.exit(_fail(f"{error.format_message()} See tallystick --help.", 2))
    except BrokenPipeError:
        sys.exit(0)  # the reader, as in `| head`, has had enough
    except (ValueError, OSError) as error:
        sys.exit(_fail(str(error), 2))


def _fail(message: str, code: int) -> int:
    print(f"tallystick: {' '.join(message.split())}", file=sys.stderr)
    return code


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=1))


def _load(name: str, variant: str | None, annotate: bool) -> tasks.Task:
    ending = tasks.NOTES if annotate and not (variant or "").endswith(tasks.NOTES) else ""
    return tasks.load(name, f"{variant or ''}{ending}" or None)


def _lengths(text: str | None, task: tasks.Task, default: tuple[int, ...]) -> list[int]:
    words = text.split(",") if text else map(str, default)
    try:
        return sorted({task.check_length(int(word)) for word in words})
    except ValueError as error:
        if "has lengths" in str(error):
            raise
        raise ValueError(f"--lengths {text}: write whole numbers, as in 5,100,1000") from None


def _listing(kind: str, rows: dict[str, str], as_json: bool) -> None:
    if as_json:
        _print_json({kind: [{"name": name, "about": about} for name, about in rows.items()]})
    else:
        display.listing(rows)


@app.command("tasks")
def list_tasks(as_json: Json = False) -> None:
    """What tasks there are."""
    rows = {}
    for name in tasks.TASKS:
        task = tasks.load(name)
        rows[name] = f"{(task.__doc__ or '').splitlines()[0]} Variants: {', '.join(task.variants)}."
    _listing("tasks", rows, as_json)


@app.command("models")
def list_models(as_json: Json = False) -> None:
    """What models there are."""
    from tallystick import models

    rows = {}
    for name in models.names():
        cls = models.load_class(name)
        rows[name] = f"{(cls.__doc__ or '').splitlines()[0]} Presets: {', '.join(cls.PRESETS)}."
    _listing("models", rows, as_json)


@app.command("tools")
def list_tools(as_json: Json = False) -> None:
    """What tools there are."""
    _listing("tools", {name: tools.about(name) for name in tools.TOOLS}, as_json)


@app.command()
def show(
    task: TaskName,
    length: Annotated[int, typer.Option(help="of the problem")],
    seed: Seed = 0,
    variant: Variant = None,
    annotate: Annotate = False,
    as_json: Json = False,
) -> None:
    """Show one trajectory, coloured by role, with the memory and the pointers."""
    loaded = _load(task, variant, annotate)
    key = {"split": "show", "seed": seed, "length": loaded.check_length(length), "index": 0}
    if as_json:
        meta = {"task": loaded.name, "variant": loaded.variant, **key}
        workspace.run_problem(loaded, JsonlWriter(sys.stdout, loaded.vocab.tokens, meta), **key)
        return
    sink = _Shown()
    workspace.run_problem(loaded, sink, **key)
    if sink.size > SHOWN:
        long = f"the program has said {SHOWN:,} tokens and goes on"
        raise ValueError(f"length {length}: {long}; too long for a screen (--json has no limit), or it does not end")
    display.trajectory(loaded, sink.trajectory(loaded.vocab.tokens, key))


class _Shown(Record):
    """Ends the program once there is too much to show."""

    size = 0

    def write(self, ids, roles) -> None:
        super().write(ids, roles)
        self.size += len(ids)
        if self.size > SHOWN:
            raise StopProgram


@app.command()
def check(
    task: TaskName,
    variant: Variant = None,
    annotate: Annotate = False,
    lengths: Lengths = None,
    problems: Annotated[int, typer.Option(min=1, help="random problems for each row")] = 1000,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Tell before training what will generalise: how far back must a model look, and was it all seen?"""
    loaded = _load(task, variant, annotate)
    report = locality.check(loaded, _lengths(lengths, loaded, loaded.defaults.check), problems, seed)
    if as_json:
        _print_json(report)
    else:
        display.locality(report)


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

    loaded = _load(task, variant, annotate)
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
        _print_json(rows[0] if len(rows) == 1 else {"runs": rows})
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

    if mode not in evaluation.MODES:
        raise ValueError(f"unknown mode {mode!r}; there are: {', '.join(evaluation.MODES)}")
    loaded = [runs.load(folder, device) for folder in folders]
    posed = [evaluation.part_of(run.task, part) for run in loaded]
    rows = [_lengths(lengths, task, task.defaults.eval) for task in posed]
    reports = []
    for run, wanted in zip(loaded, rows, strict=True):
        torch.set_num_threads(run.config["settings"]["threads"])
        with display.Evaluation(run, quiet=as_json) as table:
            made = evaluation.evaluate(run, wanted, samples, mode, seed, table.row, part)
            report = evaluation.report(run, made, part)
        runs.write_eval(run.path, report)
        reports.append(report)
    if as_json:
        _print_json(reports[0] if len(reports) == 1 else {"runs": reports})


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
        _print_json({"answer": answer, "right": result.answer, "exact": result.exact, "stop": result.stop,
                     "tokens": result.tokens, "first_error": result.first_error})  # fmt: skip
    elif result.stop == "eos":
        print(answer)
    if result.stop != "eos":
        raise SystemExit(_fail(f"no answer: {result.stop} after {result.tokens:,} tokens", 1))
    if not result.answer:
        _fail("the answer differs from the ground truth", 0)


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
        _print_json(made)
    else:
        print(made["report"])


@app.command("data")
def write_data(
    task: TaskName,
    out: Annotated[Path, typer.Option(help="the file: .jsonl, or .parquet with chat messages and token ids")],
    variant: Variant = None,
    lengths: Lengths = None,
    samples: Annotated[int, typer.Option(min=1, help="problems of each length")] = 1000,
    split: Annotated[str, typer.Option(help="train, holdout, check (of at most a length) or test (exactly)")] = "train",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write trajectories to a file, for others to train on; by default of the training length."""
    from tallystick import export

    loaded = tasks.load(task, variant)
    wanted = _lengths(lengths, loaded, (loaded.defaults.train_length,))
    made = export.write(loaded, out, wanted, samples, split, seed)
    if as_json:
        _print_json(made)
    else:
        print(made["file"])


theory = typer.Typer(rich_markup_mode=None, help="The paper's theorems, executable.")
app.add_typer(theory, name="theory")
Names = Annotated[str | None, typer.Option(help="as bits:16,mamba2:tiny")]
Out = Annotated[Path | None, typer.Option(help="keep the result as OUT.json and OUT.md")]


@theory.command()
def bound(
    task: Annotated[str, typer.Argument(metavar="TASK", help="a task whose answers are counted")] = "addition",
    model: Names = None,
    lengths: Lengths = "3,5,10,20",
    seeds: Annotated[str | None, typer.Option(help="train and measure, too, with these: 0-2")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="the budget of training")] = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Theorem 2.1: from which length a fixed state cannot do without interaction, and what models without it reach."""
    from tallystick import seeds as several
    from tallystick.theory import bound as theorem
    from tallystick.theory.answers import share

    share(task, 1, 1)  # refuses a task without counted answers
    wanted, numbers = _lengths(lengths, tasks.load(task), ()), several.parse(seeds) if seeds else []
    report = theorem.bound(task, _names(model, theorem.MODELS), wanted, numbers, steps=steps, report=display.note)
    _theorem(report, theorem.text(report), out, as_json)


@theory.command()
def universal(
    machine: Annotated[str, typer.Argument(metavar="MACHINE", help="bb5, or your own file, as for turing")],
    model: Names = None,
    lengths: Lengths = "40,1000,10000",
    seeds: Annotated[str, typer.Option(help="as 0-2")] = "0-2",
    epsilon: Annotated[float, typer.Option(help="share of problems that may be wrong")] = 0.05,
    delta: Annotated[float, typer.Option(help="chance that more are")] = 0.05,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Theorem 2.2: any Turing machine, learned from short runs, run at any length; samples needed beside the bound."""
    from tallystick import seeds as several
    from tallystick.theory import universal as theorem

    wanted = _lengths(lengths, tasks.load(f"turing:{machine}"), ())
    report = theorem.universal(
        machine, _names(model, theorem.MODELS), wanted, several.parse(seeds), epsilon, delta, report=display.note
    )
    _theorem(report, theorem.text(report), out, as_json)


def _names(text: str | None, default: tuple[str, ...]) -> list[str]:
    return text.split(",") if text else list(default)


def _theorem(report: dict[str, Any], text: str, out: Path | None, as_json: bool) -> None:
    from tallystick.theory.measure import keep

    if out:
        keep(report, text, out)
    if as_json:
        _print_json(report)
    else:
        print(text, end="")


@app.command()
def reproduce(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="a recipe; without it, all are listed")] = None,
    budget: Annotated[str, typer.Option(help="small (minutes) or paper (its sizes and steps)")] = "small",
    models: Annotated[str | None, typer.Option(help="some of the recipe's, as lookup,mamba2")] = None,
    seeds: Annotated[str | None, typer.Option(help="0-4 or 0,3; by default the recipe's")] = None,
    device: Device = "cpu",
    jobs: Annotated[int, typer.Option(min=1, help="runs side by side")] = 1,
    as_json: Json = False,
) -> None:
    """Make a table and a figure of the paper, ours beside its numbers, in results/; goes on where it stopped."""
    from tallystick import recipes

    if name is None:
        _listing("recipes", {each: recipes.load(each).title for each in recipes.RECIPES}, as_json)
        return
    from tallystick import seeds as several
    from tallystick.recipes import reproduce as reproducing
    from tallystick.recipes.results import Results
    from tallystick.settings import check_device

    check_device(device)
    chosen = models.split(",") if models else None
    numbers = several.parse(seeds) if seeds else None
    recipe, results = recipes.load(name), Results(name, budget)
    failures = reproducing.reproduce(recipe, results, chosen, numbers, device, jobs)
    print(results.text() if as_json else results.place("md").read_text(), end="")
    if failures:
        raise SystemExit(_fail(f"{len(failures)} missing in the results: {'; '.join(failures)}", 1))


def as_main() -> Any:
    """The click command, for tests that freeze its names."""
    return typer.main.get_command(app)
