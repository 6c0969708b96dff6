"""train and resume."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from tallystick import tasks
from tallystick.cli.console import ERR
from tallystick.cli.options import (
    Annotate,
    Device,
    Folder,
    Json,
    Seed,
    TaskName,
    Variant,
    app,
    load_task,
    print_json,
)
from tallystick.launch.seeds import parse_seeds, train_side_by_side


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
    from tallystick.config import configure
    from tallystick.training import loop

    loaded = load_task(task, variant, annotate)
    model = model or loaded.defaults.model
    given = {"train_length": train_length, "steps": steps, "device": device}
    config = configure(loaded, model, _pairs(overrides or []), seed=seed, **given)
    if seeds is not None:
        paths = {s: _folder(out, loaded, model, s) for s in parse_seeds(seeds)}
        train_side_by_side({s: _arguments(config, path, overrides or []) for s, path in paths.items()})
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


def _arguments(config: dict[str, Any], path: Path, overrides: list[str]) -> list[str]:
    """The command line that trains one seed of seeds_launch."""
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


class Progress:
    """Live progress of a training run on stderr: a bar on a terminal, and a line for each look at held-out problems."""

    def __init__(self, config: dict[str, Any]):
        self._config = config
        columns = (BarColumn(30), TextColumn("{task.description}"))
        self._bar = Bar(*columns, console=ERR, transient=True, disable=not ERR.is_terminal)

    def __enter__(self) -> Progress:
        self._bar.start()
        self._job = self._bar.add_task("preparing", total=self._config["settings"]["steps"])
        self._headed = False
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def row(self, row: dict[str, Any]) -> None:
        """Show a row of metrics; before the first, what is trained (a mistake found before that stands alone)."""
        if not self._headed:
            self._head()
        held_out = row["held_out"]
        end = row["decay_until"] or self._config["settings"]["steps"]
        left = (end - row["step"]) * row["seconds"] / max(row["step"], 1)
        until = "left" if row["decay_until"] else "left at most"
        margin = min(summary["min_margin"] for summary in (held_out, row["held_out_carried"]) if summary)
        loss = "" if row["loss"] is None else f"loss {row['loss']:.5f}  "
        exact = [f"<= {held_out['length']}: {held_out['exact']}/{held_out['samples']}"]
        if row["held_out_carried"]:
            exact += [f"carried: {row['held_out_carried']['exact']}/{row['held_out_carried']['samples']}"]
        exact += [f"{beyond['length']}: {beyond['exact']}/{beyond['samples']}" for beyond in row["beyond"]]
        line = (
            f"step {row['step']:5d}  {loss}{row['tokens_per_second']:,} tokens/s  {row['seconds']:.0f} s, "
            f"{left:.0f} s {until}  exact at {', '.join(exact)}  margin {margin:.2f}"
        )
        ERR.print(line, markup=False, soft_wrap=True)
        self._bar.update(self._job, total=end, completed=row["step"], description=f"{left:.0f} s {until}")

    def _head(self) -> None:
        self._headed, settings = True, self._config["settings"]
        ERR.print(
            f"{self._config['task']}, {self._config['variant']} program: {self._config['model']} on lengths up to "
            f"{settings['train_length']}, seed {settings['seed']}, {settings['device']}; at most "
            f"{settings['steps']} steps of {settings['batch_size'] * settings['seq_len']} tokens",
            markup=False,
            soft_wrap=True,
        )
