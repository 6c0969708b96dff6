"""The report in a real browser: drawn, stepped through by keyboard, read on a phone, light and dark."""

import sys
from pathlib import Path

import pytest

from tallystick import tasks
from tallystick.episode import Recorder
from tallystick.report import build
from tallystick.tasks.runner import run_problem

sys.path.insert(0, str(Path(__file__).parent))
import browser
from test_report import EVIL, PROBLEMS, SYMBOLS, UNDECIDED, episode, error, folder, replayed, row

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(browser.CHROMIUM is None, reason="no chromium: apt-get install chromium"),
]
SECONDS, READABLE = 2.0, 4.5
"""Until a report must have opened; WCAG AA's contrast of text."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Make a report of four folders: two seeds, one of which failed at 10,000 digits, one not measured, one hostile."""
    base = tmp_path_factory.mktemp("runs")
    addition = tasks.load("addition")
    failed = [row(n, False, first_errors=[error(addition, n, at)]) for n, at in ((9, 60), (10_000, 300_000))]
    (base / "evil.py").write_text(EVIL)
    paths = [
        folder(base / "good", rows=[row(n) for n in (5, 100, 10_000)], seed=0, model="mamba2:tiny"),
        folder(base / "bad", rows=[row(5), *failed], seed=1, model="mamba2:tiny"),
        folder(base / "unmeasured", model="pythia:tiny"),
        folder(base / "evil", task=f"{base}/evil.py:Evil", rows=[row(4)]),
    ]
    build.write(paths, base / "page.html", PROBLEMS)
    return base / "page.html"


@pytest.fixture
def page(tab, made):
    """Open the report at desktop size, on the program's own episode."""
    tab.look(1280)
    tab.open(made)
    tab.read("viewer.open(data.episodes.findIndex((e) => !e.error && data.programs[e.program].task === 'addition'))")
    tab.read("viewer.node.focus()")
    return tab


def position(page):
    return int(page.read("viewer.node.dataset.position"))


def pins(page):
    text = "[...document.querySelectorAll('#tape .pin')].map((n) => [n.textContent, +n.dataset.at])"
    return dict(page.read(text))


def tape(page):
    return page.texts("#tape .cell:not(.ghost)")


def test_it_opens_quietly_and_soon(page, made):
    assert min(page.open(made) for _ in range(3)) < SECONDS
    assert page.trouble() == []
    assert page.read("document.querySelectorAll('.chart svg path.line').length") > 5


def test_the_right_arrow_replays_the_program(page):
    task = tasks.load("addition")
    sink = solved(task)
    start = position(page)
    assert task.vocab.tokens[sink.ids[start]] == "="
    for step in range(1, len(sink.ids) - start):
        page.press("ArrowRight")
        memory, at = replayed(task, sink, start + step + 1)
        assert (position(page), pins(page)) == (start + step, at)
        assert tape(page) == task.vocab.decode(memory)
    page.press("ArrowRight")
    assert position(page) == len(sink.ids) - 1


def solved(task):
    """Return the episode of the training length that the report shows."""
    sink = Recorder()
    run_problem(task, sink, "show", 0, 5, 0)
    return sink


def test_back_home_and_end(page):
    first = position(page)
    page.press("End")
    last = position(page)
    page.press("ArrowLeft", times=3)
    assert position(page) == last - 3
    page.press("Home")
    assert position(page) == first < last


def test_space_plays_and_pauses(page):
    before = position(page)
    page.press(" ")
    page.wait(f"+viewer.node.dataset.position > {before + 2}")
    page.press(" ")
    stopped = position(page)
    page.read("new Promise((done) => setTimeout(() => done(true), 400))")
    assert position(page) == stopped


