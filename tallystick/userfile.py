"""Load a user's own Python file, a task or a model, with the neighbours that it imports.

Neighbours are files in the same folder. They are imported as parts of the user's file, under names of their own, so
that two folders may each have a helper of the same name.
"""

from __future__ import annotations

import ast
import builtins
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

PREFIX = "_user_"
"""Beginning of the names of modules of users' files."""
_folders: set[Path] = set()
"""Folders of the files that were loaded."""


def load(path: str | Path) -> ModuleType:
    """Execute a Python file and the neighbours that it imports anew, and return its module.

    Raises ValueError, naming the error and its line, if the file is missing or fails to run.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"no file {path}")
    name = f"{PREFIX}{path.stem}_{abs(hash(path.resolve()))}"
    _prepare(path.resolve().parent)
    for old in [module for module in sys.modules if module.startswith(f"{name}.")]:
        del sys.modules[old]
    spec = _spec(name, path, path.resolve().parent)
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and inspect look their module up there
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        message = " ".join(str(error).split())
        place = _line_of(path, error)
        raise ValueError(f"{path} does not run: {type(error).__name__}: {message}{place}") from error
    finally:
        sys.dont_write_bytecode = bytecode
    return module


def neighbours(path: Path) -> list[Path]:
    """List the neighbours that a user's file imports, directly or through others; of a package, all Python files."""
    own = path.resolve()
    found, waiting = list[Path](), [own]
    while waiting:
        for name in sorted(_imported(waiting.pop())):
            if not _is_neighbour(own.parent, name):
                continue
            package = own.parent / name
            files = sorted(package.rglob("*.py")) if package.is_dir() else [package.with_suffix(".py")]
            new = [file for file in files if file not in (own, *found)]
            found += new
            waiting += new
    return found


def _imported(file: Path) -> set[str]:
    """Return the first words of the names that a file imports anywhere; none if it is not Python."""
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (SyntaxError, ValueError):
        return set()
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    return {name.partition(".")[0] for name in names}


def _is_neighbour(folder: Path, name: str) -> bool:
    """Return whether a folder has a module of this name, and no library has it: a neighbour must not hide one."""
    if not ((folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file()):
        return False
    elsewhere = [place for place in sys.path if Path(place).resolve() not in (Path.cwd(), *_folders)]
    is_library = name in ("tallystick", *sys.stdlib_module_names) or PathFinder.find_spec(name, elsewhere)
    return not is_library


def _prepare(folder: Path) -> None:
    """Let neighbours be found: as parts of users' files, and by what imports them in other ways through `sys.path`."""
    _folders.add(folder)
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # at the end: a neighbour must not hide a library
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)


class _Finder:
    """Finds the neighbours of a user's file, which are parts of its module."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        if not name.startswith(PREFIX) or not path:
            return None
        place = Path(path[0]) / name.rpartition(".")[2]
        if (place / "__init__.py").is_file():
            return _spec(name, place / "__init__.py", place)
        file = place.with_suffix(".py")
        return _spec(name, file, None) if file.is_file() else None


def _spec(name: str, file: Path, folder: Path | None) -> ModuleSpec:
    """Return how to load a module; folder: where its parts are."""
    inside = [str(folder)] if folder else None
    loader = _Loader(name, str(file))
    spec = spec_from_file_location(name, file, loader=loader, submodule_search_locations=inside)
    assert spec is not None
    return spec


class _Loader(SourceFileLoader):
    """Runs a user's file or one of its neighbours, which import neighbours as parts of the user's file."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)  # anew: stored bytecode may be out of date

    def exec_module(self, module: ModuleType) -> None:
        owner = module.__name__.partition(".")[0]
        vars(module)["__builtins__"] = vars(builtins) | {"__import__": _importer(owner)}
        super().exec_module(module)


def _importer(owner: str) -> Callable[..., ModuleType]:
    """Return an `__import__` that finds neighbours as parts of the module `owner`."""
    folder = Path(sys.modules[owner].__path__[0])

    def import_(
        name: str, globals: object = None, locals: object = None, fromlist: Sequence[str] = (), level: int = 0
    ) -> ModuleType:
        first = name.partition(".")[0]
        if level or not _is_neighbour(folder, first):
            return builtins.__import__(name, globals, locals, fromlist, level)  # type: ignore[arg-type]
        found = builtins.__import__(f"{owner}.{name}", globals, locals, fromlist)  # type: ignore[arg-type]
        return found if fromlist else getattr(found, first)

    return import_


def _line_of(path: Path, error: BaseException) -> str:
    """Return ", line N" for the last line of the file that was executed, or "" if none was."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f", line {lines[-1]}" if lines else ""
