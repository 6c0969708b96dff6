"""One step of Mamba-2 inside a Triton kernel: from a token and a state to logits and a new state, for one sequence.

A program holds one sequence. Weights and state stay in memory, where the caches of a multiprocessor hold those of a
small model; activations stay in registers. All numbers are float32, and a sequence's numbers depend on no other's.

Sizes are powers of two, padded with zeros. Weights of norms are multiplied into the matrices that follow them, and
what heads share is repeated for each of their channels. A layer's weights stand in this order: `in_proj` for z [D, E]
and x [D, E], and for B, C and each head's dt together [D, M]; taps and bias of the convolution for x [J + 2, E], and
for B and C together [J + 2, 2 N]; skip weight, decay rate and bias of dt [E]; `out_proj` [E, D]. A layer's state is the
inputs of the convolution at R tokens, for x [R, E], and for B and C [R, 2 N], token t at place t % R, and the
recurrence's state [N, E].

Glossary: D model width, E inner width, N state size, P channels of a head, M columns for B, C and dt, W = M or E if
that is wider, J taps of the convolution but the one of the present token, R = J + 1, V vocabulary, T entries of V that
are computed at once.
"""

# CPU builds of torch come without Triton, whose decorator gives functions another calling convention.
# pyright: reportMissingImports=false, reportGeneralTypeIssues=false, reportAssignmentType=false

from __future__ import annotations

import triton
import triton.language as tl

EPS = tl.constexpr(1e-5)
"""Constant that norms add to the mean square, as `rms_norm.EPS`."""


@triton.jit
def _load(matrix, K: tl.constexpr, M: tl.constexpr):
    """Return a matrix [K, M] from memory."""
    return tl.load(matrix + tl.arange(0, K)[:, None] * M + tl.arange(0, M)[None, :])


