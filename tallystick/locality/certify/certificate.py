"""Certificates: whether a trained model says exactly the program's tokens on every problem of a task, of any length.

`certify` bounds the model over the program's token graph. What is certified can be written as a document, which
`checker.check` verifies with code of its own. docs/proof.md has the argument.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import TypedDict

import numpy as np

import tallystick
from tallystick.locality.certify import errors
from tallystick.locality.certify.contexts import PAD, Contexts
from tallystick.locality.certify.network import Network
from tallystick.locality.certify.propagate import BlockBounds, Bounds
from tallystick.locality.certify.search import Found, search
from tallystick.locality.certify.support import check_memory, reason_against
from tallystick.locality.certify.table import Table
from tallystick.locality.extraction import Refusal
from tallystick.locality.proof import Proved, proved_graph
from tallystick.locality.token_graph import TokenGraph
from tallystick.models.base import Model
from tallystick.models.lookup import Lookup
from tallystick.tasks import Task

TOKENS = (4, 3, 2)
"""Numbers of last tokens by which contexts are told apart at first: the first with which there are not too many."""
FORMAT = 1
ZERO_STATE = "every problem is begun from the zero state"
FLOAT32 = (
    "the model computes in float32 on a CPU, its sums in any order, cumulative sums one by one or in double precision; "
    "exp, softplus, silu and 1/sqrt are right to a relative error of 2^-19"
)
"""What a certificate assumes beside a proof of locality; a lookup model does no arithmetic."""


class OpenContext(TypedDict):
    """A context for which it is not certified that the model says what the program says."""

    context: list[str]
    want: str
    rival: str
    """The token with the largest bound beside it."""
    bound: float
    """Lower bound of the margin; not above 0."""
    real_error: bool | None
    """True if the model says another token in this context of `problem`; None if that is undecided."""
    problem: str | None


class Verdict(TypedDict):
    """Document of `certify --json`."""

    verdict: str
    """certified or not certified."""
    min_margin: float | None
    """Least certified margin in logits, after rounding in single precision."""
    contexts: int
    open: list[OpenContext]
    seconds: float
    assumptions: list[str]


class Certificate(TypedDict):
    """Document of certificate.json."""

    format: int
    version: str
    task: str
    variant: str
    weights: str
    """SHA-256 of model.safetensors."""
    task_source: str
    """SHA-256 of the task's file."""
    machine: str
    """SHA-256 of the token graph."""
    k: int
    tokens: int
    """Number of last tokens by which contexts were told apart."""
    contexts: int
    min_margin: float
    blocks: list[BlockBounds]
    assumptions: list[str]
    seconds: float


class Identity(TypedDict):
    """What a certificate is about, beside the model's weights."""

    task: str
    variant: str
    weights: str
    task_source: str


def certify(
    task: Task,
    model: Model,
    identity: Identity,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
    proved: Proved | None = None,
) -> tuple[Verdict, Certificate | None]:
    """Certify that a model says exactly the program's tokens on every problem of the task's shape.

    The certificate is None unless that is so. say: told of progress. proved: the program's token graph, if it is known.
    Raises Refusal for a model or a program for which there are no bounds.
    """
    begin = time.perf_counter()
    if reason := reason_against(model):
        raise Refusal(reason)
    proved = proved or proved_graph(task, seed)
    contexts = contexts_of(model, proved.graph)
    size = contexts.tokens.shape[1]
    say(f"{len(contexts):,} contexts of {size} tokens; the program is local with k = {proved.k}")
    bounds = Table(model, contexts) if isinstance(model, Lookup) else Bounds(Network(model), contexts)
    known = errors.Known(task, model, contexts, seed)
    found = search(bounds, known.wrong, say)
    assumptions = [*proved.assumptions, ZERO_STATE, *([] if isinstance(model, Lookup) else [FLOAT32])]
    verdict: Verdict = {
        "verdict": "not certified" if found.open else "certified",
        "min_margin": found.least if np.isfinite(found.least) else None,
        "contexts": len(contexts.speaking),
        "open": _open(task, contexts, found, known.problems),
        "seconds": time.perf_counter() - begin,
        "assumptions": assumptions,
    }
    if found.open:
        return verdict, None
    assert 0 < found.least < np.inf
    assert found.evaluated >= len(contexts.speaking) > 0
    return verdict, _certificate(identity, proved, bounds, verdict)


def contexts_of(model: Model, graph: TokenGraph) -> Contexts:
    """Return the contexts of as many tokens as memory allows. Raises Refusal if even the shortest are too many."""
    for tokens in TOKENS:
        try:
            contexts = Contexts(graph, tokens)
            check_memory(model, contexts)
            return contexts
        except Refusal:
            if tokens == TOKENS[-1]:
                raise
    raise AssertionError


def graph_hash(graph: TokenGraph) -> str:
    """Return the SHA-256 of a token graph."""
    arrays = (graph.begin, graph.token, graph.end, graph.said, np.array([graph.root, graph.pad]))
    return hashlib.sha256(b"".join(np.asarray(array, "<i8").tobytes() for array in arrays)).hexdigest()


def _certificate(identity: Identity, proved: Proved, bounds: Bounds | Table, verdict: Verdict) -> Certificate:
    assert verdict["min_margin"] is not None
    return {
        "format": FORMAT,
        "version": tallystick.__version__,
        **identity,
        "machine": graph_hash(proved.graph),
        "k": proved.k,
        "tokens": bounds.contexts.tokens.shape[1],
        "contexts": verdict["contexts"],
        "min_margin": verdict["min_margin"],
        "blocks": bounds.summary(),
        "assumptions": verdict["assumptions"],
        "seconds": verdict["seconds"],
    }


def _open(task: Task, contexts: Contexts, found: Found, problems: dict[errors.End, list[str]]) -> list[OpenContext]:
    """Describe the open contexts, each once with its lowest bound; problems: those that show real errors."""
    lowest: dict[errors.End, tuple[float, np.ndarray, int]] = {}
    for path, bound, rival in found.open:
        end = errors.end_of(contexts, path)
        if end not in lowest or not bound >= lowest[end][0]:
            lowest[end] = bound, path, rival
    tokens = task.vocab.tokens
    rows: list[OpenContext] = []
    for end, (bound, path, rival) in sorted(lowest.items(), key=lambda item: (item[0] not in problems, item[1][0])):
        last, want = end
        known = (
            last if end in problems else [*contexts.tokens[path[0]].tolist(), *contexts.tokens[path[1:], -1].tolist()]
        )
        rows.append(
            {
                "context": [tokens[token] for token in known if token != PAD],
                "want": tokens[want],
                "rival": tokens[rival],
                "bound": bound,
                "real_error": True if end in problems else None,
                "problem": task.format(problems[end]) if end in problems else None,
            }
        )
    return rows
