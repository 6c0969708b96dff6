"""Ways out of the sandbox, tried with real victims on the host.

Each must fail in a sandbox, and succeed without one: an escape that cannot succeed tests nothing.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tallystick.tools.shell import Limits, Ran, Shell

SECRET = "a-secret-of-the-host"
ROOT = os.geteuid() == 0
DEVICES = ("/dev/kmsg", "/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/xvda", "/dev/mem")
VICTIM = f"""
import ctypes, time
buffer = ctypes.create_string_buffer(b{SECRET!r})
print(ctypes.addressof(buffer), flush=True)
time.sleep(600)
"""


class Host:
    """The host's side: files that anybody may read and write, listeners, a process, a terminal."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="tallystick-host-"))
        self.folder.chmod(0o777)
        (self.folder / "home" / ".ssh").mkdir(parents=True)
        (self.folder / "home" / ".ssh" / "id_rsa").write_text(SECRET)
        self.file, self.owned = self.folder / "file", self.folder / "owned"
        self.reset()
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.udp = listener(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))
        self.abstract = listener(socket.AF_UNIX, socket.SOCK_STREAM, f"\0tallystick-{os.getpid()}")
        self.stream = listener(socket.AF_UNIX, socket.SOCK_STREAM, str(self.folder / "stream"))
        self.datagram = listener(socket.AF_UNIX, socket.SOCK_DGRAM, str(self.folder / "datagram"))
        for name in ("stream", "datagram"):
            (self.folder / name).chmod(0o777)
        self.abstract.listen()
        self.stream.listen()
        self.sockets = [self.tcp, self.udp, self.abstract, self.stream, self.datagram]
        self.terminal, self.slave = os.openpty()
        Path(os.ttyname(self.slave)).chmod(0o666)
        self.start_victim()

    def reset(self):
        """Make the files anew: one that all may read and write, and one that all may read."""
        self.before = {}
        for file, mode in ((self.file, 0o666), (self.owned, 0o644)):
            file.unlink(missing_ok=True)
            file.write_text(SECRET)
            file.chmod(mode)
            os.utime(file, (10**9, 10**9))
            self.before[file] = file.stat()
        self.segments = segments()

    def start_victim(self):
        env = {"PASSWORD": SECRET}
        command = [sys.executable, "-I", "-S", "-c", VICTIM]
        self.victim = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True)
        self.address = int(self.victim.stdout.readline())

    def words(self):
        """What a command needs to know for its attack."""
        return {
            "file": self.file,
            "owned": self.owned,
            "folder": self.folder,
            "home": self.folder / "home",
            "pid": self.victim.pid,
            "address": self.address,
            "size": len(SECRET),
            "me": os.getpid(),
            "tcp": self.tcp.getsockname()[1],
            "udp": self.udp.getsockname()[1],
            "abstract": self.abstract.getsockname().decode()[1:],
            "tty": os.ttyname(self.slave),
            "device": next((device for device in DEVICES if Path(device).exists()), DEVICES[0]),
        }

    def changed(self, file):
        """Whether a file is gone or not as it was made."""
        if not file.exists():
            return True
        now, before = file.stat(), self.before[file]
        same = all(
            getattr(now, name) == getattr(before, name) for name in ("st_mode", "st_uid", "st_mtime", "st_nlink")
        )
        return not same or file.read_text() != SECRET

    def victim_hurt(self):
        """Whether the victim has ended or stands still."""
        time.sleep(0.05)
        state = Path(f"/proc/{self.victim.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state in "TZX"

    def reached(self, name):
        """Whether anything came through one of the listeners."""
        listening = getattr(self, name)
        listening.setblocking(False)
        try:
            connection = listening.accept()[0] if name in ("tcp", "abstract", "stream") else None
            data = connection or listening.recv(100)
        except BlockingIOError:
            return False
        if connection:
            connection.close()
        return bool(data)

    def close(self):
        for each in self.sockets:
            each.close()
        os.close(self.terminal)
        os.close(self.slave)
        self.victim.kill()
        self.victim.communicate()
        shutil.rmtree(self.folder)


def segments():
    return {line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}


def listener(family, kind, address):
    server = socket.socket(family, kind)
    server.bind(address)
    return server


@pytest.fixture(scope="module")
def host():
    it = Host()
    yield it
    it.close()


def prints_secret(host, ran):
    return SECRET in ran.output


def changes_file(host, ran):
    return host.changed(host.file) or host.changed(host.owned)


def leaves_segment(host, ran):
    """Whether there is a new segment of System V shared memory on the host; it is removed."""
    new = segments() - host.segments
    for number in new:
        subprocess.run(["ipcrm", "-m", number], check=True)
    return bool(new)


def makes(name):
    return lambda host, ran: (Path(name) if name.startswith("/") else host.folder / name).exists()


def hurts_victim(host, ran):
    return host.victim_hurt()


def reaches(name):
    return lambda host, ran: host.reached(name)


def says_done(host, ran):
    return ran.output.endswith("done\n")


PYTHON = "python3 -c '{}'"
UNIX = PYTHON.format('import socket; s = socket.socket(socket.AF_UNIX); s.connect({}); s.send(b"x")')
NEW = f"tallystick-escape-{os.getpid()}"
ESCAPES = {
    # reading
    "a file that all may read": ("cat {file}", prints_secret),
    "a file through a symlink": ("ln -sf {file} link; cat link", prints_secret),
    "a file through a folder's symlink": ("ln -sfn {folder} folder; cat folder/file", prints_secret),
    "a private key": ("cat {home}/.ssh/id_rsa", prints_secret),
    "a file through another process's root": ("cat /proc/{pid}/root{file} /proc/{me}/cwd{file}", prints_secret),
    "the names in the folder of temporary files": ("ls {folder}/.. | grep -q tallystick-host && echo done", says_done),
    "the copy of another shell": ("cat {other}/secret", prints_secret),
    "the environment of processes": ("grep -aoh PASSWORD=.* /proc/*/environ", prints_secret),
    "the command lines of processes": ("grep -aoh b.a-secret.* /proc/*/cmdline", prints_secret),
    # writing
    "a file that all may write": ("echo x > {file}", changes_file),
    "a file through a symlink, written": ("ln -sf {file} link; echo x >> link", changes_file),
    "a hard link": ("ln {file} hard; echo x > hard", changes_file),
    "a file moved into the copy": ("mv {file} moved", changes_file),
    "a file removed": ("rm -f {file}", changes_file),
    "a file replaced": ("touch new; mv new {file}", changes_file),
    "a file cut short": (PYTHON.format('import os; os.truncate("{file}", 0)'), changes_file),
    "a file opened to cut it short": (PYTHON.format('import os; os.open("{file}", os.O_TRUNC)'), changes_file),
    "a file's mode": ("chmod 600 {file}", changes_file),
    "a file's time": ("touch -d @1 {owned}", changes_file),
    "a file's time by its path": (PYTHON.format('import os; os.utime("{owned}")'), changes_file),
    "a new file": ("echo x > {folder}/new", makes("new")),
    "a new folder": ("mkdir {folder}/new", makes("new")),
    "a new pipe": ("mkfifo {folder}/new", makes("new")),
    "a new symlink": ("ln -s x {folder}/new && touch {folder}/x", makes("x")),
    "a start-up file in the home": ("echo x >> {home}/.bashrc", makes("home/.bashrc")),
    "a file in /tmp": (f"echo x > /tmp/{NEW}", makes(f"/tmp/{NEW}")),
    "a file in shared memory": (f"echo x > /dev/shm/{NEW}", makes(f"/dev/shm/{NEW}")),
    # network
    "TCP to a listener on the loopback": ("echo x > /dev/tcp/127.0.0.1/{tcp}", reaches("tcp")),
    "UDP to the loopback": ("echo x > /dev/udp/127.0.0.1/{udp}", reaches("udp")),
    "an abstract unix socket": (UNIX.format('"\\0{abstract}"'), reaches("abstract")),
    "a unix socket": (UNIX.format('"{folder}/stream"'), reaches("stream")),
    "a unix socket, from one of a pair": (
        PYTHON.format(
            "import socket; s, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM); "
            's.sendto(b"x", "{folder}/datagram")'
        ),
        reaches("datagram"),
    ),
    # processes
    "a signal to a process": ("kill -STOP {pid}", hurts_victim),
    "a signal to a process's group": ("kill -STOP -- -$(ps -o pgid= {pid} | tr -d ' ')", hurts_victim),
    "a signal through a pidfd": (
        PYTHON.format("import os, signal; signal.pidfd_send_signal(os.pidfd_open({pid}), signal.SIGSTOP)"),
        hurts_victim,
    ),
    "the existence of a process": ("kill -0 {pid} && echo done", says_done),
    "a terminal typed into": (
        PYTHON.format(
            'import fcntl, os; fcntl.ioctl(os.open("{tty}", os.O_RDWR | os.O_NOCTTY), 0x5412, b"x"); print("done")'
        ),
        says_done,
    ),
    "a terminal written to": ('echo x > {tty} && echo done', says_done),
}  # fmt: skip
AS_ROOT = {
    "the shadow passwords": ("head -c 1 /etc/shadow > x && echo done", says_done),
    "the environment of the first process": (
        "cat /proc/1/environ > x && ! grep -q PYTHONHASHSEED=0 x && echo done",
        says_done,
    ),
    "the memory of a process": (
        PYTHON.format('f = open("/proc/{pid}/mem", "rb", 0); f.seek({address}); print(f.read({size}))'),
        prints_secret,
    ),
    "a file's owner": ("chown 1234 {file}", changes_file),
    "a device made": ("mknod device c 1 1 && echo done", says_done),
    "a device read": ("head -c 1 {device} > x && echo done", says_done),
    "a namespace made": ("unshare -m true && echo done", says_done),
    "another root": (PYTHON.format('import os; os.chroot("/"); print("done")'), says_done),
    "a mount": ("mkdir -p m; unshare -m mount -t tmpfs none m && echo done", says_done),
    "a set-uid program": ("/usr/bin/su -s /bin/bash root -c 'test $(id -u) = 0 && echo done' < /dev/null", says_done),
    "a priority raised": ("nice -n -5 true 2>&1 | grep -q . || echo done", says_done),
    "shared memory that stays": ("ipcmk -M 4096", leaves_segment),
}
"""Escapes that root alone could make."""
HARMFUL = {
    "a file in /usr": (f"echo x > /usr/local/{NEW}", makes(f"/usr/local/{NEW}")),
    "a file in /etc": (f"echo x > /etc/{NEW}", makes(f"/etc/{NEW}")),
    "a scheduled job": (f"mkdir -p /etc/cron.d; echo '#' > /etc/cron.d/{NEW}", makes(f"/etc/cron.d/{NEW}")),
    "a kernel setting": (
        "cat /proc/sys/kernel/randomize_va_space > /proc/sys/kernel/randomize_va_space && echo done",
        says_done,
    ),
}
"""Escapes that are not tried without a sandbox: they would change the machine."""


def attempt(shell, host, escape, other):
    command, evidence = escape
    host.reset()
    command = command.format(**host.words(), other=other)
    try:
        ran = shell.run(command)
        assert not ran.exception
        escaped = evidence(host, ran)
        if shell.level.name == "none" and not escaped and not evidence(host, plainly(command)):
            pytest.skip("this machine refuses it to all")
        return escaped
    finally:
        clean(host)


def plainly(command):
    """Run a command by bash, without a Shell."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, errors="replace")
    return Ran(done.stdout + done.stderr, done.returncode)


def clean(host):
    os.kill(host.victim.pid, signal.SIGCONT)
    for path in (host.folder / "new", host.folder / "x", host.folder / "home" / ".bashrc"):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    for folder in ("/tmp", "/dev/shm", "/usr/local", "/etc", "/etc/cron.d"):
        Path(folder, NEW).unlink(missing_ok=True)


@pytest.fixture(scope="module")
def other(level):
    """The copy of another shell at the same level."""
    with Shell({"secret": SECRET}, sandbox=level) as shell:
        yield shell.copy


@pytest.mark.parametrize("name", ESCAPES)
def test_an_escape_succeeds_without_a_sandbox_alone(shell, level, host, other, name):
    assert attempt(shell, host, ESCAPES[name], other) == (level == "none")


@pytest.mark.parametrize("name", HARMFUL)
def test_the_machine_cannot_be_changed(sandboxed, shell, host, name):
    assert not attempt(shell, host, HARMFUL[name], "")


@pytest.mark.parametrize("name", AS_ROOT)
def test_an_escape_of_root_succeeds_without_a_sandbox_alone(shell, level, host, other, name):
    if level == "none" and not ROOT:
        pytest.skip("without a sandbox it takes root")
    assert attempt(shell, host, AS_ROOT[name], other) == (level == "none")


CALLS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
huge, bad = 0x7ffffff0, ctypes.c_void_p(1)
for name, *arguments in [
    ("ptrace", 101, 0x4206, huge, 0, 0), ("process_vm_readv", 310, huge, 0, 0, 0, 0, 0), ("unshare", 272, 0x40000000),
    ("setns", 308, -1, 0), ("mount", 165, bad, bad, bad, 0, 0), ("umount2", 166, bad, 0), ("pivot_root", 155, bad, bad),
    ("chroot", 161, bad), ("open_by_handle_at", 304, -1, bad, 0), ("bpf", 321, -1, 0, 0), ("userfaultfd", 323, -1),
    ("io_uring_setup", 425, 0, bad), ("keyctl", 250, 0, -3, 0), ("add_key", 248, bad, bad, bad, 0, 0),
    ("perf_event_open", 298, bad, 0, 0, -1, 0), ("memfd_create", 319, bad, 0), ("init_module", 175, bad, 0, bad),
    ("kexec_load", 246, 0, 99, bad, 0), ("reboot", 169, 0, 0, 0, bad), ("settimeofday", 164, bad, 0),
    ("sethostname", 170, bad, 1), ("swapon", 167, bad, 0), ("syslog", 103, -1, 0, 0), ("clone3", 435, bad, 0),
    ("fsopen", 430, bad, 0), ("pidfd_getfd", 438, -1, 0, 0), ("newer", 469, 0, 0, 0, 0),
    ("clone", 56, 0x10000000 | 0x11, 1, 0, 0, 0),
]:
    result = libc.syscall(*(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if name == "clone" and result == 0:
        os._exit(0)
    print(name, ctypes.get_errno() if result < 0 else 0)
"""
"""System calls with arguments that do no harm, by their numbers on x86_64, and the error that each gives."""
REFUSED = {1, 38}
"""EPERM and ENOSYS."""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86_64")
def test_dangerous_system_calls_are_refused(level):
    with Shell({"calls.py": CALLS}, sandbox=level) as shell:
        ran = shell.run("python3 calls.py")
    errors = {name: int(error) for name, error in (line.split() for line in ran.output.splitlines())}
    assert len(errors) == 28, ran
    refused = {name for name, error in errors.items() if error in REFUSED}
    if level == "none":
        assert ran == plainly(f"python3 -c '{CALLS}'")
        assert "memfd_create" not in refused
    else:
        assert refused == errors.keys()


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="a program of 32 bits")
def test_system_calls_of_another_architecture_are_refused(shell, level):
    """int 0x80 with getpid (20) of 32 bits; without a sandbox it returns, or the kernel has no such calls."""
    code = (
        "import ctypes, mmap; m = mmap.mmap(-1, 4096, prot=7); "
        'm.write(bytes.fromhex("b814000000cd80c3")); '
        "print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))() > 0)"
    )
    ran = shell.run(f"python3 -c '{code}'")
    assert (ran == Ran("True\n", 0)) == (level == "none")


