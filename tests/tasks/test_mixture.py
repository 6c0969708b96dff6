"""Tests of mixtures: valid names, drawing of parts, and locality, which a mixture inherits from its parts."""

import json

import pytest

from tallystick import locality, runs
from tallystick.config import configure
from tallystick.engine.generation import generate
from tallystick.evaluation import sweep
from tallystick.evaluation.verify import verify
from tallystick.tasks import load
from tallystick.tasks.registry import source
from tallystick.training import loop

NAME = "reverse:1,addition:3"


@pytest.mark.parametrize(
    ("name", "variant", "message"),
    [
        ("addition,reverse:1", None, "'addition' is not name:weight"),
        ("addition:1,reverse", None, "'reverse' is not name:weight"),
        ("addition:1,turing:bb5", None, "'turing:bb5' is not name:weight"),
        ("addition:1,", None, "'' is not name:weight"),
        ("addition:1,reverse:0", None, "'reverse:0' is not name:weight, above 0 and up to 1e\\+09"),
        ("addition:1e308,reverse:1e308", None, "'addition:1e308' is not name:weight, above 0 and up to 1e\\+09"),
        ("addition:1,reverse:-1", None, "'reverse:-1' is not"),
        ("addition:1,reverse:nan", None, "'reverse:nan' is not"),
        ("addition:1,reverse:inf", None, "'reverse:inf' is not"),
        ("addition:1,shared,reverse:1", None, "'shared' is not"),
        ("addition:1,addition:1", None, "'addition:1' is there twice"),
        ("addition:1,nothing:1", None, "unknown task 'nothing'"),
        ("addition:1,reverse:1", "paper", "one for each of its 2 parts, as local\\+paper"),
        ("addition:1,reverse:1", "paper+fast", "unknown variant 'fast'"),
    ],
)
def test_a_users_mistake_is_one_line(name, variant, message):
    with pytest.raises(ValueError, match=message) as error:
        load(name, variant)
    assert "\n" not in str(error.value)


def test_parts_carry_options_and_variants():
    task = load("turing:bb3:0.5,addition:1.5", "default+paper")
    assert list(task.parts) == ["turing:bb3", "addition"]
    assert (task.variant, next(iter(task.variants))) == ("default+paper", "default+local")
    assert task.parts["addition"].variant == "paper"
    assert task.defaults.train_length == load("addition").defaults.train_length  # the heaviest part's


def test_lengths_are_those_that_all_parts_have():
    task = load("logic-graph:1,hanoi:1,addition:3")
    assert (task.min_length, task.max_length) == (2, 20)
    assert max(task.defaults.eval) == 20


def test_parts_are_drawn_by_weight():
    task = load(NAME)
    drawn = [task.problem("train", 0, 5, i, up_to=True)[0] for i in range(2000)]
    assert 0.72 < drawn.count("[addition]") / len(drawn) < 0.78
    assert set(drawn) == {"[addition]", "[reverse]"}


def test_commands_are_each_parts_own_and_symbols_are_shared():
    own, shared = load(NAME), load(f"{NAME},shared")
    assert {"[reverse.p0.read]", "[addition.p0.read]"} < set(own.vocab.tokens)
    assert "[p0.read]" not in own.vocab.tokens
    assert [token for token in shared.vocab.tokens if token.endswith("p0.read]")] == ["[p0.read]"]
    assert own.vocab.tokens.count("0") == 1
    for task in (own, shared):
        for part in task.parts.values():
            ids = part.vocab.ids
            assert len(ids) == len(task.vocab)
            assert all(ids[symbol] == task.vocab.ids[symbol] for symbol in part.symbols)


def test_problems_as_text():
    task = load(NAME)
    prompt = task.parse("addition 12+034")
    assert prompt == ["[addition]", *"12+34=", "[addition]"]
    assert task.format(prompt) == "addition 12+34="
    assert task.answer(prompt) == ["4", "6"]
    for text in ("12+34", "additional 12+34", "addition", "multiplication 12*34", "addition 101>", "reverse 12+34"):
        with pytest.raises(ValueError, match="addition|sum|symbol"):
            task.parse(text)


def test_what_is_local_in_a_part_is_so_in_the_mixture():
    report = locality.check(load(NAME), [3, 6, 9], problems=300)
    assert [row["k"] for row in report["rows"]] == [7, 7, 7]
    assert report["rows"][-1]["coverage"] > 0.9999


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "mixed"
    loop.train(path, configure(load(NAME), "lookup", {"examples": "2000"}))
    return path


def test_lookup_solves_every_part_far_beyond(run):
    task, model = (loaded := runs.load(run)).task, loaded.model
    prompts = [task.problem("test", 0, 60, i) for i in range(8)] + task.worst_cases(60)
    assert all(result.exact for result in verify(model, task, prompts))
    prompts = [task.problem("test", 0, 20, i) for i in range(6)]
    results = generate(model, task, prompts)
    assert all(result.exact and result.answer for result in results)
    assert [result.output for result in results] == [task.answer(prompt) for prompt in prompts]


def test_one_part_is_posed_the_problems_of_the_task_alone(run, monkeypatch):
    posed = []

    def keep(model, task, prompts):
        prompts = list(prompts)
        posed.extend(prompts)
        return verify(model, task, prompts)

    monkeypatch.setitem(sweep.MODES, "keep", keep)
    rows = sweep.evaluate(runs.load(run), [4, 60], samples=3, mode="keep", part="addition")
    alone = load("addition")
    expected = [
        p for n in (4, 60) for p in [*(alone.problem("test", 0, n, i) for i in range(3)), *alone.worst_cases(n)]
    ]
    assert posed == [["[addition]", *prompt, "[addition]"] for prompt in expected]
    assert all(row["exact"] == row["samples"] for row in rows)


def test_commands(tallystick, run):
    assert tallystick("solve", run, "addition 99+1").out == "100\n"
    assert tallystick("solve", run, "reverse 110").out == "011\n"
    assert "part's name" in tallystick("solve", run, "99+1", code=2).err
    document = json.loads(tallystick("eval", run, "--part", "addition", "--lengths", "4", "--json").out)
    assert document["part"] == "addition"
    assert [row["worst_cases"] for row in document["rows"]] == [False, True]
    assert json.loads((run / "eval-addition.json").read_text())["rows"] == document["rows"]
    assert not (run / "eval.json").exists()
    refusal = tallystick("eval", run, "--part", "sort", code=2).err
    assert "no part 'sort'; its parts are: reverse, addition" in refusal
    shown = tallystick("show", NAME, "--length", 3).out
    assert "memory" in shown
    assert ".p0 ends on cell -1, [BOS]" in shown


def test_the_run_folder_keeps_every_parts_source(run):
    text = (run / "task" / "source.py").read_text()
    assert "class Addition" in text
    assert "class Reverse" in text
    assert source(load(NAME))[0] == text
