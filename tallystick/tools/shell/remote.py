"""Our side of the helper process: start it, hand it commands, collect what they print."""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tallystick.tools.shell import bwrap, copying
from tallystick.tools.shell.confinement import PATH, Settings
from tallystick.tools.shell.limits import Limits
from tallystick.tools.shell.output import Output

LONGEST_COMMAND = 131_071
"""Bytes of the longest argument that Linux takes (MAX_ARG_STRLEN, less its end)."""
ENDED = "the shell's helper process has ended; make a new Shell"
START = """
import sys, types
for name, path in zip(("tallystick", "tallystick.tools", "tallystick.tools.shell"), sys.argv[4:]):
    sys.modules[name] = package = types.ModuleType(name)
    package.__path__ = [path]
from tallystick.tools.shell.helper import main
main()
"""
"""Runs the helper without the packages' own `__init__`, which import numpy and take ten times as long."""


class Remote:
    """A helper process and the folder in which it works: `repo` in it is the copy.

    Raises OSError where the level cannot be had.
    """

    def __init__(self, level: str, timeout: float, limits: Limits):
        bash, program = _bash(), bwrap.find() if level == "bwrap" else ""
        self.scratch = _scratch()
        settings = Settings(level, self.scratch, timeout, limits, bash, _python(self.scratch), program)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = _spawn(settings, theirs.fileno())
        try:
            answer = self._receive()
            self.uid: int | None = answer["uid"]
            self.root: str = answer["root"]
            self._check_reachable()
        except OSError:
            self.close()
            raise

    def _check_reachable(self) -> None:
        blocked = [folder for folder in Path(self.scratch).parents if not folder.stat().st_mode & 0o001]
        if self.uid is not None and blocked:
            raise OSError(f"commands cannot enter {blocked[-1]}; set TMPDIR to a folder that all may enter, as /tmp")

    def give_copy(self) -> None:
        """Make the user of the commands the owner of what the folder holds."""
        if self.uid is not None:
            for name in ("repo", "tmp"):
                copying.give(f"{self.scratch}/{name}", self.uid)

    def run(self, command: bytes, output: Output) -> tuple[int, str]:
        """Run a command; return its code and what went wrong, "" if nothing. What it prints goes to `output`."""
        if self._control.fileno() < 0:
            raise OSError("the shell is closed")
        read = self._send(command)
        try:
            self._collect(read, output)
        finally:
            os.close(read)
        answer = self._receive()
        return answer["returncode"], answer["exception"]

    def _send(self, command: bytes) -> int:
        """Hand over a command; return the end of the pipe that its output comes from."""
        read, write = os.pipe()
        try:
            socket.send_fds(self._control, [command], [write])
        except BrokenPipeError:
            os.close(read)
            raise OSError(ENDED) from None
        finally:
            os.close(write)
        return read

    def _collect(self, pipe: int, output: Output) -> None:
        """Read until the helper answers, or ends: then nothing more is written, even if the pipe is still open."""
        poller = select.poll()
        poller.register(pipe, select.POLLIN)
        poller.register(self._control, select.POLLIN)
        while any(fd == pipe for fd, _ in poller.poll()):
            if not _take(pipe, output):
                return
        poller.unregister(self._control)
        while poller.poll(0) and _take(pipe, output):
            continue

    def _receive(self) -> dict:
        try:
            data = self._control.recv(1 << 16)
        except ConnectionResetError:  # it had not read all that we sent
            data = b""
        if not data:
            raise OSError(ENDED)
        answer = json.loads(data)
        if "error" in answer:
            raise OSError(answer["error"])
        return answer

    def close(self) -> None:
        """End all that runs, and remove the folder; may be called again."""
        self._control.close()
        self._process.wait()


def _take(pipe: int, output: Output) -> bool:
    """Read some of what was printed; return False at its end."""
    data = os.read(pipe, 1 << 16)
    output.feed(data)
    return bool(data)


def _spawn(settings: Settings, control: int) -> subprocess.Popen[bytes]:
    here = Path(__file__).parent
    packages = map(str, (here.parents[1], here.parent, here))
    arguments = [str(control), str(os.getpid()), json.dumps(asdict(settings)), *packages]
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", "-c", START, *arguments],
        pass_fds=[control],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={},
        cwd="/",
        start_new_session=True,
    )


def _scratch() -> str:
    """Make the folder: ours, to be passed through by the user of the commands, but not to be listed."""
    scratch = tempfile.mkdtemp(prefix="tallystick-shell-")
    Path(scratch).chmod(0o711)
    for name in ("repo", "tmp", "bin"):
        Path(scratch, name).mkdir(0o755 if name == "bin" else 0o700)
    return scratch


def _bash() -> str:
    bash = shutil.which("bash", path=PATH)
    if not bash:
        raise OSError(f"no bash in {PATH}")
    return bash


def _python(scratch: str) -> str:
    """Provide `python` where there is `python3` alone; return that interpreter, else ""."""
    python = shutil.which("python3", path=PATH)
    if not python or shutil.which("python", path=PATH):
        return ""
    Path(scratch, "bin", "python").symlink_to(python)
    return python
