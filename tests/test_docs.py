"""Tests of the documentation: tables match the results, code matches the examples, links have targets."""

import re
from pathlib import Path

import pytest

from tallystick.studies import pages

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
EXAMPLES = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "examples").glob("*.py"))]
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_are_those_of_the_results(page):
    text = page.read_text(encoding="utf-8")
    assert pages.filled(text, ROOT) == text, f"run python -m tallystick.studies.pages {page.name}"


def test_there_are_tables_to_compare():
    marked = {page.name: page.read_text(encoding="utf-8").count(pages.MARK) for page in PAGES}
    assert marked["README.md"] >= 1
    assert marked["results.md"] >= 10


def test_tasks_in_the_documentation_are_those_of_the_examples():
    text = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 6
    agents = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")
    blocks += re.findall(r"```python\n(from tallystick import Problem.*?)```", agents, re.DOTALL)
    for block in blocks:
        code = block[block.index("class ") :].strip()
        assert any(code in example for example in EXAMPLES), code.splitlines()[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_there_are_links_to_follow():
    assert sum(len(LINK.findall(page.read_text(encoding="utf-8"))) for page in PAGES) >= 10


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_python_of_the_documentation_runs(tmp_path, monkeypatch, capsys):
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "script.py"
    script.write_text(code.replace('"steps": "400"', '"steps": "2"').replace("length=1000", "length=20"))
    names: dict = {"__name__": "script"}
    exec(compile(script.read_text(), str(script), "exec"), names)
    names["main"]()
    assert "bytes at any length" in capsys.readouterr().out
