"""Proofs of locality: whether the last k tokens decide what a program says next, in problems of every length.

The machine of the program runs against an abstraction of all problems of the task's shape. If k tokens decide in the
abstraction, they do in each problem: proved. If none do, problems are looked for whose last tokens agree for longer and
longer, though they go on differently: refuted. Else the verdict is unknown, with the reason. docs/proof.md has the
argument.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple, TypedDict

from tallystick.locality import conflicts, copied, deciding
from tallystick.locality.abstraction import COARSE_NODES, NODES, Abstraction, TooMany, writable
from tallystick.locality.conflicts import Conflict
from tallystick.locality.deciding import Tree
from tallystick.locality.extraction import ANSWERS, SEARCH, TAPE, Machine, Refusal
from tallystick.locality.token_graph import TokenGraph, Undecided
from tallystick.tasks import Task
from tallystick.tasks.shape import Shape, parse

SHAPED, TRAINED, EXAMPLES = 150, 4000, 100
"""Numbers of random problems: to check the shape and a finished proof, for coverage, and to find missing contexts."""
QUICK_ANSWERS, QUICK_NODES = 30_000, 8000
"""Limits of a quick proof: of answers in replays, and of nodes of the token graph."""
MARKS = 3
"""Maximum number of tokens that are counted as marks."""
NAMED = 8
"""Maximum number of missing contexts that are named."""
GROWTH = 3
"""Number of lengths over which a conflict must grow."""


class Missing(TypedDict):
    """A deciding context that training lacks."""

    context: list[str]
    """The last tokens; the first is [BOS] where it is the whole of them."""
    next: str
    problem: str | None
    """A problem that has it; None if none was found."""


class Proof(TypedDict):
    """Document of `prove --json`."""

    task: str
    variant: str
    verdict: str
    """proved, refuted or unknown."""
    k: int | None
    contexts: int | None
    """Number of contexts that decide."""
    train_length: int
    covered: bool | None
    """Whether training problems have all contexts; None if those that they lack are in no problem found."""
    lacking: int
    """Number of contexts that training problems lack."""
    missing: list[Missing]
    """Some of them."""
    conflicts: list[Conflict]
    reason: str
    """Why it is not proved."""
    copied: list[str]
    """Symbols up to renaming of which contexts are counted; in these the second one is the symbol that is said next,
    and the first one any other. Empty if each symbol stands for itself."""
    states: int
    seconds: float
    assumptions: list[str]


def prove(task: Task, seed: int = 0, quick: bool = False) -> Proof:
    """Prove or refute that a task's program is local at every length.

    quick: prove only what takes a second or two, without coverage or problems that refute. Raises ValueError for a
    shape that is wrong or that some problem does not have, and ProgramError if the task's program is wrong.
    """
    begin = time.perf_counter()
    proof = _unknown(task)
    proof["reason"] = _unfit(task)
    if not proof["reason"]:
        machine = None
        try:
            machine = Machine(task, QUICK_ANSWERS if quick else ANSWERS)
            _prove(machine, proof, seed, quick)
        except Refusal as refusal:
            proof = _unknown(task)
            proof["reason"] = str(refusal)
        proof["states"] = len(machine.states) if machine else 0
    proof["seconds"] = time.perf_counter() - begin
    return proof


def _unknown(task: Task) -> Proof:
    return {
        "task": task.name,
        "variant": task.variant,
        "verdict": "unknown",
        "k": None,
        "contexts": None,
        "train_length": task.defaults.train_length,
        "covered": None,
        "lacking": 0,
        "missing": [],
        "conflicts": [],
        "reason": "",
        "copied": [],
        "states": 0,
        "seconds": 0.0,
        "assumptions": [],
    }


def _unfit(task: Task) -> str:
    """Say why there is no machine of a task's program; empty if there may be one."""
    if task.text or not task.live:
        return "a text task's program works through a shell, whose answers are not abstracted"
    if task.parts:
        return "a mixture is not proved as a whole; prove its parts"
    if task.predict_observations:
        return "the model must also say the tools' answers, which the program does not decide"
    return ""


def _prove(machine: Machine, proof: Proof, seed: int, quick: bool) -> None:
    task = machine.task
    found = _explore(machine, seed, (QUICK_NODES, QUICK_NODES) if quick else (NODES, COARSE_NODES))
    if found.undecided is not None:
        _refute(task, proof, seed, found.undecided, quick)
        return
    tree = _confirm(machine, found, seed)
    proof["verdict"], proof["k"], proof["contexts"] = "proved", found.k, len(tree.contexts)
    proof["copied"] = [*found.copied]
    proof["assumptions"] = _assumptions(machine)
    if not quick:
        _cover(task, tree, proof, seed)


class Proved(NamedTuple):
    """The token graph of a program that is proved local."""

    graph: TokenGraph
    k: int
    assumptions: list[str]


def proved_graph(task: Task, seed: int = 0) -> Proved:
    """Return the token graph of a task's program, as `prove` makes it. Raises Refusal if it is not proved local."""
    if reason := _unfit(task):
        raise Refusal(reason)
    machine = Machine(task, ANSWERS)
    found = _explore(machine, seed, (NODES, COARSE_NODES))
    if found.copied:
        raise Refusal("it is proved local up to renaming of symbols only, and a model may treat any symbol differently")
    if found.undecided is not None:
        one, other = task.vocab.tokens[found.undecided.one], task.vocab.tokens[found.undecided.other]
        raise Refusal(f"no number of last tokens decides between {one} and {other}, as `tallystick prove` says")
    _confirm(machine, found, seed)
    return Proved(found.graph, found.k, _assumptions(machine))


