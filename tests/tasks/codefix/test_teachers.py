"""Every teacher repairs every case of its kind, and changes nothing else.

The golden files hold one trajectory each. Where one has changed on purpose, delete it and run this test twice: the
first run writes it again and fails.
"""

from pathlib import Path

import pytest

from tallystick.tasks.codefix import teachers
from tallystick.tasks.codefix.checker import judge

GOLDEN = Path(__file__).parent / "golden"


def assert_repairs(codefix, kind, teacher, n, seed, count=None):
    case = codefix.draw(kind, n, seed, count)
    verdict = judge(case, codefix.solve(case, teacher).shell.files())
    assert (verdict.passed, verdict.only_relevant) == (True, True), (n, seed, verdict)


def test_repairs_small_codebases(codefix, kind, teacher):
    for seed in range(26):
        assert_repairs(codefix, kind, teacher, 4 + seed % 13, seed)


@pytest.mark.parametrize("n", [30, 100])
def test_repairs_codebases_longer_than_any_in_training(codefix, kind, teacher, n):
    assert_repairs(codefix, kind, teacher, n, 0)


@pytest.mark.parametrize("kind", ["rename", "import", "signature", "mixed"])
def test_repairs_more_bugs_than_any_problem_in_training_has(codefix, kind):
    for seed in range(2):
        assert_repairs(codefix, kind, "general", 30, seed, 10)
        assert_repairs(codefix, kind, "general", 11, seed, 10)


@pytest.mark.slow
def test_repairs_many_cases(codefix, kind, teacher):
    for seed in range(2000):
        assert_repairs(codefix, kind, teacher, 4 + seed % 27, seed)
    assert_repairs(codefix, kind, teacher, 1000, 0)


@pytest.mark.parametrize("policy", [teachers.one_policy, teachers.three_policy, teachers.everywhere_policy])
def test_a_clean_run_ends(policy):
    assert policy("") is None
    assert teachers.repair_policy("") is None


def test_three_edits_at_most_three_files_between_two_runs(codefix):
    for seed in range(5):
        edited = set()
        for command in codefix.solve(codefix.draw("pass", 30, seed), "three").commands:
            for part in command.split(" && "):
                if part.startswith("sed -i"):
                    edited.add(part.rpartition(" ")[2])
                assert len(edited) <= 3, seed
                if part.startswith("python"):
                    edited = set()


@pytest.mark.parametrize("part", ["/repo", "Did you mean", "^^"])
def test_what_is_seen_depends_neither_on_the_folder_nor_on_the_python_version(codefix, kind, teacher, part):
    log = codefix.solve(codefix.draw(kind, 16, 1), teacher).log
    assert [text for role, text in log if role == "observation" and part in text] == []


def test_golden(codefix, kind, teacher):
    case = codefix.draw(kind, 6, 4)
    log = codefix.solve(case, teacher).log
    text = "".join(f"# {name}\n{content}" for name, content in case.files.items())
    text += "".join(f"[{role}]\n{said}\n" for role, said in log)
    path = GOLDEN / f"{kind}-{teacher}.txt"
    if not path.exists():
        path.write_text(text)
        pytest.fail(f"{path} was missing; it is written now")
    assert text == path.read_text()


def test_no_golden_file_is_left_over(codefix):
    assert {path.name for path in GOLDEN.iterdir()} == {f"{kind}-{teacher}.txt" for kind, teacher in codefix.pairs}
