"""One step of Mamba-2 inside a Triton kernel: from a token and a state to logits and a new state, for one sequence.

A program holds one sequence. Weights and state stay in memory, where the caches of a multiprocessor hold those of a
small model; activations stay in registers. All numbers are float32, and a sequence's numbers depend on no other's.

All sizes are powers of two, padded with zeros. Weights of norms are multiplied into the matrices that follow them.
A layer's weights stand in this
order: `in_proj` for z [D, E], x [D, E], B [D, N], C [D, N], dt [D, H]; taps and bias of the convolution for x
[J + 2, E], B [J + 2, N], C [J + 2, N]; skip weight [E]; `out_proj` [E, D]; decay rate and bias of dt, [H]. A layer's
state is, likewise, the inputs of the convolution at R tokens, for x [R, E], B [R, N], C [R, N], token t at place t % R,
and the recurrence's state [N, E].

Glossary: D model width, E inner width, N state size, P channels of a head, H heads, J taps of the convolution but the
one of the present token, R = J + 1, V vocabulary, T entries of V that are computed at once.
"""

# CPU builds of torch come without Triton, whose decorator gives functions another calling convention.
# pyright: reportMissingImports=false, reportGeneralTypeIssues=false, reportAttributeAccessIssue=false

from __future__ import annotations

import triton
import triton.language as tl

INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)
EPS = tl.constexpr(1e-5)
"""Constant that norms add to the mean square, as `rms_norm.EPS`."""


@triton.jit
def _load(matrix, K: tl.constexpr, M: tl.constexpr):
    """Return a matrix [K, M] from memory."""
    return tl.load(matrix + tl.arange(0, K)[:, None] * M + tl.arange(0, M)[None, :])


@triton.jit
def _add_pairs(a, b, c, d):
    return a + c, b + d


@triton.jit
def _products(left_K, first_KM, second_KM):
    """Return left_K @ first_KM and left_K @ second_KM, whose sums share their exchange between warps."""
    if INTERPRETED:  # it would take a second
        return tl.sum(left_K[:, None] * first_KM, 0), tl.sum(left_K[:, None] * second_KM, 0)
    return tl.reduce((left_K[:, None] * first_KM, left_K[:, None] * second_KM), 0, _add_pairs)


@triton.jit
def _norm_scale(x_D, WIDTH: tl.constexpr):
    """Return the factor that gives a vector, of WIDTH entries and zeros, a root mean square of 1."""
    return 1 / tl.sqrt(tl.sum(x_D * x_D, 0) / WIDTH + EPS)


@triton.jit
def _softplus(x):
    """Return log(1 + exp(x)): log1p(u) is 2 atanh(u / (2 + u)), as a series, since Triton has no log1p."""
    u = tl.exp(-tl.abs(x))
    s = u / (2 + u)
    square = s * s
    series = square / 17 + 1 / 15
    series = series * square + 1 / 13
    series = series * square + 1 / 11
    series = series * square + 1 / 9
    series = series * square + 1 / 7
    series = series * square + 1 / 5
    series = series * square + 1 / 3
    series = series * square + 1
    return tl.maximum(x, 0.0) + 2 * s * series


@triton.jit
def _convolve(new_C, taps, tail, count, C: tl.constexpr, J: tl.constexpr):
    """Return silu of the convolution at a token, before which `count` tokens were read; store its input in the tail."""
    c = tl.arange(0, C)
    sum_C = tl.load(taps + (J + 1) * C + c) + tl.load(taps + J * C + c) * new_C
    for j in tl.static_range(J):
        place = (count + 1 + j) % (J + 1)  # of the token J - j tokens ago
        sum_C += tl.load(taps + j * C + c) * tl.load(tail + place * C + c)
    tl.store(tail + count % (J + 1) * C + c, new_C)
    return sum_C * tl.sigmoid(sum_C)


