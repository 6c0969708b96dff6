"""Tasks: one file each. `load` takes a built-in name or a user's own file, ``my_task.py:Reverse``."""

from tallystick.tasks.base import Defaults, Task
from tallystick.tasks.registry import TASKS, load

__all__ = ["TASKS", "Defaults", "Task", "load"]
