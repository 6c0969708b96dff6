"""The run folder: configuration, progress and results of a training run. Files are replaced whole or not at all.

config.json            task, model, settings      model.safetensors       the model, for use
vocab.json             tokens by id               optimizer.safetensors   the checkpoint for `resume`
task/                  the task's source, hash,   metrics.jsonl           one line per validation
                       tokenizer
environment.json       versions, device, commit   eval.json, report.html  results of `eval` and `report`
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from tallystick import models, tasks
from tallystick.config import RunConfig
from tallystick.models.base import Model
from tallystick.models.lookup import Lookup
from tallystick.provenance import environment
from tallystick.rows import EvalReport, EvalRow, Focus, MetricsRow, Progress, Reached, Trained, require
from tallystick.storage import (
    check_makable,
    locked,
    make_folder,
    parse_json,
    replace_file,
    write_json,
    write_text,
    writing,
)
from tallystick.tasks import Task
from tallystick.tasks.registry import RECORDED, source, source_file
from tallystick.tasks.text import TextTask

FORMAT_VERSION = 2
TOKENIZER = "task/tokenizer.json"
"""Name of the file with a text task's tokenizer, if it does not follow from the task."""


class RunError(ValueError):
    """A run folder that is missing, foreign, damaged or in use."""


@dataclass
class Run:
    """A loaded run folder."""

    path: Path
    config: RunConfig
    task: Task
    model: Model
    changed: bool
    """Whether the task's file is no longer the one that the run was trained with."""
    examples: int
    """Number of training examples begun."""
    trained: Trained | None
    """Training progress; None if the folder has no optimizer.safetensors to tell."""
    weights: str
    """SHA-256 of the weights that were loaded; those in the folder are newer if it is still being trained."""
    focus: tuple[Focus, ...] = ()
    """Problems that training was aimed at."""


def check_new(path: Path) -> None:
    """Check in advance that a run folder can be created. Raises RunError if it exists, OSError if it cannot be made."""
    if path.exists():
        raise RunError(f"{path} already exists; continue it with `tallystick resume`, or choose another --out")
    check_makable(path)


def create(path: Path, config: RunConfig, task: Task) -> None:
    """Create a run folder, whole or not at all. Raises RunError if it exists, OSError if it cannot be created."""
    check_new(path)

    def fill(making: Path) -> None:
        (making / "task").mkdir()
        text, digest = source(task)
        write_text(making / "task" / source_file(task), text)
        write_text(making / "task" / "sha256", digest + "\n")
        if isinstance(task, TextTask) and task.spelling.document:
            write_text(making / TOKENIZER, task.spelling.document)
        write_config(making, config)
        write_json(making / "vocab.json", list(task.vocab.tokens))
        write_json(making / "environment.json", environment())
        (making / "metrics.jsonl").touch()

    make_folder(path, fill)


def is_trained_now(path: Path) -> bool:
    """Return whether another process is training the run."""
    with locked(path, wait=False) as free:
        return not free


@contextmanager
def training(path: Path) -> Iterator[None]:
    """Lock a run folder for training. Raises RunError if another process holds the lock."""
    with locked(path, wait=False) as free:
        if not free:
            raise RunError(f"{path} is being trained by another process; wait for it, or stop it")
        yield


def load(path: str | Path, device: str = "cpu") -> Run:
    """Load a run folder with its trained model, ready for use. Raises RunError if that is impossible."""
    path = Path(path)
    config = read_config(path)
    loaded = load_task(path, config)
    model = models.build(config.model, vocab_size=len(loaded.task.vocab), **config.model_settings)
    weights = weights_hash(path)
    tensors, meta = read_tensors(path / "model.safetensors")
    try:
        model.load_state_dict(tensors)
        examples, focus = int(meta["examples"]), parse_json(meta.get("focus", "[]"))
        require(list[Focus], focus, "its focus")
    except (RuntimeError, KeyError, ValueError) as error:
        raise RunError(f"{path}: model.safetensors does not fit config.json, or is not tallystick's") from error
    trained, model = read_trained(path, config), model.to(device).eval()
    return Run(path, config, loaded.task, model, loaded.changed, examples, trained, weights, tuple(focus))


def read_config(path: Path) -> RunConfig:
    """Read config.json. Raises RunError if the folder is missing or is not of this format."""
    if not path.is_dir():
        raise RunError(f"no run folder {path}")
    file = path / "config.json"
    if not file.exists():
        raise RunError(f"{path} is not a tallystick run folder: it has no config.json")
    document = _read_json(file)
    if not isinstance(document, dict) or "format" not in document:
        raise RunError(f"{path} is not a tallystick run folder: its config.json names no format")
    if (version := document.pop("format")) != FORMAT_VERSION:
        raise RunError(f"{path} has format {version}, this version reads {FORMAT_VERSION}")
    try:
        return RunConfig.from_json(document)
    except ValueError as error:
        raise RunError(f"{file} cannot be used: {error}") from error


