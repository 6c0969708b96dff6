"""Measure a giant addition, which is produced, verified and trained on without ever being in memory as a whole.

    python bench/giant.py RUN                                # RUN: a folder made by `tallystick train addition`
    python bench/giant.py RUN --digits 100000 --uses verify

Each use runs in a separate process, first on 1,000 digits and then on all, and prints its tokens, seconds and peak
memory. Part of that memory is the tool's own: the numbers and everything said about them, 2 bytes per token. Training
is one pass over the one example in batches of 1 x 8,192 tokens, on a copy of RUN's model, which is verified afterwards.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from core import Count

from tallystick import runs
from tallystick.data.packing import Batch, Packer
from tallystick.evaluation.verify import verify, verify_recorded
from tallystick.tasks import runner
from tallystick.training.trainer import Trainer

ROW_TOKENS = 8192


def produce(run: runs.Run, prompt: list[str]) -> dict[str, Any]:
    """Run the program through the Workspace, with all its checks."""
    sink = Count()
    runner.run(run.task, prompt, sink)
    return {"tokens": sink.tokens}


def check(run: runs.Run, prompt: list[str]) -> dict[str, Any]:
    """Verify the problem, teacher-forced to its end."""
    (result,) = verify(run.model, run.task, [prompt])
    return {"tokens": result.tokens, "exact": result.exact, "min_margin": round(result.min_margin, 2)}


def train(run: runs.Run, prompt: list[str]) -> dict[str, Any]:
    """Train one pass over the problem; then count the held-out problems that are still exact."""
    device = next(run.model.parameters()).device.type
    settings = replace(run.config.settings, device=device, lr=1e-4, warmup=1)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(Path(folder), replace(run.config, settings=settings), lambda row: None)
    trainer.model.load_state_dict(run.model.state_dict())

    def emit(batch: Batch, position: Any) -> None:
        trainer.update(batch)

    packer = Packer(1, ROW_TOKENS, emit)
    packer.begin(0)
    runner.run(run.task, prompt, packer)
    packer.drain()
    after = verify_recorded(trainer.model, run.task, trainer.validation.held_out)
    worst = max(float(loss) for loss in trainer.losses)
    return {
        "tokens": trainer.tokens,
        "steps": trainer.step,
        "largest_loss": round(worst, 6),
        "held_out": f"{sum(result.exact for result in after)}/{len(after)}",
    }


USES = {"produce": produce, "verify": check, "train": train}


def one(folder: str, use: str, digits: int, device: str) -> None:
    """Print the figures of one use as JSON; to be run in a separate process."""
    torch.set_num_threads(1)
    run = runs.load(folder, device)
    prompt, began = run.task.problem("test", 0, digits, 0), time.perf_counter()
    figures = USES[use](run, prompt) | {"seconds": round(time.perf_counter() - began, 1)}
    figures["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    if device == "cuda":
        figures["peak_gpu_mb"] = round(torch.cuda.max_memory_allocated() / 2**20)
    print(json.dumps(figures))


def main() -> None:
    """Print one line per use and size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run folder of addition")
    parser.add_argument("--digits", type=int, default=1_000_000)
    parser.add_argument("--uses", nargs="+", default=list(USES), choices=list(USES))
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    for use in options.uses:
        for digits in (1000, options.digits):
            arguments = (options.run, use, digits, options.device)
            code = f"import sys; sys.path.insert(0, 'bench'); import giant; giant.one(*{arguments!r})"
            done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
            print(f"{use}, {digits:,} digits: {done.stdout.strip()}", flush=True)


if __name__ == "__main__":
    main()
