"""Tests of the advice after a training without success."""

import pytest

from tallystick import tasks
from tallystick.config import configure
from tallystick.training.advice import advise

ERROR = {
    "index": 0, "position": 9, "context": [*"abcdefghij"], "want": "x", "got": "y", "margin": -1.0,
}  # fmt: skip


def row(exact=10, margin=1.0, needed=10, k=7, carried=None, passed=False):
    held_out = {"length": 5, "samples": 10, "exact": exact, "token_accuracy": 0.9, "min_margin": margin}
    errors = [] if exact == 10 else [ERROR]
    return {
        "passed": passed,
        "held_out": held_out | {"needed": needed, "k": k, "train_overlap": 0.0, "first_errors": errors},
        "held_out_carried": None if carried is None else held_out | {"exact": carried},
    }


def said(model="mamba2", task="reverse", **known):
    return "\n".join(advise(configure(tasks.load(task), model, {}), row(**known)))


def test_success_needs_none():
    assert said(passed=True) == ""


def test_a_short_margin_takes_more_steps():
    assert said() == "it is nearly there: the smallest margin is 1.00 of 3; more steps"


def test_a_wrong_context_is_named():
    assert "after  c d e f g h i j  comes x, the model says y" in said(exact=9)


@pytest.mark.parametrize(
    ("model", "k", "advice"),
    [
        ("mamba2", 40, "the last 40 tokens are needed to decide everything: a longer memory, dt_min=0.001 dt_max=0.1"),
        ("mamba2", -1, "not even the last 64 tokens decide everything: a longer memory, dt_min=0.001 dt_max=0.1"),
        ("mamba2", -1, "`tallystick check reverse` says whether the program is local"),
        ("lstm", 40, "the last 40 tokens are needed to decide everything: a larger model"),
    ],
)
def test_what_lies_far_back_takes_a_longer_memory(model, k, advice):
    assert advice in said(model, exact=3, k=k)
    assert advice not in said(model, exact=3)


def test_texts_are_not_told_of_notes_and_memory():
    """Notes are for symbolic programs, and a round of a text is longer than what is looked at."""
    assert "annotate" not in said("mamba2:tiny", "codefix", exact=3, k=-1)
    assert "more steps" in said("mamba2:tiny", "codefix", exact=3, k=-1)


def test_names_to_copy_take_larger_batches():
    assert "more than 10 problems are needed to meet all contexts" in said(exact=3, needed=200)
    assert "batch_size=32" in said(exact=3, needed=200)


def test_a_used_state_takes_more_steps():
    assert said(carried=8).startswith("all are exact from a zero state, but not from the final state of another")


def test_lookup_takes_more_examples():
    assert said("lookup", exact=3).endswith("more examples: examples=16000")


def test_logits_that_are_no_numbers():
    assert said(exact=0, margin=None).endswith("more steps, or another lr than 0.006")
