"""eval: exactness at each length."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Annotated, Any

import typer

from tallystick.cli.console import ERR, OUT
from tallystick.cli.options import (
    Device,
    Json,
    Lengths,
    Seed,
    app,
    print_json,
    read_lengths,
)


@app.command("eval")
def evaluate(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="run folders")],
    lengths: Lengths = None,
    samples: Annotated[int, typer.Option(min=1, help="random problems of each length")] = 50,
    mode: Annotated[str, typer.Option(help="verify (fast) or generate (free-running, live tools)")] = "verify",
    part: Annotated[str | None, typer.Option(help="of a mixture: problems of this task alone")] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Measure exactness at each length."""
    import torch

    from tallystick import runs
    from tallystick.config import check_device
    from tallystick.evaluation import sweep

    check_device(device)
    if mode not in sweep.MODES:
        raise ValueError(f"unknown mode {mode!r}; there are: {', '.join(sweep.MODES)}")
    loaded = [runs.load(folder, device) for folder in folders]
    posed = [sweep.part_of(run.task, part) for run in loaded]
    rows = [read_lengths(lengths, task, task.defaults.eval) for task in posed]
    reports = []
    for run, wanted in zip(loaded, rows, strict=True):
        torch.set_num_threads(run.config["settings"]["threads"])
        with Evaluation(run, quiet=as_json) as table:
            made = sweep.evaluate(run, wanted, samples, mode, seed, table.row, part)
            report = sweep.report(run, made, part)
        runs.write_eval(run.path, report)
        reports.append(report)
    if as_json:
        print_json(reports[0] if len(reports) == 1 else {"runs": reports})


class Evaluation:
    """Rows of `eval`, printed as they are made."""

    COLUMNS = ("length", 12), ("exact", 10), ("95 % interval", 16), ("model tokens", 14), ("errors a token <", 18), (
        "min margin", 12), ("low-margin tokens", 11), ("seen", 7), ("seconds", 9)  # fmt: skip

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
        length = f"{row['length']}{' worst cases' if row['worst_cases'] else ''}"
        self._line([length, f"{row['exact']}/{row['samples']}", f"{100 * low:.1f}-{100 * high:.1f} %",
                    f"{row['model_tokens']:,}", f"{row['error_bound']:.1e}", f"{row['min_margin']:.2f}",
                    str(row["low_margin_tokens"]), f"{100 * row['train_overlap']:.0f} %", f"{row['seconds']:.1f}"])  # fmt: skip
        for error in row["first_errors"][:1]:
            got = "nothing: never seen" if error["got"] is None else error["got"]
            context = " ".join(error["context"][-8:])
            self._console.print(f"    first error, token {error['position']}: after  {context}  comes {error['want']}, "
                                f"the model says {got}", markup=False, soft_wrap=True)  # fmt: skip

    def _line(self, cells: list[str]) -> None:
        text = "".join(f"{cell:>{width}}" for cell, (_, width) in zip(cells, self.COLUMNS, strict=True))
        self._console.print(text, markup=False, soft_wrap=True)
