"""train and resume."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from tallystick import tasks
from tallystick.cli.console import ERR, note
from tallystick.cli.options import (
    Annotate,
    Device,
    Folder,
    Json,
    TaskName,
    Variant,
    app,
    load_task,
    print_json,
)
from tallystick.launch.jobs import Job
from tallystick.launch.local import LocalLauncher, gpus
from tallystick.launch.seeds import parse_seeds


@app.command()
def train(
    task: TaskName,
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="any setting")] = None,
    model: Annotated[str | None, typer.Option(help="name:preset")] = None,
    variant: Variant = None,
    annotate: Annotate = False,
    train_length: Annotated[int | None, typer.Option(help="problems are at most this long")] = None,
    steps: Annotated[int | None, typer.Option(help="the budget")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="random seed (weights and problems); 0 by default")] = None,
    seeds: Annotated[str | None, typer.Option(help="several, side by side: 0-4 or 0,3")] = None,
    device: Device = "cpu",
    out: Annotated[Path | None, typer.Option(help="the run folder; with --seeds, its beginning")] = None,
    as_json: Json = False,
) -> None:
    """Train a model; the run folder's path is the last line."""
    from tallystick.config import configure
    from tallystick.training import loop

    loaded, pairs = load_task(task, variant, annotate), _pairs(overrides or [])
    if seeds is not None and (seed is not None or "seed" in pairs):
        raise ValueError(f"--seeds {seeds}: another seed is given, too; name all of them in --seeds")
    model, seed = model or loaded.defaults.model, seed or 0
    given = {"train_length": train_length, "steps": steps, "device": device}
    config = configure(loaded, model, pairs, seed=seed, **given)
    if seeds is not None:
        paths = {s: _folder(out, loaded, model, s) for s in parse_seeds(seeds)}
        train_side_by_side(config, paths)
    else:
        paths = {seed: _folder(out, loaded, model, None if out else seed)}
        with Progress(config) as progress:
            loop.train(paths[seed], config, progress.row)
    _trained(list(paths.values()), as_json)


@app.command()
def resume(folder: Folder, as_json: Json = False) -> None:
    """Go on with an interrupted run."""
    from tallystick import runs
    from tallystick.training import loop

    with Progress(runs.read_config(folder)) as progress:
        loop.resume(folder, progress.row)
    _trained([folder], as_json)


def train_side_by_side(config: dict[str, Any], paths: dict[int, Path]) -> None:
    """Train each seed in a process of its own, as many at a time as there are processors.

    Every line that a seed reports comes with its seed before it. Raises ValueError, after the others have ended, if one
    failed.
    """
    settings = config["settings"]
    seeds = {seed: config | {"settings": settings | {"seed": seed}} for seed in paths}
    jobs = [Job(f"seed {seed}", train_one, (path, seeds[seed])) for seed, path in paths.items()]
    launcher = LocalLauncher(os.cpu_count() or 1, gpus(settings["device"]))
    with closing(launcher.run(jobs, lambda job, line: note(f"{job.name} | {line}"))) as outcomes:
        failures = [f"{outcome.job.name} failed: {outcome.error}" for outcome in outcomes if outcome.error]
    if failures:
        raise ValueError("; ".join(failures))


def train_one(path: Path, config: dict[str, Any], say: Callable[[str], None]) -> None:
    """Train one of several seeds: a launcher's job."""
    from tallystick.training import loop

    loop.train(path, config, Lines(config, say).row)


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
        trained(rows)


def trained(rows: list[dict[str, Any]]) -> None:
    """The end of training: a verdict on stderr, the folders on stdout."""
    for row in rows:
        held_out = row["held_out"]
        verdict = "exact with the margin" if row["passed"] else "NOT all exact with the margin"
        if held_out["needed"] > held_out["samples"]:
            verdict += f" (to meet all contexts would take {held_out['needed']:,})"
        ERR.print(
            f"{row['step']} steps, {row['tokens']:,} tokens, {row['seconds']:.0f} s; held-out problems of the training "
            f"length: {held_out['exact']} of {held_out['samples']}, {verdict}",
            markup=False, soft_wrap=True,
        )  # fmt: skip
    for row in rows:
        print(row["run"])


class Lines:
    """Progress of a training run in lines: what is trained, and then one for each look at held-out problems."""

    def __init__(self, config: dict[str, Any], say: Callable[[str], None]):
        self._config, self._say = config, say
        self._headed = False

    def row(self, row: dict[str, Any]) -> None:
        """Say a row of metrics; before the first, what is trained (a mistake found before that stands alone)."""
        if not self._headed:
            self._head()
        held_out = row["held_out"]
        loss = "" if row["loss"] is None else f"loss {row['loss']:.5f}  "
        exact = [f"<= {held_out['length']}: {held_out['exact']}/{held_out['samples']}"]
        if row["held_out_carried"]:
            exact += [f"carried: {row['held_out_carried']['exact']}/{row['held_out_carried']['samples']}"]
        exact += [f"{beyond['length']}: {beyond['exact']}/{beyond['samples']}" for beyond in row["beyond"]]
        margin = min(summary["min_margin"] for summary in (held_out, row["held_out_carried"]) if summary)
        self._say(
            f"step {row['step']:5d}  {loss}{row['tokens_per_second']:,} tokens/s  {row['seconds']:.0f} s, "
            f"{self.left(row)}  exact at {', '.join(exact)}  margin {margin:.2f}"
        )

    def end(self, row: dict[str, Any]) -> int:
        """The step at which training ends at the latest."""
        return row["decay_until"] or self._config["settings"]["steps"]

    def left(self, row: dict[str, Any]) -> str:
        """The time that it still takes."""
        left = (self.end(row) - row["step"]) * row["seconds"] / max(row["step"], 1)
        return f"{left:.0f} s {'left' if row['decay_until'] else 'left at most'}"

    def _head(self) -> None:
        self._headed, settings = True, self._config["settings"]
        self._say(
            f"{self._config['task']}, {self._config['variant']} program: {self._config['model']} on lengths up to "
            f"{settings['train_length']}, seed {settings['seed']}, {settings['device']}; at most "
            f"{settings['steps']} steps of {settings['batch_size'] * settings['seq_len']} tokens"
        )


class Progress:
    """Live progress of a training run on stderr: its lines, and below them a bar on a terminal."""

    def __init__(self, config: dict[str, Any]):
        self._lines, self._steps = Lines(config, note), config["settings"]["steps"]
        columns = (BarColumn(30), TextColumn("{task.description}"))
        self._bar = Bar(*columns, console=ERR, transient=True, disable=not ERR.is_terminal)

    def __enter__(self) -> Progress:
        self._bar.start()
        self._job = self._bar.add_task("preparing", total=self._steps)
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def row(self, row: dict[str, Any]) -> None:
        """Show a row of metrics."""
        self._lines.row(row)
        left = self._lines.left(row)
        self._bar.update(self._job, total=self._lines.end(row), completed=row["step"], description=left)
