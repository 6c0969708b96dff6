"""Compile every Triton kernel of training for a Hopper GPU, without one; print how many there were.

A process of its own, since it replaces Triton's driver.
"""

import sys
from pathlib import Path

from triton.backends.compiler import GPUTarget
from triton.runtime import JITFunction, driver

sys.path.insert(0, str(Path(__file__).parent))
from test_triton import CASES, TOLERANCE  # noqa: E402

from tallystick.kernels import ssd_triton  # noqa: E402


class Hopper:
    """A driver that only knows its GPU."""

    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return 0


def main():
    """Call the kernels at real sizes, where each launch is replaced by its compilation."""
    compiled = set()

    def launch(kernel, grid):
        return lambda *given, **options: compiled.add(kernel.warmup(*given, grid=grid, **options).hash)

    ssd_triton.PROGRAMS, ssd_triton.SEGMENT = 1000, 1  # states are carried in segments
    driver.set_active(Hopper())
    JITFunction.__getitem__ = launch
    for case in CASES:
        for dtype in TOLERANCE:
            made = case(2, 70, dtype, "cpu", resets=True)
            made.shape = case.real
            made.with_gradients(made.kernel, [tensor.requires_grad_() for tensor in made.inputs()])
    print(len(compiled))


if __name__ == "__main__":
    main()
