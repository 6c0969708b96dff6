"""Cases: a codebase with bugs, the same without, and what a repair has to change."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tallystick.tasks.codefix.codebase import SECRET, Codebase, Function, Use, draw, required

Bug = Callable[[Codebase, Function, random.Random], int]
"""Breaks what concerns one function: its definition, or how others import and call it. Returns the number of places."""


@dataclass(frozen=True)
class Case:
    """A codebase with bugs."""

    files: Mapping[str, str]
    """The files with the bugs: their texts by their names."""
    reference: Mapping[str, str]
    """The files without."""
    places: int
    """Definitions, imports and calls that a repair has to change."""

    @property
    def relevant(self) -> set[str]:
        """The files that a repair has to change."""
        return {name for name, text in self.files.items() if text != self.reference[name]}


def draw_case(kind: str, n: int, rng: random.Random, bugs: int) -> Case:
    """Draw a codebase of n functions with bugs of a kind; `pass` is one bug that concerns all functions above foo."""
    codebase = draw(n, rng, defaults=kind in ("signature", "mixed"))
    if kind == "pass":
        broken = [(kind, function) for function in codebase.functions if SECRET in function.parameters]
    else:
        chosen = rng.sample(codebase.functions[1:], bugs)
        broken = [(kind if kind != "mixed" else _any_kind(function, rng), function) for function in chosen]
    for bug, function in broken:
        if bug == "rename":
            rename(codebase, function, rng)
    reference = codebase.files()
    places = sum(BUGS[bug](codebase, function, rng) for bug, function in broken)
    return Case(codebase.files(), reference, places)


def _any_kind(function: Function, rng: random.Random) -> str:
    return rng.choice([kind for kind in BUGS if kind != "pass" or SECRET in function.parameters])


def rename(codebase: Codebase, function: Function, rng: random.Random) -> None:
    """Give the function a new name, everywhere; its module keeps the old one."""
    function.name = _new_name(codebase, rng)
    for _, use in codebase.callers[function.module]:
        use.imported = use.called = function.name


def not_passed(codebase: Codebase, function: Function, rng: random.Random) -> int:
    """The function no longer takes v10, and its callers do not hand it on."""
    function.parameters.remove(SECRET)
    for _, use in codebase.callers[function.module]:
        use.arguments.remove(SECRET)
    return 1 + len(codebase.callers[function.module])


def called_by_old_name(codebase: Codebase, function: Function, rng: random.Random) -> int:
    """The function was renamed, but some of its callers call it, or import and call it, by the old name."""
    uses = [use for _, use in codebase.callers[function.module]]
    stale = rng.sample(uses, rng.randint(1, len(uses)))
    for use in stale:
        use.called = function.module
        if rng.random() < 0.5:
            use.imported = function.module
    return len(stale)


def not_imported(codebase: Codebase, function: Function, rng: random.Random) -> int:
    """One caller lacks the import, or imports from a module that has no such function or does not exist."""
    caller, use = rng.choice(codebase.callers[function.module])
    wrong = _unrelated(codebase, caller, function)
    form = rng.choice(("missing", "wrong", "absent") if wrong else ("missing", "absent"))
    if form == "missing":
        use.module = ""
    else:
        use.module = rng.choice(wrong) if form == "wrong" else _new_name(codebase, rng)
    return 1


def misfit(codebase: Codebase, function: Function, rng: random.Random) -> int:
    """One call does not fit the definition, or the definition has a default value before other parameters."""
    _, use = rng.choice(codebase.callers[function.module])
    needed = required(function.parameters)
    defaults = len(function.parameters) - len(needed)
    forms = [_wrong_keyword]
    forms += [_missing_argument] if needed else []
    forms += [_wrong_order] if len(needed) > 1 else []
    # where there is a default value, Python takes another argument for it and does not complain
    forms += [_default_first] if defaults and needed else [] if defaults else [_extra_argument]
    rng.choice(forms)(function, use, rng)
    return 1


BUGS: dict[str, Bug] = {"pass": not_passed, "rename": called_by_old_name, "import": not_imported, "signature": misfit}
"""The bugs by their kind."""
KINDS = (*BUGS, "mixed")
"""The kinds of cases: of one kind of bug each, and of all of them."""


def _missing_argument(function: Function, use: Use, rng: random.Random) -> None:
    del use.arguments[rng.randrange(len(use.arguments))]


def _extra_argument(function: Function, use: Use, rng: random.Random) -> None:
    use.arguments.insert(rng.randint(0, len(use.arguments)), str(rng.randrange(100)))


def _wrong_order(function: Function, use: Use, rng: random.Random) -> None:
    """An argument stands last, by keyword: the next one takes its place, and Python finds two values for it."""
    i = rng.randrange(len(use.arguments) - 1)
    argument = use.arguments.pop(i)
    use.arguments.append(f"{argument}={argument}")


def _wrong_keyword(function: Function, use: Use, rng: random.Random) -> None:
    known = [parameter.partition("=")[0] for parameter in function.parameters]
    wrong = rng.choice([f"v{number}" for number in range(10) if f"v{number}" not in known])
    value = use.arguments.pop() if use.arguments else str(rng.randrange(100))
    use.arguments.append(f"{wrong}={value}")


def _default_first(function: Function, use: Use, rng: random.Random) -> None:
    default = function.parameters.pop()
    function.parameters.insert(rng.randrange(len(function.parameters)), default)


def _new_name(codebase: Codebase, rng: random.Random) -> str:
    """A name that no function or module has: theirs are f0 to f999."""
    taken = {function.name for function in codebase.functions}
    taken |= {use.module for function in codebase.functions for use in function.uses}
    while (name := f"f{rng.randrange(1000, 10_000)}") in taken:
        pass
    return name


def _unrelated(codebase: Codebase, caller: Function, function: Function) -> list[str]:
    """Modules that do not know the function, and do not import the caller, directly or by others."""
    after = codebase.functions[codebase.functions.index(caller) + 1 :]
    users = {other.module for other, _ in codebase.callers[function.module]}
    return [other.module for other in after if other is not function and other.module not in users]
