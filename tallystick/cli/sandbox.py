"""The option --sandbox: where a model's command lines run, found out at the start and said in one line."""

from __future__ import annotations

from typing import Annotated

import typer

from tallystick.cli.console import note
from tallystick.tasks import Task
from tallystick.tools import runs_commands

Sandbox = Annotated[
    str | None,
    typer.Option(help="where a model's commands run: auto (the default), bwrap, landlock, or none, which is unsafe"),
]


def choose_sandbox(task: Task, asked: str | None) -> str:
    """Return the level that works here, and print it with its reason; "auto" for a task that runs no commands.

    Raises ValueError if it cannot be had, or is asked for where nothing runs.
    """
    if not runs_commands(task):
        if asked is not None:
            raise ValueError(f"--sandbox has no effect: models of {task.name} run no commands; leave it out")
        return "auto"
    from tallystick.tools.shell import probe

    level = probe(asked or "auto")
    note(f"{'warning: ' if level.name == 'none' else ''}sandbox: {level.reason}")
    return level.name
