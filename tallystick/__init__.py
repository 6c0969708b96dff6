"""tallystick: small-state models that solve problems through tools, at any length."""

from tallystick.tasks.base import Defaults, Task
from tallystick.workspace import Workspace

__version__ = "0.1.0"
__all__ = ["Defaults", "Task", "Workspace"]
