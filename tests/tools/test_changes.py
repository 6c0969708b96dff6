"""Changes of a folder: every kind of them is found, written as a diff that git and patch read, and carried over."""

import os
import subprocess
from pathlib import Path

import pytest

from tallystick.tools.shell.changes import carry_over, compare, diff, look, quoted


def fill(folder, files):
    """Write texts, bytes, links (a pair ("link", goal)) and programs (a pair ("run", text))."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, tuple) and content[0] == "link":
            path.symlink_to(content[1])
        else:
            text = content[1] if isinstance(content, tuple) else content
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
            path.chmod(0o755 if isinstance(content, tuple) else 0o644)
    return folder


OLD = {
    "same.txt": "same\n",
    "text.py": "one\ntwo\nthree\n",
    "no newline": "a",
    "gone/deep/x.txt": "x\n",
    'odd\n"n\\ame\té': "1\n",
    "program": "#!/bin/sh\n",
    "binary": b"\0\1",
    "latin": "é".encode("latin-1"),
    "link": ("link", "text.py"),
    "becomes a link": "text\n",
    "form\x0cfeed": "a\x0cb\rc\n",
}
NEW = {
    "same.txt": "same\n",
    "text.py": "one\n2\nthree\n",
    "no newline": "a\nb",
    'odd\n"n\\ame\té': "2\n",
    "program": ("run", "#!/bin/sh\n"),
    "binary": b"\0\2",
    "latin": "è".encode("latin-1"),
    "link": ("link", "same.txt"),
    "becomes a link": ("link", "same.txt"),
    "form\x0cfeed": "a\x0cb\rd\n",
    "new/file with spaces.txt": "new\n",
    "empty": "",
}
BINARY = {"binary", "latin"}


@pytest.fixture
def folders(tmp_path):
    return fill(tmp_path / "old", OLD), fill(tmp_path / "new", NEW)


def changes(old, new):
    return compare(look(str(old)), look(str(new)))


def contents(folder):
    return {name: (entry.mode, entry.digest) for name, entry in look(str(folder)).items()}


def test_each_kind_of_change_is_found(folders):
    found = {change.name: change.kind for change in changes(*folders)}
    assert found == {
        **dict.fromkeys((OLD.keys() & NEW.keys()) - {"same.txt"}, "changed"),
        **dict.fromkeys(OLD.keys() - NEW.keys(), "removed"),
        **dict.fromkeys(NEW.keys() - OLD.keys(), "added"),
    }


def test_a_second_look_reads_what_has_changed_and_nothing_else(tmp_path):
    folder = fill(tmp_path / "one", {"a": "1", "b": "1", "c": "1"})
    first = look(str(folder))
    (folder / "a").write_text("2")
    (folder / "c").unlink()
    second = look(str(folder), first)
    assert second["b"] is first["b"]
    assert second == look(str(folder))
    assert [change.name for change in compare(first, second)] == ["a", "c"]


@pytest.mark.parametrize("command", [["git", "apply", "-p1"], ["patch", "-p1", "-s"]], ids=["git", "patch"])
def test_the_diff_can_be_applied(folders, command):
    old, new = folders
    those = [change for change in changes(old, new) if change.name not in BINARY]
    if command[0] == "patch":  # which knows neither links nor these names
        those = [change for change in those if "link" not in change.name and change.name.isprintable()]
    text = "".join(diff(those, str(old), str(new)))
    subprocess.run(command, input=text.encode(), cwd=old, check=True, env={"PATH": os.environ["PATH"], "HOME": "/"})
    left = {name: entry for name, entry in contents(new).items() if name in {change.name for change in those}}
    assert {name: contents(old).get(name) for name in left} == left
    assert not (old / "gone" / "deep" / "x.txt").exists()


def test_what_is_no_text_is_said_to_differ(folders):
    text = "".join(diff([c for c in changes(*folders) if c.name in BINARY], *map(str, folders)))
    assert "Binary files a/binary and b/binary differ\n" in text
    assert "Binary files a/latin and b/latin differ\n" in text


@pytest.mark.parametrize(
    ("name", "written"),
    [("a b.py", "a b.py"), ("é", "é"), ('a"b', r'"a\"b"'), ("a\nb", r'"a\012b"'), ("\udcff", r'"\377"'),
     ("\x1b[2J", r'"\033[2J"')],
)  # fmt: skip
def test_names_are_quoted_as_git_does(name, written):
    assert quoted(name) == written


def test_changes_are_carried_over(folders, tmp_path):
    old, new = folders
    old.joinpath("text.py").chmod(0o600)
    old.joinpath("program").chmod(0o600)
    carry_over(changes(old, new), str(new), str(old))
    assert contents(old) == contents(new)
    assert not (old / "gone").exists()
    assert old.joinpath("text.py").stat().st_mode & 0o777 == 0o600
    assert old.joinpath("program").stat().st_mode & 0o777 == 0o700


def test_nothing_is_written_where_a_file_has_changed_in_the_meantime(folders):
    old, new = folders
    those = changes(old, new)
    old.joinpath("text.py").write_text("mine\n")
    before = contents(old)
    with pytest.raises(ValueError, match=r"text.py is no longer as it was"):
        carry_over(those, str(new), str(old))
    assert contents(old) == before


@pytest.mark.parametrize("name", ["out", "out/secret", "out/new"])
def test_no_link_out_of_the_folder_is_followed(tmp_path, name):
    """A link out of the folder is not copied, so a model may make a file of its name, or below it."""
    outside = fill(tmp_path / "outside", {"secret": "secret"})
    goal = outside / "secret" if name == "out" else outside
    old, copy, new = fill(tmp_path / "old", {"out": ("link", goal)}), tmp_path / "copy", tmp_path / "new"
    copy.mkdir()
    fill(new, {name: "changed"})
    with pytest.raises(ValueError, match=r"lies behind the link|no longer as it was"):
        carry_over(changes(copy, new), str(new), str(old))
    assert contents(outside) == {"secret": contents(outside)["secret"]}
    assert Path(outside, "secret").read_text() == "secret"


def test_no_link_out_of_the_folder_is_made(tmp_path):
    old, new = fill(tmp_path / "old", {"a": "1"}), fill(tmp_path / "new", {"a": "2", "out": ("link", "/etc/passwd")})
    with pytest.raises(ValueError, match="out is a link that leads out of the folder"):
        carry_over(changes(old, new), str(new), str(old))
    assert contents(old)["a"] != contents(new)["a"]
