"""The `solve` command: let a trained model solve one problem."""

from __future__ import annotations

import sys
from typing import Annotated

import numpy as np
import typer

from tallystick.cli.console import ERR, coloured, result
from tallystick.cli.options import (
    Folder,
    Json,
    app,
    fail,
    print_json,
)
from tallystick.tasks import Task


@app.command()
def solve(
    folder: Folder,
    problem: Annotated[str, typer.Argument(help='the problem, such as "123+456"')],
    trace: Annotated[bool, typer.Option("--trace", help="print the episode on stderr")] = False,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="maximum number of tokens of the whole episode")] = None,
    as_json: Json = False,
) -> None:
    """Let the model solve one problem and print the answer alone. Exits with 1 if it is wrong or there is none."""
    import torch

    from tallystick import engine, runs

    run = runs.load(folder)
    torch.set_num_threads(run.config.settings.threads)
    prompt = run.task.parse(problem)
    sink = Trace(run.task) if trace else None
    (episode,) = engine.generate(run.model, run.task, [prompt], max_tokens=max_tokens, sink=sink)
    answer = run.task.part_of(prompt)[0].format(episode.output)
    if as_json:
        print_json({"answer": answer, "right": episode.answer, "exact": episode.exact, "stop": episode.stop,
                     "tokens": episode.tokens, "first_error": episode.first_error})  # fmt: skip
    elif episode.stop == "eos":
        result(answer)
    if episode.stop != "eos":
        raise SystemExit(fail(f"no answer: {episode.stop} after {episode.tokens:,} tokens", 1))
    if not episode.answer:
        raise SystemExit(fail("the answer is wrong: it differs from the ground truth", 1))


class Trace:
    """A sink that prints an episode on stderr while it runs, coloured by role."""

    def __init__(self, task: Task):
        self._task = task
        self._skip = 1  # [BOS]

    def write(self, ids: np.ndarray, roles: np.ndarray) -> None:
        """Print a block."""
        ERR.print(coloured(ids[self._skip :], roles[self._skip :], self._task), end="", soft_wrap=True)
        self._skip = 0

    def close(self, ok: bool) -> None:
        """End the line."""
        print(file=sys.stderr)