def test_no_privileges_can_be_gained(shell, level):
    """PR_GET_NO_NEW_PRIVS: set-uid programs run without their owner's rights."""
    ran = shell.run("""python3 -c 'import ctypes; print(ctypes.CDLL(None).prctl(39, 0, 0, 0, 0))'""")
    assert ran.output == ("0\n" if level == "none" else "1\n")


def test_no_open_file_is_inherited(shell):
    code = "import errno, os\nfor fd in range(3, 1000):\n try: os.fstat(fd); print(fd)\n except OSError: pass"
    assert shell.run(f'python3 -c "{code}"') == Ran("", 0)


def test_no_secret_of_ours_is_in_the_environment(level, monkeypatch):
    monkeypatch.setenv("TALLYSTICK_PASSWORD", SECRET)
    with Shell({}, sandbox=level) as shell:
        assert SECRET not in shell.run("env; declare -p; cat /proc/$PPID/environ /proc/self/environ").output


def test_start_up_files_and_settings_of_a_command_reach_no_other(shell):
    hook = "echo hooked > /dev/stderr"
    shell.run(
        f"export LD_PRELOAD=x BASH_ENV=$PWD/.bashrc; echo '{hook}' | tee .bashrc .bash_profile .profile .bash_env > x"
    )
    shell.run("enable -n echo; hash -p /bin/false cat; alias cat=false; set -o noexec")
    assert shell.run("echo plain; cat hello.py") == Ran("plain\nprint('hello')\n", 0)


