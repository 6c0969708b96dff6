"""Tests of the results in the repository: pages match the JSON, every run is shown, none has old settings."""

from pathlib import Path

import pytest

from tallystick import studies
from tallystick.studies.framework.results import FOLDER, stored
from tallystick.studies.framework.schema import CHECK_COLUMNS, COLUMNS, TRAINING_COLUMNS
from tallystick.studies.framework.study import BUDGETS

ROOT = Path(__file__).parents[2]
FILES = sorted(path.stem for path in (ROOT / FOLDER).glob("*.json"))
PAGES = [
    (name, budget)
    for name in studies.MODULES
    for budget in studies.load(name).budgets
    if f"{studies.load(name).results or name}-{budget}" in FILES
]


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_every_file_belongs_to_a_study():
    owned = {f"{name}-{budget}" for name, budget in PAGES if not studies.load(name).results}
    assert set(FILES) == owned
    shown = {f"{name}-{budget}" for name, budget in PAGES}
    assert {path.stem for path in FOLDER.iterdir() if path.suffix in (".md", ".png")} == shown
    files = [path for path in FOLDER.iterdir() if path.is_file() and not path.name.startswith(".")]
    assert {path.suffix for path in files} == {".json", ".md", ".png"}
    assert [path.name for path in FOLDER.iterdir() if path.is_dir()] == ["bench"]  # `tallystick bench` writes it


@pytest.mark.parametrize(("name", "budget"), PAGES)
def test_a_page_is_that_of_its_results(name, budget):
    study = studies.load(name)
    results = study.stored(budget)
    declared = study.declared(budget)
    results.refuse_changed(declared)
    assert study.path(budget, "md").read_text() == study.page(budget, results)
    assert study.path(budget, "png").exists() == (study.figure is not None)
    if not study.results:
        assert results.undeclared(declared) == []
        assert sum(len(results.of(each)) for each in declared) == len(results.runs)


@pytest.mark.parametrize("budget", BUDGETS)
def test_rows_have_all_columns(budget):
    found = stored(budget)
    assert sum(len(results.runs) for results in found) >= len(found) > 0
    for results in found:
        for run in results.runs:
            assert 0 <= run["environment"] < len(results.environments)
            assert run["plan"] in results.plans
            assert all(len(row) == len(COLUMNS) for row in run.get("rows", []))
            assert len(run.get("training", TRAINING_COLUMNS)) == len(TRAINING_COLUMNS)
            assert "rows" in run or all(len(row) == len(CHECK_COLUMNS) for row in run.get("check", {}).get("rows", []))
