"""The `train` and `resume` commands."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tallystick import tasks
from tallystick.cli.console import note, result
from tallystick.cli.options import Annotate, Folder, Json, TaskName, Variant, app, load_task, print_json
from tallystick.cli.progress import Lines, Progress, print_verdict
from tallystick.launch.jobs import Job
from tallystick.launch.local import LocalLauncher, gpus
from tallystick.launch.seeds import parse_seeds
from tallystick.rows import Certified
from tallystick.storage import check_writable
from tallystick.text.files import SUFFIXES

if TYPE_CHECKING:  # imports torch, which takes a second
    from tallystick.config import RunConfig


@app.command()
def train(
    task: TaskName,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="any setting; a wrong key lists all")
    ] = None,
    model: Annotated[str | None, typer.Option(help="name:preset; by default the task's")] = None,
    variant: Variant = None,
    annotate: Annotate = False,
    train_length: Annotated[int | None, typer.Option(help="longest training problems")] = None,
    steps: Annotated[int | None, typer.Option(help="maximum number of optimizer steps")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="random seed (weights and problems); 0 by default")] = None,
    seeds: Annotated[str | None, typer.Option(help="train several seeds in parallel: 0-4 or 0,3")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; cpu by default")] = None,
    certify: Annotated[bool, typer.Option("--certify", help="train on until certified exact at every length")] = False,
    out: Annotated[Path | None, typer.Option(help="the run folder; with --seeds, the beginning of its name")] = None,
    as_json: Json = False,
) -> None:
    """Train a model; the run folder's path is the last line."""
    from tallystick import runs
    from tallystick.config import configure
    from tallystick.training import loop

    loaded, pairs = load_task(task, variant, annotate), _pairs(overrides or [])
    if seeds is not None and (seed is not None or "seed" in pairs):
        raise ValueError(f"--seeds {seeds} and another seed are given; list all seeds in --seeds")
    model = model or loaded.defaults.model
    given = {"train_length": train_length, "steps": steps, "seed": seed, "device": device}
    config = replace(configure(loaded, model, pairs, **given), certify=certify)
    if seeds is not None:
        paths = {s: _folder(out, loaded, model, s) for s in parse_seeds(seeds)}
        for path in paths.values():
            runs.check_new(path)
        with _can_go_on(paths):
            train_side_by_side(config, paths)
    else:
        number = config.settings.seed
        paths = {number: _folder(out, loaded, model, None if out else number)}
        with Progress(config) as progress, _can_go_on(paths):
            loop.train(paths[number], config, progress.row, note)
    _print_runs(list(paths.values()), as_json)


@app.command()
def resume(
    folder: Folder,
    steps: Annotated[int | None, typer.Option(min=1, help="extend a finished run to this number of steps")] = None,
    as_json: Json = False,
) -> None:
    """Go on with an interrupted run. With --steps, a finished one is taken further, too."""
    from tallystick import runs
    from tallystick.training import loop

    config = runs.read_config(folder)
    check_writable(folder / "optimizer.safetensors")
    if steps is not None:
        config = replace(config, settings=replace(config.settings, steps=steps))
    if runs.load_task(folder, config).changed:
        note(f"note: {config.task} has changed since {folder} was begun; the run folder's copy is used")
    with Progress(config) as progress, _can_go_on({config.settings.seed: folder}):
        loop.resume(folder, progress.row, steps, note)
    _print_runs([folder], as_json)


def train_side_by_side(config: RunConfig, paths: dict[int, Path]) -> None:
    """Train each seed in its own process, as many at a time as there are processors.

    Each line of progress begins with its seed. If one seed fails, raises ValueError after the others have ended.
    """
    settings = config.settings
    seeds = {seed: replace(config, settings=replace(settings, seed=seed)) for seed in paths}
    jobs = [Job(f"seed {seed}", train_one, (path, seeds[seed])) for seed, path in paths.items()]
    launcher = LocalLauncher(os.cpu_count() or 1, gpus(settings.device))
    with closing(launcher.run(jobs, lambda job, line: note(f"{job.name} | {line}"))) as outcomes:
        failures = [f"{outcome.job.name} failed: {outcome.error}" for outcome in outcomes if outcome.error]
    if failures:
        raise ValueError("; ".join(failures))


def train_one(path: Path, config: RunConfig, say: Callable[[str], None]) -> None:
    """Train one of several seeds, as a launcher's job."""
    from tallystick.training import loop

    loop.train(path, config, Lines(config, say).row, say)


@contextmanager
def _can_go_on(paths: dict[int, Path]) -> Iterator[None]:
    """On Ctrl-C or an OSError, such as a full disk, print how to continue the runs, which are given by their seeds.

    On a mistake that shows late, as in a user's task, name the new folders: resumed, they would come to it again.
    """
    from tallystick.runs import RunError

    new = [path for path in paths.values() if not path.exists()]
    try:
        yield
    except RunError:
        raise
    except ValueError:
        for path in filter(Path.exists, new):
            note(f"what was trained so far is in {path}")
        raise
    except (KeyboardInterrupt, OSError):
        for path in filter(Path.exists, paths.values()):
            note(f"continue with: tallystick resume {shlex.quote(str(path))}")
        waiting = ",".join(str(seed) for seed, path in paths.items() if not path.exists())
        if waiting and len(paths) > 1:
            note(f"not begun: seeds {waiting}; train them with the same command and --seeds {waiting}")
        raise


def _pairs(words: list[str]) -> dict[str, str]:
    """Parse settings of the form key=value. Raises ValueError for another form, or a key that is given twice."""
    pairs: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"{word!r} is not a setting; write key=value, as in lr=0.003")
        if key in pairs:
            raise ValueError(f"{key} is given twice: {key}={pairs[key]} and {word}; leave one out")
        pairs[key] = value
    return pairs


def _folder(out: Path | None, task: tasks.Task, model: str, seed: int | None) -> Path:
    """Return --out, or a fresh path under runs/."""
    file = Path(task.name.replace(":", "-")).name
    for suffix in (".py", *SUFFIXES):
        file = file.replace(suffix, "")
    name = [file, *([task.variant] if _other(task) else [])]
    base, number = out or Path("runs") / "-".join([*name, model.replace(":", "-")]), 1
    while True:
        again = "" if number == 1 else f"-{number}"
        path = base if seed is None else base.with_name(f"{base.name}{again}-s{seed}")
        if out or not path.exists():
            return path
        number += 1


def _other(task: tasks.Task) -> bool:
    """Return whether the variant is not the task's default."""
    return task.variant != next(iter(task.variants))


def _certified(path: Path) -> dict[str, Certified | None]:
    """Return what the certificate of a run says that was trained with --certify; empty for other runs."""
    from tallystick import runs
    from tallystick.evaluation import certified

    if not runs.read_config(path).certify:
        return {}
    run = runs.load(path)
    return {"certified": certified.read(path, run.config, run.task, run.weights).certified}


def _print_runs(paths: list[Path], as_json: bool) -> None:
    """Print the results of finished runs: verdicts on stderr, the folders' paths on stdout."""
    from tallystick import runs

    rows = [(str(path), runs.last_metrics(path)) for path in paths]
    if as_json:
        documents = [{"run": path, **row, **_certified(Path(path))} for path, row in rows]
        print_json(documents[0] if len(documents) == 1 else {"runs": documents})
        return
    for path, row in rows:
        print_verdict(path, runs.read_config(Path(path)), row)
    for path, _ in rows:
        result(path)
