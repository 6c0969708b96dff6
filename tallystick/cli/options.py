"""The application and what its commands share: options, printing, and errors as exit codes."""

from __future__ import annotations

import functools
import io
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tallystick import tasks
from tallystick.cli import console
from tallystick.cli.console import OUT, result
from tallystick.storage import to_json

# torch takes seconds to import: the commands that need it import it themselves

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Small-state models that solve problems through tools, at any length.",
)  # fmt: skip

TaskName = Annotated[
    str, typer.Argument(metavar="TASK", help="such as addition, or your own file: my_task.py:Class, trajectories.jsonl")
]
Variant = Annotated[str | None, typer.Option(help="one of the task's programs")]
Annotate = Annotated[bool, typer.Option("--annotate", help="add notes of the program's control state: variant V+notes")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON document")]
Seed = Annotated[int, typer.Option(min=0, help="random seed of the problems")]
Lengths = Annotated[str | None, typer.Option(help="problem lengths, as 5,100,1000")]
Device = Annotated[str, typer.Option(help="cpu or cuda")]
Backend = Annotated[
    str,
    typer.Option(help="cpu (compiled loops), cuda (a GPU's kernel), eager (torch), or auto: compiled where supported"),
]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="a run folder")]

UsageError: Any = typer.BadParameter.__base__  # click's class; newer versions of typer contain their own click


def main() -> None:
    """Run the command line; errors become one line on stderr and an exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # escape characters that the terminal cannot show, as Python does on stderr
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = as_main()(["--help"] if len(sys.argv) == 1 else None, standalone_mode=False)
        sys.exit(fail("interrupted", 130) if code == 130 else code)  # newer versions of typer return 130 on Ctrl-C
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(fail("interrupted", 130))
    except UsageError as error:
        sys.exit(fail(f"{error.format_message().rstrip('.')}. See tallystick --help.", 2))
    except BrokenPipeError:
        _leave_pipe()
    except MemoryError:
        sys.exit(fail("out of memory", 2))
    except OSError as error:
        sys.exit(fail(f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error), 2))
    except ValueError as error:
        sys.exit(fail(str(error), 2))
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
        sys.exit(fail(f"out of memory: {str(error).splitlines()[0]}", 2))


def _leave_pipe() -> None:
    """Exit quietly when the reader of the pipe, such as `head`, has closed it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # otherwise flushing the rest at exit would fail
    sys.exit(0)


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether torch could not allocate a tensor; it has a separate exception for GPUs only."""
    return type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)


def fail(message: str, code: int) -> int:
    """Print an error message as one line on stderr; return the exit code."""
    print(f"tallystick: {' '.join(message.split())}", file=sys.stderr)
    return code


def print_json(value: object) -> None:
    """Print the document of --json."""
    result(to_json(value))


def load_task(name: str, variant: str | None, annotate: bool) -> tasks.Task:
    """Load a task; annotate: its annotated variant, which says notes."""
    ending = tasks.NOTES if annotate and not (variant or "").endswith(tasks.NOTES) else ""
    return tasks.load(name, f"{variant or ''}{ending}" or None)


def read_lengths(text: str | None, task: tasks.Task, default: tuple[int, ...]) -> list[int]:
    """Parse --lengths, or return the default. Raises ValueError for lengths that the task does not have."""
    words = text.split(",") if text else map(str, default)
    try:
        return sorted({task.check_length(int(word)) for word in words})
    except ValueError as error:
        if "has lengths" in str(error):
            raise
        raise ValueError(f"--lengths {text} is not a list of whole numbers; write, for example, 5,100,1000") from None


def check_distinct(folders: Sequence[Path]) -> None:
    """Raise ValueError for a run folder that is named twice, which would count as two runs."""
    for number, folder in enumerate(folders):
        if folder.resolve() in [earlier.resolve() for earlier in folders[:number]]:
            raise ValueError(f"{folder} is named twice; leave one out")


def listing(kind: str, rows: dict[str, str], as_json: bool) -> None:
    """Print names with their descriptions, one line each or as JSON."""
    if as_json:
        print_json({kind: [{"name": name, "about": about} for name, about in rows.items()]})
    else:
        console.listing(rows)


def as_main() -> Any:
    """Make the click command. Its commands are strict with options, and print nothing on stdout but results."""
    group = typer.main.get_command(app)
    for command in _leaves(group):
        command.callback = _alone(command.callback)
        command.make_parser = _strict(command.make_parser)
    return group


def _leaves(command: Any) -> list[Any]:
    inner = getattr(command, "commands", {}).values()
    return [leaf for each in inner for leaf in _leaves(each)] or [command]


def _alone(callback: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(callback)
    def run(*arguments: Any, **options: Any) -> Any:
        with OUT.alone():
            return callback(*arguments, **options)

    return run


def _strict(make_parser: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Wrap `make_parser`: its parsers refuse an option that is given twice, of which click takes the last, or empty."""

    @functools.wraps(make_parser)
    def make(context: Any) -> Any:
        parser = make_parser(context)
        parse = parser.parse_args

        def parse_strictly(args: list[str]) -> tuple[Any, Any, Any]:
            values, rest, order = parse(args)
            for parameter, times in Counter(order).items():
                name = parameter.opts[0]
                if times > 1:
                    raise ValueError(f"{name} is given {times} times; give it once")
                if name.startswith("-") and values[parameter.name] == "":
                    raise ValueError(f"{name} is empty; give it a value, or leave it out")
            return values, rest, order

        parser.parse_args = parse_strictly
        return parser

    return make
