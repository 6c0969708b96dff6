"""Tests of `generate` with every tool: observations of several tokens, and episodes ended by a tool."""

import pytest

from tallystick import Task, engine, models, tasks
from tallystick.episode import Recorder, StopReason
from tallystick.evaluation.verify import verify
from tallystick.locality import sequences
from tallystick.tasks.runner import run


class Sum(Task):
    """A task that asks the calculator."""

    symbols = "0123456789+"
    tools = ("calculator",)

    def sample(self, length, rng):
        return [*rng.choices("123456789", k=length), "+", "7"]

    def answer(self, prompt):
        return [*str(int("".join(prompt[:-2])) + int(prompt[-1]))]

    def solve(self, w):
        total = w.call("add", w.prompt[:-2], w.prompt[-1])
        w.answer()
        w.output(*total)


def knows(task, prompts):
    """Return lookup fitted to the same problems, which says what the programs say."""
    return models.build("lookup", vocab_size=len(task.vocab)).fit([sequences.of(task, p) for p in prompts])


@pytest.mark.parametrize("name", ["turing:bb4", "turing:increment", "logic-graph", "sum"])
def test_generate_is_verify_whatever_the_tool(name):
    task = Sum() if name == "sum" else tasks.load(name)
    prompts = [task.problem("test", 0, length, 0) for length in (5, 6)]
    model = knows(task, prompts)
    verified, generated = verify(model, task, prompts), engine.generate(model, task, prompts)
    for prompt, one, other in zip(prompts, verified, generated, strict=True):
        run(task, prompt, sink := Recorder())
        assert (one.exact, other.exact, other.stop, other.answer) == (True, True, StopReason.EOS, True)
        assert one.tokens == other.tokens == len(sink.ids)


@pytest.mark.parametrize(
    ("script", "stop"),
    [
        ("[call] add 1 2 , 7 [/call] [ANS] 1 9 [EOS]", StopReason.EOS),
        ("[ANS] 1 9 [EOS]", StopReason.EOS),
        ("[call] add 1 2 [/call]", StopReason.TOOL_ERROR),
        ("[call] 1 2 , 7 [/call]", StopReason.TOOL_ERROR),
        ("[call] add [EOS]", StopReason.BAD_COMMAND),
        ("[call] [call]", StopReason.BAD_COMMAND),
        ("[/call]", StopReason.BAD_COMMAND),
        ("[obs]", StopReason.BAD_COMMAND),
        ("[call] 1", StopReason.TOKEN_LIMIT),
    ],
)
def test_how_an_episode_with_a_tool_ends(says, script, stop):
    (result,) = engine.generate(says(Sum(), script.split()), Sum(), [[*"12+7"]])
    assert result.stop == stop
    assert result.answer == result.score == (stop == StopReason.EOS)
