"""The `show` command: print one trajectory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, Any

import typer
from rich.text import Text

from tallystick.cli.console import OUT, STYLES, coloured, note, plural, result, visible, visible_line
from tallystick.cli.options import (
    Annotate,
    Json,
    TaskName,
    Variant,
    app,
    load_task,
)
from tallystick.episode import MARKS, Recorder, Role
from tallystick.locality import programs
from tallystick.problem import Problem
from tallystick.replay import Replay
from tallystick.storage import check_makable
from tallystick.tasks import Task, runner
from tallystick.tools.shell import copying
from tallystick.trajectory import JsonlWriter

MOST_TOKENS = 200_000
"""Maximum number of tokens of a trajectory printed on a screen."""


@app.command()
def show(
    task: TaskName,
    length: Annotated[int | None, typer.Option(help="draw a random problem of this length")] = None,
    problem: Annotated[str | None, typer.Option(help='solve this problem instead, such as "123+456"')] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="random seed of the problem; 0 by default")] = None,
    variant: Variant = None,
    annotate: Annotate = False,
    write: Annotated[Path | None, typer.Option(help="only write the problem's files, into this new folder")] = None,
    as_json: Json = False,
) -> None:
    """Show one trajectory coloured by role. Below it stand the memory and the pointers at its end."""
    loaded = load_task(task, variant, annotate)
    if write and as_json:
        raise ValueError("--write and --json are given; choose one")
    if (length is None) == (problem is None):
        raise ValueError("give either --length or --problem")
    if problem and loaded.text:
        raise ValueError(f"the problems of {loaded.name} have files; draw one by --length")
    if problem is None:
        assert length is not None
        source = {"split": "show", "seed": seed or 0, "length": loaded.check_length(length), "index": 0}
        prompt = loaded.problem(**source)
    elif seed is None:
        source = {"problem": problem}
        prompt = loaded.parse(problem)
    else:
        raise ValueError("--seed has no effect with --problem; use it with --length")
    if write:
        write_files(loaded, prompt, write)
    elif as_json:
        print_jsonl(loaded, prompt, {"task": loaded.name, "variant": loaded.variant, **source})
    else:
        episode = record(loaded, prompt)
        if isinstance(prompt, Problem) and prompt.files:
            OUT.print(f"a folder of {plural(len(prompt.files), 'file')}; --write DIR writes them")
        print_episode(loaded, episode)


def write_files(task: Task, prompt: list[str], folder: Path) -> None:
    """Write a text problem's files into a new folder and print its path, and on stderr the prompt."""
    if not isinstance(prompt, Problem) or not prompt.files:
        raise ValueError(f"--write has no effect: problems of {task.name} have no files")
    if os.path.lexists(folder):
        raise ValueError(f"{folder} already exists; choose another --write")
    check_makable(folder)
    folder.mkdir(parents=True)
    copying.copy(prompt.files, str(folder))
    note(f"{plural(len(prompt.files), 'file')}; the prompt: {task.format(prompt).strip()}")
    result(str(folder))


def print_jsonl(task: Task, prompt: list[str], meta: dict[str, Any]) -> None:
    """Print the trajectory as one JSON document, or nothing at all if the program fails."""
    with TemporaryFile("w+", encoding="utf-8") as file:
        programs.run(task, prompt, JsonlWriter(file, task.vocab.tokens, meta))
        file.seek(0)
        shutil.copyfileobj(file, OUT.file)


def record(task: Task, prompt: list[str]) -> Recorder:
    """Run the program and record its episode. Raises ValueError if it is too long to be printed."""
    recorder = runner.record(task, prompt, limit=MOST_TOKENS + 1)
    if len(recorder) > MOST_TOKENS:
        advice = "choose a shorter problem, or --json, which has no limit"
        raise ValueError(
            f"the trajectory has more than {MOST_TOKENS:,} tokens, too many for a screen, or does not end; {advice}"
        )
    return recorder


def print_episode(task: Task, recorder: Recorder) -> None:
    """Print an episode coloured by role, then its final memory and pointer positions."""
    replay = Replay(task, recorder.ids, recorder.roles)
    seen = replay.roles[replay.ids >= len(MARKS)]
    said = [role for role in Role if not task.text or role in seen]
    OUT.print(Text.assemble("roles: ", *((f"{role.name.lower()} ", STYLES[role]) for role in said)))
    OUT.print(coloured(replay.ids[1:], replay.roles[1:], task), end="" if task.text else "\n", soft_wrap=task.text)
    if task.text:
        return
    cells = [replay.tokens[token] for token in replay.ids[replay.memory].tolist()]
    OUT.print(f"\nmemory, {len(cells)} cells: {visible_line(cells)}", markup=False)
    for token, (name, verb) in replay.pointer_commands.items():
        if verb == "read":
            # in a mixture "addition.p0" rather than "p0"
            called = replay.tokens[token].removeprefix("[").removesuffix(".read]")
            cell = int(replay.pointers[name][-1])
            OUT.print(f"{called} ends on cell {cell}, {visible(replay.tokens[replay.read(cell)])}", markup=False)
