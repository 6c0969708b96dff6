"""The one training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from tallystick import models, runs, tasks
from tallystick.config import Settings
from tallystick.data.loader import Loader
from tallystick.data.packing import Batch
from tallystick.data.source import Source
from tallystick.episode import Recorder
from tallystick.evaluation.verify import verify_recorded
from tallystick.locality import held_out, sequences
from tallystick.models.base import Model, State
from tallystick.models.lookup import Lookup
from tallystick.tasks import Task, runner
from tallystick.training import allocator
from tallystick.training.cuda_graph import CapturedStep
from tallystick.training.schedule import Schedule

Report = Callable[[dict[str, Any]], None]
"""Takes each row of metrics as it is made."""


class Trainer:
    """Everything that training holds; its methods are the parts of `train`'s loop."""

    def __init__(self, path: Path, config: dict[str, Any], report: Report):
        self.path, self.config, self.report = path, config, report
        self.settings = Settings(**config["settings"])
        self.task = tasks.load(config["task"], config["variant"])
        torch.set_num_threads(self.settings.threads)
        allocator.keep_freed()
        self.model = fresh_model(config, len(self.task.vocab))
        self.optimizer = _optimizer(self.model, self.settings)
        self._captured = CapturedStep() if self.settings.device == "cuda" and self.model.capturable else None
        self.schedule = Schedule(self.settings)
        self.held_out, self.needed = held_out.choose(self.task, self.settings.seed, self.settings.train_length)
        self.beyond = _beyond(self.task, self.settings)
        self.state: State | None = None
        self.step, self.tokens, self.seconds, self.losses = 0, 0, 0.0, []
        self.positions: list[Any] | None = None
        self.passed = False

    def run(self) -> None:
        """Train until the held-out problems are exact with a margin, or the budget is used up."""
        settings, began, before = self.settings, time.monotonic(), self.seconds
        source = Source.of(self.config)
        with Loader(source, settings.batch_size, settings.seq_len, settings.workers, self.positions) as loader:
            for batch in loader:
                if self.passed or self.step >= settings.steps:
                    break
                stepped = self.update(batch)
                self.positions = loader.positions
                self.seconds = before + time.monotonic() - began
                if stepped and (self.step % settings.validate_every == 0 or self.step == settings.steps):
                    self.check()
                    self.save()

    def update(self, batch: Batch) -> bool:
        """One step: the state is carried over from the batch before, gradients are not.

        False, and no step, if nothing in the batch is to be trained: it lies within a giant prompt, and is only read.
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
        self._set_rate()
        if self._captured and whole:
            loss, self.state = self._captured(self._step, ids_BL, trained_BL, reset_BL, state)
        else:
            loss, self.state = self._step(ids_BL, trained_BL, reset_BL, state, length_B)
        self.step += 1
        self.losses.append(loss.clone())
        return True

    def _forward(self, ids_BL, reset_BL, state, length_B):
        logits_BLV, state = self.model(ids_BL[:, :-1], state, reset_BL=reset_BL, length_B=length_B)
        return logits_BLV, {name: tensor.detach() for name, tensor in state.items()}

    def _step(self, ids_BL, trained_BL, reset_BL, state, length_B=None) -> tuple[torch.Tensor, State]:
        logits_BLV, state = self._forward(ids_BL, reset_BL, state, length_B)
        loss = _loss(logits_BLV, ids_BL[:, 1:], trained_BL)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.grad_clip)
        self.optimizer.step()
        return loss.detach(), state

    def _set_rate(self) -> None:
        rate = self.settings.lr * self.schedule.factor(self.step)
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate)  # a captured step reads it there
            else:
                group["lr"] = rate

    def check(self) -> None:
        """Look at the held-out problems, show longer ones, and let the schedule and the end follow from the former.

        Raises ValueError if training has diverged.
        """
        loss = float(torch.stack(self.losses).mean()) if self.losses else None
        if loss is not None and not math.isfinite(loss):
            raise ValueError(f"the loss is {loss} by step {self.step}: try a smaller lr than {self.settings.lr:g}")
        held_out = self._look(self.held_out, self.settings.train_length)
        carried = None
        if self.settings.state_passing:
            carried = self._look(self.held_out, self.settings.train_length, carry=True)
        rate, fall = self.schedule.factor(self.step), self.schedule.fall
        fallen = fall is not None and self.step >= fall[1]
        self.passed = fallen and all(self._good(summary) for summary in (held_out, carried) if summary)
        if not self.passed:
            self.schedule.look(self.step, 1 - held_out["token_accuracy"])
        row = {
            "step": self.step,
            "loss": loss,
            "lr": self.settings.lr * rate,
            "tokens": self.tokens,
            "seconds": round(self.seconds, 2),
            "tokens_per_second": round(self.tokens / max(self.seconds, 1e-9)),
            "decay_until": self.schedule.fall[1] if self.schedule.fall else None,
            "held_out": held_out | {"needed": self.needed},
            "held_out_carried": carried,
            "beyond": [self._look(records, length) for length, records in self.beyond],
            "passed": self.passed,
        }
        self.losses = []
        runs.add_metrics(self.path, row)
        self.report(row)

    def _look(self, records: list[Recorder], length: int, carry: bool = False) -> dict[str, Any]:
        results = verify_recorded(self.model, self.task, records, carry=carry)
        tokens, exact = sum(result.model_tokens for result in results), sum(result.exact for result in results)
        return {
            "length": length,
            "samples": len(results),
            "exact": exact,
            "token_accuracy": 1 - (len(results) - exact) / tokens,
            "min_margin": min(result.min_margin for result in results),
        }

    def _good(self, summary: dict[str, Any]) -> bool:
        return summary["exact"] == summary["samples"] and summary["min_margin"] >= self.settings.min_margin

    def save(self) -> None:
        """Write the model, and all that `resume` needs to go on bit for bit."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for i, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{name}": tensor for name, tensor in values.items()}
        tensors |= {f"state.{name}": tensor for name, tensor in (self.state or {}).items()}
        progress = {name: getattr(self, name) for name in ("step", "tokens", "seconds", "positions", "passed")}
        runs.save_model(self.path, self.model, self.examples)
        runs.save_progress(self.path, tensors, progress | {"schedule": self.schedule.state})

    @property
    def examples(self) -> int:
        """Training examples begun."""
        begun = [example for rows in self.positions or [] for row in rows for example, _ in row]
        return max(begun, default=-1) + 1

    def restore(self) -> None:
        """Go back to what `save` wrote."""
        tensors, progress = runs.load_progress(self.path)
        tensors = {name: tensor.to(self.settings.device) for name, tensor in tensors.items()}
        parts: dict[str, dict[str, torch.Tensor]] = {"model": {}, "optimizer": {}, "state": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        self.model.load_state_dict(parts["model"])
        self.state = parts["state"] or None
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in parts["optimizer"].items():
            i, _, rest = name.partition(".")
            state.setdefault(int(i), {})[rest] = tensor
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": state})
        self.schedule = Schedule(self.settings, **progress.pop("schedule"))
        for name, value in progress.items():
            setattr(self, name, value)
        runs.keep_metrics(self.path, self.step)


def train(path: Path, config: dict[str, Any], report: Report = lambda row: None) -> bool:
    """Train a model into the run folder `path`; whether the held-out problems were exact with the margin at the end.

    config: as `settings.configure` makes it. Raises ProgramError for a program that is wrong on one of 2,000 problems,
    before anything is written.
    """
    trainer = Trainer(path, config, report)
    runs.create(path, config, trainer.task)
    if isinstance(trainer.model, Lookup):
        return _fit(trainer, trainer.model)
    trainer.save()
    trainer.run()
    return trainer.passed


def resume(path: Path, report: Report = lambda row: None) -> bool:
    """Go on with an interrupted run, bit for bit as if it had not been interrupted (on the CPU)."""
    config = runs.read_config(path)
    runs.load_task(path, config)
    trainer = Trainer(path, config, report)
    if isinstance(trainer.model, Lookup):  # it is fitted in one go, so there is nothing to take up
        runs.keep_metrics(path, 0)
        return _fit(trainer, trainer.model)
    trainer.restore()
    trainer.run()
    return trainer.passed


def _fit(trainer: Trainer, model: Lookup) -> bool:
    """lookup: no steps, only examples."""
    task, source, began = trainer.task, Source.of(trainer.config), time.monotonic()
    examples = [sequences.of(task, source.problem(task, i)) for i in range(model.config.examples)]
    model.fit(examples)
    trainer.tokens, trainer.seconds = sum(len(ids) for ids, _ in examples), time.monotonic() - began
    trainer.positions = [[[[len(examples) - 1, 0]]]]
    trainer.schedule.fall, trainer.step = (0, 1), 1
    trainer.check()
    trainer.save()
    return trainer.passed


def fresh_model(config: dict[str, Any], vocab_size: int) -> Model:
    """The model with the weights that the seed gives."""
    torch.manual_seed(config["settings"]["seed"])
    model = models.build(config["model"], vocab_size=vocab_size, **config["model_settings"])
    return model.to(config["settings"]["device"])


def _optimizer(model: Model, settings: Settings) -> torch.optim.Optimizer:
    decays = {True: [], False: []}
    for parameter in model.parameters():
        decays[parameter.ndim > 1 and not getattr(parameter, "_no_weight_decay", False)].append(parameter)
    groups = [{"params": decays[True], "weight_decay": settings.weight_decay}, {"params": decays[False]}]
    gpu = settings.device == "cuda"
    lr = torch.tensor(settings.lr, device="cuda") if gpu else settings.lr
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95), weight_decay=0.0, fused=True, capturable=gpu)


def _loss(logits_BLV: torch.Tensor, targets_BL: torch.Tensor, trained_BL: torch.Tensor) -> torch.Tensor:
    """Mean over the tokens that are trained: on a CPU of these alone, on a GPU of all, so that shapes are fixed."""
    if trained_BL.is_cuda:
        return F.cross_entropy(logits_BLV.flatten(0, 1), targets_BL.masked_fill(~trained_BL, -100).flatten())
    return F.cross_entropy(logits_BLV[trained_BL], targets_BL[trained_BL])


def _beyond(task: Task, settings: Settings, most_tokens: int = 5000) -> list[tuple[int, list[Recorder]]]:
    """The two longest of the task's eval lengths beyond training whose problems are short enough to be shown live."""
    chosen = []
    for length in sorted(n for n in task.defaults.eval if n > settings.train_length):
        prompts = [task.problem("live", settings.seed, length, i) for i in range(4)]
        if len(sequences.of(task, prompts[0])[0]) <= most_tokens:
            chosen.append((length, prompts))
    return [(length, [runner.record(task, prompt) for prompt in prompts]) for length, prompts in chosen[-2:]]
