"""Sandboxes to test: every level that this machine has."""

import pytest

from tallystick.tools.shell import Shell, probe
from tallystick.tools.shell.sandbox import LEVELS

FILES = {"hello.py": "print('hello')\n", "src/data.txt": "one\ntwo\n"}


@pytest.fixture(scope="session", params=LEVELS)
def level(request):
    try:
        return probe(request.param).name
    except ValueError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def shell(level):
    """A shell that many tests share: commands leave nothing but files."""
    with Shell(FILES, sandbox=level, timeout=20) as shared:
        yield shared
