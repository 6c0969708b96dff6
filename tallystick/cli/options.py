"""What the commands share: the application, their options, and how they print and fail."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tallystick import tasks
from tallystick.cli import console

# torch takes seconds to import: the commands that need it import it themselves

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Small-state models that solve problems through tools, at any length.",
)  # fmt: skip

TaskName = Annotated[str, typer.Argument(metavar="TASK", help="addition, or your own file: my_task.py:Class")]
Variant = Annotated[str | None, typer.Option(help="which of the task's programs")]
Annotate = Annotated[bool, typer.Option("--annotate", help="the program says its control state: variant V+notes")]
Json = Annotated[bool, typer.Option("--json", help="one JSON document on stdout")]
Seed = Annotated[int, typer.Option(min=0, help="of the problems")]
Lengths = Annotated[str | None, typer.Option(help="as 5,100,1000")]
Device = Annotated[str, typer.Option(help="cpu or cuda")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="a run folder")]

UsageError: Any = typer.BadParameter.__base__  # click's, which newer versions of typer carry inside themselves


def main() -> None:
    """The console script."""
    try:
        code = app(["--help"] if len(sys.argv) == 1 else None, standalone_mode=False)
        sys.exit(fail("interrupted", 130) if code == 130 else code)  # newer versions of typer turn Ctrl-C into 130
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(fail("interrupted", 130))
    except UsageError as error:
        sys.exit(fail(f"{error.format_message()} See tallystick --help.", 2))
    except BrokenPipeError:
        sys.exit(0)  # the reader, as in `| head`, has had enough
    except (ValueError, OSError) as error:
        sys.exit(fail(str(error), 2))


def fail(message: str, code: int) -> int:
    """Say in one line on stderr what went wrong; returns the exit code."""
    print(f"tallystick: {' '.join(message.split())}", file=sys.stderr)
    return code


def print_json(value: object) -> None:
    """The one document of --json."""
    print(json.dumps(value, indent=1))


def load_task(name: str, variant: str | None, annotate: bool) -> tasks.Task:
    """The task; with its notes if `annotate`."""
    ending = tasks.NOTES if annotate and not (variant or "").endswith(tasks.NOTES) else ""
    return tasks.load(name, f"{variant or ''}{ending}" or None)


def read_lengths(text: str | None, task: tasks.Task, default: tuple[int, ...]) -> list[int]:
    """Lengths as a user writes them, or the default. Raises ValueError for what is no length of the task."""
    words = text.split(",") if text else map(str, default)
    try:
        return sorted({task.check_length(int(word)) for word in words})
    except ValueError as error:
        if "has lengths" in str(error):
            raise
        raise ValueError(f"--lengths {text}: write whole numbers, as in 5,100,1000") from None


def listing(kind: str, rows: dict[str, str], as_json: bool) -> None:
    """What there is of a kind, one line each."""
    if as_json:
        print_json({kind: [{"name": name, "about": about} for name, about in rows.items()]})
    else:
        console.listing(rows)


def as_main() -> Any:
    """The click command, for tests that freeze its names."""
    return typer.main.get_command(app)
