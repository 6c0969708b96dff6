"""The results file of a recipe: compact JSON, a line a run, written after each of them."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tallystick import tasks
from tallystick.studies import RECIPES
from tallystick.studies.base import BUDGETS, Check, Job
from tallystick.studies.measure import CHECK_COLUMNS, COLUMNS, TRAIN_COLUMNS

FOLDER = Path("results")
"""Where the results lie."""
FORMAT_VERSION = 1


class Results:
    """The file of one recipe and budget.

    `runs`: one for each job and seed done, {"name", "seed", "environment", ...}; `plans`: by job what was done;
    `environments`: where, which the runs refer to by number.
    """

    def __init__(self, recipe: str, budget: str):
        """Read the file if there is one. Raises ValueError if it is of another kind, and for an unknown budget."""
        if budget not in BUDGETS:
            raise ValueError(f"--budget {budget}: there are {' and '.join(BUDGETS)}")
        self.recipe, self.budget = recipe, budget
        self.plans: dict[str, dict[str, Any]] = {}
        self.environments: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []
        self.refresh()

    def refresh(self) -> None:
        """Take up what stands in the file, if there is one."""
        if self.place("json").exists():
            document = self._read()
            self.plans, self.environments, self.runs = (document[key] for key in ("plans", "environments", "runs"))

    def place(self, kind: str) -> Path:
        """Where the file of this kind (json, md, png, svg) lies."""
        return FOLDER / f"{self.recipe}-{self.budget}.{kind}"

    @property
    def head(self) -> dict[str, Any]:
        """What must agree between the file and this version."""
        names = {"format": FORMAT_VERSION, "recipe": self.recipe, "budget": self.budget}
        columns = {"columns": COLUMNS, "train_columns": TRAIN_COLUMNS, "check_columns": CHECK_COLUMNS}
        return names | {key: list(value) for key, value in columns.items()}

    def _read(self) -> dict[str, Any]:
        path = self.place("json")
        try:
            document = json.loads(path.read_text())
        except ValueError as error:
            raise ValueError(f"{path} is damaged: move it away") from error
        if {key: document.get(key) for key in self.head} != self.head:
            raise ValueError(f"{path} is not a results file of this version: move it away")
        return document

    def refuse_other(self, jobs: Sequence[Job]) -> None:
        """Raises ValueError, with the difference, if a job was done with other settings than it has now."""
        for job in jobs:
            before = self.plans.get(job.name, job.plan)
            keys = [key for key in {**before, **job.plan} if before.get(key) != job.plan.get(key)]
            if keys:
                pairs = ((key, before.get(key, "not set"), job.plan.get(key, "not set")) for key in keys)
                changes = "; ".join(f"{key} was {old}, is {new}" for key, old, new in pairs)
                raise ValueError(f"{self.place('json')}: {job.name} was done with other settings: {changes}. "
                                 "Move the file away to begin anew")  # fmt: skip

    def done(self, job: Job, seed: int) -> bool:
        """Whether it stands here already."""
        return any((run["name"], run["seed"]) == (job.name, seed) for run in self.runs)

    def of(self, job: Job) -> list[dict[str, Any]]:
        """The job's runs, by seed."""
        return sorted((run for run in self.runs if run["name"] == job.name), key=lambda run: run["seed"])

    def borrow(self, work: Iterable[tuple[Job, int]]) -> None:
        """Take what is missing here from the other recipes' results of this budget: of the same training, if it was
        measured wherever the job is, on at least as many problems."""
        done: dict[tuple[str, int], list[tuple[Results, dict[str, Any]]]] = {}
        for other in (Results(name, self.budget) for name in RECIPES if name != self.recipe):
            for run in other.runs:
                done.setdefault((_training(other.plans[run["name"]]), run["seed"]), []).append((other, run))
        for job, seed in work:
            found = [] if self.done(job, seed) else done.get((_training(job.plan), seed), [])
            outcomes = ((other, run, _taken(job, seed, other.plans[run["name"]], run)) for other, run in found)
            for other, run, outcome in outcomes:
                if outcome is not None:
                    self.add(job, seed, other.environments[run["environment"]], outcome)
                    break

    def add(self, job: Job, seed: int, environment: dict[str, Any], outcome: dict[str, Any]) -> None:
        """Take a run and write the file; what other processes have put there meanwhile is kept."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        with (FOLDER / f".{self.recipe}-{self.budget}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.refresh()
            if environment not in self.environments:
                self.environments.append(environment)
            self.plans[job.name] = job.plan
            where = self.environments.index(environment)
            self.runs.append({"name": job.name, "seed": seed, "environment": where, **outcome})
            self.write("json", self.text())

    def text(self) -> str:
        """The JSON document, a line a run."""
        head = [f"{_json(key)}: {_json(value)}" for key, value in self.head.items()]
        plans = ",\n".join(f"{_json(name)}: {_json(plan)}" for name, plan in self.plans.items())
        lists = {"environments": self.environments, "runs": self.runs}
        rows = [f"{_json(key)}: [\n" + ",\n".join(map(_json, values)) + "\n]" for key, values in lists.items()]
        return "{\n" + ",\n".join([*head, f'"plans": {{\n{plans}\n}}', *rows]) + "\n}\n"

    def write(self, kind: str, text: str) -> None:
        """Replace the file whole or not at all."""
        path = self.place(kind)
        FOLDER.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}")
        beside.write_text(text)
        beside.replace(path)


def _training(plan: dict[str, Any]) -> str:
    """What a plan says, but for where it is measured."""
    plan = plan | {"variant": plan["variant"] or _first_variant(plan["task"])}
    return _json({key: value for key, value in plan.items() if key != "lengths"})


@cache
def _first_variant(task: str) -> str:
    """Of a task that is still there; else there is nothing that is like it."""
    try:
        return tasks.load(task).variant
    except ValueError:
        return ""


def _taken(job: Job, seed: int, plan: dict[str, Any], run: dict[str, Any]) -> dict[str, Any] | None:
    """The outcome that another recipe's run is for this job; None if something is missing, or stands there only pooled
    with other lengths."""
    kept = {key: value for key, value in run.items() if key not in ("name", "seed", "environment")}
    if isinstance(job, Check) or job.plan["lengths"] == plan["lengths"]:
        return kept
    own = (dict(zip(COLUMNS, values, strict=True)) for values in run["rows"])
    rows = {(row["length"], row["worst_cases"]): row for row in own if not isinstance(row["length"], list)}
    wanted = [(length, at) for at in job.lengths if at.seed in (None, seed) for length in at.lengths]
    places = [((length, False), at.problems) for length, at in wanted if at.problems]
    places += [((length, True), 1) for length, at in wanted if at.worst_cases]
    if any(place not in rows or rows[place]["samples"] < least for place, least in places):
        return None
    return {"train": run["train"], "rows": [[*rows[place].values()] for place, _ in places]}


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
