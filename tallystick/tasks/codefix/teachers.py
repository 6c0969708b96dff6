"""Teachers: agents that repair a codebase by running it.

All but `single_turn` are policies: the last observation alone decides what comes next. Their commands print no more
than this decision needs, and nothing that depends on the folder or on the version of Python.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from tallystick.tools.shell import Ran


class Agent(Protocol):
    """What a teacher needs of a Workspace."""

    def say(self, text: str) -> None:
        """Say a thought."""
        ...

    def bash(self, command: str) -> Ran:
        """Run a command line."""
        ...


Policy = Callable[[str], tuple[str, str] | None]
"""From the last command's output to the next thought and command; None: done."""

ROWS = 150
"""Lines of code that are printed at once: the shell shows 10,000 characters."""
SHORT_RUN = r"""python main.py 2>&1 | grep -oE '\w+\.py", line [0-9]+|\w+Error: [^.]*' | tail -n 2"""
"""Runs the code and prints where the error is, and its message up to a suggestion, which not every Python makes."""
RUN = r"""python main.py 2>&1 | grep -oE '\w+\.py", line [0-9]+|^    [a-z].*|\w+Error(: name .\w+)?' | tail -n 3"""
"""Runs the code and prints where the error is, the line itself, and the error's name."""
ADD = "s/(/(v10, /;s/, )/)/"
"""sed's commands that put v10 first in a pair of parentheses."""
DEFAULT_LAST = r"s/(v[0-9]+=[0-9]+), (.*)\)/\2, \1)/"
"""sed's command, in its extended syntax, that moves the first parameter with a default value behind the others."""
FIRST_THOUGHT = "Run it."
LAST_THOUGHT = "It runs without an error."

_SHORT = re.compile(r'(?P<module>\w+)\.py", line (?P<line>\d+)\n(?P<error>\w+): (?P<name>\w+)')
_ERROR = re.compile(
    r'(?P<file>\w+\.py)", line (?P<line>\d+)\n    (?P<source>.*)\n(?P<error>\w+)(: name .(?P<name>\w+))?'
)
_CALL_PLACE = re.compile(r"(\w+\.py):(\d+):    (\w+)$", re.MULTILINE)
_DEFINITION = re.compile(r"(?P<module>\w+)\.py:\d+:def (?P<name>\w+)\((?P<parameters>.*)\):")
_IMPORT = re.compile(r"from (?P<module>\w+) import (?P<name>\w+)")
_PLACE = re.compile(r"(?P<file>\w+\.py) (?P<line>\d+) (?P<what>\w+)(?: (?P<name>\w+))?\n")


def follow(w: Agent, policy: Policy, run: str) -> None:
    """Run the code, then do what the policy says until it is done."""
    step: tuple[str, str] | None = FIRST_THOUGHT, run
    while step is not None:
        thought, command = step
        w.say(thought)
        step = policy(w.bash(command).output)
    w.say(LAST_THOUGHT)


def one(w: Agent) -> None:
    """Pass v10 with one edit a run."""
    follow(w, one_policy, SHORT_RUN)


def three(w: Agent) -> None:
    """Pass v10 with edits of at most three files between two runs: the paper's."""
    follow(w, three_policy, SHORT_RUN)


def everywhere(w: Agent) -> None:
    """Pass v10 with one command a function, which edits its definition and all its calls."""
    follow(w, everywhere_policy, SHORT_RUN)


def repair(w: Agent) -> None:
    """Repair bugs of every kind, with one edit a run."""
    follow(w, repair_policy, RUN)


def one_policy(seen: str) -> tuple[str, str] | None:
    """Give a function the parameter that it lacks, or a call the argument."""
    found = _SHORT.match(seen)
    if found is None:
        return None
    if found["error"] == "NameError":
        return "This function has to take v10.", f"sed -i '/^def/{{{ADD}}}' {found['module']}.py && {SHORT_RUN}"
    return "This call has to pass v10.", f"sed -i '{found['line']}{{{ADD}}}' {found['module']}.py && {SHORT_RUN}"


def three_policy(seen: str) -> tuple[str, str] | None:
    """List up to three calls that do not pass v10, and edit them one by one; then the code runs again.

    A function that has just been given v10 is the first of three files. The list shows how many edits are left.
    """
    if places := _CALL_PLACE.findall(seen):
        (file, line, name), left = places[0], len(places) - 1
        edit = f"sed -i '{line}{{{ADD}}}' {file}"
        return "This call has to pass v10.", f"{edit} && {_callers(name, left) if left else SHORT_RUN}"
    found = _SHORT.match(seen)
    if found is None:
        return None
    if found["error"] == "NameError":
        edit = f"sed -i '/^def/{{{ADD}}}' {found['module']}.py"
        return "This function has to take v10.", f"{edit} && {_callers(found['module'], 2)}"
    return "Calls have to pass v10.", _callers(found["name"], 3)