@triton.jit
def _sum_rows(terms_KM, K: tl.constexpr, M: tl.constexpr, WARPS: tl.constexpr):
    """Return the sum over K.

    Row k is in the registers of warps k / L % G and their lanes k % L. What the warps have is exchanged by a change of
    layout: `tl.sum` would do it with up to 32 threads waiting for the same bank of shared memory.
    """
    L: tl.constexpr = 128 // min(M, 128)
    G: tl.constexpr = WARPS * 128 // max(M, 128)
    if K < G * L or G < 4:
        sum_M = tl.sum(terms_KM, 0)
    else:
        sum_GLM = tl.sum(tl.reshape(terms_KM, [K // (G * L), G, L, M]), 0)
        sum_MG = tl.permute(tl.sum(sum_GLM, 1), (1, 0))
        if G == 16:
            one, other = tl.split(tl.reshape(sum_MG, [M, 2, 2, 2, 2]))
            one, other = tl.split(one + other)
            one, other = tl.split(one + other)
        elif G == 8:
            one, other = tl.split(tl.reshape(sum_MG, [M, 2, 2, 2]))
            one, other = tl.split(one + other)
        else:
            one, other = tl.split(tl.reshape(sum_MG, [M, 2, 2]))
        one, other = tl.split(one + other)
        sum_M = one + other
    return sum_M


@triton.jit
def _norm_scale(x_D, WIDTH: tl.constexpr):
    """Return the factor that gives a vector, of WIDTH entries and zeros, a root mean square of 1."""
    return tl.rsqrt(tl.sum(x_D * x_D, 0) / WIDTH + EPS)


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
def _convolve_past(taps, tail, count, C: tl.constexpr, W: tl.constexpr, J: tl.constexpr):
    """Return the convolution's sum over earlier tokens, of which `count` were read, with its bias; zeros beyond C."""
    w = tl.arange(0, W)
    sum_W = tl.load(taps + (J + 1) * C + w, mask=w < C, other=0.0)
    for j in tl.static_range(J):
        place = (count + 1 + j) % (J + 1)  # of the token J - j tokens ago
        tap_W = tl.load(taps + j * C + w, mask=w < C, other=0.0)
        sum_W += tap_W * tl.load(tail + place * C + w, mask=w < C, other=0.0)
    return sum_W


@triton.jit
def _silu(x):
    return x * tl.sigmoid(x)


@triton.jit
def _mamba2(
    x_D, weights, state, count, floor,
    WIDTH: tl.constexpr, INNER: tl.constexpr, D: tl.constexpr, E: tl.constexpr, N: tl.constexpr, M: tl.constexpr,
    P: tl.constexpr, J: tl.constexpr, WARPS: tl.constexpr,
):  # fmt: skip
    """Return the output of one block; advance its state."""
    R: tl.constexpr = J + 1
    e, n = tl.arange(0, E), tl.arange(0, N)
    W: tl.constexpr = max(E, triton.next_power_of_2(M))
    at_rest: tl.constexpr = 2 * D * E
    at_taps: tl.constexpr = at_rest + D * M
    at_channels: tl.constexpr = at_taps + (R + 1) * (E + 2 * N)

    in_DE = _load(weights + D * E, D, E)
    w = tl.arange(0, W)
    d_D1, w_1W = tl.arange(0, D)[:, None], w[None, :]
    rest_DW = tl.load(weights + at_rest + d_D1 * M + w_1W, mask=w_1W < M, other=0.0)
    state_NE = state + R * (E + 2 * N) + n[:, None] * E + e[None, :]
    before_NE = tl.load(state_NE)
    channels = weights + at_channels
    taps, taps_BC, tail_BC = weights + at_taps, weights + at_taps + (R + 1) * E, state + R * E
    past_E, past_W = _convolve_past(taps, state, count, E, E, J), _convolve_past(taps_BC, tail_BC, count, 2 * N, W, J)
    tap_E, tap_W = tl.load(taps + J * E + e), tl.load(taps_BC + J * 2 * N + w, mask=w < 2 * N, other=0.0)
    skip_E, A_E, bias_E = tl.load(channels + e), tl.load(channels + E + e), tl.load(channels + 2 * E + e)

    scale = _norm_scale(x_D, WIDTH)
    x_D1 = (scale * x_D)[:, None]
    rest_W = _sum_rows(x_D1 * rest_DW, D, W, WARPS)
    new_E = _sum_rows(x_D1 * in_DE, D, E, WARPS)
    z_DE = _load(weights, D, E)
    dt_E = _softplus(tl.gather(rest_W, 2 * N + e // P, 0) + bias_E) + floor
    decay_E = tl.exp(dt_E * A_E)
    in_E, in_W = _silu(past_E + tap_E * new_E), _silu(past_W + tap_W * rest_W)
    B_N, C_N = tl.gather(in_W, n, 0), tl.gather(in_W, N + n, 0)
    s_NE = decay_E[None, :] * before_NE + B_N[:, None] * (dt_E * in_E)[None, :]
    z_E = _sum_rows(x_D1 * z_DE, D, E, WARPS)
    out_ED = _load(channels + 3 * E, E, D)
    y_E = _sum_rows(C_N[:, None] * s_NE, N, E, WARPS) + skip_E * in_E
    tl.debug_barrier()  # all threads have read the state
    tl.store(state_NE, s_NE)
    place = count % R
    tl.store(state + place * E + e, new_E)
    tl.store(tail_BC + place * 2 * N + w, rest_W, mask=w < 2 * N)
    y_E *= _silu(z_E)
    return x_D + _norm_scale(y_E, INNER) * _sum_rows(y_E[:, None] * out_ED, E, D, WARPS)


@triton.jit
def read(
    token, weights, state, count, floor,
    WIDTH: tl.constexpr, INNER: tl.constexpr, D: tl.constexpr, E: tl.constexpr, N: tl.constexpr, M: tl.constexpr,
    P: tl.constexpr, J: tl.constexpr, WARPS: tl.constexpr, LAYERS: tl.constexpr, V: tl.constexpr,
):  # fmt: skip
    """Return the model's activations after a token, before which `count` tokens were read; advance its state.

    weights: the embedding [V, D], the layers, the head [D, V].
    """
    layer_weights: tl.constexpr = D * (3 * E + M) + (J + 2) * (E + 2 * N) + 3 * E
    layer_state: tl.constexpr = (J + 1) * (E + 2 * N) + N * E
    x_D = tl.load(weights + token * D + tl.arange(0, D))
    for layer in range(LAYERS):
        own = weights + V * D + layer * layer_weights
        x_D = _mamba2(x_D, own, state + layer * layer_state, count, floor, WIDTH, INNER, D, E, N, M, P, J, WARPS)
    return x_D


@triton.jit
def logits(x_D, head, out, WIDTH: tl.constexpr, D: tl.constexpr, V: tl.constexpr, T: tl.constexpr, WARPS: tl.constexpr):
    """Return the logits [V], given the head's weights [D, V]; out: [V] in memory, for more than T of them."""
    scale = _norm_scale(x_D, WIDTH)
    if V <= T:
        logits_V = scale * _sum_rows(x_D[:, None] * _load(head, D, V), D, V, WARPS)
    else:
        d, t = tl.arange(0, D), tl.arange(0, T)
        for begin in range(0, V, T):
            head_DT = tl.load(head + d[:, None] * V + begin + t[None, :])
            tl.store(out + begin + t, scale * _sum_rows(x_D[:, None] * head_DT, D, T, WARPS))
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
