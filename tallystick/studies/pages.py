"""Update the tables of results inside documentation pages.

    python -m tallystick.studies.pages README.md docs/*.md             # updates the pages
    python -m tallystick.studies.pages --check README.md docs/*.md     # exits 1 if a page differs from its results

A page marks each table by comments on lines of their own:

    <!-- results/headline-small -->                    the first table of results/headline-small.md, whole
    <!-- results/table1-small#logic-graph -->          the first table under that heading, whole
    <!-- end -->
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

MARK, END = "<!-- results/", "<!-- end -->"
BLOCK = re.compile(rf"^({MARK}([^\s#]+)(?:#(.+))? -->)\n(?:(?!{MARK}).*\n)*?{END}$", re.MULTILINE)
"""A mark with its results and heading, and everything up to the end mark."""


def filled(text: str, root: Path = Path()) -> str:
    """Return a page with the tables between its marks brought up to date; root: the folder that contains results/.

    Raises ValueError for a mark without an end, and for results, a heading or a table that does not exist.
    """
    marks = Counter(line for line in text.splitlines() if line.startswith(MARK))
    for mark in marks - Counter(block[1] for block in BLOCK.finditer(text)):
        raise ValueError(f"{mark}: write {MARK}NAME --> or {MARK}NAME#HEADING -->, and {END} below the table")
    return BLOCK.sub(lambda block: "\n".join([block[1], *table(root, block[2], block[3]), END]), text)


def table(root: Path, name: str, heading: str | None) -> list[str]:
    """Return the lines of the first table of a results page, or of the first table under a heading."""
    path = root / "results" / f"{name}.md"
    if not path.exists():
        raise ValueError(f"{path} does not exist; make it with `tallystick reproduce`")
    lines = path.read_text(encoding="utf-8").splitlines()
    if heading is not None:
        lines = _below(heading, lines, path)
    rows = [i for i, line in enumerate(lines) if line.startswith("|")]
    if not rows:
        raise ValueError(f"{path} has no table {f'under {heading!r}' if heading else 'in it'}")
    return list(takewhile(lambda line: line.startswith("|"), lines[rows[0] :]))


def _below(heading: str, lines: Sequence[str], path: Path) -> list[str]:
    """Return the lines from a heading to the next one."""
    headings = [line.removeprefix("## ") for line in lines if line.startswith("## ")]
    if heading not in headings:
        raise ValueError(f"{path} has no heading {heading!r}; there are: {', '.join(headings) or 'none'}")
    return list(takewhile(lambda line: not line.startswith("## "), lines[lines.index(f"## {heading}") + 1 :]))


def main(words: Sequence[str] | None = None) -> int:
    """Update the pages, or with --check list those that differ; return the exit code."""
    parser = argparse.ArgumentParser(description="Write the tables of results into documentation pages.")
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page differs")
    arguments = parser.parse_args(words)
    try:
        texts = {page: page.read_text(encoding="utf-8") for page in arguments.pages}
        stale = {page: new for page, text in texts.items() if (new := filled(text)) != text}
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    for page, text in stale.items():
        if arguments.check:
            print(f"{page} differs from its results; run python -m tallystick.studies.pages {page}", file=sys.stderr)
        else:
            page.write_text(text, encoding="utf-8")
    return int(arguments.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
