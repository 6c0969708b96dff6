"""Tests of imports: their direction, their side effects; and of tests that could not fail."""

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
    "ranges": "",
    "rows": "",
    "storage": "",
    "provenance": "",
    "launch": "",
    "trajectory": "episode",
    "vocab": "episode trajectory",
    "problem": "",
    "tools": "episode vocab problem kernels",
    "text": "episode trajectory tools",
    "workspace": "episode tools",
    "replay": "episode tools workspace",
    "tasks": "episode trajectory vocab tools workspace suffix userfile problem text",
    "models": "kernels ranges suffix userfile",
    "config": "tasks models ranges",
    "runs": "tasks models config rows storage provenance",
    "locality": "episode kernels vocab workspace tools tasks suffix models",
    "data": "episode problem trajectory vocab workspace replay text tools tasks locality config rows storage launch",
    "engine": "episode kernels workspace tools tasks locality models rows storage",
    "mini": "runs engine",
    "evaluation": "episode problem vocab tasks config locality models data runs engine rows storage",
    "training": "episode problem suffix tasks models data config runs locality engine evaluation rows",
    "report": "episode vocab problem replay tools tasks models config runs locality evaluation rows storage",
    "bench": "episode tools tasks models config data runs locality engine evaluation training launch provenance",
    "studies": "tasks models config runs rows storage provenance locality engine evaluation training launch",
    "cli": "episode problem trajectory workspace replay text tools tasks models config runs data locality engine "
    "evaluation training report launch bench studies rows storage provenance",
    "__main__": "cli",
}
"""Parts of the package that each part may import beside itself, imports for type checkers included: a part stands below
those that import it, so there is no circle."""
FILES = [p for p in sorted(PACKAGE.rglob("*.py")) if p != PACKAGE / "__init__.py"]


def part(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path):
    """Return the parts of the package that a module imports anywhere; `tallystick` itself has only its public names."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            assert not node.level, "relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("tallystick.")} - {"__version__"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    assert imported(path) <= {part(path), *ALLOWED[part(path)].split()}


def test_the_order_has_no_circle():
    placed = set()
    for name, below in ALLOWED.items():
        assert set(below.split()) <= placed, f"{name} stands above what it imports"
        placed.add(name)


def test_no_module_imports_itself_in_a_circle():
    """Modules, also within a part, can be ordered so that each imports only earlier ones."""
    modules = {module(path): path for path in FILES}
    assert len(modules) > 50
    waiting = {name: {m for m in imported_modules(path, modules) if m != name} for name, path in modules.items()}
    while waiting:
        free = {name for name, others in waiting.items() if not others & waiting.keys()}
        assert free, f"a circle among {sorted(waiting)}"
        waiting = {name: others for name, others in waiting.items() if name not in free}


def module(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported_modules(path, modules):
    """Return the package's modules that a module imports; names of a package count as its `__init__`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in modules else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & modules.keys()


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


COMPARISON = re.compile(r"\b(?:all" r"close|array_" r"equal|torch\." r"equal)\(")


def test_comparisons_of_arrays_are_asserted():
    lines = [line.strip() for path in (ROOT / "tests").rglob("*.py") for line in path.read_text().splitlines()]
    compared = [line for line in lines if COMPARISON.search(line)]
    assert compared
    assert not [line for line in compared if not line.startswith("assert ")]
