"""What imports what; what an import does; and tests that cannot fail."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tallystick"
ALLOWED = {
    "episode": "",
    "suffix": "",
    "userfile": "",
    "kernels": "",
    "vocab": "episode",
    "tools": "episode vocab",
    "workspace": "episode vocab tools",
    "tasks": "episode vocab tools workspace suffix userfile",
    "models": "kernels suffix userfile",
    "data": "episode vocab workspace tasks",
}
"""What a part of the core may import beside itself; parts not named here stand above it."""
TOP = {"__main__", "cli", "recipes", "serve"}
"""Nothing imports these but they themselves."""
FILES = [p for p in sorted(PACKAGE.rglob("*.py")) if p != PACKAGE / "__init__.py"]


def part(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path):
    """The package's parts that a module imports when it runs: imports for type checkers do not count."""
    tree = ast.parse(path.read_text())
    unseen = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    skip = {inner for node in unseen for inner in ast.walk(node)}
    nodes = [node for node in ast.walk(tree) if node not in skip]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("tallystick.")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    own, others = part(path), imported(path)
    if own in ALLOWED:
        assert others <= {own, *ALLOWED[own].split()}
    assert own in TOP or not others & TOP


CODE = """
import os, sys
written = []
def watch(event, arguments):
    if event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        written.append(arguments[0])
sys.addaudithook(watch)
import {module}
assert not written, written
assert not {{"torch", "triton"}} & set(sys.modules)
"""


@pytest.mark.parametrize("module", ["tallystick", "tallystick.data", "tallystick.tasks.registry, tallystick.suffix"])
def test_importing_does_nothing_else(module, tmp_path):
    command = [sys.executable, "-W", "error", "-B", "-c", CODE.format(module=module)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())


def test_comparisons_of_arrays_are_asserted():
    lines = [line.strip() for path in (ROOT / "tests").rglob("*.py") for line in path.read_text().splitlines()]
    compared = [line for line in lines if re.search(r"\b(all" r"close|array_" r"equal)\(", line)]
    assert not [line for line in compared if not line.startswith("assert ")]
