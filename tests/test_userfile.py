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


@pytest.fixture
def folders(tmp_path):
    """Return two files that import a helper and a package of the same names beside them."""
    files = []
    for name in "ab":
        inner = tmp_path / name / "inner"
        inner.mkdir(parents=True)
        (inner.parent / "helper.py").write_text(f"from inner import deep\nNAME = {name!r} + deep.NAME\n")
        (inner / "__init__.py").write_text("")
        (inner / "deep.py").write_text(f"NAME = {name.upper()!r}\n")
        file = inner.parent / "own.py"
        file.write_text("import helper\nimport inner.deep\ndef late():\n    from helper import NAME\n    return NAME\n")
        files.append(file)
    return files


def test_each_folder_has_its_own_neighbours(folders):
    """A helper's imports, and those of a function that runs later, find them too."""
    a, b = map(userfile.load, folders)
    assert (a.helper.NAME, b.helper.NAME) == ("aA", "bB")
    assert (a.late(), b.late()) == ("aA", "bB")
    assert (a.inner.deep.NAME, b.inner.deep.NAME) == ("A", "B")


def test_neighbours_are_executed_afresh(folders):
    userfile.load(folders[0])
    (folders[0].parent / "helper.py").write_text("NAME = 'new'\n")
    assert userfile.load(folders[0]).late() == "new"


def test_neighbours_are_listed(folders):
    """Those that are imported by neighbours are, others and libraries are not."""
    folder = folders[0].parent
    (folder / "unused.py").write_text("")
    (folder / "json.py").write_text("")
    (folder / "helper.py").write_text("import json, numpy\nfrom later import X\n")
    (folder / "later.py").write_text("import own\nX = 1\n")
    names = [str(file.relative_to(folder)) for file in userfile.neighbours(folders[0])]
    assert sorted(names) == ["helper.py", "inner/__init__.py", "inner/deep.py", "later.py"]


def test_the_package_is_no_neighbour_of_a_file_beside_it(tmp_path, monkeypatch):
    """A task's file may lie in a clone of this repository."""
    (tmp_path / "tallystick").mkdir()
    (tmp_path / "tallystick" / "__init__.py").write_text("")
    (tmp_path / "own.py").write_text("from tallystick import Task")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # other tests' processes look for the package along it
    assert userfile.load("own.py").Task
    assert not userfile.neighbours(tmp_path / "own.py")
