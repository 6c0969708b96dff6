"""The training loop: train a model into a run folder, or go on with one."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tallystick import runs
from tallystick.config import RunConfig, has_gpu
from tallystick.data.loader import Loader
from tallystick.locality import sequences
from tallystick.models.lookup import Lookup
from tallystick.problem import prompt_digest
from tallystick.rows import MetricsRow
from tallystick.runs import LoadedTask, RunError
from tallystick.tasks import Task
from tallystick.training.trainer import Report, Trainer


def ignore(row: MetricsRow) -> None:
    """Take a row of metrics and do nothing with it."""


def train(path: Path, config: RunConfig, report: Report = ignore) -> bool:
    """Train a model into the run folder `path`; returns whether the held-out problems were exact with the margin.

    Raises ValueError, before anything is written, for a training that does not fit into memory and for a task that is
    impure or whose program is wrong on a held-out problem. A training that fails before its first step leaves nothing.
    """
    runs.check_new(path)
    trainer = Trainer(path, config, report)
    with _data(trainer) as loader:
        runs.create(path, config, trainer.task)
        with runs.training(path):
            try:
                _run(trainer, loader)
            except Exception:
                if trainer.step == 0:
                    shutil.rmtree(path)
                raise
    return trainer.passed


def resume(path: Path, report: Report = ignore, steps: int | None = None) -> bool:
    """Go on with an interrupted run, bit for bit as if it had not been interrupted (on the CPU).

    steps: raise the maximum number of steps, to go on with a run that ended without success. Raises ValueError for a
    folder that cannot be gone on with.
    """
    runs.read_config(path)
    with runs.training(path):
        config = runs.read_config(path)
        trainer = Trainer(path, config, report, _resumable_task(path, config))
        if isinstance(trainer.model, Lookup):  # nothing was kept on the way
            if steps is not None:
                raise RunError(f"{path}: lookup is fitted in one go, it makes no steps; train again with more examples")
            runs.keep_metrics(path, 0)
        elif (path / "optimizer.safetensors").exists() or runs.read_metrics(path):
            trainer.restore()  # else it was interrupted before its first checkpoint: it begins anew
        if steps is not None:
            trainer.extend(steps)
        if not trainer.done:
            with _data(trainer) as loader:
                _run(trainer, loader)
        elif not (path / "model.safetensors").exists():
            trainer.save()
    return trainer.passed


def _resumable_task(path: Path, config: RunConfig) -> LoadedTask:
    """Load the task that the run was begun with. Raises RunError if it is gone or the device is missing."""
    if config.settings.device == "cuda" and not has_gpu():
        raise RunError(
            f"{path} was trained with device=cuda, and this machine has no usable GPU; "
            'set "device": "cpu" in its config.json to go on without one, though not bit for bit'
        )
    task = runs.load_task(path, config)
    if task.changed and task.name == config.task:
        raise RunError(
            f"{path}: {config.task} has changed since this run began, which would go on with another program; "
            "train again, or go on with the version of tallystick that began it"
        )
    return task


@contextmanager
def _data(trainer: Trainer) -> Iterator[Loader | None]:
    """Start the data workers, and make sure that they draw the problems that this process does.

    lookup has no batches: for it None, and a user's own task is checked all the same.
    """
    settings, is_lookup = trainer.settings, isinstance(trainer.model, Lookup)
    if is_lookup and _is_built_in(trainer.task):
        yield None
        return
    sizes = settings.batch_size, settings.seq_len, settings.workers
    with Loader(trainer.source, *sizes, trainer.positions, trainer.validation.digests) as loader:
        loader.check(trainer.task)
        yield None if is_lookup else loader


def _is_built_in(task: Task) -> bool:
    return all(part.home.__module__.startswith("tallystick.") for part in task.parts.values() or [task])


def _run(trainer: Trainer, loader: Loader | None) -> None:
    """Train until the held-out problems are exact with a margin, or no steps are left."""
    if isinstance(trainer.model, Lookup):
        fit(trainer, trainer.model)
        return
    assert loader
    if trainer.step == 0:
        trainer.save()
    settings, began, before = trainer.settings, time.monotonic(), trainer.seconds
    for batch in loader:
        stepped = trainer.update(batch)
        trainer.positions = loader.positions
        trainer.overlap |= loader.overlap
        trainer.seconds = before + time.monotonic() - began
        if stepped and (trainer.step % settings.validate_every == 0 or trainer.step == settings.steps):
            trainer.validate()
            trainer.save()
        if trainer.done:
            return


def fit(trainer: Trainer, model: Lookup) -> None:
    """Fit lookup to its examples: no steps, only examples."""
    task, held_out, began = trainer.task, trainer.validation.digests, time.monotonic()
    prompts = [trainer.source.problem(task, i) for i in range(model.config.examples)]
    examples = [sequences.of(task, prompt) for prompt in prompts]
    model.fit(examples)
    trainer.overlap = set(map(prompt_digest, prompts)) & held_out
    trainer.tokens, trainer.seconds = sum(len(ids) for ids, _ in examples), time.monotonic() - began
    trainer.positions = [[[[len(examples) - 1, 0]]]]
    trainer.schedule.fall, trainer.step = (0, 1), 1
    trainer.validate()
    trainer.save()
