"""Verify a certificate by separate, simpler code: one step of the model on intervals, repeated over all contexts.

Nothing is shared with what `certify` bounds with: neither its boxes nor its contexts, only the token graph. Where
`certify` bounds one block after the other, this carries the whole state from context to context, from bounds that hold
for any sequence at all, until it settles. It is slower. An interval is a pair (lo, hi) of arrays; all of them hold
whatever float32 may compute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy import ndarray as Array

from tallystick.locality.certify.certificate import FORMAT, TOKENS, Identity, graph_hash, reason_against
from tallystick.locality.extraction import Refusal
from tallystick.locality.proof import proved_graph
from tallystick.models.base import Model
from tallystick.models.mamba2 import Mamba2

SUM = 2.0**-14
"""More than a sum of up to 512 products, or a function, loses in float32, relative to the sum of magnitudes."""
WIDEST = 512
SMALL = 2.0**-80
SPAN = 64
"""Largest number of tokens of a chunk of the chunked scan."""
LAGS = 400
"""Number of tokens back at which lost precision is summed one by one; what lies further back is added as a whole."""
ROUNDS, SETTLED = 30, 1e-4
"""Maximum number of rounds, and the share of the first bounds below which a change is none."""
DEEPEST, MOST = 10, 3_000_000
"""Maximum number of further tokens, and of steps, for contexts that stay open."""
PART = 512

Interval = tuple[Array, Array]
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
    assert isinstance(model, Mamba2)
    config = model.config
    if max(config.d_inner, config.d_model) > WIDEST or max(config.d_state, 2 * config.d_conv) > SPAN:
        return "it is wider than this check's margins for rounding allow"
    if document.get("tokens") not in TOKENS:
        return f"it tells contexts apart by {document.get('tokens')} tokens; known are {TOKENS}"
    try:
        graph = proved_graph(task).graph
        if document.get("machine") != graph_hash(graph):
            return "the program's token graph is another one"
        return _Check(model, graph, document["tokens"], say).run()
    except Refusal as refusal:
        return str(refusal)


def _times(a: Interval, b: Interval) -> Interval:
    products = np.stack(np.broadcast_arrays(a[0] * b[0], a[0] * b[1], a[1] * b[0], a[1] * b[1]))
    return _loose((products.min(0), products.max(0)), 2.0**-40)


def _plus(a: Interval, b: Interval) -> Interval:
    return _loose((a[0] + b[0], a[1] + b[1]), 2.0**-40)


def _size(a: Interval) -> Array:
    return np.maximum(abs(a[0]), abs(a[1]))


def _loose(a: Interval, share: float | Array) -> Interval:
    """Widen by a share of the magnitude."""
    by = share * _size(a) + SMALL
    return a[0] - by, a[1] + by


def _meet(a: Interval, b: Interval) -> Interval:
    return np.maximum(a[0], b[0]), np.minimum(a[1], b[1])


def _product(a: Interval, matrix: Array) -> Interval:
    """Return the interval of `a @ matrix.T` as a sum in float32."""
    positive, negative = np.maximum(matrix, 0.0).T, np.minimum(matrix, 0.0).T
    by = SUM * (_size(a) @ abs(matrix).T) + SMALL
    return a[0] @ positive + a[1] @ negative - by, a[1] @ positive + a[0] @ negative + by


def _unit(a: Interval, eps: float) -> Interval:
    """Return the interval of a / rms(a), one coordinate at a time, the others being at their smallest or largest."""
    most, least = _size(a) ** 2, np.where(a[0] * a[1] <= 0, 0.0, np.minimum(abs(a[0]), abs(a[1])) ** 2)
    others_most = most.sum(-1, keepdims=True) - most
    others_least = np.maximum(least.sum(-1, keepdims=True) - least, 0.0)
    others_most, others_least = others_most * (1 + SUM) + SMALL, others_least * (1 - SUM)

    def end(x: Array, outward: bool) -> Array:
        away = (x > 0) == outward  # this end lies away from zero if the others are small
        others = np.where(away, others_least, others_most)
        return x / np.sqrt((x * x + others) / x.shape[-1] + eps)

    return _loose((end(a[0], False), end(a[1], True)), SUM)


def _silu(a: Interval) -> Interval:
    def at(x: Array) -> Array:
        return x / (1 + np.exp(-np.clip(x, -700, 700)))

    turn = -1.27846454  # silu falls until there and rises from there on, by less than 1e-15 from its least value
    low, high = np.minimum(at(a[0]), at(a[1])), np.maximum(at(a[0]), at(a[1]))
    low = np.where((a[0] < turn + 1e-6) & (a[1] > turn - 1e-6), -0.278464543, low)
    return _loose((low, high), SUM)


class _Check:
    """The contexts of a program and the blocks of a model."""

    def __init__(self, model: Any, graph: Any, tokens: int, say: Callable[[str], None]):
        self.say = say
        self.vectors = self._weights(model.embedding.weight)
        self.blocks = [_Block(layer) for layer in model.layers]
        self.head = self._weights(model.head.weight) * self._weights(model.norm.weight)
        self.eps = model.norm.eps
        self._contexts(graph, tokens)

    @staticmethod
    def _weights(parameter: Any) -> Array:
        return parameter.detach().double().numpy()

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
        self.token = np.array([0, *(last[-1] for _, last in list(number)[1:])])
        self.said = np.array([int(graph.said[node]) for node, _ in number])

    def run(self) -> str:
        """Return why the certificate does not hold; empty if it does."""
        state = self._any_state()
        speaking = np.flatnonzero(self.said >= 0)
        for round_ in range(ROUNDS):
            change = self._round(state)
            self.say(f"round {round_ + 1}: bounds of {len(self.said):,} contexts moved by {change:.1e} at most")
            if change < SETTLED:
                break
        paths, steps = [[int(context)] for context in speaking], 0
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
        for block in self.blocks:
            read = np.sqrt(len(self.vectors[0])) * np.linalg.norm(block.in_proj, axis=1) * (1 + 16 * SUM)
            _, xBC, dt = block.parts((-read[None], read[None]))
            low, high = (np.repeat(end[:, None], len(block.taps) - 1, 1) for end in xBC)
            x, B, _, dt = block.inputs((low, high), xBC, dt)
            grown = dt[1] / -np.expm1(-dt[1] * block.rate[0])
            most = (_size(x) * block.per_channel(grown))[..., None] * _size(B)[:, None] * (1 + SUM)
            block.limit(dt, most[0])
            block.limits = block.seen
            n = len(self.said)
            whole = [np.repeat(end, n, 0) for end in (low, high, -most, most)]
            for end in whole:
                end[0] = 0.0
            state.append(((whole[0], whole[1]), (whole[2], whole[3])))
        return state

    def _round(self, state: State) -> float:
        """Step into every context from the hull of its predecessors; return the largest change, as a share."""
        for block in self.blocks:
            block.seen = None
        change = 0.0
        for begin in range(1, len(self.said), PART):
            rows = np.arange(begin, min(begin + PART, len(self.said)))
            hull = [(self._hull(taps, rows), self._hull(held, rows)) for taps, held in state]
            new, _ = self._step(hull, self.token[rows])
            for old_pair, new_pair in zip(state, new, strict=True):
                for old, made in zip(old_pair, new_pair, strict=True):
                    before = _rows(old, rows)
                    old[0][rows], old[1][rows] = _meet(before, made)
                    moved = np.maximum(old[0][rows] - before[0], before[1] - old[1][rows]).max()
                    change = max(change, float(moved) / float(abs(old[1]).max() + 1))
        for block in self.blocks:
            block.limits = block.seen
        return change

    def _hull(self, interval: Interval, rows: Array) -> Interval:
        known: dict[tuple[int, ...], tuple[Array, Array]] = {}
        for row in rows:
            key = tuple(self.predecessors[row])
            if key not in known:
                some = list(key)
                known[key] = interval[0][some].min(0), interval[1][some].max(0)
        pairs = [known[tuple(self.predecessors[row])] for row in rows]
        return np.stack([low for low, _ in pairs]), np.stack([high for _, high in pairs])

    def _open(self, state: State, paths: list[list[int]]) -> list[list[int]]:
        """Return the paths at whose end the program's token is not shown to have the largest logit."""
        left = []
        for begin in range(0, len(paths), PART):
            some = np.array(paths[begin : begin + PART])
            first = some[:, 0]
            at = [(_rows(taps, first), _rows(held, first)) for taps, held in state]
            outputs: list[Interval] = []
            for place in range(1, some.shape[1]):
                at, outputs = self._step(at, self.token[some[:, place]])
            good = self._right(self.said[some[:, -1]], self.token[some[:, -1]], outputs)
            left += [path for path, right in zip(some.tolist(), good, strict=True) if not right]
        return left

    def _step(self, state: State, token: Array) -> tuple[State, list[Interval]]:
        """Read a token; return the new state and each block's normalised output."""
        new: State = []
        outputs: list[Interval] = []
        for block, (taps, held) in zip(self.blocks, state, strict=True):
            x = self._stream(token, outputs, np.eye(len(self.vectors[0])))
            mixed = _product(_unit(x, block.eps), block.in_proj)
            shrink = 1 / np.sqrt(np.stack([_square_mean(x, False), _square_mean(x, True)]) + block.eps)
            scale = shrink[1] * (1 - SUM), shrink[0] * (1 + SUM)
            through = _times(scale, self._stream(token, outputs, block.in_proj))
            lost = 4 * SUM * np.sqrt(len(self.vectors[0])) * np.linalg.norm(block.in_proj, axis=1)
            mixed = _meet(mixed, (through[0] - lost, through[1] + lost))
            after, held, output = block.step(mixed, taps, held)
            new.append((after, held))
            outputs.append(output)
        return new, outputs

    def _stream(self, token: Array, outputs: list[Interval], matrix: Array) -> Interval:
        """Return the interval of `matrix @ x` for the residual stream x behind the outputs."""
        total = _loose((self.vectors[token] @ matrix.T, self.vectors[token] @ matrix.T), SUM / 256)
        for block, output in zip(self.blocks, outputs, strict=False):
            total = _plus(total, _product(output, matrix @ block.out_proj))
            # the sum in float32 is not of these composed products: each entry of x loses on its own
            lost = SUM * (np.linalg.norm(block.out_proj, axis=1) * np.sqrt(block.out_proj.shape[1]))
            lost = (lost + SUM / 64 * abs(self.vectors).max(0)) @ abs(matrix).T
            total = total[0] - lost, total[1] + lost
        return _loose(total, 2.0**-40)

    def _right(self, said: Array, token: Array, outputs: list[Interval]) -> Array:
        """Return whether the said token's logit is above every other, also in float32."""
        good = np.ones(len(said), bool)
        x = self._stream(token, outputs, np.eye(len(self.vectors[0])))
        least_scale = 1 / np.sqrt(_square_mean(x, True) + self.eps) * (1 - SUM)
        lost = SUM * np.sqrt(self.head.shape[1]) * np.linalg.norm(self.head, axis=1)
        for want in np.unique(said):
            rows = np.flatnonzero(said == want)
            some = [_rows(output, rows) for output in outputs]
            above = self._stream(token[rows], some, self.head[want] - self.head)[0] * least_scale[rows]
            above = above - lost[want] - lost
            above[:, want] = 1.0
            good[rows] = (above > 0).all(1)
        return good


