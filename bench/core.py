"""Measure the core on one thread: trajectories, check, lookup, verify's memory, generate against verify, solve.

    python bench/core.py RUN        # RUN: a folder made by `tallystick train addition`; about 6 minutes

Each figure is printed with its counts. Its preconditions are asserted; if one fails, the figure is not printed.
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from tallystick import engine, locality, models, runs, tasks
from tallystick.evaluation.verify import verify
from tallystick.locality import sequences
from tallystick.tasks import runner


class Count:
    """A sink that counts tokens."""

    tokens = 0

    def write(self, ids: np.ndarray, roles: np.ndarray) -> None:
        """Count a block."""
        self.tokens += len(ids)

    def close(self, ok: bool) -> None:
        """Refuse a program whose answer is wrong."""
        assert ok


def trajectories(digits: int, problems: int) -> str:
    """Measure tokens per second through the Workspace, with all its checks."""
    task, sink = tasks.load("addition"), Count()
    prompts = [task.problem("bench", 0, digits, i) for i in range(problems)]
    began = time.perf_counter()
    for prompt in prompts:
        runner.run(task, prompt, sink)
    seconds = time.perf_counter() - began
    return f"trajectories, {digits:,} digits: {sink.tokens / seconds:,.0f} tokens/s ({sink.tokens:,} tokens)"


def check() -> str:
    """Time `check` on 3,000 problems of at most 50 digits."""
    began = time.perf_counter()
    (row,) = locality.check(tasks.load("addition"), [50], problems=3000)["rows"]
    assert (row["k"], row["coverage"]) == (7, 1.0)
    return f"check, 3,000 problems of at most 50 digits: {time.perf_counter() - began:.1f} s, k = 7, covered"


def lookup(variant: str, digits: int, problems: int) -> str:
    """Verify lookup, fitted to 1,000 problems of at most 5 digits."""
    task = tasks.load("addition", variant)
    model = models.build("lookup", vocab_size=len(task.vocab)).fit(sequences.sample(task, "train", 0, 5, 1000))
    results = verify(model, task, [task.problem("test", 0, digits, i) for i in range(problems)])
    error = results[0].first_error
    words = f"; {results[0].stop} after {' '.join(error['context'][-4:])}" if error else ""
    return f"lookup, {variant}, {digits:,} digits: {sum(r.exact for r in results)} of {problems} exact{words}"


def same(run: runs.Run, digits: int, problems: int) -> str:
    """Count the problems on which generate and verify agree."""
    prompts = [run.task.problem("test", 0, digits, i) for i in range(problems)]
    began = time.perf_counter()
    generated = engine.generate(run.model, run.task, prompts)
    seconds = time.perf_counter() - began
    pairs = zip(verify(run.model, run.task, prompts), generated, strict=True)
    equal = sum((a.exact, a.model_tokens) == (b.exact, b.model_tokens) for a, b in pairs)
    exact = sum(result.exact for result in generated)
    counts = f"{equal} of {problems} equal, {exact} exact"
    return f"generate = verify, {digits:,} digits: {counts}, generated in {seconds:.0f} s"


def memory(folder: Path, digits: int) -> tuple[str, float]:
    """Verify one problem in a separate process; return the figures as text, and its peak memory in MB."""
    code = f"import sys; sys.path.insert(0, 'bench'); import core; core.verify_one({str(folder)!r}, {digits})"
    words = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    peak, exact, tokens, seconds = float(words[0]), words[1], int(words[2]), float(words[3])
    speed = f"{tokens:,} tokens, {tokens / seconds:,.0f} a second"
    return f"verify, {digits:,} digits: {exact} exact, {speed}, peak {peak:.0f} MB", peak


def verify_one(folder: str, digits: int) -> None:
    """Print peak memory in MB, exact problems, tokens and seconds."""
    torch.set_num_threads(1)
    run = runs.load(folder)
    prompt = run.task.problem("test", 0, digits, 0)
    began = time.perf_counter()
    (result,) = verify(run.model, run.task, [prompt])
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(peak, int(result.exact), result.tokens, seconds)


def solve(folder: Path, digits: int) -> str:
    """Time the command `solve` on two long numbers."""
    rng = random.Random(0)
    a, b = (str(rng.randint(1, 9)) + "".join(rng.choices("0123456789", k=digits - 1)) for _ in range(2))
    sys.set_int_max_str_digits(0)
    command = [sys.executable, "-m", "tallystick", "solve", str(folder), f"{a}+{b}"]
    began = time.perf_counter()
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed == f"{int(a) + int(b)}\n"
    return f"solve, two numbers of {digits:,} digits: the sum, alone, in {time.perf_counter() - began:.0f} s"


def main() -> None:
    """Print all figures."""
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    for digits, problems in ((5, 10_000), (1000, 50), (100_000, 1)):
        print(trajectories(digits, problems), flush=True)
    print(check(), flush=True)
    print(lookup("local", 10_000, 5), lookup("paper", 1000, 5), sep="\n", flush=True)
    (short, low), (long, high) = memory(folder, 1000), memory(folder, 100_000)
    print(short, long, f"difference: {high - low:.0f} MB", sep="\n", flush=True)
    print(same(runs.load(folder), 1000, 3), flush=True)
    print(solve(folder, 3000), flush=True)


if __name__ == "__main__":
    main()
