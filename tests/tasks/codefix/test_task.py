"""The task's names, and its problems."""

import pytest

from tallystick.tasks.codefix.task import CodeFix
from tallystick.tasks.runner import record


@pytest.mark.parametrize("options", ["other", "pass-3", "mixed-", "mixed-0", "mixed-x", "mixed-3-3", "-3"])
def test_unknown_options_are_refused(options):
    with pytest.raises(ValueError, match="the kinds are pass, rename, import, signature, mixed"):
        CodeFix(options)


def test_a_number_of_bugs_needs_as_many_functions():
    assert CodeFix("mixed-10").min_length == 11
    assert CodeFix().min_length == CodeFix("mixed").min_length == 4


def test_other_kinds_have_the_general_teacher_alone():
    assert list(CodeFix("rename").variants) == ["general"]
    assert list(CodeFix().variants) == ["one", "three", "all", "single-turn", "general"]
    with pytest.raises(ValueError, match="unknown variant 'three'"):
        CodeFix("mixed", "three")


def test_the_sentence_is_the_same_for_all_kinds():
    prompts = {"".join(CodeFix(options).worst_problems(11)[0]) for options in ("", "import", "mixed-10")}
    assert len(prompts) == 1


@pytest.mark.parametrize(("options", "variant"), [("", None), ("", "single-turn"), ("mixed-3", None)])
def test_trajectories_are_recorded(options, variant):
    task = CodeFix(options, variant)
    record(task, task.problem("test", 0, 8, 0))
    record(task, task.worst_problems(8)[0])


@pytest.mark.parametrize("length", [30, 100])
def test_all_files_are_read_though_the_shell_shortens_long_outputs(length):
    task = CodeFix("", "single-turn")
    record(task, task.problem("test", 0, length, 0))
