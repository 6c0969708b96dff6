"""Tasks by name and from a user's own file."""

import hashlib
from pathlib import Path

import pytest

from tallystick.episode import Recorder
from tallystick.tasks import TASKS, guard, load
from tallystick.tasks.registry import source
from tallystick.tasks.runner import run
from tallystick.workspace import ProgramError

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "my_task.py"
FILE = """
from tallystick import Task
from tallystick.tasks.reverse import Reverse


class Half(Task):
    def sample(self, length, rng):
        return []


class Mine(Reverse):
    takes_options = True
    variants = {"first": "solve", "second": "solve"}
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def test_the_example_loads_and_runs():
    task = load(f"{EXAMPLE}:Reverse")
    sink = Recorder()
    run(task, task.problem("test", 0, 5, 0), sink)
    assert (task.name, sink.ok) == (f"{EXAMPLE}:Reverse", True)


@pytest.mark.parametrize("name", TASKS)
def test_the_first_variant_is_the_default(name):
    task = load(name)
    assert (task.name, task.variant) == (name, next(iter(task.variants)))


def test_options_stand_in_the_name(mine):
    task = load(f"{mine}:Mine:bb5:3", "second")
    assert (task.options, task.variant, task.name) == ("bb5:3", "second", f"{mine}:Mine:bb5:3")


@pytest.mark.parametrize(
    ("name", "variant", "message"),
    [
        ("nothing", None, "unknown task 'nothing'; there are: addition, reverse"),
        ("", None, "unknown task ''; there are"),
        ("chomsky:sort", None, "unknown task 'chomsky:sort'; there are: addition, .*chomsky:bucket-sort, or"),
        ("addition", "fast", "unknown variant 'fast'; there are: local, paper"),
        ("addition:3", None, "addition takes no options, but was given '3'"),
        ("nothing.py:Mine", None, "no file nothing.py"),
        ("{mine}", None, "does not say which task, as in FILE:Class; it has: Reverse, Half, Mine"),
        ("{mine}:Other", None, "has no task 'Other'; it has: Reverse, Half, Mine"),
        ("{mine}:Half", None, r"^Half has no answer\(\): a task needs symbols, sample"),
        ("{mine}:Mine", "third", "unknown variant 'third'; there are: first, second"),
        ("{mine}:Reverse:3", None, "reverse takes no options, but was given '3'"),
    ],
)
def test_a_users_mistake_is_one_line(mine, name, variant, message):
    with pytest.raises(ValueError, match=message) as error:
        load(name.format(mine=mine), variant)
    assert "\n" not in str(error.value)


def test_a_changed_file_is_read_again(mine):
    old = load(f"{mine}:Mine")
    mine.write_text(FILE.replace('"first"', '"new"'))
    assert (old.variant, load(f"{mine}:Mine").variant) == ("first", "new")


def test_source_is_the_tasks_own_file(mine):
    text, digest = source(load(f"{mine}:Mine"))
    assert text == FILE
    assert digest == hashlib.sha256(FILE.encode()).hexdigest()


def test_files_of_one_name_in_two_folders_keep_apart(mine):
    folder = mine.parent / "other"
    folder.mkdir()
    (folder / mine.name).write_text(FILE + "# other\n")
    first, second = load(f"{mine}:Mine"), load(f"{folder / mine.name}:Mine")
    assert (source(first)[0], source(second)[0]) == (FILE, FILE + "# other\n")


def test_no_bytecode_is_left_beside_the_file(mine):
    load(f"{mine}:Mine")
    assert [path.name for path in mine.parent.iterdir()] == ["mine.py"]


GOOD = """
import random
from tallystick import Defaults, Task
class Mine(Task):
    symbols = "ab>"
    tools = ("pointer:1",)
    def sample(self, length, rng):
        return [*rng.choices("ab", k=length), ">"]
    def answer(self, prompt):
        return prompt[:-1]
    def solve(self, w):
        p = w.pointer(0)
        w.answer()
        while (symbol := p.read()) != ">":
            w.output(symbol)
            p.right()
