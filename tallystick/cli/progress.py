"""Progress of a training run, and its verdict at the end; progress of a model at work in a folder. All on stderr."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.live import Live
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from tallystick.cli.console import ERR, note, plural, printable
from tallystick.rows import MetricsRow, Summary
from tallystick.tools.shell.changes import compare, look

if TYPE_CHECKING:  # imports torch, which takes a second
    from tallystick.config import RunConfig
    from tallystick.engine.speaker import Speaker
    from tallystick.models.base import Model
    from tallystick.tools.shell.changes import Entries
    from tallystick.tools.shell.tool import ShellState

LINE_EVERY = 10.0
"""Seconds between two lines about a model at work, where there is no terminal."""
LOOK_SHARE = 20
"""How many times as long as a look at all files took no other is taken."""


class Lines:
    """Reports progress in lines: a description of the run, then one line per validation."""

    def __init__(self, config: RunConfig, say: Callable[[str], None]):
        self._config, self._say = config, say
        self._headed = False

    def row(self, row: MetricsRow) -> None:
        """Print a row of metrics, with a description of the run before the first.

        The description waits until then so that the message about a user's mistake stands alone.
        """
        if not self._headed:
            self._head()
        held_out, carried = row["held_out"], row["held_out_carried"]
        loss = "" if row["loss"] is None else f"loss {row['loss']:.5f}  "
        exact = [f"<= {held_out['length']}: {_exact(held_out)}"]
        exact += [f"carried: {_exact(carried)}"] if carried else []
        exact += [f"{beyond['length']}: {_exact(beyond)}" for beyond in row["beyond"]]
        margins = [summary["min_margin"] for summary in (held_out, carried) if summary]
        known = [margin for margin in margins if margin is not None]
        margin = f"{min(known):.2f}" if len(known) == len(margins) else "NaN"
        self._say(
            f"step {row['step']:5d}  {loss}{row['tokens_per_second']:,} tokens/s  {row['seconds']:.0f} s, "
            f"{self.left(row)}  exact at {', '.join(exact)}  margin {margin}"
        )

    def end(self, row: MetricsRow) -> int:
        """Return the step at which training ends at the latest."""
        return row["decay_until"] or self._config.settings.steps

    def left(self, row: MetricsRow) -> str:
        """Estimate the remaining training time, as text."""
        left = (self.end(row) - row["step"]) * row["seconds"] / max(row["step"], 1)
        return f"{left:.0f} s {'left' if row['decay_until'] else 'left at most'}"

    def _head(self) -> None:
        self._headed, config, settings = True, self._config, self._config.settings
        self._say(
            f"{config.task}, {config.variant} program: {config.model} on lengths up to {settings.train_length}, "
            f"seed {settings.seed}, {settings.device}; at most {settings.steps} steps of "
            f"{settings.batch_size * settings.seq_len} tokens"
        )


def _exact(summary: Summary) -> str:
    return f"{summary['exact']}/{summary['samples']}"


class Progress:
    """Reports live progress: lines and, on a terminal, a bar below them."""

    def __init__(self, config: RunConfig):
        self._lines, self._steps = Lines(config, note), config.settings.steps
        columns = (BarColumn(30), TextColumn("{task.description}"))
        self._bar = Bar(*columns, console=ERR, transient=True, disable=not ERR.is_terminal)

    def __enter__(self) -> Progress:
        self._bar.start()
        self._job = self._bar.add_task("preparing", total=self._steps)
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def row(self, row: MetricsRow) -> None:
        """Show a row of metrics."""
        self._lines.row(row)
        left = self._lines.left(row)
        self._bar.update(self._job, total=self._lines.end(row), completed=row["step"], description=left)


def print_verdict(run: str, config: RunConfig, row: MetricsRow) -> None:
    """Print how training ended and, if it did not succeed, what to try."""
    from tallystick.training.advice import advise

    held_out = row["held_out"]
    verdict = "exact with the margin" if row["passed"] else "NOT all exact with the margin"
    if held_out["needed"] > held_out["samples"]:
        verdict += f" (meeting all contexts would take {held_out['needed']:,} problems)"
    overlap = round(held_out["train_overlap"] * held_out["samples"])
    note(
        f"{row['step']} steps, {row['tokens']:,} tokens, {row['seconds']:.0f} s; held-out problems of the training "
        f"length: {held_out['exact']} of {held_out['samples']}, {verdict}; {overlap} of them also came up in training"
    )
    for advice in advise(config, row):
        note(f"  try: {advice}")
    if not row["passed"] and "examples" not in config.model_settings:
        note(f"  continue with: tallystick resume {shlex.quote(run)} --steps {2 * config.settings.steps}")


class AtWork:
    """Shows a model at work in a folder: on a terminal a panel that keeps up, else a line now and then.

    before: the folder's files before the work.
    """

    def __init__(self, model: Model, speaker: Speaker, shell: ShellState, before: Entries, quiet: bool):
        self._model, self._speaker, self._shell, self._before = model, speaker, shell, before
        self._entries, self._next_look = before, 0.0
        self._next_line, self._quiet = LINE_EVERY, quiet
        self._began = time.monotonic()
        self._panel = self._make_panel() if ERR.is_terminal and not quiet else None

    def _make_panel(self) -> Live:
        draw = self._draw
        return Live(console=ERR, transient=True, redirect_stdout=False, redirect_stderr=False, get_renderable=draw)

    def __enter__(self) -> AtWork:
        self._began = time.monotonic()
        if self._panel:
            self._panel.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._panel:
            self._panel.stop()

    @property
    def seconds(self) -> float:
        """Seconds since the work began."""
        return time.monotonic() - self._began

    def answered(self) -> None:
        """Take note that the shell has answered."""
        if not self._quiet and not self._panel and self.seconds >= self._next_line:
            self._next_line = self.seconds + LINE_EVERY
            note(f"{self.seconds:.0f} s: {', '.join(self._facts())}")

    def _facts(self) -> tuple[str, str]:
        tokens, speed = self._speaker.position, self._speaker.position / max(self.seconds, 0.01)
        done = f"{plural(self._files(), 'file')} changed, {plural(self._shell.commands, 'command')}"
        return done, f"{tokens:,} tokens at {speed:,.0f} tokens/s, state {self._model.state_bytes(tokens):,} bytes"

    def _files(self) -> int:
        """Count the files that differ from how they were; the more there are, the more rarely they are looked at."""
        began = self.seconds
        if began >= self._next_look:
            self._entries = look(self._shell.shell.copy, self._entries)
            self._next_look = self.seconds + LOOK_SHARE * (self.seconds - began)
        return len(compare(self._before, self._entries))

    def _draw(self) -> Table:
        """Draw the panel: three short lines, for a terminal of any width."""
        panel = Table.grid(padding=(0, 1))
        done, cost = self._facts()
        command = " ".join(printable(self._shell.command).split())
        for line in (f"{self.seconds:.0f} s", done), ("", cost), ("$", command):
            panel.add_row(*(Text(part, no_wrap=True, overflow="ellipsis") for part in line))
        return panel