def write_config(path: Path, config: RunConfig) -> None:
    """Write config.json."""
    write_json(path / "config.json", {"format": FORMAT_VERSION, **config.to_json()})


@dataclass
class LoadedTask:
    """The task of a run folder."""

    task: Task
    name: str
    """Name that `tasks.load` takes: of the stored copy, if the user's file has changed or is gone."""
    tokenizer: str
    """Name of a text task's tokenizer that `tasks.load` takes; "" for the task's own."""
    changed: bool
    """Whether the task's file is no longer the one that the run was trained with."""

    @classmethod
    def of(cls, config: RunConfig) -> LoadedTask:
        """Load the task of a run that has no folder yet."""
        task = tasks.load(config.task, config.variant, config.tokenizer)
        return cls(task, config.task, config.tokenizer, changed=False)


def load_task(path: Path, config: RunConfig) -> LoadedTask:
    """Load the run's task. Raises RunError if its vocabulary has changed since training, ValueError if it is gone."""
    tokenizer = f"hf:{path / TOKENIZER}" if (path / TOKENIZER).exists() else config.tokenizer
    task, changed = _from_its_file(path, config, tokenizer)
    name = config.task
    if task is None:
        name = _stored_name(path, config)
        task = tasks.load(name, config.variant, tokenizer)
        task.name = config.task
    if list(task.vocab.tokens) != _read_json(path / "vocab.json"):
        raise RunError(f"{path}: the vocabulary of {config.task} has changed since training; train anew")
    return LoadedTask(task, name, tokenizer, changed)


def _from_its_file(path: Path, config: RunConfig, tokenizer: str) -> tuple[Task | None, bool]:
    """Load the task from its own file; return it, or None to use the stored copy, and whether the file has changed."""
    own = _own_file(path, config)
    try:
        task = tasks.load(config.task, config.variant, tokenizer)
    except ValueError:
        if own is None:
            raise
        return None, own.exists()
    changed = source(task)[1] != _read_text(path / "task" / "sha256").strip()
    return (None if own and changed else task), changed


def _own_file(path: Path, config: RunConfig) -> Path | None:
    """Return the user's file, or folder of trajectories, that the task was; None for a built-in one and a mixture."""
    head = config.task.partition(":")[0]
    if (path / "task" / RECORDED).exists():
        return Path(config.task)
    return Path(head) if head.endswith(".py") and "," not in config.task else None


def _stored_name(path: Path, config: RunConfig) -> str:
    """Return the name of the task's stored copy, as `tasks.load` takes it."""
    head, _, rest = config.task.partition(":")
    return f"{path / 'task' / 'source.py'}:{rest}" if head.endswith(".py") else str(path / "task" / RECORDED)


