"""Codebases of n Python functions, one a file: `main` calls down a graph without circles to `foo` (paper, section 5).

Functions declare some of v0 to v9, take some as parameters, hand them to the functions that they call and print some.
`main` declares v10, and every function on a path from `main` to `foo`, which prints it, takes it and hands it on.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

MAX_DEPTH = 40
"""Longest path: imports nest as deep, and Python takes eight of its 1,000 frames for each."""
MAX_CHILDREN = 5
"""Functions that one function calls; those that call foo may call one more."""
RUN_COST = 5
"""Calls that one run makes, at most, for each function above foo: every path from main is executed."""
FOO_SHARE = 0.15
"""Share of the functions that call foo, within a half of it: so that a bug concerns many functions at any n."""
DEFAULTS_SHARE = 0.3
"""Share of the functions with a default value, where there are such."""
NAMES = tuple(f"v{number}" for number in range(10))
SECRET = "v10"
"""The variable that goes from main to foo."""


@dataclass
class Use:
    """One function's import and call of another."""

    module: str
    """The module that it is imported from; empty: it is not imported."""
    imported: str
    called: str
    arguments: list[str]


@dataclass
class Function:
    """A function and its file."""

    module: str
    name: str
    parameters: list[str]
    """Names, some with their default value."""
    declared: list[str] = field(default_factory=list)
    body: list[str | Use] = field(default_factory=list)
    """Lines that print, and uses of other functions."""

    @property
    def uses(self) -> list[Use]:
        """Its imports and calls, in order."""
        return [part for part in self.body if isinstance(part, Use)]

    def text(self) -> str:
        """The file's text."""
        out = [f"from {use.module} import {use.imported}" for use in self.uses if use.module]
        out += ["", ""] if out else []
        out += [f"def {self.name}({', '.join(self.parameters)}):"]
        out += [f"    {line}" for line in self.declared]
        for part in self.body:
            out.append(f"    {part}" if isinstance(part, str) else f"    {part.called}({', '.join(part.arguments)})")
        if not self.body and not self.declared:
            out.append("    pass")
        if self.module == "main":
            out += ["", "", 'if __name__ == "__main__":', "    main()"]
        return "\n".join(out) + "\n"


@dataclass
class Codebase:
    """Functions in an order in which each calls later ones only: main is the first, foo the last."""

    functions: list[Function]
    callers: dict[str, list[tuple[Function, Use]]]
    """By module: the functions that call this one."""

    def files(self) -> dict[str, str]:
        """The files' texts by their names."""
        return {f"{function.module}.py": function.text() for function in self.functions}


def draw(n: int, rng: random.Random, defaults: bool = False) -> Codebase:
    """Draw a codebase of n functions; defaults: some parameters have default values."""
    parents = draw_graph(n, rng)
    names = ["main", *(f"f{number}" for number in rng.sample(range(1000), n - 2)), "foo"]
    children: list[list[int]] = [[] for _ in range(n)]
    for i, above in enumerate(parents):
        for parent in above:
            children[parent].append(i)
    functions = [Function(name, name, _parameters(rng) if i else []) for i, name in enumerate(names)]
    if defaults:
        for function in functions[1:]:
            _add_default(function, rng)
    secret = {functions[i].module for i in _ancestors(parents, n - 1)}
    callers: dict[str, list[tuple[Function, Use]]] = {name: [] for name in names}
    for function, below in zip(functions, children, strict=True):
        rng.shuffle(below)
        _fill(function, [functions[i] for i in below], secret, rng)
        for use in function.uses:
            callers[use.module].append((function, use))
    functions[0].declared.insert(rng.randint(0, len(functions[0].declared)), f"{SECRET} = {rng.randrange(100, 1000)}")
    functions[-1].body.insert(rng.randint(0, len(functions[-1].body)), f'print("foo", {SECRET})')
    for function in functions[1:]:
        if function.module in secret:
            function.parameters.insert(0, SECRET)
    return Codebase(functions, callers)