NESTED = """
from tallystick.tools.shell import Shell
with Shell({{}}) as shell:
    print(shell.level.name, shell.run("cat {file}; chmod 600 {file}; echo x > {file}; kill -STOP {pid}; echo ended"))
"""


def test_landlock_takes_over_where_no_namespaces_can_be_made(host):
    """In a user namespace with one user and no further namespaces, as in a container of the strict kind."""
    host.reset()
    into = ["unshare", "--user", "--map-root-user", "bash", "-c"]
    limit = "echo 0 > /proc/sys/user/max_user_namespaces"
    if subprocess.run([*into, limit], capture_output=True).returncode:
        pytest.skip("user namespaces cannot be made here")
    command = [*into, f'{limit}; exec "$0" -B -c "$1"', sys.executable, NESTED.format(**host.words())]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.stdout.startswith("landlock Ran("), done.stderr
    assert "ended" in done.stdout
    assert SECRET not in done.stdout
    assert not host.changed(host.file)
    assert not host.victim_hurt()


DETACHED = {
    "background": "{} & disown; ",
    "nohup": "nohup {} > /dev/null 2>&1 & ",
    "session": "setsid {} > /dev/null 2>&1 < /dev/null & ",
    "twice": "(setsid {} > /dev/null 2>&1 < /dev/null &) & wait $!; ",
    "deaf": "(trap '' TERM HUP INT; setsid {} &) > /dev/null 2>&1; ",
}
LATE = "bash -c 'touch started-{0}; until test -e go; do sleep 0.02; done; touch late-{0}; exec sleep 600'"
DETACH = "".join(command.format(LATE.format(name)) for name, command in DETACHED.items())
STARTED = f"until test $(ls started-* 2> /dev/null | wc -l) = {len(DETACHED)}; do sleep 0.01; done"


