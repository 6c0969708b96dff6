"""The fast shell prints what bash prints and leaves the files as bash leaves them, or says that it does not know."""

import random
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.tasks.codefix import teachers
from tallystick.tasks.codefix.bugs import draw_case
from tallystick.tools.shell import Ran
from tallystick.tools.shell.fast import FastShell, Unknown
from tallystick.tools.shell.patterns import translate

END = "--end of a command--"
FILES = {
    "main.py": 'from f1 import f1\n\n\ndef main():\n    v1 = 4\n    f1(v1)\n\nif __name__ == "__main__":\n    main()\n',
    "f1.py": 'from f22 import f22\n\n\ndef f1(v1, v2=3):\n    print("f1", v1)\n    f22(v1, v2)\n    print("f1")\n',
    "f22.py": 'def f22(v1, v2):\n    print("f22", v1, v2)\n    print(v10)\n',
    "empty.txt": "",
    "words.txt": "b a\n\nfoo.bar\nError: foo(v1, v2)\na*b [x] \\w $end\n  b a\nb a\n",
}


def bash(folder, files, commands):
    """Run commands one after another by bash in a new folder; returns what each left, and the files."""
    root, programs = folder / "repo", folder / "programs"
    root.mkdir(parents=True)
    programs.mkdir()
    (programs / "python").symlink_to(sys.executable)
    for name, text in files.items():
        (root / name).write_text(text)
    script = "".join(f'(\n{command}\n) 2>&1\necho "$?{END}"\n' for command in commands)
    environment = {"PATH": f"{programs}:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    output = subprocess.check_output(["bash", "-c", script], cwd=root, env=environment, text=True)
    parts = re.split(rf"(\d+){END}\n", output)
    ran = [Ran(output, int(code)) for output, code in zip(parts[:-1:2], parts[1::2], strict=True)]
    assert len(ran) == len(commands)
    return ran, {path.name: path.read_text() for path in root.iterdir()}


class Agent:
    """Stands in for a Workspace: it keeps commands and what they left."""

    def __init__(self, shell):
        self.shell, self.commands, self.ran = shell, [], []

    def say(self, text):
        """Thoughts do nothing."""

    def bash(self, command):
        self.commands.append(command)
        self.ran.append(self.shell.run(command))
        return self.ran[-1]


def compare_teacher(folder, kind, teacher, n, seed):
    case = draw_case(kind, n, random.Random(seed), 3)
    agent = Agent(FastShell(case.files, root=str(folder / "repo")))
    teacher(agent)
    ran, files = bash(folder, case.files, agent.commands)
    assert agent.ran == ran
    assert agent.shell.files() == files


TEACHERS = [
    *(("pass", teacher) for teacher in (teachers.one, teachers.three, teachers.everywhere, teachers.single_turn)),
    *((kind, teachers.repair) for kind in ("pass", "rename", "import", "signature", "mixed")),
]


@pytest.mark.parametrize(("kind", "teacher"), TEACHERS, ids=lambda value: getattr(value, "__name__", value))
def test_teachers_see_what_they_would_see_in_bash(tmp_path, kind, teacher):
    compare_teacher(tmp_path, kind, teacher, 6, 1)


@pytest.mark.slow
@pytest.mark.parametrize("n", [4, 16, 30, 100])
@pytest.mark.parametrize(("kind", "teacher"), TEACHERS, ids=lambda value: getattr(value, "__name__", value))
def test_teachers_see_what_they_would_see_in_bash_in_larger_codebases(tmp_path, kind, teacher, n):
    for seed in range(10 if n <= 16 else 1):
        compare_teacher(tmp_path / str(seed), kind, teacher, n, 100 + seed)


COMMANDS = [
    "ls",
    "ls f*.py | tac",
    "echo 'a  b' c \"d e\" *.md *2.py",
    "cat main.py f22.py | wc -l",
    "wc -l *.py",
    "cat none.txt || echo failed && echo again; echo last",
    "grep -n def *.py | sort -r",
    "grep -n v1 *.py",
    "grep -c print *.py",
    "grep -l v10 *.py",
    "grep -v -n a words.txt",
    "grep -oE '[a-z]+\\(|v[0-9]' *.py | sort -u",
    "grep -E 'a\\*b|^$' words.txt",
    "grep 'a*b' words.txt",
    "grep '[.*]' words.txt",
    "grep none words.txt",
    "grep -n z none.txt words.txt",
    "sed -n '2,4p' words.txt",
    "sed -n '/foo/,$p' words.txt",
    "sed '/^$/d;s/a/<&>/g;3s/\\(foo\\).\\(bar\\)/\\2.\\1/' words.txt",
    "sed -E 's/(b) (a)/\\2 \\1/' words.txt | head -n 2",
    "sed -i '1i first' words.txt && sed -i '$a last' words.txt && cat words.txt",
    "sed -i '/\\bf1(/{s/(/(v10, /;s/, )/)/}' *.py && cat main.py f1.py",
    "head -n 2 main.py f1.py",
    "tail -n +3 main.py",
    "tail -n +1 *.py",
    "tail -n 1 words.txt | cat",
    "python f22.py",
    "python main.py 2>&1 | grep -E '^  File|^f' | tail -n 3 | head -n 2",
    f"{teachers.SHORT_RUN}",
    f"{teachers.RUN} | tac",
    "sort words.txt | head -3 && tail -2 words.txt",
]


def test_commands_print_what_they_print_in_bash(tmp_path):
    shell = FastShell(FILES, root=str(tmp_path / "repo"))
    known = [command for command in COMMANDS if not isinstance(result(shell, command), Unknown)]
    unknown = set(COMMANDS) - set(known)
    shell = FastShell(FILES, root=str(tmp_path / "repo"))
    ran, files = bash(tmp_path, FILES, known)
    assert [shell.run(command) for command in known] == ran
    assert shell.files() == files
    assert unknown == set()


def result(shell, command):
    try:
        return shell.run(command)
    except Unknown as unknown:
        return unknown


NAMES = st.sampled_from(["main.py", "f1.py", "words.txt", "empty.txt", "*.py", "*.txt", "f?.py", "none.txt"])
BASIC = [
    "b",
    "a*",
    "^b",
    "a$",
    "[a-f]o*",
    "v[0-9]",
    "(v",
    "\\bf1(",
    ".",
    "^$",
    "\\(b\\) ",
    "a\\|b",
    "\\.",
    "[^a-z ]",
    "*b",
]
EXTENDED = [
    "b|a",
    "^(b|a)",
    "f[0-9]+\\(",
    "(foo)?",
    "\\w+Error: .*|Error: [^.]*",
    "o{2}",
    "v1|v1, v2",
    "[.]b?",
    "b a|b",
]
QUOTED = st.one_of(
    st.sampled_from(BASIC).map(lambda text: f"'{text}'"), st.sampled_from(EXTENDED).map(lambda text: f"-E '{text}'")
)
ADDRESSES = st.sampled_from(["", "2", "$", "/b/", "/^def/", "2,4", "/f/,/b/", "3,$", "/a/,2"])
EDITS = st.sampled_from(
    [
        "s/b/x/",
        "s/a/<&>/g",
        "s/(/(v10, /",
        "s/, )/)/",
        "s/ .*//",
        "s/\\(.\\)b/\\1/",
        "d",
        "p",
        "i new",
        "s/^/# /",
        "a new",
    ]
)
SCRIPTS = st.builds(lambda address, edit: f"'{address}{edit}'", ADDRESSES, EDITS) | st.builds(
    lambda address, edits: f"'{address}{{{';'.join(edits)}}}'",
    ADDRESSES,
    st.lists(EDITS.filter(lambda edit: not edit.endswith("new")), min_size=1, max_size=3),
)
FILTERS = st.one_of(
    st.builds("grep {} {}".format, st.sampled_from(["", "-n", "-v", "-c", "-o", "-i", "-vn", "-h"]), QUOTED),
    st.builds("sed {} {}".format, st.sampled_from(["", "-n", "-E"]), SCRIPTS),
    st.sampled_from(["head -n 3", "tail -n 2", "tail -n +2", "tac", "sort", "sort -r", "sort -u", "wc -l", "cat"]),
)
SOURCES = st.one_of(
    st.builds("cat {} {}".format, NAMES, NAMES),
    st.builds("{} {}".format, FILTERS, NAMES),
    st.builds("grep {} {} {} {}".format, st.sampled_from(["-n", "-l", "-c", "-Hn", "-v"]), QUOTED, NAMES, NAMES),
    st.builds("sed -i {} {}".format, SCRIPTS, NAMES),
    st.builds(
        "{} {} {}".format, st.sampled_from(["head -n 1", "tail -n 1", "tail -n +2", "wc -l", "tac"]), NAMES, NAMES
    ),
    st.sampled_from(["python main.py 2>&1", "python f22.py", "ls", "echo a 'b  c'"]),
)
PIPELINES = st.lists(FILTERS, max_size=3).flatmap(lambda rest: SOURCES.map(lambda first: " | ".join([first, *rest])))
LINES = st.builds("{}{}{}".format, PIPELINES, st.sampled_from([" && ", " || ", "; "]), PIPELINES) | PIPELINES


def test_a_broken_file_matters_only_to_those_who_import_it():
    shell = FastShell(FILES)
    run = "python main.py 2>&1 | grep -c f22.py"
    assert shell.run(run) == Ran("1\n", 0)
    assert shell.run("sed -i 's/ .*//' f1.py && python f22.py") == Ran("", 0)
    with pytest.raises(Unknown):
        shell.run(run)


@settings(max_examples=6, deadline=None, derandomize=True)
@given(st.lists(LINES, min_size=30, max_size=30))
def test_random_command_lines_print_what_they_print_in_bash(tmp_path_factory, commands):
    assert_alike(tmp_path_factory.mktemp("shell"), commands)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.lists(LINES, min_size=60, max_size=60))
