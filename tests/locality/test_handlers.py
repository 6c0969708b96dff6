"""Exception handlers: those that CPython adds tell a program nothing; those that a program writes may."""

import sys
from contextlib import nullcontext

import pytest

from tallystick.locality.extraction.handlers import caught


def in_a_comprehension(call):
    return [call() for _ in range(3)]


def in_a_nested_comprehension(call):
    return [[call() for _ in range(2)] for _ in range(3)]


def in_a_generator(call):
    for _ in range(3):
        yield call()


def in_a_loop(call):
    for _ in range(3):
        call()


def handled(call):
    try:
        call()
    except ValueError:
        return 1


def handled_around_a_comprehension(call):
    try:
        return [call() for _ in range(3)]
    except ValueError:
        return []


def handled_in_a_generator(call):
    try:
        yield call()
    except ValueError:
        yield 0


def called_finally(call):
    try:
        call()
    finally:
        repr(call)


def in_a_context(call):
    with nullcontext():
        call()


def places(function):
    """Run a function; return where its own code stood at each call of its argument."""
    found = set()

    def call():
        frame = sys._getframe()
        while frame.f_code is not function.__code__:
            frame = frame.f_back
        found.add(frame.f_lasti)

    list(function(call) or ())
    return found


@pytest.mark.parametrize("function", [in_a_comprehension, in_a_nested_comprehension, in_a_generator, in_a_loop])
def test_what_is_only_raised_again_is_not_caught(function):
    assert not caught(function.__code__)


@pytest.mark.parametrize(
    "function", [handled, handled_around_a_comprehension, handled_in_a_generator, called_finally, in_a_context]
)
def test_what_a_program_handles_is_caught(function):
    assert places(function) <= caught(function.__code__)