def late(folder):
    return {path.name.removeprefix("late-") for path in Path(folder).glob("late-*")}


def test_detached_processes_end_with_their_command(level):
    """They wait for a file of the copy that is made when the command has ended, and then would write."""
    with Shell({}, sandbox=level, timeout=20) as shell:
        assert shell.run(f"{DETACH} {STARTED}; echo ended") == Ran("ended\n", 0)
        Path(shell.copy, "go").touch()
        time.sleep(0.1)
        assert not late(shell.copy)


def test_detached_processes_would_live_on(tmp_path):
    """The test above can fail: under bash alone all of them write late."""
    subprocess.run(["bash", "-c", f"{DETACH} {STARTED}"], cwd=tmp_path, check=True)
    (tmp_path / "go").touch()
    try:
        deadline = time.monotonic() + 10
        while late(tmp_path) != DETACHED.keys():
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        end_all_in(tmp_path)


def end_all_in(folder):
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder:
                os.kill(int(process.name), signal.SIGKILL)
        except OSError:  # not ours, or it ended in the meantime
            continue


@pytest.fixture
def sandboxed(level):
    if level == "none":
        pytest.skip("it would do harm without a sandbox")
    return level


def test_killing_all_processes_reaches_none_of_the_host(sandboxed, shell, host):
    ran = shell.run("kill -9 $PPID; kill -9 -1; kill -9 {pid} {me}".format(**host.words()))
    assert not host.victim_hurt()
    assert not ran.exception
    assert shell.run("echo next") == Ran("next\n", 0)


