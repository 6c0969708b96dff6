"""Tests of loading a user's own Python file."""

import sys

import pytest

from tallystick import userfile

DATACLASS = """
from __future__ import annotations
from dataclasses import dataclass

@dataclass
class A:
    x: int = 1
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "own.py"
        path.write_text(text)
        return path

    return write


def test_the_module_is_executed_afresh(write):
    assert userfile.load(write("x = 1")).x == 1
    assert userfile.load(write("x = 2")).x == 2


def test_dataclasses_find_their_module(write):
    assert userfile.load(write(DATACLASS)).A().x == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def (", r"own.py does not run: SyntaxError: .*line 1"),
        ("import nothing_of_this_name", "own.py does not run: ModuleNotFoundError: No module named .*, line 1$"),
        ("\nraise ValueError('one\\n  two')", "own.py does not run: ValueError: one two, line 2$"),
        ("import sys\nsys.exit(3)", "own.py does not run: SystemExit: 3, line 2$"),
        ("x = '\\0'[5]", "own.py does not run: IndexError: .*, line 1$"),
        ("import json\n\njson.loads('[')", "own.py does not run: JSONDecodeError: .*, line 3$"),
    ],
)
def test_a_file_that_does_not_run(write, text, message):
    with pytest.raises(ValueError, match=message) as error:
        userfile.load(write(text))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["none.py", "."])
def test_a_missing_file(tmp_path, name):
    with pytest.raises(ValueError, match="no file"):
        userfile.load(tmp_path / name)


@pytest.mark.parametrize("before", [False, True])
def test_writing_bytecode_is_as_it_was(write, monkeypatch, before):
    monkeypatch.setattr(sys, "dont_write_bytecode", before)
    userfile.load(write("x = 1"))
    with pytest.raises(ValueError, match="does not run"):
        userfile.load(write("1 / 0"))
    assert sys.dont_write_bytecode == before