def _callers(name: str, most: int) -> str:
    """Return a command that lists calls without v10, as "f1.py:7:    f2"."""
    return f"grep -n '^    {name}(' *.py | grep -v v10 | grep -o '^[^(]*' | head -n {most}"


def everywhere_policy(seen: str) -> tuple[str, str] | None:
    """Give a function the parameter that it lacks, and all its calls the argument."""
    found = _SHORT.match(seen)
    if found is None:
        return None
    edit = f"sed -i '/\\b{found['module']}(/{{{ADD}}}' *.py"
    return "This function and its calls need v10.", f"{edit} && {SHORT_RUN}"


def repair_policy(seen: str) -> tuple[str, str] | None:
    """Look up what the error is about, with its place first in what is printed; then edit there."""
    if found := _PLACE.match(seen):
        return _edit(found, seen[found.end() :])
    found = _ERROR.match(seen)
    return _look(found) if found else None


def _look(error: re.Match[str]) -> tuple[str, str]:
    file, line, source, name = error["file"], error["line"], error["source"], error["name"]
    if error["error"] == "SyntaxError":
        return "A default value has to stand last.", f"sed -i -E '{line}{DEFAULT_LAST}' {file} && {RUN}"
    if name and name.startswith("v"):
        return (
            "This function has to take the variable.",
            f"sed -i '/^def/{{{ADD.replace('v10', name)}}}' {file} && {RUN}",
        )
    if name:
        look = f"grep -Hn '^from {name} ' {file} || grep -n '^def {name}(' *.py"
        return "Is it imported by another name, or not at all?", f"echo {file} {line} name {name} && {look}"
    if found := _IMPORT.match(source):
        look = f"grep -n '^def {found['name']}(' *.py || grep -Hn '^def' {found['module']}.py"
        return "Where is it defined?", f"echo {file} {line} import {found['name']} && {look}"
    called = source.partition("(")[0]
    return "How is it defined?", f"echo {file} {line} call && grep -n '^def {called}(' *.py"


def _edit(place: re.Match[str], shown: str) -> tuple[str, str] | None:
    file, line, old = place["file"], place["line"], place["name"]
    if found := _DEFINITION.match(shown):
        module, name = found["module"], found["name"]
        if place["what"] == "call":
            needed = [p for p in found["parameters"].split(", ") if "=" not in p]
            return "The call has to fit.", f"sed -i '{line}s/(.*)/({', '.join(needed)})/' {file} && {RUN}"
        if place["what"] == "name":
            return "The import is missing.", f"sed -i '1i from {module} import {name}' {file} && {RUN}"
        edit = f"sed -i '{line}s/.*/from {module} import {name}/;s/ {old}(/ {name}(/' {file}"
        return "The import has to fit.", f"{edit} && {RUN}"
    found = re.search(r":from \w+ import (\w+)", shown)
    if found is None:
        return None
    return "It has a new name.", f"sed -i '{line}s/{old}(/{found[1]}(/' {file} && {RUN}"


def single_turn(w: Agent) -> None:
    """Pass v10 in one long command of all edits, after printing all files."""
    w.say("Read all files.")
    parts = re.split(r"(?:\A|\n)==> (.+) <==\n", _all_files(w))
    texts = dict(zip(parts[1::2], parts[2::2], strict=True))
    w.say("Pass v10 everywhere.")
    w.bash(" && ".join(_all_edits({file: text.split("\n") for file, text in texts.items()})))
    w.say("All edits are made.")


def _all_files(w: Agent) -> str:
    """Print all files, with as many lines at once as the shell shows whole."""
    shown = w.bash(f"tail -n +1 *.py | head -n {ROWS}").output
    while shown.count("\n") % ROWS == 0:
        first = shown.count("\n") + 1
        more = w.bash(f"tail -n +1 *.py | tail -n +{first} | head -n {ROWS}").output
        if not more:
            break
        shown += more
    return shown


def _all_edits(rows: dict[str, list[str]]) -> list[str]:
    """sed's command for each file that has to change, found from the functions that use v10 and do not have it."""
    calls: dict[str, list[tuple[str, int]]] = {}
    for file, text in rows.items():
        for number, row in enumerate(text, 1):
            if found := re.match(r"    (\w+)\(", row):
                calls.setdefault(found[1], []).append((file, number))
    places: dict[str, list[str]] = {}
    waiting = [file for file, text in rows.items() if file != "main.py" and any("v10" in row for row in text)]
    reached = {*waiting, "main.py"}
    while waiting:
        file = waiting.pop()
        places.setdefault(file, []).append(f"/^def/{{{ADD}}}")
        for caller, number in calls.get(file.removesuffix(".py"), []):
            places.setdefault(caller, []).append(f"{number}{{{ADD}}}")
            if caller not in reached:
                reached.add(caller)
                waiting.append(caller)
    return [f"sed -i '{';'.join(places[file])}' {file}" for file in sorted(places)]
