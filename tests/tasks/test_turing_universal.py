"""Tests of machines in the prompt: against the machine itself, machines held out of training, prompts, and lookup."""

import random
import re

import numpy as np
import pytest

from tallystick import locality, models
from tallystick.episode import Recorder, Role
from tallystick.evaluation.verify import verify
from tallystick.locality import sequences
from tallystick.tasks import load
from tallystick.tasks.machines import read
from tallystick.tasks.runner import run
from tallystick.tasks.turing import simulate
from tallystick.tasks.turing_universal import CHAMPIONS, HALT, STATES, random_rows, rows_of

TASK = load("turing-universal")
STEPS = {"bb2": 6, "bb3": 21, "bb4": 107}
BB2 = "A01RB\nA11LB\nB01LA\nB11RH"


def trace(task, prompt):
    run(task, prompt, sink := Recorder())
    return sink


@pytest.mark.parametrize("name", STEPS)
def test_busy_beavers_from_their_rows(name):
    sink = trace(TASK, TASK.parse(name))
    words = TASK.vocab.decode(sink.ids)
    assert words.count("[find]") == STEPS[name]
    assert words[-3:] == ["[ANS]", HALT, "[EOS]"]
    assert words[words.index(">") :].count("\n") == 0


@pytest.mark.parametrize("name", CHAMPIONS)
@pytest.mark.parametrize("steps", [1, 2, 17, 300])
def test_the_same_as_the_machine_alone(name, steps):
    alone, rng = load(f"turing:{name}"), random.Random(steps)
    for state in alone.machine.states:
        cells = "".join(rng.choices("01", k=9))
        want, _, done = simulate(alone.machine, [*cells], steps, state)
        sink = trace(TASK, TASK.parse(f"{name} {cells}|{steps}>{state}"))
        moves = np.isin(sink.ids, TASK.vocab.encode(["[tape.left]", "[tape.right]"]))
        assert (TASK.vocab.decode(sink.ids[sink.roles == Role.OUTPUT]), moves.sum()) == ([want], done)


def test_a_step_is_16_tokens_and_nothing_is_remembered():
    short, long = (trace(TASK, TASK.worst_cases(steps)[-1]) for steps in (100, 500))
    assert len(long.ids) - len(short.ids) == 16 * 400
    assert (long.roles == Role.THOUGHT).sum() == 2  # [ANS] and [EOS]


def machines(count):
    return [rows for _ in range(count) for rows in [random_rows(random.Random(_))]]


