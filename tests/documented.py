"""Prints the commands of documentation pages, for .ci/run.

python tests/documented.py "set up" README.md          # the blocks under a line <!-- set up -->
python tests/documented.py test README.md docs/*.md    # the blocks under a line <!-- test -->
"""

import sys
from pathlib import Path


def commands(text: str, mark: str) -> list[str]:
    """Return the lines of every fenced block that follows a line `<!-- mark -->`."""
    found, marked, inside = [], False, False
    for line in text.splitlines():
        if line.startswith("```"):
            inside = marked and not inside
            marked = marked and inside
        elif inside:
            found.append(line)
        elif line:
            marked = line == f"<!-- {mark} -->"
    return found


if __name__ == "__main__":
    mark, *pages = sys.argv[1:]
    print("\n".join(line for page in pages for line in commands(Path(page).read_text(encoding="utf-8"), mark)))
