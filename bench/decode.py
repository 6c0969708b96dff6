"""Measure free-running decoding with a live pointer, compiled against eager, in one run.

    python bench/decode.py                   # one thread; about 3 minutes on an idle core
    python bench/decode.py --device cuda     # about a minute
    python bench/decode.py --device cuda --run runs/addition-mamba2-tiny-s0     # a trained model instead

The models are random, with a last layer fitted to the task `reverse`, which all of them then solve token for token; if
one does not, or if the backends differ in a token, no figure is printed. A figure is the number of tokens by which the
long episodes exceed the short ones over the seconds by which they take longer, prompts and observations included;
seconds are this process's own ("cpu") and the clock's ("wall"), the medians of REPEATS. On a GPU they are the clock's,
and begin when the programs have been recorded, which takes longer than decoding.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import time
from pathlib import Path

import torch

from tallystick import engine, runs, tasks
from tallystick.bench.fitted import fitted
from tallystick.engine import generation
from tallystick.engine.compared import Compared
from tallystick.engine.margins import low_margin
from tallystick.engine.reader import open_reader
from tallystick.models.base import Model
from tallystick.tasks import Task, runner
from tallystick.tools import Live

CODEFIX_VOCABULARY = 702
CASES: tuple[tuple[str, dict[str, object]], ...] = (
    ("mamba2:tiny", {}),
    ("mamba2:tiny", {"d_state": 32, "vocab_size": CODEFIX_VOCABULARY}),
    ("mamba1:small", {}),
    ("lstm:small", {}),
    ("gru:small", {}),
)
LENGTHS = {("eager", 1): (20, 120), ("eager", 64): (10, 40), ("cpu", 1): (500, 5500), ("cpu", 64): (50, 550)}
"""Lengths of the short and the long problems, by backend and number of sessions."""
REPEATS = 3
GPU_LENGTHS = {("eager", 1): (20, 120), ("eager", 64): (10, 40)}
GPU_LENGTHS |= {("cuda", 1): (1_000, 11_000), ("cuda", 64): (500, 4_500), ("cuda", 4096): (50, 450)}


def once(model: Model, task: Task, backend: str, sessions: int, length: int) -> tuple[int, float, float]:
    """Return the tokens, the process's seconds and the clock's seconds of one call."""
    prompts = [task.problem("bench", 0, length, index) for index in range(sessions)]
    wall, cpu = time.perf_counter(), time.process_time()
    results = engine.generate(model, task, prompts, backend=backend)
    seconds = time.process_time() - cpu, time.perf_counter() - wall
    assert all(result.exact and result.stop == "eos" for result in results)
    return sum(result.tokens for result in results), *seconds


def once_on_gpu(model: Model, task: Task, backend: str, sessions: int, length: int) -> tuple[int, float]:
    """Return the tokens and the clock's seconds of one call, without those in which programs are recorded."""
    prompts = [task.problem("bench", 0, length, index % 64) for index in range(sessions)]
    low = low_margin(model, task, prompts[0], torch.device("cuda"))
    episodes = [Compared(task, index, prompt, None, None, Live()) for index, prompt in enumerate(prompts)]
    torch.cuda.synchronize()
    wall = time.perf_counter()
    results = generation.run(open_reader(model, backend), task, iter(episodes), low)
    seconds = time.perf_counter() - wall
    assert all(result.exact and result.stop == "eos" for result in results)
    return sum(result.tokens for result in results), seconds


def speed_on_gpu(model: Model, task: Task, backend: str, sessions: int) -> float:
    """Return tokens a second of the clock."""
    tokens = len(runner.record(task, task.problem("bench", 0, 50, 0)).ids) / 50
    short, long = (max(int(length * 8 / tokens), 1) for length in GPU_LENGTHS[backend, sessions])
    once_on_gpu(model, task, backend, sessions, short)
    rates = []
    for _ in range(REPEATS):
        few, few_wall = once_on_gpu(model, task, backend, sessions, short)
        many, many_wall = once_on_gpu(model, task, backend, sessions, long)
        rates.append((many - few) / (many_wall - few_wall))
    return statistics.median(rates)


def check_equal(model: Model, task: Task) -> None:
    """Raise AssertionError if the kernel and torch differ in an episode, also with a damaged model."""
    prompts = [task.problem("bench", 1, length, index) for length in (1, 5, 20) for index in range(4)]
    for damage in (0.0, 0.02, 0.1):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += damage * parameter.std(correction=0) * torch.randn_like(parameter)
        eager, kernel = (engine.generate(model, task, prompts, backend=backend) for backend in ("eager", "cuda"))
        for one, other in zip(eager, kernel, strict=True):
            facts = [(each.stop, each.exact, each.tokens, each.model_tokens, each.output) for each in (one, other)]
            assert facts[0] == facts[1], (damage, facts)


def speed(model: Model, task: Task, backend: str, sessions: int) -> tuple[float, float]:
    """Return tokens a second of the process and of the clock."""
    short, long = LENGTHS[backend, sessions]
    once(model, task, backend, sessions, short)
    rates = []
    for _ in range(REPEATS):
        few, few_cpu, few_wall = once(model, task, backend, sessions, short)
        many, many_cpu, many_wall = once(model, task, backend, sessions, long)
        rates.append(((many - few) / (many_cpu - few_cpu), (many - few) / max(many_wall - few_wall, 1e-9)))
    return statistics.median(cpu for cpu, _ in rates), statistics.median(wall for _, wall in rates)


def main() -> None:
    """Print a line for each model and number of sessions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--run", type=Path, help="a run folder, for --device cuda")
    torch.set_num_threads(1)
    options = parser.parse_args()
    if options.device == "cuda":
        measure_gpu(options.run)
    else:
        measure_cpu()


def measure_cpu() -> None:
    task = tasks.load("reverse")
    for name, settings in CASES:
        model = fitted(name, task, **settings)
        for sessions in (1, 64):
            eager, compiled = (speed(model, task, backend, sessions) for backend in ("eager", "cpu"))
            print(
                f"{describe(name, settings)} {sessions:>2} sessions, tokens/s: eager {eager[0]:>8,.0f} cpu "
                f"{eager[1]:>8,.0f} wall, compiled {compiled[0]:>9,.0f} cpu {compiled[1]:>9,.0f} wall; "
                f"{compiled[0] / eager[0]:.0f} times; load {os.getloadavg()[0]:.1f}",
                flush=True,
            )


def measure_gpu(folder: Path | None) -> None:
    if folder is not None:
        run = runs.load(folder)
        print_gpu_rows(folder.name, run.model.to("cuda"), run.task)
        return
    task = tasks.load("reverse")
    for name, settings in CASES:
        if name.startswith("mamba2"):  # the kernel runs no other models
            print_gpu_rows(describe(name, settings), fitted(name, task, **settings).to("cuda"), task)


def print_gpu_rows(name: str, model: Model, task: Task) -> None:
    check_equal(copy.deepcopy(model), task)
    for sessions in (1, 64, 4096):
        backends = [backend for backend, count in GPU_LENGTHS if count == sessions]
        rates = {backend: speed_on_gpu(model, task, backend, sessions) for backend in backends}
        shown = ", ".join(f"{backend} {rate:>12,.0f}" for backend, rate in rates.items())
        print(f"{name} {sessions:>4} sessions, tokens/s: {shown}", flush=True)


def describe(name: str, settings: dict[str, object]) -> str:
    """Return a model's name and settings, padded."""
    given = " ".join(f"{key}={value}" for key, value in settings.items())
    return f"{name} {given:<25}"


if __name__ == "__main__":
    main()
