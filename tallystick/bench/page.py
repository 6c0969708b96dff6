"""Tables of speeds, for the terminal and for results/bench/."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tallystick.bench import KINDS
from tallystick.bench.machine import Limits
from tallystick.bench.row import Row, Work

HEAD = ("", "tokens/s", "peak memory, MB", "FLOPs a token", "bytes a token", "of the limit", "peers, tokens/s", "")
UNKNOWN = "-"


def cells(row: Row) -> list[str]:
    """Return a row's cells, one for each name in HEAD."""
    work = row.work
    return [
        row.name,
        f"{row.rate:,.0f}",
        f"{row.peak_bytes / 1e6:,.0f}" if row.peak_bytes else UNKNOWN,
        f"{work.flops:,.0f}" if work else UNKNOWN,
        f"{work.bytes:,.0f}" if work else UNKNOWN,
        f"{100 * row.fraction:.1f} %" if row.fraction is not None else UNKNOWN,
        "; ".join(_peers(row)),
        row.note,
    ]


def lines(row: Row) -> list[str]:
    """Return a row as lines for a terminal."""
    name, rate, peak, flops, moved, share, *_ = cells(row)
    speed = f"  {rate} tokens/s, peak memory {peak} MB"
    work = f"  {share} of the limit: {flops} FLOPs and {moved} bytes a token"
    rest = [f"  {text}" for text in (row.note, "; ".join(_peers(row))) if text]
    return [name, speed, *([work] if row.work else []), *rest]


def _peers(row: Row) -> list[str]:
    return [f"{name} {_peer(rate, row.rate)}" for name, rate in row.peers.items()]


def _peer(rate: float | str, ours: float) -> str:
    return rate if isinstance(rate, str) else f"{rate:,.0f} (ours {ours / rate:.1f} x)"


def markdown(document: Mapping[str, Any]) -> str:
    """Return the page of one kind and device, made whole from its stored results."""
    where, rows = document["environment"], [restored(row) for row in document["rows"]]
    machine = where["gpu"] if document["device"] == "cuda" else f"one thread of {where['machine']}"
    lines = [HEAD, ["---"] * len(HEAD), *map(cells, rows)]
    command = " ".join(["tallystick", *where["command"]])
    commit = f"{str(where['commit'])[:7]}{' and changes' if where['dirty'] else ''}"
    versions = ", ".join(f"{name} {version}" for name, version in where["versions"].items())
    parts = [
        f"# Speed: {KINDS[document['kind']]}, {machine}",
        "Medians. The limit is the time that the counted operations or bytes take at the speed at which torch, in the "
        "same process, multiplies matrices or reads as much memory, whichever is longer; above 100 %, ours reads "
        "faster than torch does. Each row's tokens were checked before it was printed.",
        "\n".join(f"| {' | '.join(line)} |" for line in lines),
        *(f"No row: {failure}" for failure in document["failures"]),
        f"Made by `{command}`, commit {commit}, {versions}, {where['date']}",
    ]
    return "\n\n".join(parts) + "\n"


def restored(row: Mapping[str, Any]) -> Row:
    """Make a row from its stored form."""
    work = row["work"]
    limits = Work(**{**work, "limits": Limits(**work["limits"])}) if work else None
    return Row(**{**row, "work": limits})
