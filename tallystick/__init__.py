"""tallystick: small-state models that solve problems through tools, at any length."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tallystick.tasks.base import Defaults, Task
    from tallystick.workspace import Workspace

__version__ = "0.1.0"
__all__ = ["Defaults", "Task", "Workspace"]


def __getattr__(name: str) -> object:
    """Import a public name on first use, so that `__main__` can catch Ctrl-C before anything slow is imported."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "Workspace":
        from tallystick.workspace import Workspace

        return Workspace
    from tallystick.tasks import base

    return getattr(base, name)