def test_many_random_command_lines_print_what_they_print_in_bash(tmp_path_factory, commands):
    assert_alike(tmp_path_factory.mktemp("shell"), commands)


def assert_alike(folder, commands):
    """Each command is run on the files that the ones before left, but for those that the fast shell does not know."""
    shell = FastShell(FILES, root=str(folder / "repo"))
    known, ran = [], []
    for command in commands:
        trial = result(FastShell(shell.files(), root=str(folder / "repo")), command)
        if not isinstance(trial, Unknown):
            known.append(command)
            ran.append(shell.run(command))
    real, files = bash(folder, FILES, known)
    for command, fast, slow in zip(known, ran, real, strict=True):
        assert (command, fast) == (command, slow)
    assert shell.files() == files


@pytest.mark.parametrize(
    "command",
    [
        "",
        "rm main.py",
        "cat main.py > other.py",
        "echo $HOME",
        "echo `ls`",
        "ls -l",
        "sleep 1 &",
        "python -c 'print(1)'",
        "python main.py",  # its traceback has lines that depend on the version
        "python main.py 2>&1 | tail -n 3",
        "cd ..",
        "cat ../secret",
        "cat /etc/passwd",
        "grep -r v10",
        "grep -P v10 main.py",
        "sed 's/a/b/e' main.py",
        "sed 'w other.py' main.py",
        "echo 'unbalanced",
        "A=1 ls",
        "{ ls; }",
        "ls |",
        "&& ls",
        "cat",
    ],
)
def test_what_is_not_known_is_refused(command):
    with pytest.raises(Unknown):
        FastShell(FILES).run(command)


