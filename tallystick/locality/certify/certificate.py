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
from tallystick.locality.certify.propagate import Bounds
from tallystick.locality.certify.search import Found, search
from tallystick.locality.extraction import Refusal
from tallystick.locality.proof import Proved, proved_graph
from tallystick.locality.token_graph import TokenGraph
from tallystick.models.base import Model
from tallystick.models.mamba2 import Mamba2
from tallystick.tasks import Task

TOKENS = (4, 3, 2)
"""Numbers of last tokens by which contexts are told apart at first: the first with which there are not too many."""
FORMAT = 1
LARGEST = 1e6
"""Largest weight, so that nothing overflows in float32."""
WIDEST = 512
"""Largest number of terms of a sum for which rounding is bounded."""
MEMORY = 8 * 2**30
"""Bytes that bounds may take."""
ASSUMPTIONS = (
    "every problem is begun from the zero state",
    "the model computes in float32 on a CPU, its sums in any order, cumulative sums one by one or in double precision; "
    "exp, softplus, silu and 1/sqrt are right to a relative error of 2^-19",
)
"""What a certificate assumes beside a proof of locality."""


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


class BlockBounds(TypedDict):
    """What is bounded of a block."""

    decay: float
    """Largest share of the state that is left after a token."""
    state: float
    """Largest magnitude of the state."""
    scan_error: float
    """Largest error of an entry of the state in single precision."""


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


GROWS = "its attention reads the whole sequence, so no number of last tokens decides what it says"
WHY_NOT = {
    "LSTM": "an LSTM's forget gate may stay near 1, so its state need not fade",
    "GRU": "a GRU's update gate may stay near 1, so its state need not fade",
    "Mamba1": "bounds are known for Mamba-2, and not yet for Mamba-1",
    "NoPE": GROWS,
    "Pythia": GROWS,
    "Hybrid": GROWS,
    "RMT": "its memory tokens are carried without decay",
    "GatedDeltaNet": "its state is rotated, not only scaled, and its step size has no floor",
}
"""Why models of some kinds have no certificate, by class name."""


def reason_against(model: Model) -> str:
    """Say why there is no certificate for a kind of model; empty if there may be one."""
    name = type(model).__name__
    if type(model) is not Mamba2:
        return WHY_NOT.get(name, f"bounds are known for Mamba-2 alone, not for {name}")
    if not all(bool((tensor.abs() < LARGEST).all()) for tensor in model.state_dict().values()):
        return f"some of its weights are not finite, or larger than {LARGEST:g}"
    config = model.config
    if max(config.d_inner, config.d_model) > WIDEST or config.d_state > 64 or config.d_conv > 32:
        return f"it is wider than the bounds of rounding allow: d_inner up to {WIDEST}, d_state 64, d_conv 32"
    if not config.dt_floor:
        return "its step size has no floor, so its state may keep a token for ever; train with dt_floor=2 or so"
    return ""


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
    assert isinstance(model, Mamba2)
    proved = proved or proved_graph(task, seed)
    contexts = contexts_of(model, proved.graph)
    size = contexts.tokens.shape[1]
    say(f"{len(contexts):,} contexts of {size} tokens; the program is local with k = {proved.k}")
    bounds = Bounds(Network(model), contexts)
    known = errors.Known(task, model, contexts, seed)
    found = search(bounds, known.wrong, say)
    assumptions = [*proved.assumptions, *ASSUMPTIONS]
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


def contexts_of(model: Mamba2, graph: TokenGraph) -> Contexts:
    """Return the contexts of as many tokens as memory allows. Raises Refusal if even the shortest are too many."""
    for tokens in TOKENS:
        try:
            contexts = Contexts(graph, tokens)
            _check_memory(model, contexts)
            return contexts
        except Refusal:
            if tokens == TOKENS[-1]:
                raise
    raise AssertionError


def _check_memory(model: Mamba2, contexts: Contexts) -> None:
    config = model.config
    convolved, inner = config.d_inner + 2 * config.d_state, config.d_inner
    entries = inner * config.d_state + (config.d_conv + 1) * convolved + 2 * inner
    needed = 16 * entries * config.n_layer * len(contexts)
    if needed > MEMORY:
        raise Refusal(
            f"bounds of {len(contexts):,} contexts would take {needed / 2**30:.0f} GiB, more than {MEMORY >> 30}; "
            f"train with a smaller d_state than {config.d_state}"
        )


def graph_hash(graph: TokenGraph) -> str:
    """Return the SHA-256 of a token graph."""
    arrays = (graph.begin, graph.token, graph.end, graph.said, np.array([graph.root, graph.pad]))
    return hashlib.sha256(b"".join(np.asarray(array, "<i8").tobytes() for array in arrays)).hexdigest()


def _certificate(identity: Identity, proved: Proved, bounds: Bounds, verdict: Verdict) -> Certificate:
    blocks: list[BlockBounds] = []
    for number, (block, layer) in enumerate(zip(bounds.network.blocks, bounds.layers, strict=True)):
        decay = block.decay(bounds.coefficients(number, slice(1, None)).dt)
        blocks.append(
            {
                "decay": float(decay.hi.max()),
                "state": float(layer.state.magnitude.max()),
                "scan_error": float(block.scan_error.max()),
            }
        )
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
        "blocks": blocks,
        "assumptions": verdict["assumptions"],
        "seconds": verdict["seconds"],
    }


def _open(
    task: Task, contexts: Contexts, found: Found, problems: dict[tuple[int, ...], list[str]]
) -> list[OpenContext]:
    """Describe the open contexts, each once with its lowest bound; problems: those that show real errors."""
    lowest: dict[tuple[int, ...], tuple[float, np.ndarray, int]] = {}
    for path, bound, rival in found.open:
        last = tuple(contexts.tokens[path[-1]].tolist())
        if last not in lowest or not bound >= lowest[last][0]:
            lowest[last] = bound, path, rival
    tokens = task.vocab.tokens
    rows: list[OpenContext] = []
    for last, (bound, path, rival) in sorted(lowest.items(), key=lambda item: (item[0] not in problems, item[1][0])):
        known = [*contexts.tokens[path[0]].tolist(), *contexts.tokens[path[1:], -1].tolist()]
        rows.append(
            {
                "context": [tokens[token] for token in known if token != PAD],
                "want": tokens[contexts.said[path[-1]]],
                "rival": tokens[rival],
                "bound": bound,
                "real_error": True if last in problems else None,
                "problem": task.format(problems[last]) if last in problems else None,
            }
        )
    return rows
