"""Tasks: one file each. `load` takes a built-in name or a user's own file, ``my_task.py:Reverse``."""

from tallystick.tasks.base import Defaults, Task
from tallystick.tasks.registry import NOTES, TASKS, load

__all__ = ["NOTES", "TASKS", "Defaults", "Task", "load"]