def read_tensors(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read the tensors and metadata of a safetensors file. Raises RunError if it is missing or damaged."""
    if not file.exists():
        raise RunError(f"{file} is missing; nothing was trained or the run was cut off")
    _check_readable(file)
    try:
        with safe_open(file, "pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata() or {}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise RunError(f"{file} is damaged: {error}") from error


def _check_readable(file: Path) -> None:
    """Raise the OSError of a file that may not be read; safetensors would say that it is damaged or missing."""
    file.open("rb").close()


def save_model(path: Path, model: Model, examples: int, focus: Sequence[Focus] = ()) -> None:
    """Write model.safetensors; examples, focus: number of training examples begun, and what they were aimed at."""
    aimed = {"focus": json.dumps(list(focus))} if focus else {}
    _save_tensors(path / "model.safetensors", model.state_dict(), {"examples": str(examples), **aimed})


def save_progress(path: Path, tensors: Mapping[str, torch.Tensor], progress: Progress) -> None:
    """Write optimizer.safetensors: every tensor that training holds, and `progress` as JSON in its metadata."""
    _save_tensors(path / "optimizer.safetensors", tensors, {"progress": json.dumps(progress, allow_nan=False)})


def _save_tensors(file: Path, tensors: Mapping[str, torch.Tensor], meta: dict[str, str]) -> None:
    # safetensors refuses tensors that share memory, as tied embeddings do
    own = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}

    def write(beside: Path) -> None:
        try:
            save_file(own, beside, metadata=meta)
        except SafetensorError as error:  # safetensors reports a full disk in this way
            raise OSError(str(error)) from error

    replace_file(file, write)


def load_progress(path: Path) -> tuple[dict[str, torch.Tensor], Progress]:
    """Read the checkpoint of `save_progress`: tensors and progress. Raises RunError if it is missing or damaged."""
    file = path / "optimizer.safetensors"
    tensors, meta = read_tensors(file)
    return tensors, _progress(file, meta, Progress)


def read_trained(path: Path, config: RunConfig) -> Trained | None:
    """Read the training progress of a run; None if the folder has no optimizer.safetensors. Raises RunError."""
    file = path / "optimizer.safetensors"
    if not file.exists():
        return None
    _check_readable(file)
    try:
        with safe_open(file, "pt") as opened:
            progress = _progress(file, opened.metadata() or {}, Reached)
    except SafetensorError as error:
        raise RunError(f"{file} is damaged: {error}") from error
    step, passed = progress["step"], progress["passed"]
    fitted = step > 0 and issubclass(models.load_class(models.split_preset(config.model)[0]), Lookup)
    return {"step": step, "finished": fitted or passed or step >= config.settings.steps, "passed": passed}


def _progress(file: Path, meta: Mapping[str, str], kind: type) -> Any:
    try:
        progress = parse_json(meta["progress"])
        require(kind, progress, "its progress")
    except (KeyError, ValueError) as error:
        raise RunError(f"{file} is not what this version of tallystick writes: {error}") from error
    return progress


def add_metrics(path: Path, row: MetricsRow) -> None:
    """Append a line to metrics.jsonl."""
    with writing(path / "metrics.jsonl"), (path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, allow_nan=False) + "\n")


def read_metrics(path: Path) -> list[MetricsRow]:
    """Read the complete lines of metrics.jsonl. Raises RunError if one is damaged."""
    lines = _read_text(path / "metrics.jsonl").split("\n")[:-1]
    try:
        rows = [parse_json(line) for line in lines]
        require(list[MetricsRow], rows, "its rows")
        return rows
    except ValueError as error:
        raise RunError(f"{path / 'metrics.jsonl'} is damaged: {error}") from error


def last_metrics(path: Path) -> MetricsRow:
    """Read the last line of metrics.jsonl. Raises RunError if there is none."""
    rows = read_metrics(path)
    if not rows:
        raise RunError(f"{path / 'metrics.jsonl'} is empty: the run has not been validated yet")
    return rows[-1]


def keep_metrics(path: Path, step: int) -> None:
    """Drop the lines of metrics.jsonl after `step`, since resuming writes them again."""
    rows = [row for row in read_metrics(path) if row["step"] <= step]
    write_text(path / "metrics.jsonl", "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))


def weights_hash(path: Path) -> str:
    """Return the SHA-256 of model.safetensors; "" if there is none."""
    file = path / "model.safetensors"
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else ""


def write_eval(path: Path, report: EvalReport, weights: str) -> None:
    """Add rows to eval.json, or to eval-PART.json for one part of a mixture; weights: hash of those measured.

    Rows of the same weights are kept, unless a new one with the same length, worst_cases and mode replaces them.
    """
    part = report.get("part") or report.get("on")
    with locked(path / "config.json", wait=True):  # two evals may add rows at the same time
        before = read_eval(path, part)
        old = before["rows"] if before and before.get("weights") == weights else []
        rows = {(row["mode"], row["length"], row["worst_cases"]): row for row in [*old, *report["rows"]]}
        write_json(eval_file(path, part), report | {"weights": weights, "rows": [rows[key] for key in sorted(rows)]})


def read_eval(path: Path, part: str | None = None) -> EvalReport | None:
    """Read eval.json, or eval-PART.json; None if the run was never evaluated. Raises RunError if it is damaged."""
    file = eval_file(path, part)
    if not file.exists():
        return None
    report = _read_json(file)
    try:
        require(dict, report, "it")
        require(list[EvalRow], report.get("rows"), "its rows")
    except ValueError as error:
        raise RunError(f"{file} is damaged: {error}; remove it to measure again") from error
    return report


def eval_file(path: Path, part: str | None = None) -> Path:
    """Return the path of eval.json, or of eval-PART.json for one part of a mixture or another task."""
    return path / (f"eval-{part.replace(':', '-').replace('/', '-')}.json" if part else "eval.json")


def _read_text(file: Path) -> str:
    """Read a file of the run folder. Raises RunError if it is missing or damaged."""
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise RunError(f"{file} is missing: the run folder is damaged") from error
    except UnicodeDecodeError as error:
        raise RunError(f"{file} is damaged: {error}") from error


def _read_json(file: Path) -> Any:
    try:
        return parse_json(_read_text(file))
    except RunError:
        raise
    except ValueError as error:
        raise RunError(f"{file} is damaged: it is not JSON ({error})") from error