def test_a_process_that_forks_to_flee_is_caught(sandboxed):
    """A chain of processes, each of which forks and ends: none lives long enough to be killed by its number."""
    chain = "import os\nos.setsid() if os.fork() else None\nwhile True:\n if os.fork(): os._exit(0)"
    with Shell({"chain.py": chain}, sandbox=sandboxed, timeout=1) as shell:
        assert shell.run("python3 chain.py 2> /dev/null & sleep 0.2; echo ended").output == "ended\n"
        assert shell.run("echo next") == Ran("next\n", 0)


@pytest.mark.slow
def test_a_fork_bomb_is_held(sandboxed):
    ended = ("timeout after 1 s", "more than 50 processes")
    with Shell({}, sandbox=sandboxed, timeout=1, limits=Limits(processes=50)) as shell:
        ran = shell.run(":(){ :|:& }; : 2> /dev/null; sleep 0.3")
        assert ran.exception in ("", *ended)
        bomb = "import os\nwhile True:\n try: os.fork()\n except OSError: pass"
        assert shell.run(f'python3 -c "{bomb}"').exception in ended
        assert shell.run("echo next") == Ran("next\n", 0)


@pytest.mark.slow
def test_a_memory_hog_is_held(level):
    with Shell({}, sandbox=level, timeout=20, limits=Limits(memory=300 << 20)) as shell:
        assert "MemoryError" in shell.run("python3 -c 'bytearray(1 << 30)'").output
        hog = "python3 -c 'import time; x = bytearray(200 << 20); time.sleep(60)' & "
        assert shell.run(hog * 3 + "wait") == Ran("", -1, "more than 300 MiB of memory")


@pytest.mark.slow
def test_a_disk_hog_is_held(level):
    with Shell({}, sandbox=level, timeout=20, limits=Limits(disk=20 << 20, file_size=1 << 20, files=1000)) as shell:
        assert shell.run("head -c 2M /dev/zero > big").returncode
        assert Path(shell.copy, "big").stat().st_size == 1 << 20
        assert (
            shell.run("i=0; while :; do i=$((i + 1)); head -c 1M /dev/zero > f$i; done").exception
            == "more than 20 MiB of disk"
        )
        assert shell.run("rm -f *; i=0; while :; do : > f$((++i)); done").exception == "more than 1000 files"
