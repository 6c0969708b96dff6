"""Make the README's pictures of a trajectory and of the report's viewer; needs chromium and half a minute.

    python docs/pictures.py

docs/trajectory.png is `tallystick show addition --length 1 --seed 3`. For docs/viewer.png a small Mamba-2 is trained on
the paper's addition program with at most 5 digits. That program is not local, so the model fails at 20 digits; the
picture shows the first wrong token of one such episode.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME

from tallystick import tasks
from tallystick.cli.console import coloured
from tallystick.tasks.runner import record

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "report"))
import browser

FOLDER = Path(__file__).parent
WIDTH = 1400
COLUMNS = 112
"""Number of characters in a line of the trajectory."""
FORM = (
    "<html data-ready='yes'><body style='margin:0;background:white'>"
    "<pre style='padding:14px;margin:0;width:fit-content;font:15px monospace'>{code}</pre></body></html>"
)
"""HTML of the page; the browser waits until it declares itself ready."""


def main() -> None:
    """Make both pictures."""
    if browser.CHROMIUM is None:
        sys.exit("chromium is missing: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, browser.Page(WIDTH) as page:
        trajectory(page, Path(folder))
        viewer(page, Path(folder))


def trajectory(page: browser.Page, folder: Path) -> None:
    """Save a picture of one trajectory as the terminal shows it."""
    task = tasks.load("addition")
    recorder = record(task, task.problem("show", 3, 1, 0))
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(coloured(recorder.ids[1:], recorder.roles[1:], task))
    html = console.export_html(theme=DEFAULT_TERMINAL_THEME, inline_styles=True, code_format=FORM)
    file = folder / "trajectory.html"
    file.write_text(html, encoding="utf-8")
    page.open(file)
    (FOLDER / "trajectory.png").write_bytes(page.picture("pre"))


def viewer(page: browser.Page, folder: Path) -> None:
    """Save a picture of the report's viewer at a wrong token."""
    run = folder / "addition"
    tallystick("train", "addition", "--variant", "paper", "--steps", "400", "--out", run)
    tallystick("eval", run, "--lengths", "20", "--samples", "10")
    tallystick("report", run, "--problems", "100")
    page.open(run / "report.html")
    page.read(f"viewer.node.style.width = '{WIDTH}px'")
    page.read("new Promise((done) => setTimeout(() => done(true), 500))")  # until the tape is drawn anew
    (FOLDER / "viewer.png").write_bytes(page.picture(".viewer"))


def tallystick(*arguments: object) -> None:
    """Run a command of tallystick."""
    subprocess.run([sys.executable, "-m", "tallystick", *map(str, arguments)], check=True)


if __name__ == "__main__":
    main()
