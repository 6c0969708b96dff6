"""Certificates in run folders: made by `certify` and `train --certify`, shown by `eval` and the report."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tallystick.config import RunConfig
from tallystick.locality import Refusal
from tallystick.locality.certify import checker
from tallystick.locality.certify.certificate import Certificate, Identity, Verdict, certify, graph_hash
from tallystick.locality.proof import Proved, proved_graph
from tallystick.rows import Certified, require
from tallystick.runs import Run
from tallystick.storage import parse_json, write_json
from tallystick.tasks import Task
from tallystick.tasks.registry import source

FILE = "certificate.json"
OTHER = {
    "task": "another task",
    "variant": "another program",
    "weights": "other weights",
    "task_source": "another version of the task",
}
"""What a certificate is about that differs in one part of its identity."""


class Stored(NamedTuple):
    """The certificate of a run folder."""

    certified: Certified | None
    """None if there is none, or none of this run as it is."""
    reason: str
    """Why the certificate that is there does not count; empty if it does, or if there is none."""


def identity(config: RunConfig, task: Task, weights: str) -> Identity:
    """Return what a certificate of a run says that it is about; weights: SHA-256 of model.safetensors."""
    return {"task": config.task, "variant": config.variant, "weights": weights, "task_source": source(task)[1]}


def certify_run(run: Run, seed: int, say: Callable[[str], None], proved: Proved | None = None) -> Verdict:
    """Certify a run's model and keep the certificate in its folder; an older certificate is removed.

    Raises Refusal for a model or a program for which there are no bounds.
    """
    (run.path / FILE).unlink(missing_ok=True)  # an old one would outlive a verdict against it
    about = identity(run.config, run.task, run.weights)
    verdict, certificate = certify(run.task, run.model, about, seed, say, proved)
    if certificate is not None:
        write_json(run.path / FILE, certificate)
    return verdict


def verify(document: Mapping[str, Any], run: Run, say: Callable[[str], None]) -> str:
    """Verify a certificate of a run by separate code; return why it does not hold, empty if it does."""
    return checker.check(document, run.task, run.model, identity(run.config, run.task, run.weights), say)


def read(path: Path, config: RunConfig, task: Task, weights: str) -> Stored:
    """Read a run folder's certificate; it counts only for these weights, this task source and this token graph.

    It is not verified again, as `tallystick certify --check` does.
    """
    file, again = path / FILE, f"certify again: tallystick certify {shlex.quote(str(path))}"
    if not file.exists():
        return Stored(None, "")
    try:
        document = parse_json(file.read_text(encoding="utf-8"))
        require(Certificate, document, "it")
    except (ValueError, UnicodeDecodeError) as error:
        return Stored(None, f"{FILE} is damaged: {error}")
    for key, value in identity(config, task, weights).items():
        if document[key] != value:
            return Stored(None, f"{FILE} is of {OTHER[key]}; {again}")
    try:
        machine = graph_hash(proved_graph(task).graph)
    except (Refusal, ValueError) as refusal:
        return Stored(None, f"{FILE} is of a program that is not proved local any more: {refusal}")
    if document["machine"] != machine:
        return Stored(None, f"{FILE} is of another token graph; {again}")
    return Stored({"min_margin": document["min_margin"], "contexts": document["contexts"]}, "")