def draw_graph(n: int, rng: random.Random) -> list[list[int]]:
    """Draw the functions that call each function: one to three earlier ones, nearby or any; of foo, a share of all."""
    graph = _Graph(n, rng)
    for _ in range(n - 2):
        graph.add(rng.choices((1, 2, 3), cum_weights=(7, 9, 10))[0])
    share = round(FOO_SHARE * n * rng.uniform(0.5, 1.5))
    graph.add(1, rng.sample(range(n - 1), min(n - 1, max(1, share))))
    return graph.parents


class _Graph:
    """A graph that grows by one function at a time and remains cheap to run."""

    def __init__(self, n: int, rng: random.Random):
        self.rng = rng
        self.parents: list[list[int]] = [[]]
        self.children, self.depth = [0], [0]
        self.calls = [1]
        """How often each function runs: the number of paths to it."""
        self.total = 1
        self.size = max(n, 8)

    def add(self, count: int, chosen: list[int] | None = None) -> None:
        """Add a function that `count` others call, or as many of them as fit."""
        i, rng = len(self.parents), self.rng
        chosen = chosen or []
        for _ in range(40):
            if len(chosen) >= count:
                break
            parent = rng.randrange(max(0, i - 8), i) if rng.random() < 0.5 else rng.randrange(i)
            if parent not in chosen and self._fits(parent, chosen):
                chosen.append(parent)
        if not chosen:
            free = [parent for parent in range(i) if self._takes(parent)]
            chosen = [min(free, key=self.calls.__getitem__)]
        for parent in chosen:
            self.children[parent] += 1
        self.parents.append(chosen)
        self.children.append(0)
        self.calls.append(sum(self.calls[parent] for parent in chosen))
        self.depth.append(1 + max(self.depth[parent] for parent in chosen))
        self.total += self.calls[-1]

    def _takes(self, parent: int) -> bool:
        return self.children[parent] < MAX_CHILDREN and self.depth[parent] < MAX_DEPTH

    def _fits(self, parent: int, chosen: list[int]) -> bool:
        calls = self.calls[parent] + sum(self.calls[other] for other in chosen)
        budget = RUN_COST * max(len(self.parents) + 1, 8)
        most = self.size // 2 if chosen else self.size // 4
        return self._takes(parent) and calls <= most and self.total + calls <= budget


def _ancestors(parents: list[list[int]], node: int) -> set[int]:
    """The functions on paths to `node`, itself included."""
    found, waiting = {node}, [node]
    while waiting:
        new = [parent for parent in parents[waiting.pop()] if parent not in found]
        found.update(new)
        waiting += new
    return found


def _parameters(rng: random.Random) -> list[str]:
    return sorted(rng.sample(NAMES, rng.choice((0, 1, 1, 2, 2, 3, 4))))


def _add_default(function: Function, rng: random.Random) -> None:
    if rng.random() < DEFAULTS_SHARE:
        free = [name for name in NAMES if name not in function.parameters]
        function.parameters.append(f"{rng.choice(free)}={rng.randrange(100)}")


def required(parameters: list[str]) -> list[str]:
    """The parameters without a default value."""
    return [parameter for parameter in parameters if "=" not in parameter]


def _fill(function: Function, called: list[Function], secret: set[str], rng: random.Random) -> None:
    """Write a function's body: declare what the calls need and it is not handed, call, print."""
    own = [parameter.partition("=")[0] for parameter in function.parameters]
    needed = {name for other in called for name in required(other.parameters)}
    more = {name for name in NAMES if rng.random() < 0.1}
    declared = sorted((needed | more) - set(own))
    function.declared = [f"{name} = {rng.randrange(100)}" for name in declared]
    rng.shuffle(function.declared)
    for other in called:
        handed = [SECRET] * (other.module in secret) + required(other.parameters)
        function.body.append(Use(other.module, other.name, other.name, handed))
    known = own + declared
    for _ in range(rng.choice((0, 1, 1, 2))):
        shown = rng.sample(known, min(len(known), rng.randint(1, 2)))
        line = "print(" + ", ".join([f'"{function.module}"', *shown]) + ")"
        function.body.insert(rng.randint(0, len(function.body)), line)
