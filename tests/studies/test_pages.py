"""Tables of results inside documentation pages."""

import pytest

from tallystick.studies.pages import filled, main

PAGE = """# Results

<!-- results/toy-small -->
| an old table |
<!-- end -->

Between.

<!-- results/toy-small#second -->
<!-- end -->
"""
RESULTS = """# Toy

About it.

| a | b |
|---|---|
| 1 | 2 |

## first

No table.

## second

Trained on little.

| c |
|---|
| 3 |

The end.
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "toy-small.md").write_text(RESULTS)
    (tmp_path / "page.md").write_text(PAGE)
    return tmp_path


def test_tables_are_written_whole(folder):
    assert main(["page.md"]) == 0
    lines = (folder / "page.md").read_text().splitlines()
    assert lines[2:7] == ["<!-- results/toy-small -->", "| a | b |", "|---|---|", "| 1 | 2 |", "<!-- end -->"]
    assert lines[10:] == ["<!-- results/toy-small#second -->", "| c |", "|---|", "| 3 |", "<!-- end -->"]
    assert lines[7:10] == ["", "Between.", ""]


def test_a_page_that_differs_is_told(folder, capsys):
    assert main(["--check", "page.md"]) == 1
    assert "page.md differs from its results; run python -m tallystick.studies.pages" in capsys.readouterr().err
    assert (folder / "page.md").read_text() == PAGE
    main(["page.md"])
    assert main(["--check", "page.md"]) == 0
    (folder / "results" / "toy-small.md").write_text(RESULTS.replace("| 3 |", "| 3 |\n| 4 |"))
    assert main(["--check", "page.md"]) == 1


WRONG = {
    "no results": ("<!-- results/none -->\n<!-- end -->\n", "results/none.md does not exist; make it"),
    "no heading": ("<!-- results/toy-small#third -->\n<!-- end -->\n", "no heading 'third'; there are: first, second"),
    "no table": ("<!-- results/toy-small#first -->\n<!-- end -->\n", "no table under 'first'"),
    "no end": ("<!-- results/toy-small -->\n| a |\n", "<!-- end --> below the table"),
    "no end before the next": (f"<!-- results/toy-small -->\n{PAGE}", "<!-- end --> below the table"),
    "no mark": ("<!-- results/toy small -->\n<!-- end -->\n", "write <!-- results/NAME -->"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("check", [[], ["--check"]])
def test_mistakes(folder, capsys, name, check):
    text, message = WRONG[name]
    (folder / "page.md").write_text(text)
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        filled(text)
    assert main([*check, "page.md"]) == 2
    assert message in capsys.readouterr().err
    assert (folder / "page.md").read_text() == text


def test_a_page_without_marks_stays(folder):
    assert filled("# Plain\n\n<!-- end -->\n") == "# Plain\n\n<!-- end -->\n"