@pytest.mark.parametrize(
    "line",
    [
        "import os",
        "    exec(v1)",
        "    open(v1)",
        "    v1 = f1",
        "    while True:",
        "    f1(v1)(v2)",
        "    f1.x(v1)",
        "x",
    ],
)
def test_python_beyond_the_known_part_is_refused(line):
    text = f"{line}\n" if line[0] != " " else f"def f1(v1):\n{line}\n"
    with pytest.raises(Unknown):
        FastShell({"main.py": text}).run("python main.py")


def test_edits_between_runs_show_in_the_next_run(tmp_path):
    commands = [
        teachers.RUN,
        "sed -i 's/v10/v2/' f22.py && python main.py",
        "sed -i 's/v2=3/v2=5/' f1.py && python main.py",
        "sed -i 's/import f22/import f23/' f1.py",
        teachers.RUN,
        "sed -i 's/ f22(/ f23(/' f1.py f22.py && python main.py",
        "sed -i '3d' f22.py && python main.py",
        "sed -i '2d' f22.py",
        "echo done",
    ]
    shell = FastShell(FILES, root=str(tmp_path / "repo"))
    ran, files = bash(tmp_path, FILES, commands)
    assert [shell.run(command) for command in commands] == ran
    assert shell.files() == files


def test_a_call_is_made_anew_once_something_below_it_is_edited(tmp_path):
    files = {
        "main.py": "from a import a\n\n\ndef main():\n    v1 = 1\n    a(v1)\n    a(v1, v2=7)\n    a(v1)\n\n\n"
        'if __name__ == "__main__":\n    main()\n',
        "a.py": 'from c import c\n\n\ndef b(v1):\n    print("b", v1)\n    c(v1)\n\n\n'
        "def a(v1, v2=2):\n    b(v1)\n    b(v2)\n    c(v1)\n",
        "c.py": 'def c(v1):\n    print("c", v1)\n',
    }
    edits = ['s/"c"/"d"/ c', 's/"b"/"e"/ a', "s/v2=2/v2=3/ a", "s/v1)$/v9)/ c", 's/"e"/"g"/ a', "s/v9/v1/ c"]
    run = "python main.py 2>&1 | grep -E '^[a-z] [0-9]'"
    commands = [run, *(f"sed -i '{edit[:-2]}' {edit[-1]}.py && {run}" for edit in edits)]
    shell = FastShell(files, root=str(tmp_path / "repo"))
    ran, left = bash(tmp_path, files, commands)
    assert [shell.run(command) for command in commands] == ran
    assert shell.files() == left


