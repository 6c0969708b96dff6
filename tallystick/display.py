"""What people read: tables and trajectories on stdout, progress on stderr."""

from __future__ import annotations

import re
import sys
from itertools import groupby
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from tallystick.episode import Role, Trajectory
from tallystick.tasks import Task

STYLES = {
    Role.PROMPT: "bold",
    Role.THOUGHT: "green",
    Role.COMMAND: "blue",
    Role.OBSERVATION: "dim",
    Role.OUTPUT: "bold magenta",
    Role.NOTE: "yellow",
}
POINTER = re.compile(r"\[(\S+\.)?p\d\.(read|left|right)\]")
OUT, ERR = Console(highlight=False), Console(stderr=True, highlight=False)


def listing(rows: dict[str, str]) -> None:
    """A name and what it is, one line each."""
    width = max(map(len, rows))
    for name, about in rows.items():
        OUT.print(f"{name:<{width}}  {about}", markup=False, soft_wrap=True)


def note(line: str) -> None:
    """A line of progress."""
    ERR.print(line, markup=False, soft_wrap=True)


def trajectory(task: Task, shown: Trajectory) -> None:
    """A trajectory coloured by role, then the memory that it left and where its pointers stand."""
    OUT.print(Text.assemble("roles: ", *((f"{role.name.lower()} ", STYLES[role]) for role in Role)))
    text, memory, moves = Text(), [], {}
    for role, symbols in shown.segments:
        for symbol in symbols:
            text.append(symbol, STYLES[role]).append(" ")
            name, _, verb = symbol.strip("[]").rpartition(".")
            if role == Role.COMMAND and POINTER.fullmatch(symbol):
                moves[name] = moves.get(name, 0) + {"left": -1, "right": 1}.get(verb, 0)
        if role == Role.PROMPT:
            memory += symbols[task.marks : len(symbols) - task.marks]
        elif role in (Role.THOUGHT, Role.OUTPUT):
            memory += [symbol for symbol in symbols if symbol != "[EOS]"]
    OUT.print(text)
    OUT.print(f"\nmemory, {len(memory)} cells: {' '.join(memory)}", markup=False)
    for name, at in sorted(moves.items()):
        under = "[BOS]" if at < 0 else memory[at] if at < len(memory) else "[EOS]"
        OUT.print(f"{name} ends on cell {at}, {under}", markup=False)


def locality(report: dict[str, Any]) -> None:
    """The rows of `check`, its verdict, and the contexts that make a task not local."""
    table = Table("length <=", "problems", "corners", "k", "k, random", "contexts", "unseen", "coverage", box=None)
    for row in report["rows"]:
        cells = (row["length"], row["problems"], row["corners"], row["k"], row["k_random"], row["contexts"])
        table.add_row(*map(str, cells), str(row["unseen"]), f"{100 * row['coverage']:.4g} %")
    for column in table.columns:
        column.justify = "right"
    OUT.print(table)
    if "notes" in report:
        OUT.print(_notes(report["notes"]), markup=False)
    words = {True: "yes", False: "no", None: "not decided, that takes three lengths"}
    OUT.print(
        f"\nlocal: {words[report['local']]}.  covered at length {report['train_length']}: {words[report['covered']]}."
    )
    OUT.print(_prediction(report["local"], report["covered"]))
    for context in report["ambiguous"]:
        place = f"{context['distance']} tokens back" if context["distance"] >= 0 else "nothing"
        OUT.print(f"  after  {' '.join(context['context'])}  comes  {'  or  '.join(context['next'])}", markup=False)
        OUT.print(f"    what decides it: {place}", markup=False)


def _notes(notes: list[str], most: int = 6) -> str:
    """Which there are; where each is said stands in a trajectory (`show`)."""
    if not notes:
        return "\nnotes: none, for the last few tokens decide everything."
    more = f" and {len(notes) - most} more" if len(notes) > most else ""
    return f"\nnotes: {', '.join(notes[:most])}{more}; `show --annotate` has them where they are said."


def _prediction(local: bool | None, covered: bool) -> str:
    if local is None:
        return "Nothing is predicted from fewer than three lengths."
    if local and covered:
        return "Predicted: lookup solves it at any length, and so does every fixed-state model that learns it."
    if local:
        return "Predicted: lookup fails on contexts it never saw; a model must generalise over contents."
    return "Predicted: fails beyond the training length; these contexts need more than a fixed number of last tokens:"


