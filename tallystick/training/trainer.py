"""One training run: its model, optimizer, schedule and counters, and its step, validation and checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tallystick import models, runs
from tallystick.config import RunConfig
from tallystick.data.packing import Batch
from tallystick.data.source import Source
from tallystick.models.base import Model, State
from tallystick.rows import MetricsRow, Summary
from tallystick.runs import LoadedTask, RunError
from tallystick.training import allocator, checkpoint, memory, optimizer
from tallystick.training.cuda_graph import GraphedStep
from tallystick.training.precision import autocast
from tallystick.training.schedule import Schedule
from tallystick.training.validation import Validation

FINGERPRINTED = 100
"""Number of problems by which `resume` notices that the task gives others than before."""
Report = Callable[[MetricsRow], None]
"""A callback that receives each row of metrics."""


class Trainer:
    """Holds everything that a training run needs; its methods are the parts of the training loop.

    Glossary: B batch, L length, V vocabulary; ids have one token more than L, since targets are shifted by one.
    """

    def __init__(self, path: Path, config: RunConfig, report: Report, task: LoadedTask | None = None):
        self.path, self.config, self.report, self.settings = path, config, report, config.settings
        task = task or LoadedTask.of(config)
        self.task, self.source = task.task, Source.of(config, task.name, task.tokenizer)
        torch.set_num_threads(self.settings.threads)
        allocator.retain_freed_pages()
        memory.check_weights(config, len(self.task.vocab))
        self.model = fresh_model(config, len(self.task.vocab))
        memory.check_training(self.model, self.settings)
        self.optimizer = optimizer.build(self.model, self.settings)
        self._graphed = GraphedStep() if self.settings.device == "cuda" and self.model.capturable else None
        self.schedule = Schedule(self.settings)
        self.validation = Validation(self.task, self.settings)
        self.state: State | None = None
        self._fingerprint = self.source.fingerprint(self.task, FINGERPRINTED)
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        self.losses: list[Tensor] = []
        self.positions: list[Any] | None = None
        self.overlap: set[str] = set()
        self.passed = False

    @property
    def done(self) -> bool:
        """Whether training has ended."""
        return self.passed or self.step >= self.settings.steps

    def update(self, batch: Batch) -> bool:
        """Make one optimizer step; the model's state is carried over from the previous batch, gradients are not.

        Returns False, without a step, if the batch has no trained tokens: then only the state advances.
        """
        device = self.settings.device
        ids_BL = torch.from_numpy(batch.ids.astype(np.int64)).to(device)
        trained_BL, reset_BL = torch.from_numpy(batch.trained).to(device), torch.from_numpy(batch.reset).to(device)
        whole = (batch.lengths == batch.reset.shape[1]).all()
        length_B = None if whole else torch.from_numpy(batch.lengths).to(device)
        state = self.model.init_state(len(ids_BL)) if self.state is None else self.state
        self.tokens += int(batch.lengths.sum())
        if not batch.trained.any():
            _, self.state = self._forward(ids_BL, reset_BL, state, length_B)
            return False
        optimizer.set_rate(self.optimizer, self.settings.lr * self.schedule.factor(self.step))
        if self._graphed and whole:
            loss, self.state = self._graphed(self._step, ids_BL, trained_BL, reset_BL, state)
        else:
            loss, self.state = self._step(ids_BL, trained_BL, reset_BL, state, length_B)
        self.step += 1
        self.losses.append(loss.clone())
        return True

    def _forward(self, ids_BL: Tensor, reset_BL: Tensor, state: State, length_B: Tensor | None) -> tuple[Tensor, State]:
        with autocast(self.settings):
            logits_BLV, state = self.model(ids_BL[:, :-1], state, reset_BL=reset_BL, length_B=length_B)
        return logits_BLV.float(), {name: tensor.detach() for name, tensor in state.items()}

    def _step(
        self, ids_BL: Tensor, trained_BL: Tensor, reset_BL: Tensor, state: State, length_B: Tensor | None = None
    ) -> tuple[Tensor, State]:
        logits_BLV, state = self._forward(ids_BL, reset_BL, state, length_B)
        loss = _loss(logits_BLV, ids_BL[:, 1:], trained_BL)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.grad_clip)
        self.optimizer.step()
        return loss.detach(), state

    def validate(self) -> None:
        """Measure held-out and longer problems; only the held-out ones drive the schedule and stop training.

        Raises ValueError if training has diverged.
        """
        loss = float(torch.stack(self.losses).mean()) if self.losses else None
        if loss is not None and not math.isfinite(loss):
            raise ValueError(f"the loss is {loss} at step {self.step}; choose a smaller lr than {self.settings.lr:g}")
        held_out = self.validation.measure(self.model, self.overlap)
        exact = held_out["exact"] == held_out["samples"]
        carried = self.validation.measure_carried(self.model) if exact else None
        rate, fallen = self.schedule.factor(self.step), self.schedule.has_fallen(self.step)
        self.passed = fallen and all(self._is_good(summary) for summary in (held_out, carried) if summary)
        if not self.passed:
            self.schedule.update(self.step, 1 - held_out["token_accuracy"])
        row: MetricsRow = {
            "step": self.step,
            "loss": loss,
            "lr": self.settings.lr * rate,
            "tokens": self.tokens,
            "seconds": round(self.seconds, 2),
            "tokens_per_second": round(self.tokens / max(self.seconds, 1e-9)),
            "decay_until": self.schedule.fall[1] if self.schedule.fall else None,
            "held_out": held_out,
            "held_out_carried": carried,
            "beyond": self.validation.measure_beyond(self.model),
            "passed": self.passed,
        }
        self.losses = []
        runs.add_metrics(self.path, row)
        self.report(row)

    def _is_good(self, summary: Summary) -> bool:
        margin = summary["min_margin"]
        exact = summary["exact"] == summary["samples"]
        return exact and margin is not None and margin >= self.settings.min_margin

    def save(self) -> None:
        """Write a checkpoint."""
        checkpoint.save(
            self.path,
            self.model,
            self.optimizer,
            self.state,
            {
                "step": self.step,
                "tokens": self.tokens,
                "seconds": self.seconds,
                "positions": self.positions,
                "passed": self.passed,
                "schedule": self.schedule.progress,
                "overlap": sorted(self.overlap),
                "config": self.config.to_json(),
                "focus": list(self.source.focus),
                "fingerprint": self._fingerprint,
            },
            self.examples,
        )

    @property
    def examples(self) -> int:
        """Number of training examples begun."""
        begun = [example for rows in self.positions or [] for row in rows for example, _ in row]
        return max(begun, default=-1) + 1

    def restore(self) -> None:
        """Restore the last checkpoint. Raises RunError if it does not fit the run folder or the task."""
        last = checkpoint.load(self.path, self.config, self.model, self.optimizer)
        progress, self.state = last.progress, last.state
        if progress.get("fingerprint", self._fingerprint) != self._fingerprint:
            raise RunError(
                f"{self.path}: {self.config.task} no longer gives the problems or trajectories that this run began "
                "with, since a file that it reads or imports has changed; undo that change, or train anew"
            )
        self.step, self.tokens, self.seconds = progress["step"], progress["tokens"], progress["seconds"]
        self.positions, self.passed = progress["positions"], progress["passed"]
        self.overlap = set(progress["overlap"])
        self.source = replace(self.source, focus=tuple(progress.get("focus", ())))
        schedule = progress["schedule"]
        self.schedule = Schedule(self.settings, schedule["start"], schedule["fall"])
        runs.keep_metrics(self.path, self.step)

    def extend(self, steps: int) -> None:
        """Raise the maximum number of steps. If the learning rate has begun to fall, warm-up begins again."""
        if self.passed and not self.config.certify:
            raise ValueError(f"{self.path} needs no more steps: its held-out problems are exact with the margin")
        old = self.settings.steps
        if steps <= self.step:
            raise ValueError(f"--steps {steps}: {self.path} has already made {self.step} steps; choose more")
        self.settings = replace(self.settings, steps=steps)
        self.config = replace(self.config, settings=self.settings, extended_from=(*self.config.extended_from, old))
        fallen = self.schedule.fall is not None
        self.schedule = Schedule(self.settings, start=self.step if fallen else self.schedule.start)
        runs.write_config(self.path, self.config)

    def focus_on(self, prompts: list[list[str]]) -> None:
        """Go on with training, from a new warm-up, and draw half of the new examples from these problems."""
        self.source = replace(self.source, focus=(*self.source.focus, {"first": self.examples, "prompts": prompts}))
        self.schedule, self.passed = Schedule(self.settings, start=self.step), False
        self.save()


def fresh_model(config: RunConfig, vocab_size: int) -> Model:
    """Build the model with weights initialised from the seed."""
    torch.manual_seed(config.settings.seed)
    model = models.build(config.model, vocab_size=vocab_size, **config.model_settings)
    return model.to(config.settings.device)


def _loss(logits_BLV: Tensor, targets_BL: Tensor, trained_BL: Tensor) -> Tensor:
    """Average the cross-entropy of the trained tokens; on a GPU the others are masked, not dropped, to fix shapes."""
    if trained_BL.is_cuda:
        return F.cross_entropy(logits_BLV.flatten(0, 1), targets_BL.masked_fill(~trained_BL, -100).flatten())
    return F.cross_entropy(logits_BLV[trained_BL], targets_BL[trained_BL])
