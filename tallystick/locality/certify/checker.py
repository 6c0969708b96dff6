"""Verify a certificate by separate, simpler code: one step of the model on intervals, repeated over all contexts.

Nothing is shared with what `certify` bounds with: neither its boxes nor its contexts, only the token graph. It begins
with bounds that hold for any sequence at all, tightens them by steps from context to context until they settle, and
carries the whole state along paths. It is slower. An interval is a pair (lo, hi) of arrays; all of them hold
whatever float32 may compute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy import ndarray as Array

from tallystick.locality.certify.certificate import FORMAT, TOKENS, Identity, graph_hash
from tallystick.locality.certify.intervals import (
    FEW,
    OWN,
    SPAN,
    Block,
    ConvBlock,
    Interval,
    Mamba1Block,
    Read,
    loose,
    lost,
    meet,
    plus,
    product,
    rows_of,
    shrink,
    size,
    times,
    unit,
    weights,
)
from tallystick.locality.certify.support import reason_against
from tallystick.locality.extraction import Refusal
from tallystick.locality.proof import proved_graph
from tallystick.locality.token_graph import TokenGraph
from tallystick.models.base import Model
from tallystick.models.conv import Conv
from tallystick.models.lookup import Lookup
from tallystick.models.mamba1 import Mamba1
from tallystick.models.mamba2 import Mamba2

WIDEST = 512
ROUNDS, SETTLED = 30, 1e-4
"""Maximum number of rounds, and the share of the first bounds below which a change is none."""
DEEPEST, MOST = 20, 3_000_000
"""Maximum number of further tokens, and of steps, for contexts that stay open."""
PART = 512

BLOCKS: dict[type[Model], type[Block]] = {Mamba2: Block, Mamba1: Mamba1Block, Conv: ConvBlock}
"""The blocks on intervals of each kind of model."""

State = list[tuple[Interval, Interval]]
"""For each block: the convolution's last inputs [n, K - 1, X], oldest first, and the scan's ideal state [n, E, S]."""


def check(document: Mapping[str, Any], task: Any, model: Model, identity: Identity, say: Callable[[str], None]) -> str:
    """Return why a certificate does not hold for a task and a model; empty if it does."""
    if document.get("format") != FORMAT:
        return f"its format is {document.get('format')}, this version reads {FORMAT}"
    for key, value in identity.items():
        if document.get(key) != value:
            return f"it is about another {key}: {document.get(key)} instead of {value}"
    if reason := reason_against(model):
        return reason
    if document.get("tokens") not in TOKENS:
        return f"it tells contexts apart by {document.get('tokens')} tokens; known are {TOKENS}"
    try:
        graph = proved_graph(task).graph
        if document.get("machine") != graph_hash(graph):
            return "the program's token graph is another one"
        if isinstance(model, Lookup):
            return against_table(model, graph)
        return _too_wide(model.config) or _Check(model, graph, document["tokens"], say).run()
    except Refusal as refusal:
        return str(refusal)


def _too_wide(config: Any) -> str:
    if max(config.d_inner, config.d_model) > WIDEST or max(getattr(config, "d_state", 0), 2 * config.d_conv) > SPAN:
        return "it is wider than this check's margins for rounding allow"
    return ""


def against_table(model: Lookup, graph: TokenGraph) -> str:
    """Return why a lookup model does not say what the program says; empty if it does.

    From each place where the program speaks, all ways back through the graph are walked together with the table, until
    the table decides. The graph may stand still before the beginning, reading tokens that the table knows as V.
    """
    edges = dict(zip(model.keys_E.tolist(), model.values_E.tolist(), strict=True))
    if [*edges] != sorted(model.keys_E.tolist()):
        return "its table is not in order"
    into: dict[int, list[tuple[int, int]]] = {}
    for begin, token, end in zip(graph.begin.tolist(), graph.token.tolist(), graph.end.tolist(), strict=True):
        into.setdefault(end, []).append((token, begin))
    assert graph.pad == model.config.vocab_size
    waiting = [(said, place, 0, 0) for place, said in enumerate(graph.said.tolist()) if said >= 0]
    done = {*waiting}
    while waiting:
        said, place, node, read = waiting.pop()
        for token, before in into.get(place, []):
            below = edges.get(node * (graph.pad + 1) + token)
            if below is None or read == model.config.reach:
                return f"the table does not decide on {said} after some context"
            if below < 0 and below != -2 - said:
                return f"the table says {-2 - below} instead of {said} after some context"
            after = said, before, below, read + 1
            if below >= 0 and after not in done:
                done.add(after)
                waiting.append(after)
    return ""


class _Check:
    """The contexts of a program and the blocks of a model."""

    def __init__(self, model: Any, graph: Any, tokens: int, say: Callable[[str], None]):
        self.say = say
        self.vectors = weights(model.embedding.weight)
        self.blocks = [BLOCKS[type(model)](layer) for layer in model.layers]
        self.head = weights(model.head.weight) * weights(model.norm.weight)
        self.eps = model.norm.eps
        self._contexts(graph, tokens)
        self.first = self._projected(self.blocks[0], np.arange(len(self.vectors)), [])
        """What the first block's in_proj makes of each token."""

    def _contexts(self, graph: Any, tokens: int) -> None:
        """Number the pairs of a graph's node and the last tokens, and list the predecessors of each."""
        edges: dict[int, list[tuple[int, int]]] = {}
        for begin, token, end in zip(graph.begin, graph.token, graph.end, strict=True):
            if token != graph.pad:
                edges.setdefault(int(begin), []).append((int(token), int(end)))
        first: tuple[int, tuple[int, ...]] = (int(graph.root), ())
        number: dict[tuple[int, tuple[int, ...]], int] = {first: 0}
        waiting: list[tuple[int, tuple[int, ...]]] = [first]
        predecessors: list[list[int]] = [[]]
        while waiting:
            place = waiting.pop()
            for token, node in edges.get(place[0], []):
                after = node, (*place[1], token)[-tokens:]
                if after not in number:
                    number[after] = len(number)
                    predecessors.append([])
                    waiting.append(after)
                predecessors[number[after]].append(number[place])
        self.predecessors = predecessors
        found: dict[tuple[int, ...], int] = {}
        self.set_of = np.array([found.setdefault(tuple(each), len(found)) for each in predecessors])
        """Number of each context's set of predecessors; many contexts share one."""
        self.sets = list(found)
        self.token = np.array([0, *(last[-1] for _, last in list(number)[1:])])
        self.said = np.array([int(graph.said[node]) for node, _ in number])

    def run(self) -> str:
        """Return why the certificate does not hold; empty if it does."""
        state = self._any_state()
        self._tighten(state)
        paths, steps = [[int(context)] for context in np.flatnonzero(self.said >= 0)], 0
        for depth in range(DEEPEST):
            paths = [[before, *path] for path in paths for before in self.predecessors[path[0]]]
            steps += len(paths) * (depth + 1)
            if steps > MOST:
                break
            paths = self._open(state, paths)
            self.say(f"{len(paths):,} contexts open, {depth + 1} tokens further back known")
            if not paths:
                return ""
            if any(path[0] == 0 for path in paths):
                break
        return f"{len(paths):,} contexts stay open"

    def _any_state(self) -> State:
        """Return bounds that hold after any tokens, for every context; the state before the first token is zero."""
        state: State = []
        n = len(self.said)
        for block in self.blocks:
            read = np.sqrt(len(self.vectors[0])) * np.linalg.norm(block.in_proj, axis=1)[None] * 1.001
            _, new, _ = block.parts((-read, read))
            low, high = (np.repeat(end[:, None], len(block.taps) - 1, 1) for end in new)
            ends = [np.repeat(end, n, 0) for end in (low, high, *block.any_state(-read, read))]
            for end in ends:
                end[0] = 0.0
            state.append(((ends[0], ends[1]), (ends[2], ends[3])))
        return state

    def _tighten(self, state: State) -> None:
        """Bound one block after the other: what a block reads depends on the blocks before it alone."""
        outputs: list[Read] = []
        for number in range(len(self.blocks)):
            outputs.append(self._bounded(number, state, outputs))

    def _bounded(self, number: int, state: State, before: list[Read]) -> Read:
        """Tighten a block's state, and return its output in every context; before: those of the blocks before it."""
        block, (taps, held) = self.blocks[number], state[number]
        (mixed,) = self._in_parts(lambda rows: [self._mixed(number, self.token[rows], [r.rows(rows) for r in before])])
        for _ in block.taps[1:]:
            for rows in self._parts(np.arange(1, len(self.said))):
                put(taps, rows, meet(rows_of(taps, rows), block.later(rows_of(mixed, rows), self._hull(taps, rows))))
        kept, added, dt = self._in_parts(lambda rows: block.scan(rows_of(mixed, rows), self._hull(taps, rows)))
        block.limit_scan(rows_of(dt, np.arange(1, len(self.said))), added)
        self._settle(f"block {number + 1}", held, kept, added)
        return Read(
            *self._in_parts(
                lambda rows: block.step(rows_of(mixed, rows), self._hull(taps, rows), self._hull(held, rows))[2]
            )
        )

    def _parts(self, rows: Array) -> list[Array]:
        return [rows[begin : begin + PART] for begin in range(0, len(rows), PART)]

    def _in_parts(self, function: Callable[[Array], Sequence[Interval]]) -> list[Interval]:
        """Return intervals for each context; 0 for the empty one, where nothing was read."""
        parts = [function(rows) for rows in self._parts(np.arange(1, len(self.said)))]
        return [
            (_joined([low for low, _ in each]), _joined([high for _, high in each]))
            for each in zip(*parts, strict=True)
        ]

    def _settle(self, name: str, held: Interval, kept: Interval, added: Interval) -> None:
        """Step into every context again and again; once few have predecessors that moved, into those alone."""
        everything = np.arange(1, len(self.said))
        rows, scale = everything, float(size(held).max(initial=0.0) + 1)
        for round_ in range(ROUNDS):
            moved = np.zeros(len(self.said), bool)
            for part in self._parts(rows):
                made = plus(times(rows_of(kept, part), self._hull(held, part)), rows_of(added, part))
                before = rows_of(held, part)
                after = meet(before, made)
                put(held, part, after)
                change = np.maximum(after[0] - before[0], before[1] - after[1]).reshape(len(part), -1)
                moved[part] = change.max(1, initial=0.0) > SETTLED * scale
            self.say(f"{name}, round {round_ + 1}: bounds of {moved.sum():,} of {len(rows):,} contexts moved")
            behind = np.array([row for row in everything if moved[self.predecessors[row]].any()], int)
            if not len(behind):
                break
            rows = behind if 2 * len(behind) < len(everything) else everything

    def _hull(self, interval: Interval, rows: Array) -> Interval:
        """Return the hull over each context's predecessors."""
        sets, which = np.unique(self.set_of[rows], return_inverse=True)
        members = [self.sets[number] for number in sets]
        starts = np.cumsum([0, *map(len, members[:-1])])
        every = np.concatenate(members)
        low, high = np.minimum.reduceat(interval[0][every], starts), np.maximum.reduceat(interval[1][every], starts)
        return low[which], high[which]

    def _open(self, state: State, paths: list[list[int]]) -> list[list[int]]:
        """Return the paths at whose end the program's token is not shown to have the largest logit."""
        left = []
        paths = sorted(paths)
        for begin in range(0, len(paths), PART):
            some = np.array(paths[begin : begin + PART])
            at, way, outputs = state, some[:, 0], list[Read]()
            for place in range(1, some.shape[1]):
                # paths that begin alike are stepped along once
                _, rows, longer = np.unique(some[:, : place + 1], axis=0, return_index=True, return_inverse=True)
                at = [(rows_of(taps, way[rows]), rows_of(held, way[rows])) for taps, held in at]
                at, outputs = self._step(at, self.token[some[rows, place]])
                way = longer.reshape(-1)
            outputs = [output.rows(way) for output in outputs]
            good = self._right(self.said[some[:, -1]], self.token[some[:, -1]], outputs)
            left += [path for path, right in zip(some.tolist(), good, strict=True) if not right]
        return left

    def _step(self, state: State, token: Array) -> tuple[State, list[Read]]:
        """Read a token; return the new state and each block's normalised output."""
        new: State = []
        outputs: list[Read] = []
        for number, (block, (taps, held)) in enumerate(zip(self.blocks, state, strict=True)):
            after, held, output = block.step(self._mixed(number, token, outputs), taps, held)
            new.append((after, held))
            outputs.append(output)
        return new, outputs

    def _mixed(self, number: int, token: Array, outputs: list[Read]) -> Interval:
        """Return what a block's in_proj makes of tokens and of the outputs of the blocks before it."""
        if not number:
            return rows_of(self.first, token)
        return self._projected(self.blocks[number], token, outputs)

    def _projected(self, block: Block, token: Array, outputs: list[Read]) -> Interval:
        x = self._stream(token, outputs, np.eye(len(self.vectors[0])))
        width = len(self.vectors[0])
        mixed = product(unit(x, block.eps), block.in_proj, lost(width))
        through = times(shrink(x, block.eps), self._stream(token, outputs, block.in_proj))
        by = 2 * lost(width) * np.sqrt(width) * np.linalg.norm(block.in_proj, axis=1)
        return meet(mixed, (through[0] - by, through[1] + by))

    def _stream(self, token: Array, outputs: list[Read], matrix: Array) -> Interval:
        """Return the interval of `matrix @ x` for the residual stream x behind the outputs."""
        total = loose((self.vectors[token] @ matrix.T, self.vectors[token] @ matrix.T), FEW / 16)
        entries = abs(self.vectors).max(0)
        for block, output in zip(self.blocks, outputs, strict=False):
            total = plus(total, output.through(matrix @ block.out_proj))
            # the sum in float32 is not of these composed products: each entry of x loses on its own
            entries = entries + block.most(output)
            by = lost(block.E + 1) * entries @ abs(matrix).T
            total = total[0] - by, total[1] + by
        return loose(total, OWN)

    def _right(self, said: Array, token: Array, outputs: list[Read]) -> Array:
        """Return whether the said token's logit is above every other, also in float32."""
        good = np.ones(len(said), bool)
        x = self._stream(token, outputs, np.eye(len(self.vectors[0])))
        least_scale = shrink(x, self.eps)[0]
        by = 2 * lost(self.head.shape[1]) * np.sqrt(self.head.shape[1]) * np.linalg.norm(self.head, axis=1)
        for want in np.unique(said):
            rows = np.flatnonzero(said == want)
            some = [output.rows(rows) for output in outputs]
            above = self._stream(token[rows], some, self.head[want] - self.head)[0] * least_scale[rows]
            above = above - by[want] - by
            above[:, want] = 1.0
            good[rows] = (above > 0).all(1)
        return good


def put(interval: Interval, rows: Array, values: Interval) -> None:
    """Replace some rows of an interval, in place."""
    interval[0][rows], interval[1][rows] = values


def _joined(parts: list[Array]) -> Array:
    return np.concatenate([np.zeros_like(parts[0][:1]), *parts])