@triton.jit
def _mamba2(
    x_D, weights, state, count, floor,
    WIDTH: tl.constexpr, INNER: tl.constexpr, D: tl.constexpr, E: tl.constexpr, N: tl.constexpr, H: tl.constexpr,
    P: tl.constexpr, J: tl.constexpr,
):  # fmt: skip
    """Return the output of one block; advance its state."""
    R: tl.constexpr = J + 1
    e, n, h = tl.arange(0, E), tl.arange(0, N), tl.arange(0, H)
    at_x: tl.constexpr = D * E
    at_B: tl.constexpr = at_x + D * E
    at_dt: tl.constexpr = at_B + 2 * D * N
    at_taps: tl.constexpr = at_dt + D * H
    at_channels: tl.constexpr = at_taps + (R + 1) * (E + 2 * N)
    at_heads: tl.constexpr = at_channels + E + E * D

    z_DE, in_DE = _load(weights, D, E), _load(weights + at_x, D, E)
    B_DN, C_DN = _load(weights + at_B, D, N), _load(weights + at_B + D * N, D, N)
    dt_DH = _load(weights + at_dt, D, H)
    state_NE = state + R * (E + 2 * N) + n[:, None] * E + e[None, :]
    before_NE = tl.load(state_NE)
    channels, heads = weights + at_channels, weights + at_heads + h

    scale = _norm_scale(x_D, WIDTH)
    z_E, new_E = _products(x_D, z_DE, in_DE)
    B_N, C_N = _products(x_D, B_DN, C_DN)
    dt_H = scale * tl.sum(x_D[:, None] * dt_DH, 0)
    dt_H = _softplus(dt_H + tl.load(heads + H)) + floor
    dt_E = tl.gather(dt_H, e // P, 0)
    decay_E = tl.gather(tl.exp(dt_H * tl.load(heads)), e // P, 0)
    out_ED = _load(channels + E, E, D)

    taps, tail = weights + at_taps, state
    B_N = _convolve(scale * B_N, taps + (R + 1) * E, tail + R * E, count, N, J)
    C_N = _convolve(scale * C_N, taps + (R + 1) * (E + N), tail + R * (E + N), count, N, J)
    new_E = _convolve(scale * new_E, taps, tail, count, E, J)
    s_NE = decay_E[None, :] * before_NE + B_N[:, None] * (dt_E * new_E)[None, :]
    y_E = tl.sum(C_N[:, None] * s_NE, 0) + tl.load(channels + e) * new_E
    tl.debug_barrier()  # all threads have read the state
    tl.store(state_NE, s_NE)
    z_E *= scale
    y_E *= z_E * tl.sigmoid(z_E)
    return x_D + _norm_scale(y_E, INNER) * tl.sum(y_E[:, None] * out_ED, 0)


@triton.jit
def read(
    token, weights, state, count, floor,
    WIDTH: tl.constexpr, INNER: tl.constexpr, D: tl.constexpr, E: tl.constexpr, N: tl.constexpr, H: tl.constexpr,
    P: tl.constexpr, J: tl.constexpr, LAYERS: tl.constexpr, V: tl.constexpr,
):  # fmt: skip
    """Return the model's activations after a token, before which `count` tokens were read; advance its state.

    weights: the embedding [V, D], the layers, the head [D, V].
    """
    layer_weights: tl.constexpr = D * (3 * E + 2 * N + H) + (J + 2) * (E + 2 * N) + E + 2 * H
    layer_state: tl.constexpr = (J + 1) * (E + 2 * N) + N * E
    x_D = tl.load(weights + token * D + tl.arange(0, D))
    for layer in range(LAYERS):
        own = weights + V * D + layer * layer_weights
        x_D = _mamba2(x_D, own, state + layer * layer_state, count, floor, WIDTH, INNER, D, E, N, H, P, J)
    return x_D


@triton.jit
def logits(x_D, head, out, WIDTH: tl.constexpr, D: tl.constexpr, V: tl.constexpr, T: tl.constexpr):
    """Return the logits [V], given the head's weights [D, V]; out: [V] in memory, for more than T of them."""
    scale = _norm_scale(x_D, WIDTH)
    if V <= T:
        logits_V = scale * tl.sum(x_D[:, None] * _load(head, D, V), 0)
    else:
        d, t = tl.arange(0, D), tl.arange(0, T)
        for begin in range(0, V, T):
            head_DT = tl.load(head + d[:, None] * V + begin + t[None, :])
            tl.store(out + begin + t, scale * tl.sum(x_D[:, None] * head_DT, 0))
        tl.debug_barrier()
        logits_V = tl.load(out + tl.arange(0, V))
    return logits_V


@triton.jit
def greedy(logits_V, vocab, V: tl.constexpr):
    """Return the token with the largest logit, its margin over the next, and whether all logits are equal.

    NaN counts as the largest, as in torch.
    """
    v = tl.arange(0, V)
    is_nan = (v < vocab) & (logits_V != logits_V)
    known_V = tl.where((v < vocab) & ~is_nan, logits_V, float("-inf"))
    nan_at = tl.min(tl.where(is_nan, v, V), 0)
    best = tl.max(known_V, 0)
    least = tl.min(tl.where(v < vocab, known_V, float("inf")), 0)
    is_best = (v < vocab) & (known_V == best)
    token = tl.min(tl.where(is_best, v, V), 0)
    second = tl.max(tl.where(is_best, float("-inf"), known_V), 0)
    second = tl.where(tl.sum(is_best.to(tl.int32), 0) > 1, best, second)
    broken = nan_at < V
    token = tl.where(broken, nan_at, token)
    return token, tl.where(broken, float("nan"), best - second), ~broken & (best == least)
