"""The training loop: train a model into a run folder, or resume one."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tallystick import runs
from tallystick.config import RunConfig, has_gpu
from tallystick.data.loader import Loader
from tallystick.locality import sequences
from tallystick.models.lookup import Lookup
from tallystick.problem import prompt_digest
from tallystick.rows import MetricsRow
from tallystick.runs import LoadedTask, RunError
from tallystick.training.certifying import Certifying, Say
from tallystick.training.trainer import Report, Trainer


def ignore(row: MetricsRow | str) -> None:
    """Ignore a row of metrics, or a line of progress."""


def train(path: Path, config: RunConfig, report: Report = ignore, say: Say = ignore) -> bool:
    """Train a model into the run folder `path`; return whether the held-out problems were exact with the margin.

    A run that is to be certified goes on, on problems with contexts that are open, until it is or no steps are left;
    say: receives lines about that.

    Raises ValueError, before anything is written, if training would not fit into memory, if the task is impure, if its
    program is wrong on a held-out problem, or if a run that is to be certified cannot be. If training fails before its
    first step, no folder is left.
    """
    runs.check_new(path)
    trainer = Trainer(path, config, report)
    certifying = Certifying(trainer, say) if config.certify else None
    with ExitStack() as lock:
        with _data(trainer) as loader:
            runs.create(path, config, trainer.task)
            lock.enter_context(runs.training(path))
            try:
                _run(trainer, loader)
            except Exception:
                if trainer.step == 0:
                    shutil.rmtree(path)
                raise
        if certifying:
            _run_on(trainer, certifying)
    return trainer.passed


def resume(path: Path, report: Report = ignore, steps: int | None = None, say: Say = ignore) -> bool:
    """Resume an interrupted run; on the CPU the result is bit-identical to that of an uninterrupted one.

    steps: a new maximum number of steps, for a run that ended without success. Raises ValueError for a folder that
    cannot be resumed.
    """
    runs.read_config(path)
    with runs.training(path):
        config = runs.read_config(path)
        trainer = Trainer(path, config, report, _resumable_task(path, config))
        if isinstance(trainer.model, Lookup):  # it writes no checkpoints while it is fitted
            if steps is not None:
                raise RunError(f"{path}: lookup is fitted in one go, without steps; train anew with more examples")
            runs.keep_metrics(path, 0)
        elif (path / "optimizer.safetensors").exists() or runs.read_metrics(path):
            trainer.restore()  # otherwise it was interrupted before its first checkpoint, and starts from the beginning
        if steps is not None:
            trainer.extend(steps)
        if not trainer.done:
            with _data(trainer) as loader:
                _run(trainer, loader)
        elif not (path / "model.safetensors").exists():
            trainer.save()
        if config.certify:
            _run_on(trainer, Certifying(trainer, say))
    return trainer.passed


def _resumable_task(path: Path, config: RunConfig) -> LoadedTask:
    """Load the task that the run was begun with. Raises RunError if it is gone or the device is missing."""
    if config.settings.device == "cuda" and not has_gpu():
        raise RunError(
            f"{path} was trained with device=cuda, and this machine has no usable GPU; "
            'set "device": "cpu" in its config.json to continue without one, though not bit for bit'
        )
    task = runs.load_task(path, config)
    if task.changed and task.name == config.task:
        raise RunError(
            f"{path}: the program of {config.task} has changed since this run began; "
            "train anew, or resume with the version of tallystick that began it"
        )
    return task


@contextmanager
def _data(trainer: Trainer) -> Iterator[Loader | None]:
    """Start the data workers and check that they draw the same problems as this process.

    Yields None for lookup, which reads no batches; a user's own task is checked nonetheless.
    """
    settings, is_lookup = trainer.settings, isinstance(trainer.model, Lookup)
    if is_lookup and trainer.task.is_built_in:
        yield None
        return
    sizes = settings.batch_size, settings.seq_len, settings.workers
    with Loader(trainer.source, *sizes, trainer.positions, trainer.validation.digests) as loader:
        loader.check(trainer.task)
        yield None if is_lookup else loader


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


def _run_on(trainer: Trainer, certifying: Certifying) -> None:
    """Certify the trained model, and train on while contexts are open and steps are left."""
    while certifying.goes_on():
        with _data(trainer) as loader:
            _run(trainer, loader)


def fit(trainer: Trainer, model: Lookup) -> None:
    """Fit lookup to its examples in one pass, without steps."""
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
