"""Read files of trajectories in any known form, which is told from the content."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from tallystick.episode import Role
from tallystick.text import atif, messages
from tallystick.trajectory import Segment, Trajectory

SUFFIXES = (".jsonl", ".json", ".parquet")
"""Suffixes of files of trajectories: one on each line, one or a list, one in each row."""
IN_FOLDERS = ("*.jsonl", "*.traj.json", "*trajectory*.json", "*.parquet")
"""Files that are read in a folder and the folders below it."""
FORMS = "messages (OpenAI, SWE-smith, mini-swe-agent), ATIF, or tallystick's own with texts"

Document = Mapping[str, Any]


def load(path: Path) -> list[Trajectory]:
    """Read the trajectories of a file or a folder, as segments of text.

    The descriptions of tools stand first in the prompts, unless they are the same everywhere and so tell nothing.
    Raises ValueError naming file and line (or row) of what cannot be read.
    """
    read: list[tuple[list[Segment], str]] = []
    for place, document in _documents(path):
        try:
            read += _read(document)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
    if not read:
        raise ValueError(f"{path} has no trajectories")
    differ = len({tools for _, tools in read}) > 1
    return [Trajectory(_with_tools(segments, tools) if differ else segments) for segments, tools in read]


def _read(document: object) -> list[tuple[list[Segment], str]]:
    """Read a document: segments and descriptions of tools, for each trajectory in it."""
    if not isinstance(document, dict):
        raise ValueError(f"not a JSON object; the known forms are {FORMS}")
    if "segments" in document:
        return [(_own(document), "")]
    if str(document.get("schema_version")).startswith("ATIF"):
        return [(atif.read(each).segments(), _tools(each.get("agent"))) for each in atif.documents(document)]
    if "messages" in document:
        return [(messages.read(document).segments(), _tools(document))]
    raise ValueError(f"it is of no known form: it has no messages; the known forms are {FORMS}")


def _own(document: Document) -> list[Segment]:
    segments = Trajectory.from_document(document).segments
    if not all(isinstance(text, str) for _, text in segments):
        raise ValueError("it has tokens, not texts; write texts with `tallystick data TASK --form openai`")
    return segments


def _tools(document: object) -> str:
    """Return the descriptions of tools as JSON; "" if there are none."""
    given = document if isinstance(document, dict) else {}
    tools = given.get("tools") or given.get("tool_definitions")
    return tools if isinstance(tools, str) else json.dumps(tools, ensure_ascii=False) if tools else ""


def _with_tools(segments: list[Segment], tools: str) -> list[Segment]:
    (_, prompt), *rest = segments
    return [(Role.PROMPT, f"{tools}\n\n{prompt}" if tools else prompt), *rest]


def _documents(path: Path) -> Iterator[tuple[str, object]]:
    """Yield every document with its place."""
    if path.is_dir():
        files = sorted({file for pattern in IN_FOLDERS for file in path.rglob(pattern)})
        if not files:
            raise ValueError(f"{path} has no trajectories: no files {', '.join(IN_FOLDERS)}")
        for file in files:
            yield from _documents(file)
    elif not path.is_file():
        raise ValueError(f"no file {path}")
    else:
        yield from READERS[path.suffix](path)


def _lines(file: Path) -> Iterator[tuple[str, object]]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            place = f"{file}, line {number}"
            if text := _decoded(line, place).strip():
                yield place, _parsed(text, place)


def _whole(file: Path) -> Iterator[tuple[str, object]]:
    document = _parsed(_decoded(file.read_bytes(), str(file)), str(file))
    if isinstance(document, list):
        yield from ((f"{file}, item {number}", each) for number, each in enumerate(document))
    else:
        yield str(file), document


def _rows(file: Path) -> Iterator[tuple[str, object]]:
    try:
        from pyarrow import ArrowInvalid, parquet
    except ImportError:
        raise ValueError("Parquet needs pyarrow: pip install 'tallystick[data]'") from None
    try:
        opened = parquet.ParquetFile(file)
        columns = [name for name in ("messages", "tools") if name in opened.schema_arrow.names]
        rows = chain.from_iterable(batch.to_pylist() for batch in opened.iter_batches(256, columns=columns))
        yield from ((f"{file}, row {number}", row) for number, row in enumerate(rows))
    except ArrowInvalid as error:
        raise ValueError(f"{file} is not a Parquet file: {error}") from None


READERS: dict[str, Callable[[Path], Iterator[tuple[str, object]]]] = {
    ".jsonl": _lines,
    ".json": _whole,
    ".parquet": _rows,
}


def _decoded(data: bytes, place: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{place}: not UTF-8: {error}") from None


def _parsed(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{place}: not JSON: {error}") from None
    except RecursionError:
        raise ValueError(f"{place}: nested too deeply") from None
