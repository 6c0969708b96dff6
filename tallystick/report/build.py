"""Build a report: run folders as one HTML file that opens from disk and needs no network.

`collect` gathers everything that the page shows into one `Report`; `page.render` embeds it in the page, whose scripts
draw it. All verdicts ("exact", "predicted" and whether they agree) come from `locality.verdict`.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

from tallystick import locality, models, runs
from tallystick.locality import verdict
from tallystick.locality.checks import CheckReport
from tallystick.report import page, stretches
from tallystick.report.conversation import Conversation
from tallystick.report.data import CACHE_MODEL, EpisodeSize, Program, Report, RunData, ShownEpisode
from tallystick.report.folders import attempt, load_task, read_certificate, read_folder
from tallystick.report.groups import group_runs, label_programs
from tallystick.report.stretches import Stretch
from tallystick.storage import check_writable, write_text
from tallystick.tasks import Task

MOST_EPISODES = 12
"""Maximum number of a run's first errors that can be stepped through."""


class Written(TypedDict):
    """Document of `report --json`."""

    report: str
    bytes: int
    runs: list[str]


def write(paths: list[Path], out: Path, problems: int = 1000) -> Written:
    """Write the report of run folders to `out`; problems: number of random problems for each row of `check`.

    Raises RunError if a path is not a run folder, and OSError if `out` cannot be written, before anything is run.
    """
    for path in paths:
        runs.read_config(path)
    check_writable(out)
    html = page.render(collect(paths, problems))
    write_text(out, html)
    return {"report": str(out), "bytes": len(html.encode()), "runs": [str(path) for path in paths]}


def collect(paths: list[Path], problems: int = 1000) -> Report:
    """Gather the data that the page shows of run folders."""
    folders = [read_folder(path, number) for number, path in enumerate(paths)]
    _distinguish_names(folders)
    tasks = [load_task(run) for run in folders]
    programs: dict[tuple[str, str, int], Program] = {}
    episodes: list[ShownEpisode] = []
    for run, task in zip(folders, tasks, strict=True):
        key = (run.task, run.variant, run.train_length)
        program = programs.setdefault(key, Program(len(programs), *key))
        run.program = program.id
        if task is not None:
            read_certificate(run, task)
        if task is not None and not program.vocab:
            _describe(program, task, problems, run.notes)
            episodes += _solved(program, task, run.notes)
    every = list(programs.values())
    label_programs(every)
    for run, task in zip(folders, tasks, strict=True):
        _judge(run, every[run.program].check)
        if task is not None:
            _count_tokens(every[run.program], run, task)
            episodes += _first_errors(run, task)
    return Report(folders, every, group_runs(folders, every), episodes)


def _distinguish_names(folders: list[RunData]) -> None:
    """Use paths as the names of runs whose folders have the same name."""
    names = [run.name for run in folders]
    for run in folders:
        if names.count(run.name) > 1:
            run.name = run.path


def _describe(program: Program, task: Task, problems: int, notes: list[str]) -> None:
    """Add the task's description and the results of `check` to a program."""
    program.about = " ".join((type(task).__doc__ or "").split())
    program.vocab = list(task.vocab.tokens)
    program.check = attempt(
        lambda: locality.check(task, problems=problems, train_length=program.train_length), "check", notes
    )
    model = {"fixed_state": True, "train_length": program.train_length}
    program.predicted = verdict.predict(model, program.check, program.train_length + 1)


def _solved(program: Program, task: Task, notes: list[str]) -> list[ShownEpisode]:
    """Return the beginning of the program's episode on a problem of the training length."""
    part = attempt(lambda: stretches.solved(task, program.train_length), "the program's episode", notes)
    return [ShownEpisode(program.id, program.train_length, *_kinds(part))] if part else []


def _kinds(part: Stretch | Conversation) -> tuple[Stretch | None, Conversation | None]:
    return (part, None) if isinstance(part, Stretch) else (None, part)


def _judge(run: RunData, check: CheckReport | None) -> None:
    """Add to each measured row whether it was exact, what `check` predicts, and how the two compare."""
    rows = run.rows or []
    learned = all(verdict.is_exact(row) for row in rows if row["length"] <= run.train_length)
    for row in rows:
        row["all_exact"] = verdict.is_exact(row)
        row["predicted"] = verdict.predict(vars(run), check, row["length"])
        row["comparison"] = verdict.compare(row["predicted"], learned, row["all_exact"])


def _count_tokens(program: Program, run: RunData, task: Task) -> None:
    """Add the size of an episode of each length at which the run was measured."""
    for length in {row["length"] for row in run.rows or []} - program.sizes.keys():
        what = f"an episode of length {length}"
        count = attempt(lambda n=length: stretches.count_tokens(task, n), what, run.notes)
        if count is not None:
            program.sizes[length] = EpisodeSize(count, _cache_model(len(task.vocab)).state_bytes(count))


@cache
def _cache_model(vocab_size: int) -> Any:
    return models.build(CACHE_MODEL, vocab_size=vocab_size)


def _first_errors(run: RunData, task: Task) -> list[ShownEpisode]:
    """Return the episodes of a run's first errors: one per row, from at most MOST_EPISODES evenly spaced rows."""
    episodes = []
    failed = [(i, row) for i, row in enumerate(run.rows or []) if row["first_errors"]]
    for i, row in failed[:: math.ceil(len(failed) / MOST_EPISODES) or 1]:
        error = row["first_errors"][0]
        what = f"the first error at length {row['length']}"
        part = attempt(lambda r=row, e=error: stretches.around_error(task, r, e), what, run.notes)
        if part:
            episodes.append(ShownEpisode(run.program, row["length"], *_kinds(part), run.id, i, error))
    return episodes
