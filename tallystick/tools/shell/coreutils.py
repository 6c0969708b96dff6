"""cat, echo, head, tail, tac, ls, sort and wc."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tallystick.tools.shell.results import Result, Unknown, lines, read


def cat(files: Mapping[str, str], arguments: tuple[str, ...], stdin: str | None) -> Result:
    """Print files one after another."""
    texts, complaints = _texts(files, arguments, stdin, "cat: {}")
    return Result("".join(text for _, text in texts), complaints, int(complaints != ""))


def echo(files: Mapping[str, str], arguments: tuple[str, ...], stdin: str | None) -> Result:
    """Print the arguments."""
    if arguments and re.fullmatch("-[neE]+", arguments[0]):
        raise Unknown(f"echo {arguments[0]}")
    return Result(" ".join(arguments) + "\n")


def head(files: Mapping[str, str], arguments: tuple[str, ...], stdin: str | None) -> Result:
    """Print the first lines of files."""
    count, names = _count(arguments)
    if count.startswith("+"):
        raise Unknown(f"head {' '.join(arguments)}")
    return _ends(files, names, stdin, "head", lambda rows: rows[: int(count)])


def tail(files: Mapping[str, str], arguments: tuple[str, ...], stdin: str | None) -> Result:
    """Print the last lines of files, or from a line on."""
    count, names = _count(arguments)
    if count.startswith("+"):
        return _ends(files, names, stdin, "tail", lambda rows: rows[int(count) - 1 :])
    return _ends(files, names, stdin, "tail", lambda rows: rows[-int(count) :])


def tac(files: Mapping[str, str], arguments: tuple[str, ...], stdin: str | None) -> Result:
    """Print files with their lines in reverse."""
    texts, complaints = _texts(files, arguments, stdin, "tac: failed to open '{}' for reading")
    return Result("".join("".join(lines(text)[::-1]) for _, text in texts), complaints, int(complaints != ""))


def ls(files: Mapping[str, str], arguments: tuple[str, ...], stdin: str | None) -> Result:
    """List files, one a line."""
    names = arguments[1:] if arguments[:1] == ("-1",) else arguments
    if any("/" in name for name in files) or any(name.startswith("-") for name in names):
        raise Unknown(f"ls {' '.join(arguments)}")
    shown = [name for name in files if not name.startswith(".")]
    complaints = ""
    if names:
        found, complaints = read(files, names, "ls: cannot access '{}'")
        shown = [name for name in names if name in found]
    return Result("".join(f"{name}\n" for name in sorted(shown)), complaints, 2 if complaints else 0)


def sort(files: Mapping[str, str], arguments: tuple[str, ...], stdin: str | None) -> Result:
    """Sort lines by their characters' numbers; -r in reverse, -u each once."""
    options = {*"".join(word[1:] for word in arguments if word.startswith("-"))}
    names = tuple(word for word in arguments if not word.startswith("-"))
    if not options <= {*"ru"}:
        raise Unknown(f"sort {' '.join(arguments)}")
    texts, complaints = _texts(files, names, stdin, "sort: cannot read: {}")
    if complaints:
        raise Unknown("sort of a missing file")
    rows = [row.removesuffix("\n") for _, text in texts for row in lines(text)]
    rows = sorted({*rows} if "u" in options else rows, reverse="r" in options)
    return Result("".join(f"{row}\n" for row in rows))


def wc(files: Mapping[str, str], arguments: tuple[str, ...], stdin: str | None) -> Result:
    """Count lines."""
    if arguments[:1] != ("-l",):
        raise Unknown(f"wc {' '.join(arguments)}")
    names = arguments[1:]
    texts, complaints = _texts(files, names, stdin, "wc: {}")
    if complaints:
        raise Unknown("wc of a missing file")
    counts = [(text.count("\n"), f" {name}" if names else "") for name, text in texts]
    if len(counts) > 1:
        counts.append((sum(count for count, _ in counts), " total"))
    # GNU wc makes columns as wide as the files' total size needs
    width = len(str(sum(len(text.encode()) for _, text in texts))) if len(texts) > 1 else 1
    return Result("".join(f"{count:{width}}{name}\n" for count, name in counts))


def _texts(
    files: Mapping[str, str], names: tuple[str, ...], stdin: str | None, complaint: str
) -> tuple[list[tuple[str, str]], str]:
    """The named files' texts in order, else the input; and messages for those that are missing."""
    if any(name.startswith("-") for name in names):
        raise Unknown(f"the option {' '.join(names)}")
    if not names:
        if stdin is None:
            raise Unknown("a command without input")
        return [("", stdin)], ""
    found, complaints = read(files, names, complaint)
    return [(name, found[name]) for name in names if name in found], complaints


def _count(arguments: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The number of lines that -n gives, and the files."""
    count, names = "10", arguments
    if arguments[:1] == ("-n",):
        count, names = (arguments[1] if len(arguments) > 1 else ""), arguments[2:]
    elif arguments and (found := re.fullmatch("-n?([0-9]+)", arguments[0])):
        count, names = found[1], arguments[1:]
    if not re.fullmatch(r"\+?[1-9][0-9]*", count):
        raise Unknown(f"the count of lines {count}")
    return count, names


def _ends(
    files: Mapping[str, str],
    names: tuple[str, ...],
    stdin: str | None,
    command: str,
    cut: Callable[[list[str]], list[str]],
) -> Result:
    """Print a part of each file, with a title where there are several."""
    texts, complaints = _texts(files, names, stdin, f"{command}: cannot open '{{}}' for reading")
    shown = ["".join(cut(lines(text))) for _, text in texts]
    if len(names) > 1:
        titled = [f"==> {name} <==\n{text}" for (name, _), text in zip(texts, shown, strict=True)]
        shown = ["\n".join(titled)]
    return Result("".join(shown), complaints, int(complaints != ""))
