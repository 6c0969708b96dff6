"""Notes: programs that are not local become local, and what no note can say is refused by name."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tallystick import locality, runs
from tallystick.config import configure
from tallystick.episode import Recorder, Role
from tallystick.evaluation import sweep
from tallystick.tasks import load
from tallystick.tasks.registry import source
from tallystick.tasks.runner import run
from tallystick.training import loop
from tallystick.workspace import ProgramError

ROOT = Path(__file__).parents[2]
LARGER = f"{ROOT / 'examples' / 'naive.py'}:Larger"
QUICK = [("addition", "paper"), (LARGER, "default")]
LOCAL = [*QUICK, *((name, "paper") for name in ("multiplication-1", "multiplication-2", "hanoi-recursive"))]
FILE = '''
import re
from tallystick import Defaults, Task


class Parity(Task):
    """Are the ones odd?"""

    symbols = "01="
    tools = ("pointer:1",)
    defaults = Defaults(train_length=6, check=(4, 8, 16))

    def sample(self, length, rng):
        return [*rng.choices("01", k=length), "="]

    def answer(self, prompt):
        return [str(prompt.count("1") % 2)]

    def solve(self, w):
        p, odd = w.pointer(0), 0
        while (symbol := p.read()) != "=":
            odd ^= symbol == "1"
            p.right()
        w.answer()
        w.output(str(int(odd)))


class Recursive(Parity):
    def solve(self, w):
        odd = self._rest(w.pointer(0))
        w.answer()
        w.output(str(odd))

    def _rest(self, p):
        symbol = p.read()
        if symbol == "=":
            return 0
        p.right()
        return self._rest(p) ^ int(symbol)


class Listing(Parity):
    def solve(self, w):
        p, seen = w.pointer(0), []
        while (symbol := p.read()) != "=":
            seen.append(symbol)
            p.right()
        w.answer()
        w.output(str(seen.count("1") % 2))


class Late(Parity):
    """Its program comes to a state that no problem of the training length leads to."""

    def solve(self, w):
        p, odd, far = w.pointer(0), 0, 0
        while (symbol := p.read()) != "=":
            odd, far = odd ^ (symbol == "1"), min(far + 1, 8)
            p.right()
            odd += 2 * (far == 8 and odd < 2)
        w.answer()
        w.output(str(int(odd % 2)))


class Largest(Parity):
    """The last letter of the alphabet among these."""

    symbols = "abcdefghijklmnopqrstuvwxyz="

    def sample(self, length, rng):
        return [*rng.choices(self.symbols[:-1], k=length), "="]

    def answer(self, prompt):
        return [max(prompt[:-1])]

    def solve(self, w):
        p, largest = w.pointer(0), "a"
        while (symbol := p.read()) != "=":
            largest = max(symbol, largest)
            p.right()
        w.answer()
        w.output(largest)


class Hesitant(Parity):
    """Its program has no opinion before the first 1, though even would do."""

    def solve(self, w):
        p, odd = w.pointer(0), None
        while (symbol := p.read()) != "=":
            odd = 1 - (odd or 0) if symbol == "1" else odd
            p.right()
        w.answer()
        w.output(str(odd or 0))


class Ends(Largest):
    """The first letter; its program finds out the last one, too."""

    def answer(self, prompt):
        return prompt[:1]

    def solve(self, w):
        first, _ = self._ends(w.pointer(0))
        w.answer()
        w.output(first)

    def _ends(self, p):
        first = last = p.read()
        p.right()
        while (symbol := p.read()) != "=":
            last = symbol
            p.right()
        return first, last


class Heady(Parity):
    """Its program asks nothing: it knows the problem by heart."""

    defaults = Defaults(train_length=80, check=(80, 100, 120))

    def solve(self, w):
        w.think(*w.prompt)
        w.answer()
        w.output(*self.answer(w.prompt))


class Nested(Parity):
    """Bounded recursion, closures, a comprehension, a generator and a method in a local."""

    def solve(self, w):
        p = w.pointer(0)
        move = p.right
        odd = [0]

        def flip(times):
            if times:
                odd[0] ^= 1
                flip(times - 1)

        def symbols():
            while (symbol := p.read()) != "=":
                yield symbol
                move()

        for symbol in symbols():
            flip([int(x) for x in symbol][0])
        w.answer()
        w.output(str(odd[0]))
'''


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def record(task, prompt):
    sink = Recorder()
    run(task, prompt, sink)
    return sink


@pytest.mark.parametrize(("name", "variant"), QUICK)
def test_a_program_that_is_not_local_becomes_local(name, variant):
    lengths, problems = [10, 14, 20], 60
    before = locality.check(load(name, variant), lengths, problems)
    after = locality.check(load(name, variant + "+notes"), lengths, problems)
    assert not before["local"]
    assert after["local"]
    assert after["variant"] == f"{variant}+notes"
    assert [row["k"] for row in after["rows"]] == [7, 7, 7]
    assert after["rows"][-1]["coverage"] > before["rows"][-1]["coverage"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "variant"), LOCAL)
def test_local_and_covered_as_check_prints_it(name, variant):
    report = locality.check(load(name, f"{variant}+notes"))
    assert (report["local"], report["covered"]) == (True, True)


@pytest.mark.slow
def test_hanoi_is_local_though_its_disks_are_many():
    report = locality.check(load("hanoi", "paper+notes"), [6, 7, 8], 20)
    assert [row["k"] for row in report["rows"]] == [15, 15, 15]


@pytest.mark.parametrize("name", ["Parity", "Nested"])
def test_only_notes_are_added(mine, name):
    plain, noting = load(f"{mine}:{name}"), load(f"{mine}:{name}", "+notes")
    added = set(noting.notes)
    assert added == set(noting.vocab.tokens) - set(plain.vocab.tokens)
    for i in range(5):
        prompt = plain.problem("test", 0, 12, i)
        assert noting.problem("test", 0, 12, i) == prompt
        bare, noted = record(plain, prompt), record(noting, prompt)
        said = zip(noting.vocab.decode(noted.ids), noted.roles, strict=True)
        assert [(token, role) for token, role in said if role != Role.NOTE] == list(
            zip(plain.vocab.decode(bare.ids), bare.roles, strict=True)
        )
        assert {noting.vocab.tokens[t] for t in noted.ids[noted.roles == Role.NOTE]} <= added


def test_notes_name_the_place_and_what_decides(mine):
    assert set(load(f"{mine}:Parity", "+notes").notes) == {"{solve+2 odd=0}", "{solve+2 odd=1}"}


def test_a_local_program_is_left_alone():
    assert list(load("addition", "local+notes").notes) == []


def test_a_wide_local_is_said_in_the_tasks_own_symbols(mine):
    task = load(f"{mine}:Largest", "+notes")
    sink = record(task, [*"cxa", "="])
    said = task.vocab.decode(sink.ids[sink.roles == Role.NOTE])
    first, *rest = said
    assert rest == [word for letter in "cxx" for word in ("[note]", "{solve+2#1}", letter, "[/note]")]
    assert list(task.notes) == [first, "{solve+2#1}"]


def test_values_that_make_no_difference_are_said_as_one(mine):
    assert set(load(f"{mine}:Hesitant", "+notes").notes) == {"{solve+2 odd=0|None}", "{solve+2 odd=1}"}


def test_of_many_labels_only_those_that_decide_are_said(mine):
    task, letters = load(f"{mine}:Ends", "+notes"), load(f"{mine}:Ends").symbols
    sink = record(task, [*"cxa", "="])
    said = [task.vocab.tokens[token] for token in sink.ids[sink.roles == Role.NOTE]]
    assert [word for word in said if word in letters] == ["c", "c"]
    assert len(task.notes) == 1


@pytest.mark.parametrize(
    ("name", "variant", "message"),
    [
        ("{mine}:Recursive", None, "no notes for the default program: _rest calls itself, deeper the longer"),
        ("{mine}:Heady", None, "what it says before it asks anything is not decided by the last 64 tokens"),
        ("{mine}:Listing", None, "the local seen of solve takes more values the longer the problem is"),
        (f"{ROOT / 'examples' / 'naive.py'}:Majority", None, "the local lead of solve takes more values"),
        pytest.param("logic-graph", "paper", "what _grep.2 asks for is longer than 64 tokens, and no note stands in",
                     marks=pytest.mark.slow),
        ("addition", "fast", "unknown variant 'fast'; there are: local, paper"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_refused_by_name(mine, name, variant, message):
    with pytest.raises(ValueError, match=message) as error:
        load(name.format(mine=mine), f"{variant or ''}+notes")
    assert "\n" not in str(error.value)


def test_a_state_that_was_not_met_is_a_reported_failure(mine):
    task = load(f"{mine}:Late", "+notes")
    assert record(task, [*"101", "="]).ok
    with pytest.raises(
        ProgramError, match=r"no note for the control state solve\+2, far = 7, odd = 1: not met"
    ) as error:
        run(task, [*"1" * 12, "="], Recorder())
    assert "\n" not in str(error.value)


def test_the_same_notes_in_every_process(mine):
    code = f"from tallystick.tasks import load; print(list(load({str(mine) + ':Nested'!r}, '+notes').vocab.tokens))"
    environment = {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "1"}
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert other.stdout == f"{list(load(f'{mine}:Nested', '+notes').vocab.tokens)}\n"


def test_a_run_goes_round_through_its_folder(tmp_path, mine):
    task = load(f"{mine}:Parity", "+notes")
    config = configure(task, "lookup", {"examples": "500"})
    assert loop.train(tmp_path / "run", config)
    kept = runs.load(tmp_path / "run")
    assert kept.task.variant == "default+notes"
    assert source(kept.task)[0] == (tmp_path / "run" / "task" / "source.py").read_text() == FILE
    assert not kept.changed
    for mode in sweep.MODES:
        row, _ = sweep.evaluate(kept, [200], 3, mode)
        assert row["exact"] == 3
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["task"], config["variant"]) == (f"{mine}:Parity", "default+notes")
