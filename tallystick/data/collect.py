"""Collect trajectories: mini-swe-agent works with another model on a text task's problems, in our sandbox.

Of what it did, the trajectories are kept that are right and not longer than the mean of the right ones of their length
(paper, section 5). All are recorded, so that collecting can be taken up again.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, TypedDict

from tallystick.data import files
from tallystick.data.files import Problem
from tallystick.problem import Problem as Posed
from tallystick.storage import replace_file
from tallystick.tasks import Task
from tallystick.tasks.recorded.task import Recorded
from tallystick.text.files import load
from tallystick.tools.shell import Ran, Shell

RECORDS, RAW, KEPT, TABLE = "collected.jsonl", "all", "kept", "kept.parquet"
"""In the folder: a line on each problem, all trajectories, and those that are kept, in messages and in tokens."""
ATTEMPTS = "MSWEA_MODEL_RETRY_STOP_AFTER_ATTEMPT"
"""Variable with which mini-swe-agent is told how often to ask an endpoint that fails."""


class Record(TypedDict):
    """What came of one problem."""

    name: str
    length: int
    right: bool
    exit_status: str
    characters: int


class Collected(TypedDict):
    """Document of `collect --json`."""

    folder: str
    problems: int
    right: int
    kept: int


@dataclass(frozen=True)
class Collector:
    """Lets a model at an endpoint work on problems of a text task.

    model: its name there. config: a configuration file of mini-swe-agent. steps: most turns of the model on a problem.
    """

    task: Task
    endpoint: str
    model: str
    out: Path
    config: str = "mini.yaml"
    steps: int = 250

    def collect(self, lengths: list[int], samples: int, seed: int, report: Callable[[Record], None]) -> Collected:
        """Work on `samples` training problems of each length, leave out those already done, then keep the best.

        Raises ValueError for a task without text, if mini-swe-agent is missing, or if the endpoint fails.
        """
        if not self.task.text or not self.task.live:
            raise ValueError(f"{self.task.name} has no shell to work in; collect on a text task, such as codefix")
        _require_mini()
        (self.out / RAW).mkdir(parents=True, exist_ok=True)
        done = {record["name"] for record in self._records()}
        for problem in (Problem("train", seed, length, index) for length in lengths for index in range(samples)):
            name = f"n{problem.length}-s{seed}-{problem.index}"
            if name not in done:
                record = self._work(name, problem)
                with (self.out / RECORDS).open("a", encoding="utf-8") as file:
                    file.write(json.dumps(record) + "\n")
                report(record)
        return self._keep()

    def _records(self) -> list[Record]:
        """Return the records of the problems that are done."""
        file = self.out / RECORDS
        lines = file.read_text(encoding="utf-8").split("\n")[:-1] if file.exists() else []
        return [json.loads(line) for line in lines]

    def _work(self, name: str, problem: Problem) -> Record:
        """Let the agent work on one problem."""
        posed = self.task.problem(problem.split, problem.seed, problem.length, problem.index)
        assert isinstance(posed, Posed)
        path = self.out / RAW / f"{name}.traj.json"
        with Shell(posed.files) as shell:
            status = _run_agent(shell, self.task.format(posed), path, self)
            right = status == "Submitted" and self.task.score(posed, [], {"shell": shell}) == 1
        return {
            "name": name,
            "length": problem.length,
            "right": right,
            "exit_status": status,
            "characters": _characters(path) if right else 0,
        }

    def _keep(self) -> Collected:
        """Keep what is right and short: write it anew, as trajectories and as tokens."""
        records = self._records()
        names = set(_short(records))
        folder = self.out / KEPT
        folder.mkdir(exist_ok=True)
        for record in records:
            kept = folder / f"{record['name']}.traj.json"
            if record["name"] in names and not kept.exists():
                os.link(self.out / RAW / kept.name, kept)
            elif record["name"] not in names:
                kept.unlink(missing_ok=True)
        if names:
            task = Recorded(str(folder))
            count = task.collection.count("show", task.max_length, up_to=True)
            problems = (Problem("show", 0, task.max_length, index) for index in range(count))
            replace_file(self.out / TABLE, lambda beside: files.write_parquet(task, beside, problems))
        right = sum(record["right"] for record in records)
        return {"folder": str(self.out), "problems": len(records), "right": right, "kept": len(names)}


def _short(records: list[Record]) -> Iterator[str]:
    """Yield the names of the right trajectories that are not longer than the mean of those of their length."""
    sizes: defaultdict[int, list[int]] = defaultdict(list)
    right = [record for record in records if record["right"]]
    for record in right:
        sizes[record["length"]].append(record["characters"])
    return (record["name"] for record in right if record["characters"] <= mean(sizes[record["length"]]))


def _characters(path: Path) -> int:
    """Count the characters of a trajectory."""
    return sum(len(text) for trajectory in load(path) for _, text in trajectory.segments)


def _require_mini() -> None:
    """Import mini-swe-agent, quietly and without its first questions. Raises ValueError if it is missing."""
    os.environ |= {"MSWEA_SILENT_STARTUP": "1", "MSWEA_CONFIGURED": "true", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    os.environ.setdefault(ATTEMPTS, "3")
    try:
        import minisweagent  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ValueError("collecting needs mini-swe-agent: pip install 'tallystick[mini,data]'") from None


def _run_agent(shell: Shell, problem: str, path: Path, settings: Collector) -> str:
    """Let mini-swe-agent's own agent work in the shell and write its trajectory; return how it ended."""
    from minisweagent.agents.default import DefaultAgent  # pyright: ignore[reportMissingImports]
    from minisweagent.config import get_config_from_spec  # pyright: ignore[reportMissingImports]
    from minisweagent.environments.local import LocalEnvironment  # pyright: ignore[reportMissingImports]
    from minisweagent.models import get_model  # pyright: ignore[reportMissingImports]

    class Sandboxed(LocalEnvironment):
        """mini-swe-agent's local environment, with commands in the sandbox."""

        def execute(self, action: dict[str, Any], cwd: str = "", *, timeout: int | None = None) -> dict[str, Any]:
            ran: Ran = shell.run(action["command"])
            output = {"output": ran.output, "returncode": ran.returncode, "exception_info": ran.exception}
            self._check_finished(output)
            return output

    config = get_config_from_spec(settings.config)
    there = {"api_base": settings.endpoint, "api_key": os.environ.get("OPENAI_API_KEY", "none"), "temperature": 0.0}
    model = config.get("model", {})
    model |= {"model_kwargs": {**model.get("model_kwargs", {}), **there}, "cost_tracking": "ignore_errors"}
    limits = {"step_limit": settings.steps, "cost_limit": 0.0, "output_path": path}
    agent = DefaultAgent(
        get_model(f"openai/{settings.model}", config=model), Sandboxed(), **{**config["agent"], **limits}
    )
    try:
        return str(agent.run(problem).get("exit_status"))
    except Exception as error:  # of the endpoint or of the library that asks it
        reason = " ".join(str(error).split())
        raise ValueError(
            f"the agent failed, asking {settings.endpoint}: {reason[:300]}; run it again to go on"
        ) from error
