"""tallystick: small-state models that solve problems through tools, at any length."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tallystick.tasks.base import Defaults, Task
    from tallystick.workspace import Workspace

__version__ = "0.1.0"
__all__ = ["Defaults", "Task", "Workspace"]


def __getattr__(name: str) -> object:
    """Import the public names when they are asked for: `__main__` must stand before a Ctrl-C can come."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "Workspace":
        from tallystick.workspace import Workspace

        return Workspace
    from tallystick.tasks import base

    return getattr(base, name)
