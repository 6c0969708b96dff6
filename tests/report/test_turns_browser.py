"""Text tasks' episodes in a real browser: stepped through by mouse and keys, on a phone, and with hostile contents."""

import sys
from pathlib import Path

import pytest

from tallystick import tasks
from tallystick.report import build
from tallystick.tasks import text

sys.path.insert(0, str(Path(__file__).parent))
import browser
from test_conversation import PROBLEMS, wrong
from test_report import folder, row
from test_report_browser import CONTRAST, READABLE

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(browser.CHROMIUM is None, reason="no chromium: apt-get install chromium"),
]
NAME, CONTENT = "<img src=x onerror=document.title=1>", "<script>document.title=1</script>"
HOSTILE = f'''
from tallystick import Problem, TextTask

class Hostile(TextTask):
    """Say <b>markup</b>."""

    def sample(self, length, rng):
        return Problem("<i>Do</i> &amp; \\x1b[31m", {{{NAME!r}: "{CONTENT}\\n" * length, "b": f"{{rng.random()}}\\n"}})

    def solve(self, w):
        w.say("</script><b>bold</b> \\u202e\\x1b[31m")
        w.bash("cat '{NAME}'")
        w.bash("sed -i 's/title/TITLE/' '{NAME}'")

    def score(self, prompt, output, tools=None):
        return 1.0
'''


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Make a report of codefix, with a wrong token, and of a hostile task."""
    base = tmp_path_factory.mktemp("runs")
    (base / "hostile.py").write_text(HOSTILE)
    rows = [row(16, False, first_errors=[wrong(tasks.load("codefix"))])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "SEEN", 4)
        paths = [folder(base / "bad", "codefix", rows=rows), folder(base / "evil", f"{base}/hostile.py:Hostile")]
    build.write(paths, base / "page.html", PROBLEMS)
    return base / "page.html"


@pytest.fixture
def page(tab, made):
    """Open the report on the program's own episode of codefix."""
    tab.look(1280)
    tab.open(made)
    tab.read("viewer.open(data.episodes.findIndex((e) => !e.error))")
    tab.read("viewer.node.focus()")
    return tab


def talk(page):
    return page.read("viewer.view.conversation")


def test_each_step_shows_what_is_said_and_run_and_read_and_changed(page):
    turns = talk(page)["turns"]
    assert page.texts("#turn pre") == [talk(page)["prompt"]]
    for turn in turns:
        page.press("ArrowRight")
        said, *rest = page.texts("#turn pre.text:not(.diff)")
        assert said == turn["said"]
        command = [f"$ {turn['command']}"] if turn["command"] is not None else []
        assert rest == [*command, *filter(None, [turn["output"]])]
        assert page.texts("#turn summary") == [f"{change['name']} {change['kind']}" for change in turn["changes"]]
        assert page.texts("#turn .diff") == [change["diff"] for change in turn["changes"]]
    assert int(page.read("viewer.node.dataset.position")) == len(turns)


def test_a_step_is_gone_to_by_a_click(page):
    page.read("document.querySelector('#turns li:nth-child(3)').click()")
    assert page.read("viewer.step") == 2
    assert page.texts("#turns [aria-current]") == page.texts("#turns li:nth-child(3)")
    page.press("Home")
    assert page.texts("#turns [aria-current]") == ["0The problem"]


def test_the_current_step_is_in_sight(page):
    page.look(390)
    page.press("End")
    inside = "(() => { const l = turns.getBoundingClientRect(), e = turns.querySelector('[aria-current]')" \
        ".getBoundingClientRect(); return e.top >= l.top - 1 && e.bottom <= l.bottom + 1; })()"  # fmt: skip
    assert page.read(inside)


def test_the_wrong_token_is_struck_through_before_the_programs(page):
    page.read("viewer.open(data.episodes.findIndex((e) => e.error))")
    slip = talk(page)["slip"]
    command = talk(page)["turns"][slip["turn"]]["command"]
    before, after = command[: slip["offset"]], command[slip["offset"] :]
    assert page.texts("#turn .command") == [f"$ {before}<b>{after}"]
    assert page.texts("#turn .command del") == ["<b>"]
    assert page.texts("#turn .command .program") == [after]
    assert "the model says <b>. Margin -0.500" in page.texts("#turn .slip")[0]


def test_hostile_texts_are_texts(page):
    page.read("viewer.open(data.episodes.findIndex((e) => data.programs[e.program].task.includes('hostile')))")
    page.read("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert page.texts("#turn pre") == ["<i>Do</i> &amp; \\u{1b}[31m\n"]
    page.press("ArrowRight")
    said, command, output = page.texts("#turn pre")
    assert said == "</script><b>bold</b> \\u{202e}\\u{1b}[31m"
    assert (command, output) == (f"$ cat '{NAME}'", f"{CONTENT}\n" * 10)
    page.press("ArrowRight")
    assert page.texts("#turn summary") == [f"{NAME} changed"]
    assert f"+{CONTENT.replace('title', 'TITLE')}\n" in page.texts("#turn .diff")[0]
    assert page.read("document.querySelectorAll('#trajectory :is(img, script, i, b)').length") == 0
    assert page.read("document.title").endswith("tallystick")
    assert page.trouble() == []


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_and_can_be_read(page, width, dark):
    page.look(width, dark=dark)
    for step in range(int(page.read("viewer.view.steps")) + 1):
        page.read(f"viewer.go({step})")
        assert page.read("document.documentElement.scrollWidth") == width
        ends = "[...document.querySelectorAll('#turn *, #turns li')].map((n) => n.getBoundingClientRect().right)"
        assert max(page.read(ends)) <= width
        contrast = CONTRAST.replace(
            "const text = '", "const text = '#turn pre, #turn pre span, #turn h4, #turns span, "
        )
        assert page.read(contrast.replace("LEAST", str(READABLE))) == []
