"""The `eval` command: exactness at each length."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from tallystick import tasks
from tallystick.cli.console import ERR, OUT, note
from tallystick.cli.options import Backend, Device, Json, Lengths, Seed, app, check_distinct, print_json, read_lengths
from tallystick.cli.sandbox import Sandbox, choose_sandbox
from tallystick.rows import Certified, EvalReport, EvalRow

if TYPE_CHECKING:  # these import torch, which takes a second
    from tallystick.runs import Run

CONTEXT = 8
"""Number of tokens printed before a first error."""


@app.command("eval")
def evaluate(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="run folders")],
    lengths: Lengths = None,
    samples: Annotated[int, typer.Option(min=1, help="random problems of each length")] = 50,
    mode: Annotated[str, typer.Option(help="verify (fast) or generate (free-running, live tools)")] = "verify",
    sandbox: Sandbox = None,
    part: Annotated[str | None, typer.Option(help="only the problems of this part of a mixture")] = None,
    on: Annotated[str | None, typer.Option(metavar="TASK", help="the problems of another text task instead")] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    backend: Backend = "auto",
    as_json: Json = False,
) -> None:
    """Measure exactness at each length. Each row is added to the run folder's eval.json at once."""
    from tallystick import runs
    from tallystick.config import check_device
    from tallystick.engine.generation import check_live
    from tallystick.engine.reader import check_backend, open_reader
    from tallystick.evaluation import sweep

    check_device(device)
    check_distinct(folders)
    if mode not in sweep.MODES:
        raise ValueError(f"unknown mode {mode!r}; there are: {', '.join(sweep.MODES)}")
    if sandbox is not None and mode != "generate":
        raise ValueError("--sandbox has no effect: only --mode generate runs a model's commands; leave it out")
    check_backend(backend)
    if backend != "auto" and mode != "generate":
        raise ValueError("--backend has no effect: only --mode generate decodes; leave it out")
    loaded = [runs.load(folder, device) for folder in folders]
    for run in loaded if mode == "generate" else []:
        check_live(run.task)
        open_reader(run.model, backend)
    if on and part:
        raise ValueError("--on and --part exclude each other; leave one out")
    others = [sweep.posed_to(run, on) if on else None for run in loaded]
    posed = [other or sweep.part_of(run.task, part) for run, other in zip(loaded, others, strict=True)]
    wanted = [read_lengths(lengths, task, task.defaults.eval) for task in posed]
    kept = [_is_kept(run, part or on) for run in loaded]
    _warn(loaded)
    levels = [choose_sandbox(run.task, sandbox) if mode == "generate" else "auto" for run in loaded]
    reports = []
    for run, other, numbers, keep, level in zip(loaded, others, wanted, kept, levels, strict=True):
        options = {"part": part, "on": other, "backend": backend}
        measure = partial(sweep.evaluate, run, numbers, samples, mode, seed, **options, sandbox=level)
        documented = partial(sweep.report, run, part=part, on=on)
        printed = Table(run, mode, ERR if as_json else OUT, on)
        measured = _measure(run, measure, documented, keep, printed)
        measured["certified"] = _certified(run, printed)
        reports.append(measured)
    if as_json:
        print_json(reports[0] if len(reports) == 1 else {"runs": reports})


def _measure(
    run: Run,
    measure: Callable[..., list[EvalRow]],
    documented: Callable[[list[EvalRow]], EvalReport],
    keep: bool,
    table: Table,
) -> EvalReport:
    """Print the rows of one run as they are measured, and keep them in its eval.json."""
    import torch

    from tallystick import runs

    def take(row: EvalRow) -> None:
        try:
            if keep:
                runs.write_eval(run.path, documented([row]), run.weights)
        finally:
            table.row(row)

    torch.set_num_threads(run.config.settings.threads)
    table.head()
    try:
        rows = measure(report=take)
    except KeyboardInterrupt:
        if keep:
            document = documented([])
            note(f"the rows so far are in {runs.eval_file(run.path, document.get('part') or document.get('on'))}")
        raise
    return documented(rows)


def _certified(run: Run, table: Table) -> Certified | None:
    """Return what the run's certificate says, and print it as the table's last row."""
    from tallystick.evaluation import certified

    found = certified.read(run.path, run.config, run.task, run.weights)
    if found.reason:
        note(f"warning: not certified: {found.reason}")
    if found.certified:
        table.certified(found.certified)
    return found.certified