class Progress:
    """Live progress of a training run on stderr: a bar on a terminal, and a line for each look at held-out problems."""

    def __init__(self, config: dict[str, Any]):
        self._config = config
        columns = (BarColumn(30), TextColumn("{task.description}"))
        self._bar = Bar(*columns, console=ERR, transient=True, disable=not ERR.is_terminal)

    def __enter__(self) -> Progress:
        self._bar.start()
        self._job = self._bar.add_task("preparing", total=self._config["settings"]["steps"])
        self._headed = False
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def row(self, row: dict[str, Any]) -> None:
        """Show a row of metrics; before the first, what is trained (a mistake found before that stands alone)."""
        if not self._headed:
            self._head()
        held_out = row["held_out"]
        end = row["falls_until"] or self._config["settings"]["steps"]
        left = (end - row["step"]) * row["seconds"] / max(row["step"], 1)
        until = "left" if row["falls_until"] else "left at most"
        margin = min(summary["min_margin"] for summary in (held_out, row["carried"]) if summary)
        loss = "" if row["loss"] is None else f"loss {row['loss']:.5f}  "
        exact = [f"<= {held_out['length']}: {held_out['exact']}/{held_out['samples']}"]
        if row["carried"]:
            exact += [f"carried: {row['carried']['exact']}/{row['carried']['samples']}"]
        exact += [f"{beyond['length']}: {beyond['exact']}/{beyond['samples']}" for beyond in row["beyond"]]
        line = (
            f"step {row['step']:5d}  {loss}{row['tokens_per_second']:,} tokens/s  {row['seconds']:.0f} s, "
            f"{left:.0f} s {until}  exact at {', '.join(exact)}  margin {margin:.2f}"
        )
        ERR.print(line, markup=False, soft_wrap=True)
        self._bar.update(self._job, total=end, completed=row["step"], description=f"{left:.0f} s {until}")

    def _head(self) -> None:
        self._headed, settings = True, self._config["settings"]
        ERR.print(
            f"{self._config['task']}, {self._config['variant']} program: {self._config['model']} on lengths up to "
            f"{settings['train_length']}, seed {settings['seed']}, {settings['device']}; at most "
            f"{settings['steps']} steps of {settings['rows'] * settings['row_tokens']} tokens",
            markup=False,
            soft_wrap=True,
        )


def trained(rows: list[dict[str, Any]]) -> None:
    """The end of training: a verdict on stderr, the folders on stdout."""
    for row in rows:
        held_out = row["held_out"]
        verdict = "exact with the margin" if row["passed"] else "NOT all exact with the margin"
        if held_out["needed"] > held_out["samples"]:
            verdict += f" (to meet all contexts would take {held_out['needed']:,})"
        ERR.print(
            f"{row['step']} steps, {row['tokens']:,} tokens, {row['seconds']:.0f} s; held-out problems of the training "
            f"length: {held_out['exact']} of {held_out['samples']}, {verdict}",
            markup=False, soft_wrap=True,
        )  # fmt: skip
    for row in rows:
        print(row["run"])


class Evaluation:
    """Rows of `eval`, printed as they are made."""

    COLUMNS = ("length", 12), ("exact", 10), ("95 % interval", 16), ("model tokens", 14), ("errors a token <", 18), (
        "min margin", 12), ("near ties", 11), ("seen", 7), ("seconds", 9)  # fmt: skip

    def __init__(self, run: Any, quiet: bool):
        self._run, self._console = run, ERR if quiet else OUT

    def __enter__(self) -> Evaluation:
        config = self._run.config
        what = f"{self._run.path}: {config['task']}, {config['variant']} program, {config['model']}"
        length = config["settings"]["train_length"]
        self._console.print(f"{what}, trained on lengths up to {length}", markup=False, soft_wrap=True)
        if self._run.changed:
            ERR.print(f"warning: {config['task']} has changed since it was trained on", markup=False, soft_wrap=True)
        self._line([name for name, _ in self.COLUMNS])
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def row(self, row: dict[str, Any]) -> None:
        """Show a row, and its first error."""
        low, high = row["ci95"]
        length = f"{row['length']}{' corners' if row['corners'] else ''}"
        self._line([length, f"{row['exact']}/{row['samples']}", f"{100 * low:.1f}-{100 * high:.1f} %",
                    f"{row['model_tokens']:,}", f"{row['error_bound']:.1e}", f"{row['min_margin']:.2f}",
                    str(row["near_ties"]), f"{100 * row['seen']:.0f} %", f"{row['seconds']:.1f}"])  # fmt: skip
        for error in row["first_errors"][:1]:
            got = "nothing: never seen" if error["got"] is None else error["got"]
            context = " ".join(error["context"][-8:])
            self._console.print(f"    first error, token {error['position']}: after  {context}  comes {error['want']}, "
                                f"the model says {got}", markup=False, soft_wrap=True)  # fmt: skip

    def _line(self, cells: list[str]) -> None:
        text = "".join(f"{cell:>{width}}" for cell, (_, width) in zip(cells, self.COLUMNS, strict=True))
        self._console.print(text, markup=False, soft_wrap=True)


class Trace:
    """A sink that shows an episode on stderr as it runs, coloured by role."""

    def __init__(self, task: Task):
        self._tokens = task.vocab.tokens

    def write(self, ids: Any, roles: Any) -> None:
        """Show a block."""
        for role, pairs in groupby(zip(roles.tolist(), ids.tolist(), strict=True), key=lambda pair: pair[0]):
            words = " ".join(self._tokens[token] for _, token in pairs)
            ERR.print(Text(words + " ", STYLES[Role(role)]), end="", soft_wrap=True)

    def close(self, ok: bool) -> None:
        """End the line."""
        print(file=sys.stderr)