def _rows(a: Interval, rows: Array) -> Interval:
    return a[0][rows], a[1][rows]


def _square_mean(a: Interval, most: bool) -> Array:
    """Return the largest or the least mean square of an interval's points, [n, 1]."""
    largest = _size(a) ** 2
    if not most:
        largest = np.where(a[0] * a[1] <= 0, 0.0, np.minimum(abs(a[0]), abs(a[1])) ** 2)
    return largest.mean(-1, keepdims=True) * (1 + SUM if most else 1 - SUM)


class _Block:
    """A block of Mamba-2 on intervals."""

    def __init__(self, layer: Any):
        weights = _Check._weights
        self.in_proj = weights(layer.in_proj.weight) * weights(layer.norm.weight)
        self.out_proj = weights(layer.out_proj.weight) * weights(layer.gate_norm.weight)
        self.taps, self.bias = weights(layer.conv.weight)[:, 0].T, weights(layer.conv.bias)
        self.dt_bias, self.skip = weights(layer.dt_bias), weights(layer.D)
        self.floor, self.sizes, self.N = layer.dt_floor, layer.sizes, layer.d_state
        self.eps, self.gate_eps = layer.norm.eps, layer.gate_norm.eps
        A = np.exp(weights(layer.A_log))
        self.rate = np.maximum(A * (1 - SUM / 16), 1.0), np.maximum(A * (1 + SUM / 16), 1.0)
        self.limits: tuple[Array, Array, Array] | None = None
        """Least and largest step size [H], and largest |dt x B| [E, S], of all contexts."""
        self.seen: tuple[Array, Array, Array] | None = None

    def per_channel(self, by_head: Array) -> Array:
        return np.repeat(by_head, self.sizes[0] // self.sizes[2], axis=-1)

    def parts(self, mixed: Interval) -> tuple[Interval, Interval, Interval]:
        """Split what in_proj makes into z, xBC and dt."""
        cuts = np.cumsum(self.sizes)[:2]
        low, high = np.split(mixed[0], cuts, -1), np.split(mixed[1], cuts, -1)
        return (low[0], high[0]), (low[1], high[1]), (low[2], high[2])

    def inputs(self, taps: Interval, xBC: Interval, dt: Interval) -> tuple[Interval, Interval, Interval, Interval]:
        """Return x, B, C and the step size at a token."""
        low, high = (np.concatenate([old, new[:, None]], 1) for old, new in zip(taps, xBC, strict=True))
        products = _times((low, high), (self.taps, self.taps))
        by = SUM / 16 * (_size(products).sum(1) + abs(self.bias))
        mixed = _silu((products[0].sum(1) + self.bias - by, products[1].sum(1) + self.bias + by))
        raw = _loose((dt[0] + self.dt_bias, dt[1] + self.dt_bias), SUM / 64)
        step = _loose((np.logaddexp(0, raw[0]) + self.floor, np.logaddexp(0, raw[1]) + self.floor), SUM / 16)
        E, N = self.sizes[0], self.N
        (x, B, C), (x_high, B_high, C_high) = (np.split(end, [E, E + N], -1) for end in mixed)
        return (x, x_high), (B, B_high), (C, C_high), step

    def limit(self, dt: Interval, added: Array) -> None:
        """Take note of step sizes and of |dt x B|."""
        least, most = dt[0].min(0), dt[1].max(0)
        if self.seen is not None:
            least, most = np.minimum(least, self.seen[0]), np.maximum(most, self.seen[1])
            added = np.maximum(added, self.seen[2])
        self.seen = least, most, added

    def lost(self) -> Array:
        """Return what an entry of the scan's state loses in float32, [E, S]: the sum over tokens back."""
        assert self.limits is not None
        least, most, added = self.limits
        fade, strong = least * self.rate[0], most * self.rate[1]
        angle = 2.0**-23 * SPAN * strong  # more than the rounding of a sum of logarithms within a chunk
        once, each = 4 * angle + SUM / 2, angle + SUM / 8 + 2.0**-21 * strong
        if not (each * 2 < fade).all():
            raise Refusal("its state fades too slowly for the precision of float32")
        share = np.full(len(fade), SUM)
        for lag in range(1, LAGS):
            share += np.expm1(once + lag * each) * np.exp(-lag * fade)
        share += np.exp(once + LAGS * (each - fade)) / (1 - np.exp(each - fade))
        return self.per_channel(share + SMALL)[:, None] * added

    def step(self, mixed: Interval, taps: Interval, held: Interval) -> tuple[Interval, Interval, Interval]:
        """Return the convolution's inputs, the ideal state and the normalised output after a token."""
        z, xBC, raw = self.parts(mixed)
        x, B, C, dt = self.inputs(taps, xBC, raw)
        low, high = (np.concatenate([old[:, 1:], new[:, None]], 1) for old, new in zip(taps, xBC, strict=True))
        decay = np.exp(-dt[1] * self.rate[1]) * (1 - 2.0**-40), np.exp(-dt[0] * self.rate[0]) * (1 + 2.0**-40)
        kept = _times((self.per_channel(decay[0])[..., None], self.per_channel(decay[1])[..., None]), held)
        dtx = _times((self.per_channel(dt[0]), self.per_channel(dt[1])), x)
        added = _times((dtx[0][..., None], dtx[1][..., None]), (B[0][:, None], B[1][:, None]))
        self.limit(dt, _size(added).max(0))
        held = _plus(kept, added)
        read = _times((C[0][:, None], C[1][:, None]), held)
        skip = _times(x, (self.per_channel(self.skip), self.per_channel(self.skip)))
        by = (_size((C[0][:, None], C[1][:, None])) * self.lost()).sum(-1)
        by += SUM / 8 * (_size(read).sum(-1) + _size(skip))
        y = read[0].sum(-1) + skip[0] - by, read[1].sum(-1) + skip[1] + by
        gated = _loose(_times(y, _silu(z)), SUM / 16)
        return (low, high), held, _unit(gated, self.gate_eps)
