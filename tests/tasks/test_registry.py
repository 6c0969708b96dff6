"""Tasks by name and from a user's own file."""

import hashlib
from pathlib import Path

import pytest

from tallystick.episode import Recorder
from tallystick.tasks import TASKS, load
from tallystick.tasks.registry import source
from tallystick.tasks.runner import run

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
        ("{mine}", None, "has no task ''; it has: Reverse, Mine"),
        ("{mine}:Other", None, "has no task 'Other'; it has: Reverse, Mine"),
        ("{mine}:Half", None, "has no task 'Half'"),
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
