"""Make docs/viewer.png, the picture of the report's viewer. Needs chromium; takes half a minute.

    python docs/viewer.py

A small Mamba-2 is trained on the paper's addition program with at most 5 digits. That program is not local, so the
model fails at 20 digits; the picture shows the first wrong token of one such episode.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "report"))
import browser

WIDTH = 1400
OUT = Path(__file__).with_suffix(".png")


def main() -> None:
    """Train, measure, report, and save the picture."""
    if browser.CHROMIUM is None:
        sys.exit("chromium is missing: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        run = f"{folder}/addition"
        tallystick("train", "addition", "--variant", "paper", "--steps", "400", "--out", run)
        tallystick("eval", run, "--lengths", "20", "--samples", "10")
        tallystick("report", run, "--problems", "100")
        with browser.Page(WIDTH) as page:
            page.open(Path(run) / "report.html")
            page.read(f"viewer.node.style.width = '{WIDTH}px'")
            page.read("new Promise((done) => setTimeout(() => done(true), 500))")  # until the tape is drawn anew
            OUT.write_bytes(page.picture(".viewer"))


def tallystick(*arguments: str) -> None:
    """Run a command."""
    subprocess.run([sys.executable, "-m", "tallystick", *arguments], check=True)


if __name__ == "__main__":
    main()
