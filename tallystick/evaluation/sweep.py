"""Sweeps over lengths, which yield the rows of `eval`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from tallystick import tasks
from tallystick.data.source import Source
from tallystick.engine.generation import generate
from tallystick.engine.result import Result
from tallystick.evaluation.statistics import finite, finite_error, poisson_bound, wilson
from tallystick.evaluation.verify import verify
from tallystick.problem import prompt_digest
from tallystick.rows import EpisodesSummary, EvalReport, EvalRow, Fact
from tallystick.runs import Run
from tallystick.tasks import Task
from tallystick.tasks.mixture import marked
from tallystick.tasks.text import TextTask

Mode = Callable[..., Sequence[Result]]
"""A function that measures a model, of a task, on problems, which it draws one after the other."""
MODES: dict[str, Mode] = {"verify": verify, "generate": generate}
ERRORS = 5
"""Maximum number of first errors kept in a row."""


def evaluate(
    run: Run,
    lengths: list[int],
    samples: int = 50,
    mode: str = "verify",
    seed: int = 0,
    report: Callable[[EvalRow], None] = lambda row: None,
    part: str | None = None,
    *,
    on: Task | None = None,
    worst_cases: bool = True,
    sandbox: str = "auto",
    backend: str = "auto",
) -> list[EvalRow]:
    """Measure random problems of each length and, in a row of their own, the task's worst cases of that length.

    report: receives each row as it is measured. part: a part of a mixture, whose problems alone are posed; they are the
    same as for that task alone, so that mixtures can be compared with it. on: another task whose problems are posed
    instead (`posed_to`). worst_cases: False leaves them out, since they may be many and long. sandbox, backend: where
    command lines run, and how the model is run, in the mode generate.
    """
    posed, task = on or part_of(run.task, part), on or run.task
    drawn = _training_digests(run) if min(lengths) <= run.config.settings.train_length else set()
    options = {"sandbox": sandbox, "backend": backend} if mode == "generate" else {}
    rows: list[EvalRow] = []
    for length in lengths:
        random = (posed.problem("test", seed, length, i) for i in posed.indices("test", length, samples))
        for worst, prompts in ((False, random), (True, posed.worst_problems(length) if worst_cases else [])):
            marks = (marked(part, prompt) for prompt in prompts) if part else prompts
            row = _row(run, task, _Counted(marks, drawn), length, worst, mode, seed, options)
            if row is not None:
                rows.append(row)
                report(row)
    return rows


class _Counted:
    """An iterable over problems that counts them, and those that training drew, without holding any in memory."""

    def __init__(self, prompts: Iterable[list[str]], drawn: Collection[str]):
        self._prompts, self._drawn = prompts, drawn
        self.count = self.overlap = 0

    def __iter__(self) -> Iterator[list[str]]:
        for prompt in self._prompts:
            self.count += 1
            self.overlap += bool(self._drawn) and prompt_digest(prompt) in self._drawn
            yield prompt


def _row(
    run: Run, task: Task, problems: _Counted, length: int, worst: bool, mode: str, seed: int, options: Mapping[str, str]
) -> EvalRow | None:
    """Measure the problems of one row; return None if there are none."""
    began = time.monotonic()
    results = MODES[mode](run.model, task, problems, **options)
    if not problems.count:
        return None
    return {
        "length": length,
        "worst_cases": worst,
        "mode": mode,
        "seed": seed,
        "samples": problems.count,
        **summary(results),
        "train_overlap": problems.overlap / problems.count,
        "seconds": round(time.monotonic() - began, 2),
        "state_bytes": run.model.state_bytes(max(result.tokens for result in results)),
    }


def part_of(task: Task, part: str | None) -> Task:
    """Return a part of a mixture, or the task itself for None. Raises ValueError if it has no such part."""
    if part is not None and part not in task.parts:
        parts = f"its parts are: {', '.join(task.parts)}" if task.parts else "it is not a mixture"
        raise ValueError(f"{task.name} has no part {part!r}; {parts}")
    return task if part is None else task.parts[part]


def posed_to(run: Run, name: str) -> Task:
    """Load another text task, whose problems a run's model is to solve, spelled with the run's tokenizer.

    Its teacher is the run's, where it has that one. Raises ValueError if one of the two is no text task.
    """
    task, trained = tasks.load(name), run.task
    if run.config.variant in task.variants:
        task = tasks.load(name, run.config.variant)
    if not isinstance(task, TextTask) or not isinstance(trained, TextTask):
        raise ValueError(f"--on is for text tasks, whose tokens can be the same; {name} or {trained.name} is none")
    task.spelling = trained.spelling
    if task.vocab.tokens != trained.vocab.tokens:
        raise ValueError(f"{trained.name} and {name} have other tools or functions, so {run.path} cannot read {name}")
    return task


def summary(results: Sequence[Result]) -> EpisodesSummary:
    """Summarise episodes, each of which counts up to its first deviation."""
    exact, errors = sum(result.exact for result in results), [r.first_error for r in results if r.first_error]
    tokens = sum(result.model_tokens for result in results)
    return {
        "exact": exact,
        "answer": _mean([result.answer for result in results]),
        "score": _mean([result.score for result in results]),
        "facts": _facts(results),
        "token_accuracy": 1 - len(errors) / tokens,
        "ci95": wilson(exact, len(results)),
        "model_tokens": tokens,
        "error_bound": min(1.0, poisson_bound(len(errors)) / tokens),
        "low_margin_tokens": sum(result.low_margin_tokens for result in results),
        "min_margin": finite(min(result.min_margin for result in results)),
        "stops": dict(Counter(str(result.stop) for result in results)),
        "first_errors": [finite_error(error) for error in errors[:ERRORS]],
    }


def _facts(results: Sequence[Result]) -> dict[str, Fact]:
    """Count in how many episodes each of the task's facts is true."""
    names = dict.fromkeys(name for result in results for name in result.facts)
    values = {name: [result.facts[name] for result in results if name in result.facts] for name in names}
    return {name: {"true": sum(known), "known": len(known)} for name, known in values.items()}


def _mean(values: list[Any]) -> float | None:
    return None if None in values else sum(values) / len(values)


def _training_digests(run: Run) -> set[str]:
    """Return digests of the problems that training drew."""
    source = Source.of(run.config, focus=run.focus)
    return {prompt_digest(source.problem(run.task, i)) for i in range(run.examples)}


def report(run: Run, rows: list[EvalRow], part: str | None = None, on: str | None = None) -> EvalReport:
    """Return the document of `eval --json`; it names the part of a mixture, or the other task, that was posed."""
    config = run.config
    document: EvalReport = {
        "task": config.task,
        "variant": config.variant,
        "model": config.model,
        "train_length": config.settings.train_length,
        "trained": run.trained,
        "rows": rows,
    }
    if part:
        document["part"] = part
    if on:
        document["on"] = on
    return document
