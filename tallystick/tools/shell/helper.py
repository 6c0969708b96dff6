"""The helper process of a Shell: it starts the commands, watches what they use, and ends all that they leave running.

It is a process of its own because it forks in a millisecond, however large our own is; because all processes of a
command stay its descendants, whatever they do to get away; and because it ends them and removes the copy if we die.
It reads commands from a socket and imports little, so that it starts fast.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time

from tallystick.tools.shell import accounts, landlock
from tallystick.tools.shell.confinement import Confinement, Settings
from tallystick.tools.shell.limits import Limits, Watch, descendants

PR_SET_CHILD_SUBREAPER = 36
LONGEST_MESSAGE = 1 << 18
POLL = 0.2
"""Seconds between looks at what a running command uses."""
PATIENCE = 10
"""Seconds within which killed processes have to be gone."""


class Helper:
    """Serves one Shell: `control` brings commands, each with the file descriptor that its output goes to."""

    def __init__(self, settings: Settings, control: socket.socket, parent: int):
        self.settings, self.control, self.parent = settings, control, parent
        landlock.prctl(PR_SET_CHILD_SUBREAPER, 1)
        self.confinement = Confinement(settings)
        self.codes: dict[int, int] = {}
        self.watch = Watch(settings.limits, settings.scratch)
        self.scoped = settings.level == "landlock" and not accounts.is_own(self.confinement.uid) and self._scope()

    def _scope(self) -> bool:
        """Make this process unable to signal any but its descendants, so that it can kill all of them at once."""
        landlock.forbid_new_privileges()
        landlock.restrict(landlock.signal_scope())
        try:
            os.kill(self.parent, 0)
        except PermissionError:
            return True
        raise OSError("signals are not confined")

    def serve(self) -> None:
        """Run commands until our parent is gone."""
        self._reply({"uid": self.confinement.uid, "root": self.confinement.root})
        while self._wait(1.0):
            message, fds, _, _ = socket.recv_fds(self.control, LONGEST_MESSAGE, 1)
            if not fds:
                return
            os.set_inheritable(fds[0], False)
            self._reply(self._run(message, fds[0]))

    def _wait(self, seconds: float, *others: int) -> bool:
        """Wait for a message, or for other file descriptors; return False when our parent is gone."""
        while not select.select([self.control, *others], [], [], seconds)[0]:
            if os.getppid() != self.parent:
                return False
            if others:
                break
        return True

    def _reply(self, answer: dict[str, object]) -> None:
        self.control.send(json.dumps(answer).encode())

    def _run(self, command: bytes, output: int) -> dict[str, object]:
        """Run a command to its end; return its code and what went wrong, "" if nothing."""
        self.watch.start()
        try:
            if self.confinement.uid is not None:
                os.fchown(output, self.confinement.uid, self.confinement.uid)  # or /dev/stdout could not be opened
            pid, error = self._start(command, output)
        finally:
            os.close(output)
        exception = error or self._supervise(pid)
        code = self._end(pid)
        return {"returncode": -1 if exception else code, "exception": exception}

    def _start(self, command: bytes, output: int) -> tuple[int, str]:
        """Start a command; return its process and why it could not be started, "" if it was."""
        errors, report = os.pipe()  # closed by exec
        pid = os.fork()
        if pid == 0:
            self._become(command, output, report)
        os.close(report)
        with os.fdopen(errors, "r") as file:
            return pid, file.read()

    def _become(self, command: bytes, output: int, report: int) -> None:
        """Turn this process, a fresh child, into the command."""
        try:
            null = os.open(os.devnull, os.O_RDONLY)
            for target, fd in enumerate((null, output, output)):
                os.dup2(fd, target)
            self.confinement.enter()
            words = [*map(os.fsencode, self.confinement.words), command]
            os.execve(self.confinement.program, words, self.confinement.env)
        except BaseException as error:
            os.write(report, f"the command could not be started: {error}".encode())
        finally:
            os._exit(126)

    def _supervise(self, pid: int) -> str:
        """Wait until the command's first process ends; return why it has to be ended, "" if it did by itself."""
        timeout = self.settings.timeout
        deadline = time.monotonic() + timeout
        process = os.pidfd_open(pid)
        try:
            while (left := deadline - time.monotonic()) > 0:
                if not self._wait(min(left, POLL), process) or self._hung_up():
                    return "the caller is gone"
                if select.select([process], [], [], 0)[0]:
                    return ""
                if excess := self.watch.excess():
                    return excess
                self._reap()  # orphans become our children, and count as processes until then
            return f"timeout after {timeout:g} s"
        finally:
            os.close(process)

    def _hung_up(self) -> bool:
        """Tell whether the other end of the socket is closed: no message comes while a command runs."""
        return bool(select.select([self.control], [], [], 0)[0])

    def _end(self, pid: int) -> int:
        """Kill all processes of the command; return the code of its first one, as bash gives it."""
        deadline = time.monotonic() + PATIENCE
        while self._reap():
            if time.monotonic() > deadline:
                raise TimeoutError("processes of a command cannot be ended")
            self._kill()
            time.sleep(0.0005)
        code = self.codes[pid]
        self.codes.clear()
        return code

    def _reap(self) -> bool:
        """Collect the codes of the children that have ended; tell whether others run."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            code = os.waitstatus_to_exitcode(status)
            self.codes[pid] = code if code >= 0 else 128 - code

    def _kill(self) -> None:
        uid = self.confinement.uid
        if uid is not None and accounts.is_own(uid):
            _kill_all_of(uid)
        elif self.scoped:
            os.kill(-1, signal.SIGKILL)  # reaches our descendants alone, see `_scope`
        else:
            for pid in descendants(os.getpid()):
                _kill_one(pid)


def _kill_one(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:  # it ended in the meantime
        return


def _kill_all_of(uid: int) -> None:
    """Kill all processes of a user at once, so that none can fork its way out."""
    killer = os.fork()
    if killer == 0:
        try:
            accounts.become(uid)
            os.kill(-1, signal.SIGKILL)
        finally:
            os._exit(0)
    os.waitpid(killer, 0)


def main() -> None:
    """Serve the Shell that started this process, then remove its copy."""
    fd, parent, settings = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    control = socket.socket(fileno=fd)
    control.set_inheritable(False)
    settings["limits"] = Limits(**settings["limits"])
    try:
        Helper(Settings(**settings), control, parent).serve()
    except BrokenPipeError:  # our parent is gone
        pass
    except OSError as error:
        control.send(json.dumps({"error": str(error)}).encode())
    finally:
        remove(settings["scratch"])


def remove(folder: str) -> None:
    """Remove a folder that commands have written to, however deep, and whatever the rights on it."""
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
    command = ["rm", "-rf", "--", folder]
    if subprocess.run(command, env=environment, stderr=subprocess.DEVNULL).returncode:
        subprocess.run(["chmod", "-R", "u+rwX", "--", folder], env=environment, stderr=subprocess.DEVNULL)
        subprocess.run(command, env=environment)
