"""Tests of Turing machines: champions, answers against Python, stopped runs, files, and lookup at long lengths."""

import random
import re

import pytest

from tallystick import locality, models
from tallystick.episode import Recorder, StopProgram
from tallystick.evaluation.verify import verify
from tallystick.locality import sequences
from tallystick.tasks import load
from tallystick.tasks.machines import MACHINES, parse
from tallystick.tasks.runner import run
from tallystick.tasks.turing import simulate
from tallystick.trajectory import Trajectory

CHAMPIONS = {"bb2": (6, 4), "bb3": (21, 5), "bb4": (107, 13)}
TRAINED = ("bb2", "bb3", "bb4", "bb5", "increment", "multiplication", "palindrome")


def text(task, written):
    return task.format(task.answer(task.parse(written)))


def solved(task, prompt):
    """Return the program's output."""
    run(task, prompt, sink := Recorder())
    said = Trajectory.of(sink, task.vocab.tokens).segments
    return "".join(symbol for role, symbols in said if role.name == "OUTPUT" for symbol in symbols)


class Ones(Recorder):
    """A sink that follows the head, and counts steps and remaining ones without knowing the machine."""

    def __init__(self, task, stop_at=None):
        super().__init__()
        self.tokens, self.cells, self.at, self.steps, self.stop_at = task.vocab.tokens, {}, 0, 0, stop_at

    def write(self, ids, roles):
        for word in (self.tokens[i] for i in ids):
            if word.startswith("[tape.write"):
                self.cells[self.at] = word[-2]
            elif word in ("[tape.left]", "[tape.right]"):
                self.at += 1 if word == "[tape.right]" else -1
                self.steps += 1
        if self.stop_at and self.steps >= self.stop_at:
            raise StopProgram

    @property
    def ones(self):
        return sum(cell == "1" for cell in self.cells.values())


@pytest.mark.parametrize("name", CHAMPIONS)
def test_busy_beavers_from_the_blank_tape(name):
    task = load(f"turing:{name}")
    run(task, task.parse(""), sink := Ones(task))
    assert ((sink.steps, sink.ones), sink.ok) == (CHAMPIONS[name], True)
    assert simulate(task.machine, [], None, "A")[::2] == ("H", CHAMPIONS[name][0])


def test_the_fifth_busy_beaver_begins_as_it_should():
    """Compare 10,000 steps with the three-line simulation below."""
    task = load("turing:bb5")
    run(task, task.parse("|10000>"), sink := Ones(task))
    rule = dict(zip(("A0", "A1", "B0", "B1", "C0", "C1", "D0", "D1", "E0", "E1"),
                    ["1RB", "1LC", "1RC", "1RB", "1RD", "0LE", "1LA", "1LD", "1RH", "0LA"], strict=True))  # fmt: skip
    cells, at, state = {}, 0, "A"
    for _ in range(10_000):
        cells[at], move, state = rule[state + cells.get(at, "0")]
        at += {"L": -1, "R": 1}[move]
    assert (sink.steps, sink.ones, sink.at) == (10_000, list(cells.values()).count("1"), at)
    assert sink.ok


@pytest.mark.slow
def test_the_fifth_busy_beaver_halts():
    machine = load("turing:bb5").machine
    assert simulate(machine, [], None, "A")[::2] == ("H", 47_176_870)
    assert simulate(machine, [], 47_176_869, "A")[::2] == ("E", 47_176_869)


def test_increment_against_python():
    task, rng = load("turing"), random.Random(0)
    for _ in range(200):
        number = format(rng.getrandbits(rng.randint(1, 60)), "b")
        assert solved(task, task.parse(number)) == text(task, number) == format(int(number, 2) + 1, "b")


@pytest.mark.parametrize("a", range(5))
@pytest.mark.parametrize("b", range(5))
def test_multiplication_against_python(a, b):
    task, written = load("turing:multiplication"), f"{'1' * a}x{'1' * b}="
    assert solved(task, task.parse(written)) == text(task, written) == "1" * (a * b)


@pytest.mark.parametrize("written", ["1", "x", "=", "11=", "1x|99>", "1x1|99>", "_1x1=", "x1", "11x=1=|99>"])
def test_a_tape_that_is_not_a_product_ends_all_the_same(written):
    task = load("turing:multiplication")
    assert solved(task, task.parse(written)) == text(task, written)


def test_palindrome_against_python():
    task, rng = load("turing:palindrome"), random.Random(0)
    for i in range(200):
        half = "".join(rng.choices("ab", k=rng.randint(0, 6)))
        word = half + rng.choice(("", "a", "b")) + half[::-1] if i % 2 else half
        assert solved(task, task.parse(word)) == ("Y" if word == word[::-1] else "N")


@pytest.mark.parametrize("steps", range(1, 9))
def test_a_cut_run_answers_with_its_state(steps):
    """The machine takes 5 steps from 1 to 10, and the tape is closed after the last of them."""
    task = load("turing")
    state = {1: "A", 2: "B", 3: "B", 4: "C", 5: ""}.get(steps, "10")
    assert solved(task, task.parse(f"1|{steps}>")) == text(task, f"1|{steps}>") == state


def test_a_step_is_five_tokens():
    task = load("turing:bb5")
    sizes = []
    for steps in (1000, 2000, 9000):
        run(task, task.worst_cases(steps)[0], sink := Recorder())
        sizes.append(len(sink.ids))
    assert [b - a for a, b in zip(sizes, sizes[1:], strict=False)] == [5_000, 35_000]
    run(load("turing:bb4"), [">"], sink := Recorder())
    assert len(sink.ids) == 5 * 107 + 5