@pytest.mark.parametrize(
    ("pattern", "literals"),
    [
        (r'\w+\.py", line [0-9]+|\w+Error: [^.]*', ('.py", line ', "Error: ")),
        ("abc*de?f+gh", ("ab",)),
        ("x(abc)?yz|(ab|cd)e", ("yz", "e")),
        (r"ab\bcd$", ("ab",)),
        ("ab|[cd]", ()),
    ],
)
def test_literals_are_in_every_match(pattern, literals):
    assert translate(pattern, extended=True).literals == literals
    assert translate(pattern, extended=True, ignore_case=True).literals == ()


def test_a_run_without_end_is_refused():
    loop = 'def main():\n    main()\n\n\nif __name__ == "__main__":\n    main()\n'
    with pytest.raises(Unknown, match="without end"):
        FastShell({"main.py": loop}).run("python main.py")


def test_a_run_of_too_many_calls_is_refused():
    body = "".join(f"def f{i}():\n    f{i + 1}()\n    f{i + 1}()\n\n\n" for i in range(40))
    text = f'{body}def f40():\n    pass\n\n\nif __name__ == "__main__":\n    f0()\n'
    with pytest.raises(Unknown, match="too many calls"):
        FastShell({"main.py": text}).run("python main.py")


def test_files_are_copied():
    files = dict(FILES)
    shell = FastShell(files)
    shell.run("sed -i 1d main.py")
    shell.files().clear()
    assert files == FILES
    assert shell.files()["main.py"] == FILES["main.py"].partition("\n")[2]
