"""The `solve` command: let a trained model solve one problem, or work in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tallystick.cli.console import Trace, result
from tallystick.cli.options import (
    Backend,
    Folder,
    Json,
    app,
    fail,
    print_json,
)
from tallystick.cli.sandbox import Sandbox

if TYPE_CHECKING:  # imports torch, which takes a second
    from tallystick.runs import Run


@app.command()
def solve(
    folder: Folder,
    problem: Annotated[str, typer.Argument(help='such as "123+456"; for an agent, the folder to work in a copy of')],
    prompt: Annotated[str | None, typer.Option(help="what an agent is to do; by default what its task says")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="new folder for the agent's copy")] = None,
    in_place: Annotated[bool, typer.Option("--in-place", help="write the agent's changes into its folder")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="print the agent's changes as a unified diff")] = False,
    sandbox: Sandbox = None,
    trace: Annotated[bool, typer.Option("--trace", help="print the episode on stderr")] = False,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="maximum number of tokens of the whole episode")] = None,
    backend: Backend = "auto",
    as_json: Json = False,
) -> None:
    """Let the model solve one problem and print the answer alone.

    An agent, the model of a text task, works in a copy of a folder, and its answer is the list of files that it
    changed. Exits with 1 if the answer is wrong or there is none, or if the agent is stopped.
    """
    import torch

    from tallystick import runs

    run = runs.load(folder)
    torch.set_num_threads(run.config.settings.threads)
    if run.task.text:
        from tallystick.cli import agent

        order = agent.Order(Path(problem), prompt, out, in_place, sandbox, max_tokens, backend)
        agent.work(run, order, trace, diff, as_json)
        return
    given = {"--prompt": prompt, "--out": out, "--in-place": in_place, "--diff": diff, "--sandbox": sandbox}
    for option, value in given.items():
        if value not in (None, False):
            raise ValueError(f"{option} has no effect: {run.task.name} is no text task, whose models work in folders")
    _answer(run, problem, trace, max_tokens, backend, as_json)


def _answer(run: Run, problem: str, trace: bool, max_tokens: int | None, backend: str, as_json: bool) -> None:
    """Print the answer to a problem of symbols."""
    from tallystick import engine

    prompt = run.task.parse(problem)
    sink = Trace(run.task) if trace else None
    (episode,) = engine.generate(run.model, run.task, [prompt], max_tokens=max_tokens, sink=sink, backend=backend)
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
