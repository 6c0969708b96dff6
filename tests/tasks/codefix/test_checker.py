"""The checker takes what behaves like the code without bugs, and nothing that only looks like it."""

import re

import pytest

from tallystick.tasks.codefix.checker import judge
from tallystick.tools.shell import Ran


@pytest.fixture
def case(codefix):
    return codefix.draw("pass", 8, 4)


def edited(case, name, old, new):
    """The reference with one file edited."""
    text = re.sub(old, new, case.reference[name], flags=re.MULTILINE)
    assert text != case.reference[name], "the edit changes something"
    return {**case.reference, name: text}


def value(case):
    return re.search(r"v10 = (\d+)", case.files["main.py"])[1]


def test_the_reference_passes(case):
    verdict = judge(case, case.reference)
    assert (verdict.passed, verdict.only_relevant, verdict.reason) == (True, True, "")
    assert {*verdict.changed} == case.relevant


def test_the_bug_does_not_pass(case):
    verdict = judge(case, case.files)
    assert (verdict.passed, verdict.reason, verdict.changed) == (False, "ends with an error", ())


def test_hard_coded_print(case):
    files = edited(case, "foo.py", r'print\("foo", v10\)', f'print("foo", {value(case)})')
    assert judge(case, files).reason == "prints what it should only for the constants that it has"


def test_value_declared_again_in_foo(case):
    files = edited(case, "foo.py", r"^(def .*)$", rf"\1\n    v10 = {value(case)}")
    assert judge(case, files).reason == "prints what it should only for the constants that it has"


def test_renamed_variable(case):
    files = {name: text.replace("v10", "v11") for name, text in case.reference.items()}
    assert not judge(case, files).passed


def test_deleted_print(case):
    assert (
        judge(case, edited(case, "foo.py", r'^    print\("foo", v10\)\n', "")).reason == "does not print what it should"
    )


def test_deleted_call(case):
    files = edited(case, "main.py", r"^    f\d+\(.*\)\n", "")
    assert judge(case, files).reason == "does not print what it should"


def test_another_value(case):
    assert not judge(case, edited(case, "main.py", r"v10 = \d+", "v10 = 7")).passed


def test_missing_main(case):
    files = {name: text for name, text in case.reference.items() if name != "main.py"}
    assert not judge(case, files).passed


def test_irrelevant_edits_are_reported_apart(case):
    name = next(name for name in case.files if name not in case.relevant)
    verdict = judge(case, {**case.reference, name: case.reference[name] + "\n"})
    other = judge(case, {**case.reference, "notes.py": ""})
    assert (verdict.passed, verdict.only_relevant) == (True, False)
    assert (other.passed, other.only_relevant) == (True, False)


def test_code_beyond_the_known_part_of_python_is_executed_in_a_sandbox(case):
    seen = []

    def execute(files):
        seen.append(files)
        return Ran("", 0)

    body = case.reference["foo.py"].splitlines()
    guarded = "\n".join(
        [body[0], "    try:", *(f"    {line}" for line in body[1:]), "    except NameError:", "        pass"]
    )
    files = {**case.files, "foo.py": guarded + "\n"}
    assert judge(case, files, execute).reason == "does not print what it should"
    assert judge(case, files).reason.startswith("cannot be interpreted")
    assert seen == [files]
