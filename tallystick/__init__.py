"""tallystick: small-state models that solve problems through tools, at any length."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tallystick.problem import Problem
    from tallystick.tasks.base import Defaults, Task
    from tallystick.tasks.text import TextTask
    from tallystick.workspace import Workspace

__version__ = "0.1.0"
__all__ = ["Defaults", "Problem", "Task", "TextTask", "Workspace"]
_HOMES = {
    "Defaults": "tallystick.tasks.base",
    "Problem": "tallystick.problem",
    "Task": "tallystick.tasks.base",
    "TextTask": "tallystick.tasks.text",
    "Workspace": "tallystick.workspace",
}


def __getattr__(name: str) -> object:
    """Import the public names when they are asked for: `__main__` must stand before a Ctrl-C can come."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