def test_random_machines():
    drawn = machines(600)
    assert {len(rows) // 2 for rows in drawn} == {2, 3, 4, 5}
    assert {row[0] for rows in drawn for row in rows} == {*STATES}
    assert {row[3] for rows in drawn for row in rows} == {*"LR"}
    assert all(len({row[:2] for row in rows}) == len(rows) for rows in drawn)
    halting = sum(row[-1] == HALT for rows in drawn for row in rows) / sum(map(len, drawn))
    assert 0.05 < halting < 0.08


def test_lines_stand_in_random_order():
    """Rows are drawn in pairs, for 0 and for 1, and few prompts keep that order."""
    prompts = [TASK.format(TASK.problem("train", 0, 5, i)).split("\n")[:-1] for i in range(50)]
    assert sum({row[1] for row in rows[::2]} == {"0"} for rows in prompts) < 25


class Script(random.Random):
    """Draws the busy beaver of two states, renamed or mirrored, and then another machine."""

    def __init__(self, rows):
        super().__init__(0)
        self.rows, self.drawn = rows, 0

    def randint(self, a, b):
        self.drawn += 1
        self.todo = [part for row in self.rows for part in row[2:] if part != HALT] if self.drawn == 1 else []
        self.halts = [row[-1] == HALT for row in self.rows] if self.drawn == 1 else []
        return 2

    def choice(self, options):
        return self.todo.pop(0) if self.todo else super().choice(options)

    def random(self):
        return float(not self.halts.pop(0)) if self.halts else super().random()


@pytest.mark.parametrize(
    ("rows", "known"),
    [
        (BB2, True),
        ("A01LB\nA11RH\nB01RA\nB11LA", True),  # A and B exchanged
        ("A01LB\nA11RB\nB01RA\nB11LH", True),  # mirrored
        ("A01RB\nA11LB\nB01LA\nB10RH", False),
    ],
)
def test_busy_beavers_are_never_drawn(rows, known):
    rng = Script(rows.split())
    random_rows(rng)
    assert rng.drawn == (2 if known else 1)


def test_the_worst_cases_are_the_busy_beavers_from_the_blank_tape():
    assert [TASK.format(prompt) for prompt in TASK.worst_cases(7)][0] == f"{BB2}\n|7>A"
    assert len(TASK.worst_cases(7)) == 4


def test_one_machine_alone():
    task = load("turing-universal:bb3")
    prompts = [task.problem("test", 0, 9, i) for i in range(20)]
    assert {frozenset(task.format(prompt).split("\n")[:-1]) for prompt in prompts} == {frozenset(rows_of("bb3"))}
    assert task.vocab.tokens == TASK.vocab.tokens
    assert task.worst_cases(9) == [TASK.worst_cases(9)[1]] == [task.parse("|9")]


def test_a_users_machine_is_renamed(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("blank 0\ngo * 1 R go2\ngo2 0 0 L go\ngo2 1 1 R stop\n")
    assert set(rows_of(str(path))) == {"A01RB", "A11RB", "B00LA", "B11RH"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("increment", "runs machines on 0 and 1, blank 0"),
        ("nothing", "unknown machine 'nothing'"),
        ("{many}", "has 24 states; turing-universal has names for 23"),
    ],
)
def test_a_machine_that_no_prompt_can_describe_is_refused(tmp_path, name, message):
    many = tmp_path / "many.txt"
    many.write_text("blank 0\n" + "".join(f"q{i} * 1 R q{(i + 1) % 24}\n" for i in range(24)))
    with pytest.raises(ValueError, match=message) as error:
        load(f"turing-universal:{name.format(many=many)}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("bb2", ">A"),
        ("bb2 |6", "|6>A"),
        ("bb2 0110|40>B", "0110|40>B"),
        (f"{BB2}\n01", "01>A"),
        (BB2.replace("\n", " ") + " 01>", "01>A"),
    ],
)
def test_parse(written, line):
    assert TASK.parse(written) == [*f"{BB2}\n{line}"]


@pytest.mark.parametrize(
    "written", ["", "01", "bb2 2", "bb2 0|x", "bb2 >L", "A01RB", f"{BB2}\nA01RB", f"{BB2}\nC01RA", "A01RC A11LA 1>A"]
)
def test_a_bad_problem_is_refused_in_one_line(written):
    with pytest.raises(ValueError, match="is not a problem; write a row A01RB for every state") as error:
        TASK.parse(written)
    assert "\n" not in str(error.value)


def test_local_and_covered():
    report = locality.check(TASK, [10, 20, 40], 200)
    assert [row["k"] for row in report["rows"]][-3:] == [8, 8, 8]
    assert (report["local"], report["covered"]) == (True, True)


def test_lookup_runs_machines_that_it_never_saw():
    """In 1,500 problems of 40 steps every context of 23 names occurs."""
    model = models.build("lookup", vocab_size=len(TASK.vocab)).fit(sequences.sample(TASK, "train", 0, 40, 1500))
    results = verify(model, TASK, [*TASK.worst_cases(1000), *(TASK.problem("test", 0, 1000, i) for i in range(5))])
    assert all(result.exact for result in results)


def test_the_machines_on_file_are_those_of_the_worst_cases():
    for name, prompt in zip(CHAMPIONS, TASK.worst_cases(5), strict=True):
        rows = TASK.format(prompt).split("\n")[:-1]
        assert {(r[0], r[1]): (r[2], r[3], r[4]) for r in rows} == read(name).rows
    assert all(re.fullmatch("[A-E][01][01][LR][A-EH]", row) for name in CHAMPIONS for row in rows_of(name))
