"""Tests of the control state: live locals, descriptions of values, and positions of frames."""

import dis
import sys

import pytest

from tallystick.tasks.annotate.control import Named, Opaque, Site, describe, open_frames
from tallystick.tasks.annotate.liveness import live_locals
from tallystick.tasks.reverse import Reverse


def here(depth=1):
    """Return the open frames of the calling function, as if its own caller ran programs."""
    frame = sys._getframe(depth)
    assert frame.f_back is not None
    return open_frames(frame, frame.f_back.f_code)


def live_here():
    return {name for _, name in Site.of(here(2)).locals}


def overwritten(x, y):
    seen = live_here()
    x = y
    return seen, x


def branches(x, y, z):
    seen = live_here()
    if z:
        return seen, x
    y = 0
    return seen, y


def loops(items, done):
    total, seen = 0, []
    for item in items:
        twice = item * 2
        seen = live_here()
        total += twice
    return seen, total


def loop_variable(count):
    seen = set()
    for _ in range(count):
        seen = live_here()
    after = live_here()
    return seen, after


def pairs(items):
    seen = set()
    for i, _name in enumerate(items):
        del i
        seen = live_here()
    return seen, 0


def handled(x, y):
    seen = set()
    try:
        seen = live_here()
        y = 1 / x
    except ZeroDivisionError:
        return seen, y
    return seen, 0


def shared(x):
    inner = lambda: x  # noqa: E731
    seen = live_here()
    return seen, inner


@pytest.mark.parametrize(
    ("function", "arguments", "names"),
    [
        (overwritten, (1, 2), {"y"}),
        (branches, (1, 2, 3), {"x", "z"}),
        (loops, ((1, 2), 5), {"twice", "total", "item"}),
        (loop_variable, (2,), {"_"}),
        (pairs, ("ab",), {"_name", "i"}),
        (handled, (1, 2), {"x", "y"}),
        (shared, (1,), {"x", "inner"}),
    ],
)
def test_live_locals(function, arguments, names):
    assert function(*arguments)[0] - {"seen"} == names


def test_a_loop_variable_is_dead_after_the_loop():
    assert loop_variable(2)[1] == {"seen"}


def test_every_instruction_has_its_live_locals():
    for function in (overwritten, loops, handled, describe, open_frames, test_live_locals):
        live = live_locals(function.__code__)
        assert {i.offset for i in dis.get_instructions(function)} <= live.keys()


class Foreign:
    pass


@pytest.mark.parametrize(
    ("value", "described"),
    [
        ("a", "a"),
        (3, 3),
        (None, None),
        ([1, ["b"]], (1, ("b",))),
        ({"b", "a"}, ("a", "b")),
        ({"a": [1]}, (("a", (1,)),)),
        (len, (Opaque("module"), Named("len"))),
        (Foreign, Named("Foreign")),
        (Reverse(), Named("self")),
        (Foreign(), Opaque("Foreign")),
    ],
)
def test_descriptions(value, described):
    assert describe(value) == described


def test_an_iterator_is_described_by_what_is_left_of_it():
    first, second = iter([1, 2]), iter([1, 2])
    assert describe(first) == describe(second)
    next(first)
    assert describe(first) != describe(second)
    assert describe(first) == describe(first)  # looking at it takes nothing from it
    assert next(first) == 2


def test_methods_of_different_objects_are_described_differently():
    assert describe([].append) != describe([1].append)
    assert describe([].append) == describe([].append)


def test_places_are_named_by_function_and_line():
    assert [str(place) for place in Site.of(here()).places] == ["test_places_are_named_by_function_and_line+1"]