@pytest.mark.parametrize("name", TRAINED)
def test_random_problems(name):
    task = load(f"turing:{name}")
    problems = [task.problem("train", 0, 40, i, up_to=True) for i in range(400)]
    parts = [re.fullmatch(r"(.+)\|(\d+)>(.?)", task.format(problem)) for problem in problems]
    assert all(set(part[1]) != {task.blank} for part in parts)
    assert {int(part[2]) for part in parts} <= set(range(1, 41))
    assert len({int(part[2]) for part in parts}) > 35
    assert {part[3] for part in parts} == {"", *task.machine.states[1:]}
    assert all(len(part[1]) <= int(part[2]) for part in parts)


@pytest.mark.parametrize(
    ("written", "prompt"),
    [
        ("", ">"),
        ("01", "01>"),
        ("01>", "01>"),
        ("01|7", "01|7>"),
        ("01|7>B", "01|7>B"),
        ("|7>A", "|7>"),
        (">D", ">D"),
    ],
)  # fmt: skip
def test_parse(written, prompt):
    assert load("turing:bb4").parse(written) == [*prompt]


@pytest.mark.parametrize("written", ["2", "|>", "0|x>", "0>AB", "0>E", ">|4", "|5|6>", "0>>", "A", f"|{'1' * 20}>"])
def test_a_bad_problem_is_refused_in_one_line(written):
    with pytest.raises(
        ValueError, match="write a tape of 0 1, then, if wanted, .STEPS> and the initial state"
    ) as error:
        load("turing:bb4").parse(written)
    assert "\n" not in str(error.value)


WORDS = """
blank nil      # two words: a setting
go nil one R go2
go one one R go
go2 * * L end
"""


def test_a_users_own_machine(tmp_path):
    path = tmp_path / "machine.txt"
    path.write_text(WORDS)
    task = load(f"turing:{path}")
    prompt = task.parse("one one nil one > go2")
    assert prompt == ["one", "one", "nil", "one", ">", "go2"]
    assert task.parse(task.format(prompt)) == prompt
    assert task.answer(task.parse("one one")) == ["one"]
    assert task.answer(task.parse("one | 1 >")) == ["go"]
    run(task, task.parse("one one"), sink := Recorder())
    assert sink.ok


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("", "a machine needs rows, STATE READ WRITE L|R NEXT, and at least two symbols"),
        ("blank 0\nA 0 0 R A", "at least two symbols"),
        ("A _ 1 R", "line 1, 'A _ 1 R', is not STATE READ WRITE"),
        ("A _ 1 LR A", "line 1, 'A _ 1 LR A', is not"),
        ("A _ 1 R A\nA _ 1 R A", "line 2, 'A _ 1 R A', is not .*, or is a duplicate"),
        ("A _ 1 R A", "no row for A 1; a state needs one for each of _ 1, or for *"),
        ("answer maybe\nA * 1 R A", "answer must be state or tape, got 'maybe'"),
        ("1 * 1 R 1", "'1' cannot name a state"),
        ("A * > R A", "'>' cannot be a symbol of the tape: prompts use . and > as marks"),
        ("A * 1 R 7", "'7' cannot name a state"),
    ],
)
def test_a_bad_machine_is_refused_in_one_line(rows, message):
    with pytest.raises(ValueError, match=message) as error:
        parse(rows)
    assert "\n" not in str(error.value)


def test_the_file_is_named(tmp_path):
    (tmp_path / "bad.txt").write_text("A")
    with pytest.raises(ValueError, match=r"bad\.txt: line 1, 'A'"):
        load(f"turing:{tmp_path / 'bad.txt'}")
    with pytest.raises(ValueError, match="unknown machine 'nothing'; there are: bb2, bb3, bb4, bb5, increment"):
        load("turing:nothing")


def test_all_machines_are_tested():
    assert set(MACHINES) == set(TRAINED)


@pytest.fixture(
    params=[pytest.param(n, marks=pytest.mark.slow if n in ("bb3", "bb4") else ()) for n in TRAINED], scope="module"
)
def trained(request):
    task = load(f"turing:{request.param}")
    model = models.build("lookup", vocab_size=len(task.vocab))
    return task, model.fit(sequences.sample(task, "train", 0, 40, 1000))


def test_local_and_covered(trained):
    task, _ = trained
    report = locality.check(task, [10, 20, 30], 50)
    assert (report["local"], report["covered"]) == (True, True)
    assert all(row["k"] <= 5 for row in report["rows"])


def test_lookup_runs_them_from_the_blank_tape(trained):
    """Trained on 40 steps, it runs any machine for 1,000, and BB(4) to its halt; BB(5) is a slow test."""
    task, model = trained
    halting = [task.parse("")] if task.options not in ("bb5", "multiplication") else []
    results = verify(
        model, task, [*task.worst_cases(1000), *halting, *(task.problem("test", 0, 1000, i) for i in range(5))]
    )
    assert all(result.exact for result in results)


@pytest.mark.slow
def test_lookup_runs_the_fifth_busy_beaver_for_100_000_steps():
    task = load("turing:bb5")
    model = models.build("lookup", vocab_size=len(task.vocab)).fit(sequences.sample(task, "train", 0, 40, 1000))
    (result,) = verify(model, task, task.worst_cases(100_000))
    assert (result.exact, result.tokens) == (True, 500_015)