def test_jumping_by_box_slider_and_click(page):
    page.read("viewer.box.value = 40; viewer.box.dispatchEvent(new Event('change'))")
    assert position(page) == 40
    page.read("viewer.slider.value = 3; viewer.slider.dispatchEvent(new Event('input'))")
    assert position(page) == int(page.read("viewer.box.min")) + 3
    page.read("document.querySelector('#stream [data-i=\"50\"]').click()")
    assert position(page) == 50
    page.read("document.getElementById('forward').focus()")
    page.press("Enter")
    assert position(page) == 51


def test_focus_can_be_seen(page):
    page.read("document.activeElement.blur()")
    page.press("Tab")
    assert page.read("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.read("document.getElementById('back').focus()")
    page.press("Tab")
    assert page.read("document.activeElement.id") == "play"
    assert page.read("getComputedStyle(document.activeElement).outlineWidth") == "3px"


@pytest.mark.parametrize(("length", "at"), [(9, 60), (10_000, 300_000)])
def test_the_first_wrong_token_stands_out(page, length, at):
    task = tasks.load("addition")
    page.read(f"viewer.open(data.episodes.findIndex((e) => e.error && e.length === {length}))")
    assert position(page) == at
    assert page.read("document.getElementById('wrong').textContent") == "[p1.left]"
    assert page.read("document.getElementById('wrong').nextElementSibling.className").endswith("current")
    told = page.read("document.getElementById('now').textContent")
    sink = episode(task, length)
    assert f"the right token is {task.vocab.tokens[sink.ids[at]]}; the model says [p1.left]. Margin -0.250" in told
    for _ in range(3):
        assert pins(page) == replayed(task, sink, position(page) + 1)[1]
        page.press("ArrowLeft")


def test_trained_tokens_are_marked_and_no_others(page):
    of = "[...document.querySelectorAll('#stream .r{}')].map((n) => n.classList.contains('trained'))"
    marked = [set(page.read(of.format(role))) for role in range(5)]
    assert marked == [{False}, {True}, {True}, {False}, {True}]  # prompt thought command observation output


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [380, 1280])
def test_it_fits_and_can_be_read(page, width, dark):
    page.look(width, dark=dark)
    page.read("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert page.read("document.documentElement.scrollWidth") == width
    ends = "[...document.querySelectorAll('#tape .cell, .controls > *')].map((n) => n.getBoundingClientRect().right)"
    assert max(page.read(ends)) <= width
    dim = page.read(CONTRAST.replace("LEAST", str(READABLE)))
    assert dim == []
    assert (page.read("getComputedStyle(document.body).backgroundColor") == "rgb(21, 23, 26)") == dark


CONTRAST = """(() => {
  const light = (c) => c.map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const read = (text) => text.match(/[\\d.]+/g).map(Number);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const c = read(getComputedStyle(node).backgroundColor);
      if (c.length < 4 || c[3]) return c.slice(0, 3);
    }
  };
  const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
  const text = 'p, th, td, .key .tok, .pin, button, summary, h2, h3, code, figcaption, li span, small';
  return [...document.querySelectorAll(text)].filter((n) => n.textContent.trim())
    .filter((n) => ratio(read(getComputedStyle(n).color).slice(0, 3), behind(n)) < LEAST)
    .map((n) => `${n.className} ${n.textContent.slice(0, 40)}`);
})()"""


def test_the_theme_can_be_chosen(page):
    background = "getComputedStyle(document.body).backgroundColor"
    page.read("localStorage.clear()")
    seen = []
    for _ in range(3):
        page.read("document.getElementById('theme').click()")
        seen.append((page.read("document.getElementById('theme').textContent"), page.read(background)))
    light, dark = "rgb(251, 250, 247)", "rgb(21, 23, 26)"
    assert seen == [("Theme: light", light), ("Theme: dark", dark), ("Theme: system", light)]


def test_what_was_not_measured_is_missing_not_zero(page, made):
    (note,) = page.texts(".missing")
    assert note == f"unmeasured has not been measured. Measure it with tallystick eval {made.parent / 'unmeasured'}"
    cells = page.texts("#glance tbody tr > *")
    unmeasured = cells.index("addition, pythia:tinyseed 0")
    assert cells[unmeasured + 2 : unmeasured + 5] == ["not measured", "—", "—"]
    assert "pythia" not in page.texts("#accuracy .legend")[0]


def test_hostile_symbols_are_text(page):
    page.read("viewer.open(data.episodes.findIndex((e) => data.programs[e.program].task.includes('evil')))")
    shown = page.texts("#stream .tok.r0")[1:]
    assert shown
    assert set(shown) <= set(SYMBOLS)
    assert page.read("document.querySelectorAll('#stream b, #tape b, #glance b b').length") == 0
    assert "Say </script> again; <b>&" in page.read("document.getElementById('glance').textContent")


def test_seeds_are_drawn_with_their_median(page):
    names = page.texts("#accuracy .legend")[0]
    assert "seeds 0, 1: median, range" in names
    cells = page.texts("#accuracy tbody tr:first-child > *")
    assert "50 %2 seeds × 4, 0 % to 100 %" in cells
    assert page.read("document.querySelectorAll('#accuracy .shade').length") >= 1


def test_panels_legends_and_headline_name_their_task(page, made):
    addition, evil = "addition, trained on lengths up to 5", f"{made.parent}/evil.py:Evil, trained on lengths up to 10"
    assert page.texts("#accuracy h3") == [addition, evil]
    assert page.texts("#state h3") == [addition, evil]
    assert page.texts("#accuracy .shade + text") == ["trained: length ≤ 5", "trained: length ≤ 10"]
    assert page.texts("#state .shade + text") == ["trained: length ≤ 5", "trained: length ≤ 10"]
    first, second = page.texts("#accuracy .legend")
    assert first == "addition, mamba2:tiny, seeds 0, 1: median, range"
    assert second == f"{made.parent}/evil.py:Evil, lookup, seed 0"
    assert page.texts("#accuracy tbody th")[0] == "addition, mamba2:tinyseeds 0, 1"
    (lead,) = page.texts("#lead")
    assert lead == (
        "4 runs of 3 configurations (all seeds together): 1 of 2 measured are exact in every episode, at all lengths; "
        "1 has not been measured."
    )


def test_the_headline_of_one_configuration_is_that_of_all_its_seeds(page, made):
    out = made.with_name("seeds.html")
    build.write([made.parent / "good", made.parent / "bad"], out, PROBLEMS)
    page.open(out)
    (lead,) = page.texts("#lead")
    assert lead.startswith(
        "Trained on lengths up to 5, mamba2:tiny is exact in every episode measured up to length 5, "
    )
    assert lead.endswith(" tokens an episode (8 random there).")


def test_an_undecided_verdict_is_called_undecided(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.py").write_text(UNDECIDED)
    build.write([folder(tmp_path / "run", "two.py:Two", rows=[row(100)])], tmp_path / "page.html", PROBLEMS)
    page.open(tmp_path / "page.html")
    said = page.read("document.querySelector('#predicted .pair p').textContent")
    assert said.startswith("local: undecided; covered at length 10: ")
    assert "Undecided, so nothing is predicted: a verdict needs at least 3 lengths." in said
    assert "undecided" in page.texts("#predicted details td")
    assert page.texts("#predicted .good, #predicted .bad") == []


def test_the_tape_is_as_high_as_its_rows(page):
    """The tape once grew with every redraw."""
    page.read("viewer.open(data.episodes.findIndex((e) => e.error && e.length === 10000))")
    page.press("ArrowLeft", times=30)
    height = page.read("document.getElementById('tape').offsetHeight")
    needed = page.read("document.querySelector('#tape .cells').offsetHeight")
    assert needed <= height < needed + 6 * 40


def test_blanks_can_be_seen(page):
    assert page.read("visible('a b\\n\\t')") == "a␣b⏎⇥"