def _is_kept(run: Run, part: str | None) -> bool:
    """Return whether the rows can be added to eval.json; print a warning if not. Raises RunError if it is damaged."""
    from tallystick import runs, storage

    runs.read_eval(run.path, part)
    file = runs.eval_file(run.path, part)
    try:
        storage.check_writable(file)
    except OSError as error:
        note(f"warning: {error}; the rows are printed only")
        return False
    return True


def _warn(loaded: list[Run]) -> None:
    """Print warnings about untrained and unfinished runs, and about tasks that have changed since training."""
    from tallystick import runs

    for run in loaded:
        trained = run.trained
        if trained and not trained["step"]:
            note(f"warning: {run.path} has made no training step; its weights are random")
        elif trained and not trained["finished"]:
            steps = f"step {trained['step']:,} of at most {run.config.settings.steps:,}"
            if runs.is_trained_now(run.path):
                note(f"warning: {run.path} is still being trained; its weights of {steps} are measured")
            else:
                again = f"tallystick resume {shlex.quote(str(run.path))}"
                note(f"warning: {run.path} was interrupted at {steps}; continue with: {again}")
    for name in dict.fromkeys(run.config.task for run in loaded if run.changed):
        built_in = name.partition(":")[0] in tasks.TASKS or "," in name
        used = "" if built_in else "; the copy in the run folder is used"
        note(f"warning: {name} has changed since it was trained on{used}")


class Table:
    """Prints the table of one run, row by row; free-running episodes have a column for right answers."""

    WIDTHS = {"length": 12, "right": 10, "exact": 10, "95 % interval": 16, "model tokens": 14, "errors a token <": 18,
              "min margin": 12, "low-margin tokens": 19, "in training": 13, "seconds": 9}  # fmt: skip

    def __init__(self, run: Run, mode: str, console: Console, on: str | None = None):
        self._run, self._console, self._on = run, console, on
        self._widths = {name: width for name, width in self.WIDTHS.items() if name != "right" or mode == "generate"}

    def head(self) -> None:
        """Print a description of the run and the columns' names."""
        config = self._run.config
        what = f"{self._run.path}: {config.task}, {config.variant} program, {config.model}"
        posed = f"; the problems of {self._on}" if self._on else ""
        self._print(f"{what}, trained on lengths up to {config.settings.train_length}{posed}")
        self._cells({name: name for name in self._widths})

    def row(self, row: EvalRow) -> None:
        """Print a row and its first error."""
        low, high = row["ci95"]
        self._cells(
            {
                "length": f"{row['length']}{' worst cases' if row['worst_cases'] else ''}",
                "right": f"{round((row['answer'] or 0) * row['samples'])}/{row['samples']}",
                "exact": f"{row['exact']}/{row['samples']}",
                "95 % interval": f"{100 * low:.1f}-{100 * high:.1f} %",
                "model tokens": f"{row['model_tokens']:,}",
                "errors a token <": f"{row['error_bound']:.1e}",
                "min margin": margin_text(row["min_margin"]),
                "low-margin tokens": str(row["low_margin_tokens"]),
                "in training": f"{100 * row['train_overlap']:.0f} %",
                "seconds": f"{row['seconds']:.1f}",
            }
        )
        for name, fact in row.get("facts", {}).items():
            self._print(f"    {name.replace('_', ' ')}: {fact['true']}/{fact['known']}")
        for error in row["first_errors"][:1]:
            got = "says nothing, since training had no such context" if error["got"] is None else f"says {error['got']}"
            context = " ".join(error["context"][-CONTEXT:])
            self._print(f"    first error, token {error['position']}: after  {context}  comes {error['want']}, "
                        f"the model {got}")  # fmt: skip

    def certified(self, found: Certified) -> None:
        """Print a row for every length."""
        self._cells({"length": "every length", "exact": "certified", "min margin": f"{found['min_margin']:.2g}"})

    def _cells(self, cells: dict[str, str]) -> None:
        self._print("".join(f"{cells.get(name, ''):>{width}}" for name, width in self._widths.items()).rstrip())

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)


def margin_text(margin: float | None) -> str:
    """Format a margin; None becomes NaN."""
    return "NaN" if margin is None else f"{margin:.2f}"
