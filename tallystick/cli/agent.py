"""A trained model at work in a copy of a user's folder: what `solve` does with the models of text tasks."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from tallystick.cli.console import OUT, Trace, coloured_diff, note, plural, result
from tallystick.cli.options import fail, print_json
from tallystick.cli.progress import AtWork
from tallystick.cli.sandbox import choose_sandbox
from tallystick.engine.generation import check_live
from tallystick.engine.interface import Reader
from tallystick.engine.reader import open_reader
from tallystick.engine.speaker import Speaker, speak
from tallystick.episode import Recorder
from tallystick.models.base import Model
from tallystick.runs import Run
from tallystick.storage import check_makable
from tallystick.tasks import Task
from tallystick.tasks.text import TextTask
from tallystick.tools import SHELL, Live
from tallystick.tools.shell import copying
from tallystick.tools.shell.changes import Change, carry_over, compare, diff, look, quoted
from tallystick.tools.shell.tool import ShellState
from tallystick.workspace import start_tools

MOST_TOKENS = 1_000_000
"""Maximum number of tokens of an episode without --max-tokens: there is no program to compare with."""


@dataclass(frozen=True)
class Order:
    """The user's order to an agent."""

    folder: Path
    prompt: str | None
    out: Path | None
    in_place: bool
    sandbox: str | None
    max_tokens: int | None
    backend: str = "auto"

    def check(self, task: Task) -> str:
        """Return the prompt. Raises ValueError or OSError, before the work, if the order cannot be carried out."""
        assert isinstance(task, TextTask), "its models work in folders"
        if not self.folder.is_dir():
            raise ValueError(f"{self.folder} is not a folder; models of {task.name} work in one: solve RUN FOLDER")
        if self.out and self.in_place:
            raise ValueError("--out and --in-place are given; choose one")
        if self.out and os.path.lexists(self.out):
            raise ValueError(f"{self.out} already exists; choose another --out")
        if self.out:
            check_makable(self.out)
        if self.in_place and not os.access(self.folder, os.W_OK):
            raise PermissionError(f"cannot write {self.folder}, as --in-place has to")
        if text := self.prompt or task.default_prompt:
            return text
        raise ValueError(f'{task.name} has no prompt of its own; say what is to be done, as in --prompt "Run it."')

    def write(self, changes: list[Change], copy: str) -> str | None:
        """Keep the copy, or make its changes in the folder itself; return the folder that has them."""
        if self.in_place:
            carry_over(changes, copy, str(self.folder))
            return str(self.folder)
        if self.out is None:
            return None
        self.out.mkdir(parents=True)
        _name("not written", copying.copy(copy, str(self.out)))
        return str(self.out)


class Changed(TypedDict):
    """A file in the document of `solve --json`."""

    name: str
    change: str
    """One word: added, removed or changed."""


class Document(TypedDict):
    """Document of `solve --json` on a folder."""

    stop: str
    tokens: int
    commands: int
    seconds: float
    state_bytes: int
    sandbox: str
    changed: list[Changed]
    diff: str
    written: str | None
    """The folder that has the changes now."""


def work(run: Run, order: Order, trace: bool, as_diff: bool, as_json: bool) -> None:
    """Let the model work in a copy of the folder, then print what it changed. Exits with 1 if it was stopped."""
    check_live(run.task)
    prompt = run.task.parse(order.check(run.task))
    level, reader = choose_sandbox(run.task, order.sandbox), open_reader(run.model, order.backend)
    with closing(start_tools(run.task, prompt, live=Live(level, order.folder))) as tools:
        sink = Trace(run.task) if trace else Recorder()
        speaker = Speaker(run.task, prompt, tools, order.max_tokens or MOST_TOKENS, sink)
        document = _carry_out(order, run.model, reader, speaker, tools.states[SHELL], quiet=trace)
    if as_json:
        print_json(document)
    else:
        _print(document, as_diff)
    if document["stop"] != "eos":
        message = f"not finished: {document['stop']} after {document['tokens']:,} tokens; nothing is written"
        raise SystemExit(fail(message, 1))


def _carry_out(
    order: Order, model: Model, reader: Reader, speaker: Speaker, shell: ShellState, quiet: bool
) -> Document:
    """Let the model speak to its end; write the changes where they are wanted, and describe the work."""
    copy = shell.shell.copy
    _name("not copied", shell.shell.left_out)
    before = look(copy)
    with AtWork(model, speaker, shell, before, quiet) as view:
        speak(reader, [speaker], view.answered)
        seconds = view.seconds
    assert speaker.stop, "it has ended"
    copying.make_accessible(copy)
    changes = compare(before, look(copy))
    return {
        "stop": speaker.stop,
        "tokens": speaker.position,
        "commands": shell.commands,
        "seconds": round(seconds, 2),
        "state_bytes": model.state_bytes(speaker.position),
        "sandbox": shell.sandbox,
        "changed": [{"name": change.name, "change": change.kind} for change in changes],
        "diff": "".join(diff(changes, str(order.folder), copy)),
        "written": order.write(changes, copy) if speaker.stop == "eos" else None,
    }


def _name(what: str, names: list[str]) -> None:
    """Print which entries of a folder were left out, if any."""
    if names:
        note(f"{what}, for they lead out of the folder or are no files: {', '.join(map(quoted, names))}")


def _print(document: Document, as_diff: bool) -> None:
    """Print the changed files, or the diff, and on stderr a summary."""
    if not as_diff:
        for changed in document["changed"]:
            result(f"{changed['change']} {quoted(changed['name'])}")
    elif OUT.is_terminal:
        OUT.print(coloured_diff(document["diff"]), end="", soft_wrap=True)
    else:
        OUT.file.write(document["diff"])
    note(_summary(document))
    if document["changed"] and document["written"] is None and not as_diff and document["stop"] == "eos":
        note("the copy was thrown away; keep it with --out DIR, write into the folder with --in-place, or print --diff")


def _summary(document: Document) -> str:
    """Describe the work in one line."""
    tokens, seconds = document["tokens"], document["seconds"]
    parts = [
        f"{plural(len(document['changed']), 'file')} changed",
        f"{plural(document['commands'], 'command')}",
        f"{tokens:,} tokens in {seconds:.0f} s ({tokens / max(seconds, 0.01):,.0f} tokens/s)",
        f"state {document['state_bytes']:,} bytes",
        *([f"written to {document['written']}"] if document["written"] else []),
    ]
    return ", ".join(parts)
