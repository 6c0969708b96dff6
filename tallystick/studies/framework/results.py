"""The results file of a study, which stores runs by their plan's hash and seed and is written after each run."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypedDict

from tallystick.rows import require
from tallystick.storage import parse_json, write_text
from tallystick.studies.framework.experiment import Declared, Plan, describe_changes, digest, valid_plans
from tallystick.studies.framework.schema import (
    CHECK_COLUMNS,
    COLUMNS,
    FORMAT_VERSION,
    TRAINING_COLUMNS,
    Environment,
    Outcome,
    StoredRun,
)

FOLDER = Path("results")
"""Folder of results, relative to the current folder."""


class StoredPlan(TypedDict):
    """A plan in a results file, with the name of its experiment or check."""

    name: str
    plan: Plan


class _Document(TypedDict):
    """What a results file must hold, whatever its version."""

    plans: dict[str, StoredPlan]
    environments: list[dict[str, Any]]
    runs: list[StoredRun]


class Results:
    """One results file: runs, their plans by hash, and their environments, to which runs refer by index."""

    def __init__(self, name: str, budget: str):
        """Read the file if it exists. Raises ValueError if it is damaged or of another format."""
        self.name, self.budget = name, budget
        self.plans: dict[str, StoredPlan] = {}
        self.environments: list[Environment] = []
        self.runs: list[StoredRun] = []
        self.refresh()

    @property
    def path(self) -> Path:
        """Path of the JSON file."""
        return FOLDER / f"{self.name}-{self.budget}.json"

    def refresh(self) -> None:
        """Read the file again, since other processes may have written to it."""
        if self.path.exists():
            document = self._read()
            self.plans, self.environments, self.runs = (document[key] for key in ("plans", "environments", "runs"))

    @property
    def _head(self) -> dict[str, Any]:
        """The part of the document that must be the same in the file and in this version."""
        names = {"format": FORMAT_VERSION, "results": self.name, "budget": self.budget}
        return names | {"columns": COLUMNS, "training_columns": TRAINING_COLUMNS, "check_columns": CHECK_COLUMNS}

    def _read(self) -> dict[str, Any]:
        try:
            document = parse_json(self.path.read_text(encoding="utf-8"))
            require(_Document, document, "it")
            for run in document["runs"]:
                _ = document["plans"][run["plan"]], document["environments"][run["environment"]]
        except (ValueError, LookupError) as error:
            raise ValueError(f"{self.path} is damaged: {error}; move it away to begin anew") from error
        if {key: document.get(key) for key in self._head} != self._head:
            raise ValueError(f"{self.path} is not a results file of this version; move it away to start afresh")
        return document

    def refuse_changed(self, declared: Iterable[Declared]) -> None:
        """Raise ValueError, naming the differences, if a stored run has other settings than its declaration now."""
        stored = {each["name"]: each["plan"] for each in self.plans.values()}
        for each in declared:
            before, valid = stored.get(each.name), valid_plans(each)
            if before is not None and before not in valid:
                changes = describe_changes(before, valid[0])
                raise ValueError(f"{self.path}: {each.name} was measured with other settings: {changes}. "
                                 "Move the file away to start afresh")  # fmt: skip

    def of(self, declared: Declared) -> list[StoredRun]:
        """Return a declaration's runs by seed; of two runs with one seed, that of the current plan."""
        runs = {run["seed"]: run for plan in reversed(valid_plans(declared)) for run in self._under(plan)}
        return [runs[seed] for seed in sorted(runs)]

    def _under(self, plan: Plan) -> list[StoredRun]:
        key = digest(plan)
        return [run for run in self.runs if run["plan"] == key]

    def has(self, declared: Declared, seed: int) -> bool:
        """Return whether a declaration has a run with this seed, measured with all that its plan says now."""
        return any(run["seed"] == seed for run in self._under(declared.plan))

    def undeclared(self, declared: Iterable[Declared]) -> list[str]:
        """List the names of runs that are no longer declared."""
        known = {digest(plan) for each in declared for plan in valid_plans(each)}
        return sorted({self.plans[run["plan"]]["name"] for run in self.runs if run["plan"] not in known})

    def add(self, declared: Declared, seed: int, environment: Environment, outcome: Outcome) -> None:
        """Add a run and write the file, keeping what other processes have added meanwhile."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        with (FOLDER / f".{self.path.stem}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.refresh()
            if environment not in self.environments:
                self.environments.append(environment)
            where, plan = self.environments.index(environment), declared.plan
            self.plans[digest(plan)] = {"name": declared.name, "plan": plan}
            self.runs.append({"plan": digest(plan), "seed": seed, "environment": where, **outcome})
            write_text(self.path, self.text())

    def adopt(self, work: Iterable[tuple[Declared, int]]) -> None:
        """Copy missing runs from other results files of the folder that have them under the same plan and seed."""
        elsewhere = {(run["plan"], run["seed"]): (file, run) for file in stored(self.budget) for run in file.runs}
        for declared, seed in work:
            found = elsewhere.get((digest(declared.plan), seed))
            if found and not self.has(declared, seed):
                file, run = found
                outcome: Any = {key: run[key] for key in Outcome.__annotations__ if key in run}
                self.add(declared, seed, file.environments[run["environment"]], outcome)

    def text(self) -> str:
        """Return the JSON document, with one line per plan, environment and run."""
        head = [f"{_json(key)}: {_json(value)}" for key, value in self._head.items()]
        plans = ",\n".join(f"{_json(key)}: {_json(plan)}" for key, plan in self.plans.items())
        lists: dict[str, Sequence[Any]] = {"environments": self.environments, "runs": self.runs}
        rows = [f"{_json(key)}: [\n" + ",\n".join(map(_json, values)) + "\n]" for key, values in lists.items()]
        return "{\n" + ",\n".join([*head, f'"plans": {{\n{plans}\n}}', *rows]) + "\n}\n"


def stored(budget: str) -> list[Results]:
    """Read every results file of a budget."""
    return [Results(path.stem.removesuffix(f"-{budget}"), budget) for path in sorted(FOLDER.glob(f"*-{budget}.json"))]


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
