"""Sweeps over lengths."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from tallystick.data.source import Source
from tallystick.engine.generation import generate
from tallystick.engine.result import Result
from tallystick.evaluation.statistics import poisson_bound, wilson
from tallystick.evaluation.verify import verify
from tallystick.models.base import Model
from tallystick.runs import Run
from tallystick.tasks import Task
from tallystick.tasks.mixture import marked

MODES: dict[str, Callable[[Model, Task, list[list[str]]], list[Any]]] = {"verify": verify, "generate": generate}
ERRORS = 5
"""First errors kept in a row."""


def evaluate(
    run: Run,
    lengths: list[int],
    samples: int = 50,
    mode: str = "verify",
    seed: int = 0,
    report: Callable[[dict[str, Any]], None] = lambda row: None,
    part: str | None = None,
    *,
    worst_cases: bool = True,
) -> list[dict[str, Any]]:
    """Rows of the design's `eval` document: random problems of each length, and its worst cases where the task has some.

    report: takes each row as it is made. part: of a mixture, the task whose problems alone are posed; they are those
    of the task by itself, so that mixtures can be compared with each other and with training on that task. worst cases:
    False leaves them out, for they may be many and long.
    """
    posed = part_of(run.task, part)
    seen = _training_prompts(run) if min(lengths) <= run.config["settings"]["train_length"] else set()
    rows = []
    for length in lengths:
        problems = [posed.problem("test", seed, length, i) for i in range(samples)]
        for worst, prompts in ((False, problems), (True, posed.worst_problems(length) if worst_cases else [])):
            if prompts:
                prompts = [marked(part, prompt) for prompt in prompts] if part else prompts
                began = time.monotonic()
                results = MODES[mode](run.model, run.task, prompts)
                row = {"length": length, "worst_cases": worst, "mode": mode, "seed": seed, "samples": len(prompts)}
                rows.append(
                    row | summary(results) | {"train_overlap": sum(tuple(p) in seen for p in prompts) / len(prompts)}
                )
                rows[-1]["seconds"] = round(time.monotonic() - began, 2)
                rows[-1]["state_bytes"] = run.model.state_bytes(max(result.tokens for result in results))
                report(rows[-1])
    return rows


def part_of(task: Task, part: str | None) -> Task:
    """The part of a mixture, or the task itself for None. Raises ValueError if it has no such part."""
    if part is not None and part not in task.parts:
        raise ValueError(f"{task.name} has no part {part!r}: {', '.join(task.parts) or 'it is no mixture'}")
    return task if part is None else task.parts[part]


def summary(results: list[Result]) -> dict[str, Any]:
    """What a row says of its episodes; an episode counts up to its first deviation.

    answer: share of right answers; score: mean of their partial scores; both None where verify cannot know. ci95:
    Wilson's interval of the exact share.
    error_bound: 95 % upper bound on the error rate per model token.
    """
    exact, errors = sum(result.exact for result in results), [r.first_error for r in results if r.first_error]
    tokens = sum(result.model_tokens for result in results)
    answers, scores = [result.answer for result in results], [result.score for result in results]
    return {
        "exact": exact,
        "answer": _mean(answers),
        "score": _mean(scores),
        "token_accuracy": 1 - len(errors) / tokens,
        "ci95": wilson(exact, len(results)),
        "model_tokens": tokens,
        "error_bound": poisson_bound(len(errors)) / tokens,
        "low_margin_tokens": sum(result.low_margin_tokens for result in results),
        "min_margin": min(result.min_margin for result in results),
        "stops": dict(Counter(str(result.stop) for result in results)),
        "first_errors": errors[:ERRORS],
    }


def _mean(values: list[Any]) -> float | None:
    return None if None in values else sum(values) / len(values)


def _training_prompts(run: Run) -> set[tuple[str, ...]]:
    """The problems that training drew."""
    source = Source.of(run.config)
    return {tuple(source.problem(run.task, i)) for i in range(run.examples)}


def report(run: Run, rows: list[dict[str, Any]], part: str | None = None) -> dict[str, Any]:
    """The design's `eval` document; of one part of a mixture it names that, too."""
    names = {name: run.config[name] for name in ("task", "variant", "model")}
    names |= {"part": part} if part else {}
    return names | {"train_length": run.config["settings"]["train_length"], "rows": rows}
