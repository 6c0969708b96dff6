"""Advice after a training run without success, based on its last validation."""

from __future__ import annotations

from collections.abc import Iterator

from tallystick import tasks
from tallystick.config import RunConfig
from tallystick.rows import HeldOutSummary, MetricsRow

FAR = 20
"""Number of last tokens that a model with the default settings remembers well."""
LONG_MEMORY = {"dt_min": 0.001, "dt_max": 0.1}
"""Settings with which a state space model remembers a thousand tokens."""
NEARLY = 0.9
"""Share of exact problems from which on more steps are the first advice."""


def advise(config: RunConfig, row: MetricsRow) -> list[str]:
    """Return advice on what to try, most promising first; none if training succeeded."""
    return [] if row["passed"] else list(_advice(config, row))


def _advice(config: RunConfig, row: MetricsRow) -> Iterator[str]:
    held_out, carried = row["held_out"], row["held_out_carried"]
    if held_out["exact"] < held_out["samples"]:
        yield from _memory(config, held_out)
        yield from _contents(config, held_out)
        yield from _errors(held_out)
    elif carried and carried["exact"] < carried["samples"]:
        yield "all are exact from a zero state, but not from the final state of another problem: more steps"
    if examples := config.model_settings.get("examples"):  # lookup has examples in place of steps
        yield f"more examples: examples={4 * examples}"
    elif held_out["exact"] >= NEARLY * held_out["samples"]:
        margin = min((m for s in (held_out, carried) if s and (m := s["min_margin"]) is not None), default=None)
        short = "" if margin is None else f": the smallest margin is {margin:.2f} of {config.settings.min_margin:g}"
        yield f"it is nearly there{short}; more steps"
    else:
        yield f"more steps, or another lr than {config.settings.lr:g}"


def _memory(config: RunConfig, held_out: HeldOutSummary) -> Iterator[str]:
    k = held_out["k"]
    if 0 <= k <= FAR or tasks.load(config.task).text:  # a round of texts is longer, and copies names
        return
    last = f"the last {k} tokens are needed to" if k > 0 else "not even the last 64 tokens"
    far = f"{last} decide everything"
    if longer := {key: value for key, value in LONG_MEMORY.items() if config.model_settings.get(key, value) > value}:
        yield f"{far}: a longer memory, {' '.join(f'{key}={value}' for key, value in longer.items())}"
    elif k > 0:
        yield f"{far}: a larger model"
    yield f"{far}: `tallystick check {config.task}` says whether the program is local, --annotate makes some so"


def _contents(config: RunConfig, held_out: HeldOutSummary) -> Iterator[str]:
    if held_out["needed"] > held_out["samples"]:
        yield (
            f"more than {held_out['samples']} problems are needed to meet all contexts, as where names are copied: "
            f"larger batches, batch_size={4 * config.settings.batch_size}"
        )


def _errors(held_out: HeldOutSummary) -> Iterator[str]:
    for error in held_out["first_errors"][:1]:
        context = " ".join(error["context"][-8:])
        yield f"a first error: after  {context}  comes {error['want']}, the model says {error['got'] or 'nothing'}"