"""


@pytest.mark.parametrize(
    ("line", "instead", "message"),
    [
        ("def answer(", "def anwser(", r"Mine has no answer\(\): a task needs symbols, sample"),
        ("def sample(", "def smaple(", r"Mine has no sample\(\): a task needs"),
        ("def solve(", "def slove(", r"Mine has no solve\(\), the program of its variant 'default'"),
        ('symbols = "ab>"', 'symbols = {"a", "b", ">"}', "symbols is a set, whose order changes"),
        ('symbols = "ab>"', "symbols = (0, 1)", "symbols must be a string or a sequence of strings"),
        ('tools = ("pointer:1",)', 'tools = "pointer:1"', r'tools must be a tuple, such as \("pointer:1",\)'),
        ('tools = ("pointer:1",)', 'tools = ("pointer:1",); variants = {}', "variants must name at least one program"),
        (
            'tools = ("pointer:1",)',
            'tools = ("pointer:1",); variants = {"a": "go"}',
            r"Mine has no go\(\), the program",
        ),
        ('tools = ("pointer:1",)', 'tools = ("pointer:1",); defaults = {"steps": 9}', r"must be Defaults\(...\)"),
        ('tools = ("pointer:1",)', "def __init__(self): pass", r"__init__ must take \(self, options, variant\)"),
        (
            "tools = (",
            "def __init__(self, options='', variant=None): self.x = 1\n    tools = (",
            r"must call super\(\)",
        ),
        ("tools = (", "def __init__(self, o='', v=None): 1 / 0\n    tools = (", "__init__ fails: ZeroDivisionError"),
        ("tools = (", 'min_length = "3"; tools = (', "min_length must be an integer from 1 on, not '3'"),
        ("tools = (", "max_length = 0; tools = (", "max_length must be an integer from 1 on, not 0"),
        ("tools = (", "defaults = Defaults(train_length=2.5); tools = (", "train_length must be an integer from 1 on"),
        ("tools = (", "defaults = Defaults(check=5); tools = (", r"check must be a tuple of lengths, .* not 5"),
        ("tools = (", "defaults = Defaults(eval=()); tools = (", "eval must be a tuple of lengths"),
        ("rng.choices", "random.choices", "sample drew two different problems with the same seed"),
        ('rng.choices("ab", k=length)', '("a" * length)', "draws the same problem of length 10 for every seed"),
        ("k=length", "k=7", "sample draws the same problems of length 1 and 10"),
        ("return [*rng", "[*rng", "TypeError: sample must return a list of symbols, not None"),
        ("return [*rng", "raise SystemExit(3); [*rng", r"SystemExit: 3 \(mine.py:8, in sample\)"),
        ("return [*rng", "return 1 / 0; [*rng", r"ZeroDivisionError: division by zero \(mine.py:8, in sample\)"),
    ],
)
def test_a_task_that_breaks_the_contract_is_refused_in_one_line(tmp_path, line, instead, message):
    path = tmp_path / "mine.py"
    path.write_text(GOOD)
    load(f"{path}:Mine").problem("train", 0, 3, 0)
    assert line in GOOD
    path.write_text(GOOD.replace(line, instead))
    with pytest.raises(ValueError, match=message) as error:
        load(f"{path}:Mine").problem("train", 0, 3, 0)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("answer", ['"".join(prompt[:-1])', "tuple(prompt[:-1])"])
def test_an_answer_is_any_sequence_of_symbols(tmp_path, answer):
    path = tmp_path / "mine.py"
    path.write_text(GOOD.replace("prompt[:-1]", answer))
    task = load(f"{path}:Mine")
    prompt = list("abba>")
    assert task.truth(prompt) == list("abba")
    assert task.score(prompt, list("abba")) == 1
    run(task, prompt, sink := Recorder())
    assert sink.ok


@pytest.mark.parametrize("answer", ["None", "7", "[1, 2]"])
def test_an_answer_of_another_kind_is_named(tmp_path, answer):
    path = tmp_path / "mine.py"
    path.write_text(GOOD.replace("prompt[:-1]", answer))
    with pytest.raises(ProgramError, match="answer must return a list of symbols, not"):
        run(load(f"{path}:Mine"), list("ab>"), Recorder())


@pytest.mark.parametrize("worst", ["None", '"ab>"', '["ab>", None]', "[[1]]"])
def test_worst_cases_of_another_kind_are_named(tmp_path, worst):
    path = tmp_path / "mine.py"
    path.write_text(GOOD + f"    def worst_cases(self, length):\n        return {worst}\n")
    with pytest.raises(ProgramError, match="worst_cases must return a list of"):
        load(f"{path}:Mine").every_worst_case(3)


def test_an_error_in_a_users_program_names_file_and_line(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(GOOD.replace("w.output(symbol)", "w.output({}[symbol])"))
    with pytest.raises(ProgramError, match=r"KeyError: 'a' \(mine.py:15, in solve\); the problem a b >"):
        run(load(f"{path}:Mine"), list("ab>"), Recorder())


def test_an_error_in_a_users_answer_is_named_once(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(GOOD.replace("return prompt[:-1]", "return {}[prompt[0]]"))
    with pytest.raises(ProgramError) as error:
        run(load(f"{path}:Mine"), list("ab>"), Recorder())
    where = "(mine.py:10, in answer); answering a problem; the problem a b >"
    assert str(error.value) == f"{path}:Mine: KeyError: 'a' {where}"


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("parse", ["ab>"]),
        ("format", [["a"]]),
        ("score", [["a", ">"], ["a"]]),
        ("partial_score", [["a", ">"], ["a"]]),
    ],
)
def test_an_error_in_any_method_of_a_users_task_names_file_and_line(tmp_path, method, arguments):
    path = tmp_path / "mine.py"
    path.write_text(GOOD + f"    def {method}(self, *a): return [][0]\n")
    with pytest.raises(ProgramError, match=rf"IndexError: .* \(mine.py:17, in {method}\); calling {method}"):
        getattr(load(f"{path}:Mine"), method)(*arguments)


def test_a_problem_that_a_users_parse_refuses_is_refused_in_its_words(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(GOOD + "    def parse(self, text): raise ValueError('write a or b')\n")
    with pytest.raises(ValueError, match=r"^write a or b$"):
        load(f"{path}:Mine").parse("c")


def test_a_program_that_does_not_end_after_its_answer_is_ended(tmp_path, monkeypatch):
    path = tmp_path / "mine.py"
    path.write_text(GOOD.replace("w.output(symbol)", "for _ in range(5 * 10**7): pass"))
    task = load(f"{path}:Mine")
    monkeypatch.setattr(guard, "PATIENCE", 0.1)
    with pytest.raises(ProgramError, match="the program does not end"):
        run(task, list("ab>"), Recorder())


def test_an_endless_sample_is_ended(tmp_path, monkeypatch):
    path = tmp_path / "mine.py"
    path.write_text(GOOD)
    task = load(f"{path}:Mine")
    monkeypatch.setattr(guard, "PATIENCE", 0.1)

    def sample(length, rng):
        while True:
            pass

    task.sample = sample
    with pytest.raises(
        ProgramError, match="0.1 s of CPU time .* the program does not end.*; drawing train problem 0 of length 3"
    ):
        task.problem("train", 0, 3, 0)


def test_a_file_may_import_its_neighbours(tmp_path):
    (tmp_path / "letters_of_mine.py").write_text("LETTERS = 'ab>'\n")
    path = tmp_path / "mine.py"
    path.write_text("from letters_of_mine import LETTERS\n" + GOOD.replace('symbols = "ab>"', "symbols = LETTERS"))
    assert load(f"{path}:Mine").symbols == "ab>"


def test_a_neighbour_does_not_hide_a_library(tmp_path):
    (tmp_path / "fractions.py").write_text("raise RuntimeError('hidden')\n")
    path = tmp_path / "mine.py"
    path.write_text("import fractions\n" + GOOD)
    load(f"{path}:Mine")


def test_a_source_that_is_not_utf_8_is_named(tmp_path):
    file = tmp_path / "mine.py"
    file.write_bytes(b"# caf\xe9\n" + EXAMPLE.read_bytes())
    with pytest.raises(ValueError, match=r"mine\.py is not UTF-8, as a task's file must be"):
        source(load(f"{file}:Reverse"))
