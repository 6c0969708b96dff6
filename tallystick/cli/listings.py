"""The `tasks`, `models` and `tools` commands: list what is built in."""

from __future__ import annotations

from tallystick import tasks, tools
from tallystick.cli.options import (
    Json,
    app,
    listing,
)


@app.command("tasks")
def list_tasks(as_json: Json = False) -> None:
    """List the built-in tasks."""
    rows = {}
    for name in tasks.TASKS:
        task = tasks.load(name)
        rows[name] = f"{(task.__doc__ or '').splitlines()[0]} Variants: {', '.join(task.variants)}."
    listing("tasks", rows, as_json)


@app.command("models")
def list_models(as_json: Json = False) -> None:
    """List the built-in models."""
    from tallystick import models

    rows = {}
    for name in models.names():
        cls = models.load_class(name)
        rows[name] = f"{(cls.__doc__ or '').splitlines()[0]} Presets: {', '.join(cls.PRESETS)}."
    listing("models", rows, as_json)


@app.command("tools")
def list_tools(as_json: Json = False) -> None:
    """List the built-in tools."""
    listing("tools", {name: tools.about(name) for name in tools.TOOLS}, as_json)
