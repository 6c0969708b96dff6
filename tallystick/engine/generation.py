"""generate: free-running greedy decoding with the live tools in the loop, which is what `verify` predicts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from itertools import chain, islice

import torch

from tallystick.engine.compared import Compared, Generated
from tallystick.engine.interface import Reader
from tallystick.engine.margins import low_margin
from tallystick.engine.reader import Compiled, check_backend, open_reader
from tallystick.engine.speaker import speak
from tallystick.episode import Sink
from tallystick.models.base import Model
from tallystick.tasks import Task
from tallystick.tools import Live

BATCH = 64
"""Number of episodes decoded in one batch."""


def generate(
    model: Model,
    task: Task,
    prompts: Iterable[list[str]],
    *,
    max_tokens: int | None = None,
    sink: Sink | None = None,
    sandbox: str = "auto",
    backend: str = "auto",
) -> list[Generated]:
    """Let the model solve each problem with live tools, greedily.

    Exactness is measured against the program's trajectory, which is recorded first. max_tokens: limit on the whole
    episode, by default 1.1 x the program's tokens + 64. sink: also receives the tokens; only for a single prompt.
    sandbox: where its command lines run, if it has any. backend: how the model is run, one of `reader.BACKENDS`. Raises
    ProgramError if the program is wrong.
    """
    check_live(task)
    check_backend(backend)
    numbered, results, low = enumerate(prompts), list[Generated](), 0.0
    while part := list(islice(numbered, BATCH)):
        assert sink is None or (len(part) == 1 and not results)
        if not results:
            low = low_margin(model, task, part[0][1], _device(model))
        reader = open_reader(model, backend)
        if reader.backend == "cuda":  # a slot that becomes free takes the next problem
            part = chain(part, numbered)
        episodes = (Compared(task, i, prompt, max_tokens, sink, Live(sandbox)) for i, prompt in part)
        results += run(reader, task, episodes, low)
    return results


def check_live(task: Task) -> None:
    """Check that a model of this task works with tools that can be run. Raises ValueError if not."""
    if task.predict_observations:
        raise ValueError(f"{task.name}, {task.variant}: this model works without tools; measure it with verify")
    if not task.live:
        raise ValueError(f"{task.name} is recorded: there is no live tool to run for a model; measure it with verify")


def run(reader: Reader, task: Task, episodes: Iterator[Compared], low: float) -> list[Generated]:
    """Run the episodes to their ends, in machine code if the tools run there, too."""
    if reader.backend == "cuda":
        from tallystick.engine.gpu import OnGPU  # late imports, since they import Triton
        from tallystick.engine.pool import Pool

        assert isinstance(reader, OnGPU)
        return Pool(reader, task, low).run(episodes)
    with ExitStack() as open_tools:
        speakers = [open_tools.enter_context(closing(episode)) for episode in episodes]
        if isinstance(reader, Compiled):
            from tallystick.engine import native  # a late import, since it imports numba

            if native.grammars(task, [speaker.prompt for speaker in speakers]) is not None:
                ended = native.Episodes(reader, task, [speaker.order() for speaker in speakers], low).run()
                for speaker, outcome in zip(speakers, ended, strict=True):
                    speaker.take_outcome(outcome)
                return [speaker.finish() for speaker in speakers]
        for speaker in speakers:
            speaker.low = low
        speak(reader, speakers)
        return [speaker.finish() for speaker in speakers]


def _device(model: Model) -> torch.device:
    return next(iter(model.state_dict().values())).device
