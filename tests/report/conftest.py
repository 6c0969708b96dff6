"""A browser's tab, which the tests of a module share."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import browser


@pytest.fixture(scope="module")
def tab():
    with browser.Page() as page:
        yield page