class Explored(NamedTuple):
    """What may happen in any problem of a task's shape."""

    graph: TokenGraph
    k: int
    """The fewest last tokens that decide; -1 if none do."""
    undecided: Undecided | None
    copied: copied.Symbols
    """Symbols of which the graph has the first two only, which stand for all; or empty."""


def _explore(machine: Machine, seed: int, nodes: tuple[int, int]) -> Explored:
    """Make the token graph and find k."""
    task = machine.task
    shape = parse(task.shape or ".+", task.symbols)
    for prompt in _sampled(task, seed):
        _check_shape(task, shape, prompt)
    try:
        found = _decide(machine, shape, nodes)
    except TooMany:
        symbols = copied.find(machine, shape)
        if not symbols:
            raise
        found = _decide(machine, copied.reduced(shape, symbols), nodes)._replace(copied=symbols)
        if not copied.are_copied(machine, symbols):
            raise
    machine.check_constants()
    return found


def _confirm(machine: Machine, found: Explored, seed: int) -> Tree:
    """Return the deciding contexts. Raises Refusal if problems contradict them."""
    contexts, vocab = found.graph.deciding(), machine.task.vocab
    names = [vocab.ids[symbol] for symbol in found.copied]
    tree = copied.RenamedTree(contexts, len(vocab), names) if names else Tree(contexts, len(vocab))
    deciding.missing(machine.task, tree, _sampled(machine.task, seed), [-1])
    machine.check_constants()
    return tree


def _decide(machine: Machine, shape: Shape, nodes: tuple[int, int]) -> Explored:
    """Find k, and refine the abstraction while that may help.

    At first the cells of the memory are told apart by their tokens. If there are too many situations, they are told
    apart by their sites alone. If a token leads to a conflict that the program says itself, it is counted as a mark.
    """
    coarse, marks = False, list[int]()
    while True:
        try:
            abstraction = Abstraction(machine, shape, coarse, marks, nodes[coarse])
        except TooMany:
            if coarse:
                raise
            coarse = True
            continue
        graph = TokenGraph(abstraction.edges, len(machine.task.vocab))
        k, undecided = graph.k()
        more = sorted((undecided.after & abstraction.remembered) - {*marks}) if undecided else []
        if not more or len(marks) == MARKS:
            return Explored(graph, k, undecided, ())
        marks.append(more[0])


def _sampled(task: Task, seed: int) -> Iterator[list[str]]:
    """Yield problems of the training length and of the shorter lengths of `check`, worst cases included."""
    lengths = sorted({task.defaults.train_length, *task.defaults.check[:3]})
    return deciding.longer(task, seed, lengths, SHAPED // len(lengths))


def _check_shape(task: Task, shape: Shape, prompt: list[str]) -> None:
    cells = {*task.tape(prompt)[0]} if f"[{TAPE}.read]" in task.vocab.ids else set()
    if not cells <= {*writable(task), *prompt}:
        raise ValueError(f"{task.name}: the tape of {task.format(prompt)} has symbols that cannot be written on it")
    if not shape.accepts(prompt):
        raise ValueError(
            f"{task.name}: the problem {task.format(prompt)} has not the shape {task.shape or '.+'!r}; "
            "let the task's shape allow all its problems"
        )


def _refute(task: Task, proof: Proof, seed: int, undecided: Undecided, quick: bool) -> None:
    one, other = task.vocab.tokens[undecided.one], task.vocab.tokens[undecided.other]
    lengths = sorted({*task.defaults.check, task.defaults.train_length})
    found = [] if quick else conflicts.growing(task, lengths, EXAMPLES, seed)
    if len(found) >= GROWTH:
        proof["verdict"], proof["conflicts"] = "refuted", found
    proof["reason"] = f"no number of last tokens decides between {one} and {other}"
    if proof["verdict"] == "unknown":
        proof["reason"] += ", as far as the abstraction sees; no problems were found that show it"


def _cover(task: Task, tree: Tree, proof: Proof, seed: int) -> None:
    """Look for the deciding contexts in training problems, and for problems that have those that are missing."""
    length = proof["train_length"]
    trained = deciding.training(task, seed, length, TRAINED)
    lacking = deciding.missing(task, tree, trained, range(len(tree.contexts)))
    lengths = [n for n in sorted({*task.defaults.check}) if n > length][:2]
    found = deciding.examples(task, tree, deciding.longer(task, seed, lengths, EXAMPLES), lacking)
    proof["lacking"] = len(lacking)
    proof["covered"] = not lacking if found or not lacking else None
    for number in sorted(lacking, key=lambda n: (n not in found, n))[:NAMED]:
        context, said = tree.contexts[number], tree.said[number]
        words = [task.vocab.tokens[token] for token in context if token < len(task.vocab)]
        problem = task.format(found[number]) if number in found else None
        proof["missing"].append({"context": words, "next": task.vocab.tokens[said], "problem": problem})


def _assumptions(machine: Machine) -> list[str]:
    task = machine.task
    shape = (task.shape or ".+").replace("\n", "\\n")
    stated = [
        f"prompts have the shape {shape}, as all those looked at have",
        "the program solves each problem, and depends on nothing but its tools' answers",
        "tools answer as documented",
    ]
    if any(tool.startswith("tape") for tool in task.tools):
        stated.append("what stands on the tape at first can also be written on it, or stands in the prompt")
    if any(state.tool == SEARCH for state in machine.states):
        stated.append("each search finds exactly one line, since the program would fail otherwise")
    if machine.failures:
        stated.append(f"{len(machine.failures)} answers after which the program would fail are never given")
    return stated
