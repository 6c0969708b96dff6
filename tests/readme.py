"""Prints the commands of README's code blocks marked ``bash # test``-style: those under a `<!-- test -->` line."""

import sys
from pathlib import Path


def commands(text: str) -> list[str]:
    """The lines of every fenced block that follows a line `<!-- test -->`."""
    lines, found, marked, inside = text.splitlines(), [], False, False
    for line in lines:
        if line.startswith("```"):
            inside = marked and not inside
            marked = marked and inside
        elif inside:
            found.append(line)
        elif line:
            marked = line == "<!-- test -->"
    return found


if __name__ == "__main__":
    print("\n".join(commands(Path(sys.argv[1]).read_text())))
