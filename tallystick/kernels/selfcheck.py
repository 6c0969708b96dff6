"""A small comparison of the Triton kernels with the reference on this machine, before their first use.

A compiler or driver may be wrong where another is right. Each check runs values and gradients of one kernel at an ugly
size, with resets, and returns the largest difference as a share of the tensor's largest entry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F

from tallystick.kernels import reference

TOLERANCE = 1e-4
"""Maximum difference in fp32, as a share of a tensor's largest entry."""


def difference(name: str) -> str:
    """Return what is wrong with the kernels on this machine, or ""."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with ExitStack() as stack:  # apart from the caller's random numbers, precision, and counting of saved tensors
        stack.enter_context(torch.random.fork_rng([device] if device == "cuda" else []))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autocast(device, enabled=False))
        stack.enter_context(saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor))
        torch.manual_seed(0)
        try:
            error = _error(*CHECKS[name](device))
        except Exception as problem:  # a compiler may raise anything
            reason = " ".join(str(problem).split())[:200]
            return f"the kernels of {name} fail on this GPU ({type(problem).__name__}: {reason})"
    if error <= TOLERANCE:
        return ""
    return f"the kernels of {name} differ from the reference by {error:.0e} of the largest value on this GPU"


def _error(inputs: Sequence[Tensor], fast: Callable, plain: Callable) -> float:
    """Return the largest difference of results and gradients; NaN counts as infinite."""
    got = _with_gradients(fast, [tensor.clone().requires_grad_() for tensor in inputs])
    want = _with_gradients(plain, [tensor.double().requires_grad_() for tensor in inputs])
    differences = [(a - b).detach().abs().max() / b.detach().abs().max() for a, b in zip(got, want, strict=True)]
    return torch.stack(differences).nan_to_num(nan=torch.inf).max().item()


def _with_gradients(form: Callable, inputs: list[Tensor]) -> list[Tensor]:
    results = form(*inputs)
    weights = [torch.linspace(-1, 1, r.numel(), device=r.device).view(r.shape) for r in results]
    loss = torch.stack([(r * w).sum() for r, w in zip(results, weights, strict=True)]).sum()
    return [*results, *torch.autograd.grad(loss, inputs)]


def _resets(rows: int, length: int, device: str) -> Tensor:
    reset_BL = torch.zeros(rows, length, dtype=torch.bool, device=device)
    reset_BL[0, 5] = reset_BL[1, 63] = True
    return reset_BL


def _convolution(device: str) -> tuple[list[Tensor], Callable, Callable]:
    from tallystick.kernels.conv_triton import conv_silu

    reset_BL = _resets(2, 70, device)
    inputs = [torch.randn(shape, device=device) for shape in [(2, 70, 5), (2, 3, 5), (5, 1, 4), (5,)]]

    def plain(x: Tensor, tail: Tensor, weight: Tensor, bias: Tensor) -> list[Tensor]:
        padded, keep = torch.cat([tail, x], 1), torch.ones(2, 70, 1, device=device, dtype=torch.bool)
        total = bias.expand(2, 70, 5)
        for back in range(4):
            total = total + padded[:, 3 - back : 73 - back] * keep * weight[:, 0, 3 - back]
            keep = keep & ~F.pad(reset_BL, (back, 0))[:, :70, None]
        return [F.silu(total)]

    return inputs, lambda *given: [conv_silu(*given, reset_BL)], plain


def _norm(device: str) -> tuple[list[Tensor], Callable, Callable]:
    from tallystick.kernels.norm_triton import gated_norm

    inputs = [torch.randn(shape, device=device) for shape in [(3, 5, 96), (3, 5, 96), (96,)]]

    def plain(x: Tensor, z: Tensor, weight: Tensor) -> list[Tensor]:
        return [F.rms_norm(x * F.silu(z), (96,), weight, 1e-5)]

    return inputs, lambda *given: [gated_norm(*given, 1e-5, torch.float32)], plain


def _ssd(device: str) -> tuple[list[Tensor], Callable, Callable]:
    from tallystick.kernels.ssd_triton import ssd

    heads, channels, entries, reset_BL = 3, 24, 20, _resets(2, 130, device)
    shapes = [(2, 130, heads * channels + 2 * entries), (2, 130, heads), (heads,), (heads,), (heads,)]
    inputs = [torch.randn(shape, device=device) for shape in [*shapes, (2, heads, channels, entries)]]

    def fast(xBC: Tensor, raw_dt: Tensor, bias: Tensor, A_log: Tensor, D: Tensor, state: Tensor) -> tuple[Tensor, ...]:
        return ssd(xBC, raw_dt, bias, -A_log.exp(), D, state, reset_BL, None, 0.1)

    def plain(xBC: Tensor, raw_dt: Tensor, bias: Tensor, A_log: Tensor, D: Tensor, state: Tensor) -> tuple[Tensor, ...]:
        x, B, C = xBC.split((heads * channels, entries, entries), -1)
        dt, x = F.softplus(raw_dt + bias) + 0.1, x.unflatten(-1, (heads, channels))
        y, state = reference.ssd_recurrent(x, dt, -A_log.exp(), B, C, state, reset_BL, D)
        return y.flatten(2), state

    return inputs, fast, plain


def _scan(device: str) -> tuple[list[Tensor], Callable, Callable]:
    from tallystick.kernels.scan_triton import gated_scan

    reset_BL, channels, entries = _resets(2, 70, device), 40, 16
    shapes = [(2, 70, 3 * channels), (channels,), (channels, entries), (2, 70, 2 * entries), (channels,)]
    inputs = [torch.randn(shape, device=device) for shape in [*shapes, (2, channels, entries)]]

    def fast(xzt: Tensor, bias: Tensor, A_log: Tensor, BC: Tensor, D: Tensor, state: Tensor) -> tuple[Tensor, ...]:
        return gated_scan(*xzt.chunk(3, -1), bias, -A_log.exp(), BC, D, state, reset_BL, None, 0.1)

    def plain(xzt: Tensor, bias: Tensor, A_log: Tensor, BC: Tensor, D: Tensor, state: Tensor) -> tuple[Tensor, ...]:
        x, z, raw_dt = xzt.chunk(3, -1)
        dt, (B, C) = F.softplus(raw_dt + bias) + 0.1, BC.chunk(2, -1)
        y, state = reference.selective_scan(x, dt, -A_log.exp(), B, C, state, reset_BL)
        return (y + x * D) * F.silu(z), state

    return inputs, fast, plain


CHECKS: dict[str, Callable[[str], tuple[list[Tensor], Callable, Callable]]] = {
    "conv_triton": _convolution,
    "norm_triton": _norm,
    "ssd_triton": _ssd,
    "scan_triton": _scan,
}
"""Inputs, kernels and reference, by the kernels' module."""
