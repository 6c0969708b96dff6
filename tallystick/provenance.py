"""Provenance of results: versions, machine and commit."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tallystick

PATIENCE = 30
"""Seconds that git may take."""


def environment() -> dict[str, Any]:
    """Describe versions, device, commit and uncommitted changes, except those to results/, which affect no result.

    commit and dirty are None unless the package lies in a git checkout and git can be run; no job fails for want of it.
    """
    versions = {"tallystick": tallystick.__version__, "torch": torch.__version__, "numpy": np.__version__}
    return {
        "python": platform.python_version(),
        "versions": versions,
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "gpu": _gpu(),
        "commit": _git("rev-parse", "HEAD"),
        "dirty": _git("diff", "HEAD", "--", ".", ":(exclude)results"),
        "command": sys.argv[1:],
    }


def _gpu() -> str | None:
    try:
        return torch.cuda.get_device_name() if torch.cuda.is_available() else None
    except RuntimeError:  # the GPU's driver does not answer
        return None


def _git(*arguments: str) -> str | None:
    folder = Path(__file__).parent.parent
    if not (folder / ".git").exists():
        return None
    try:
        result = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):  # for example, git is not installed
        return None
    return result.stdout.decode("utf-8", "replace").strip() if result.returncode == 0 else None
