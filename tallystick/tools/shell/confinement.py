"""How a command is confined at each level: what its process gives up before it becomes bash."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from tallystick.tools.shell import accounts, bwrap, landlock, limits, seccomp
from tallystick.tools.shell.limits import Limits

PATH = "/usr/local/bin:/usr/bin:/bin"
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""Folders of programs, which commands may read and run."""
CONFIGURATION = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "python3*")
"""The parts of /etc that programs need to start; the others stay hidden."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
OOM_FIRST = "1000"
"""Score of a process that the kernel ends first when memory runs out."""


@dataclass(frozen=True)
class Settings:
    """The settings of one Shell, handed to its helper."""

    level: str
    scratch: str
    timeout: float
    limits: Limits
    bash: str
    python: str
    """The interpreter that `python` is to be; "" where there is one of that name, or none at all."""
    bwrap: str
    """The program bubblewrap; "" if there is none."""


class Confinement:
    """Everything about one Shell's commands that can be prepared before the first of them.

    Raises OSError where the kernel refuses a part of it.
    """

    def __init__(self, settings: Settings):
        self.settings = settings
        self.uid = accounts.choose(os.getpid())
        if settings.level == "none":
            self.uid = None
        scratch, level = settings.scratch, settings.level
        self.folder = f"{scratch}/repo"
        self.root = bwrap.REPO if level == "bwrap" else self.folder
        python_folder = bwrap.PYTHON_FOLDER if level == "bwrap" else f"{scratch}/bin"
        self.env = environment(self.root, python_folder if settings.python else "")
        configuration = [str(path) for pattern in CONFIGURATION for path in Path("/etc").glob(pattern)]
        self.program, self.words = settings.bash, ["bash", "-c"]
        self.files = -1
        self.filter = b""
        if level == "bwrap":
            self.filter_fd = _temporary(seccomp.program(namespaces=True, own_user=True))
            words = bwrap.arguments(settings.bwrap, scratch, configuration, settings.python, self.env, self.filter_fd)
            self.program, self.words = settings.bwrap, [*words, *self.words]
        elif level == "landlock":
            own = accounts.is_own(self.uid)
            self.filter = seccomp.program(namespaces=False, own_user=own)
            self.files = landlock.ruleset([*SYSTEM, *configuration, f"{scratch}/bin"], [self.folder], [*DEVICES])

    def enter(self) -> None:
        """Confine this process, a fresh child, for ever."""
        os.setsid()  # no terminal
        os.chdir(self.folder)
        os.umask(0o022)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them
            signal.signal(number, signal.SIG_DFL)
        Path("/proc/self/oom_score_adj").write_text(OOM_FIRST)
        limits.apply(self.settings.limits, self.settings.timeout, self._other_threads())
        if self.settings.level != "none":
            self._give_up()

    def _other_threads(self) -> int:
        return 0 if accounts.is_own(self.uid) else limits.threads_of(os.geteuid() if self.uid is None else self.uid)

    def _give_up(self) -> None:
        if self.uid is not None:
            accounts.become(self.uid)
        accounts.drop_capabilities()
        landlock.forbid_new_privileges()
        if self.settings.level == "bwrap":
            os.lseek(self.filter_fd, 0, os.SEEK_SET)
            os.set_inheritable(self.filter_fd, True)
        else:
            landlock.restrict(self.files)
            seccomp.install(self.filter)


def environment(home: str, python_folder: str) -> dict[str, str]:
    """Return the whole environment of a command: nothing of ours is inherited."""
    return {
        "PATH": f"{python_folder}:{PATH}" if python_folder else PATH,
        "HOME": home,
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "PAGER": "cat",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _temporary(data: bytes) -> int:
    """Return a file descriptor of a file in memory that holds `data`."""
    fd = os.memfd_create("filter")
    os.write(fd, data)
    return fd
