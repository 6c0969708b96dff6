"""The Tower of Hanoi (paper, section 4): move all disks from rod A to rod C in 2^n - 1 moves.

A problem lists the disks on rod A, the largest first, with distinct random sizes from 1 to 100; each size is a symbol:
83 41 7. A move is two symbols, its rods and its disk; as text it is written as in the paper: (7)AC$.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tallystick.tasks.base import Defaults, Task
from tallystick.tasks.numbers import short
from tallystick.tasks.shape import one_of
from tallystick.workspace import PointerHandle, Workspace

SIZES = tuple(str(size) for size in range(1, 101))
MOVES = ("AB", "AC", "BA", "BC", "CA", "CB")
STATES = tuple(rod + bit + sign for sign in "+-" for bit in "01" for rod in "ABC")
"""States of a disk in the iterative program: its rod, its bit, and the direction in which it circles the rods."""
TURN = {"+": dict(zip("ABC", "BCA", strict=True)), "-": dict(zip("ABC", "CAB", strict=True))}
OTHER = {"+": "-", "-": "+"}
SWAP_BC = {rods: rods.translate(str.maketrans("BC", "CB")) for rods in MOVES}
SWAP_AB = {rods: rods.translate(str.maketrans("AB", "BA")) for rods in MOVES}


class _Towers(Task):
    """The problems of both tasks, and their text form."""

    max_length = 20
    shape = f"(<100>?{one_of(SIZES[1:-1])}*{one_of(SIZES[:-1])}|<100>):"

    def sample(self, length, rng):
        """Draw `length` disks of distinct uniform sizes."""
        return _tower(rng.sample(range(1, 101), length))

    def sample_up_to(self, length, rng):
        """Draw neighbouring sizes half of the time, since extreme sizes would rarely lie in the middle of a tower."""
        count = rng.randint(self.min_length, length)
        low = rng.randint(1 - count, 100)
        near = range(max(1, low), min(100, low + 2 * count) + 1)
        near = near if len(near) >= count else range(1, 101)
        return _tower(rng.sample(rng.choice((near, range(1, 101))), count))

    def worst_cases(self, length):
        """List towers of the smallest sizes, of the largest, and of both."""
        low, high = list(range(1, length + 1)), list(range(101 - length, 101))
        both = low[: length // 2] + high[length // 2 :]
        return [_tower(sizes) for sizes in (low, high, both)]

    def parse(self, text):
        """Parse "83 41 7", in any order, with or without commas, brackets and the final colon."""
        words = text.translate(str.maketrans("(),:", "    ")).split()
        wrong = [word for word in words if word not in SIZES]
        if wrong or not words or len(set(words)) < len(words):
            raise ValueError(
                f"{short(text)!r} is not a tower; write the distinct sizes of its disks, 1-100, as in 83 41 7"
            )
        self.check_length(len(words))
        return _tower(int(word) for word in words)

    def format(self, tokens):
        """Format moves as (7)AC$, a tower as 83 41 7."""
        if not any(token in MOVES for token in tokens):
            return " ".join(token for token in tokens if token != ":")
        pairs = zip(tokens[::2], tokens[1::2], strict=True)
        return "".join(f"({disk}){rods}$" for rods, disk in pairs)

    def answer(self, prompt):
        """Compute the moves by the textbook's recursion."""
        return _moves(prompt[:-1], "ABC", {})

    def token_limit(self, prompt):
        """Return more tokens than either program writes, which is 2^n times a few tokens per disk."""
        return 10_000 + (40 * len(prompt) + 100) * 2 ** len(prompt)


class HanoiRecursive(_Towers):
    """Hanoi, recursively: 2 1 answers (1)AB$(2)AC$(1)BC$. 16 * 2^n tokens for n disks; `length` is n.

    The program writes the solution for the smallest disk, for the two smallest, and so on, each from the previous one:
    its copy with B and C exchanged, the move of the next disk from A to C, and its copy with A and B exchanged. Each
    copy has its own pointer, whose name tells what to exchange, so the last 3 tokens decide. The last list is the
    answer, preceded by [ANS]; the program recognises it because no disk is left of its own.
    `paper` has one pointer for both copies (22 * 2^n tokens): only their beginnings show which copy it is making.
    """

    symbols = (*MOVES, *SIZES, ":", "#")
    tools = ("pointer:3",)
    variants = {"local": "solve", "paper": "solve_paper"}
    defaults = Defaults(train_length=6, check=(2, 4, 6, 7, 8), eval=(4, 6, 8, 10, 12))

    def solve(self, w):
        """Find the disks with pointer 0, and copy with pointers 1 and 2."""
        disks, first, second = (w.pointer(i) for i in range(3))
        _to_mark(disks, first, second)
        last = False
        while not last:
            last = _begin(w, disks)
            say = w.output if last else w.think
            _copy(first, say, SWAP_BC)
            say("AC", disks.read())
            _copy(second, say, SWAP_AB)

    def solve_paper(self, w):
        """Copy with pointer 1, go back to the beginning of the list, and copy again."""
        disks, copier = w.pointer(0), w.pointer(1)
        _to_mark(disks, copier)
        last = False
        while not last:
            last = _begin(w, disks)
            say = w.output if last else w.think
            _copy(copier, say, SWAP_BC)
            copier.left()
            while copier.read() not in (":", "#"):
                copier.left()
            say("AC", disks.read())
            _copy(copier, say, SWAP_AB)


class Hanoi(_Towers):
    """Hanoi, iteratively: 2 1 answers (1)AB$(2)AC$(1)BC$. About (8n + 24) * 2^n tokens for n disks; `length` is n.

    `local` counts in binary: the n-th smallest disk moves when bit n turns to 1, always circling the rods in the same
    direction, every second disk the other way. Each step copies the state, one symbol of rod, bit and direction per
    disk, the smallest first; the note c says that there is a carry into the next bit. The moves stand among the states,
    and a last sweep says them; the last 7 tokens decide. `paper` says each move immediately, then each disk with its
    rod between think marks. Its program keeps the tops of the rods in locals. They were last said about n disks ago, so
    the tokens that decide lie farther back the more disks there are.
    """

    symbols = (*MOVES, *SIZES, *STATES, ":", "#", "c", "!", "+", "-", *"ABC")
    notes = ("c", "!", "+", "-")
    tools = ("pointer:4",)
    variants = {"local": "solve", "paper": "solve_paper"}
    defaults = Defaults(train_length=6, check=(2, 4, 6, 7, 8), eval=(4, 6, 8, 10, 12))

    def solve(self, w):
        """Count with pointer 0, read the last state with 1, collect the answer with 2, read the moving disk with 3."""
        count, state, moves, disks = (w.pointer(i) for i in range(4))
        self._first_state(w, count, (state, moves, disks))
        while self._move(w, state, disks):
            _walk(disks, ":")
            self._rest(w, state)
        w.answer()
        while (symbol := _next(moves)) != "[ANS]":
            if symbol in MOVES:
                w.output(symbol)
                w.output(_next(moves))

    def _first_state(self, w: Workspace, count: PointerHandle, others: Sequence[PointerHandle]) -> None:
        """Write all disks on A with bits 0; directions follow from the largest disk, which moves from A to C."""
        sign, symbol = "+", ""
        while symbol != ":":
            sign = OTHER[sign]
            w.note(sign)
            for pointer in (count, *others):
                pointer.right()
            symbol = count.read()
        while True:
            w.note(sign)
            count.left()
            if count.read() == "[BOS]":
                break
            w.think("A0" + sign)
            sign = OTHER[sign]
        w.think("#")

    def _move(self, w: Workspace, state: PointerHandle, disks: PointerHandle) -> bool:
        """Turn bits from 1 to 0 up to the first 0, which becomes 1 and moves its disk; return False without a 0."""
        while True:
            disks.left()
            symbol = _next_with_carry(w, state)
            if symbol in MOVES:
                state.right()
                symbol = _next_with_carry(w, state)
            if symbol == "#":
                return False
            rod, bit, sign = symbol
            if bit == "0":
                break
            w.think(rod + "0" + sign)
        target = TURN[sign][rod]
        w.think(target + "1" + sign, rod + target)
        w.note("!")
        w.think(disks.read())
        return True

    def _rest(self, w: Workspace, state: PointerHandle) -> None:
        """Copy the rest of the state, except the move in it."""
        while True:
            symbol = _next(state)
            if symbol in MOVES:
                state.right()
            else:
                w.think(symbol)
            if symbol == "#":
                return

    def solve_paper(self, w):
        """Read each state, every disk with its rod, with one pointer while writing the next state between think marks.

        Every second move is the smallest disk's, always in the same direction. The other moves are of the smallest
        disk not on its rod, which was read last since states begin with the largest: it has one possible target.
        """
        p, way, smallest, rod = w.pointer(0), "+", "", "A"
        w.answer()
        while (disk := p.read()) != ":":
            way, smallest = OTHER[way], disk
            w.think({"-": "B", "+": "C"}[way])
            w.think(disk, "A")
            p.right()
        while True:
            move, rod = rod + TURN[way][rod], TURN[way][rod]
            w.output(move, smallest)
            _, other, of = self._rewrite(w, p, smallest, rod, rod)
            if not other:
                return
            target = "ABC".replace(rod, "").replace(of, "")
            w.output(of + target, other)
            smallest, _, _ = self._rewrite(w, p, other, target, rod)

    def _rewrite(self, w: Workspace, p: PointerHandle, moved: str, target: str, rod: str) -> tuple[str, str, str]:
        """Copy the state up to the move that follows it, with the moved disk on its target.

        Returns the last disk, and the last disk that is not on this rod, with its own rod.
        """
        disk = other = of = ""
        while True:
            while (symbol := _next(p)) != "[think]":
                if symbol in MOVES:
                    return disk, other, of
            symbol = _next(p)
            if symbol in SIZES:
                disk, now = symbol, _next(p)
                if disk == moved:
                    now = target
                w.think(disk, now)
                if now != rod:
                    other, of = disk, now


def _tower(sizes: Iterable[int]) -> list[str]:
    """Return a prompt: the sizes in descending order."""
    return [*map(str, sorted(sizes, reverse=True)), ":"]


def _moves(disks: Sequence[str], rods: str, known: dict[tuple[int, str], list[str]]) -> list[str]:
    """Return the rods and disk of each move, by the textbook's recursion.

    rods: source, spare and target. known: the solutions of parts so far, by their number of disks and rods.
    """
    if not disks:
        return []
    part, (source, spare, target) = (len(disks), rods), rods
    if part not in known:
        before = _moves(disks[1:], source + target + spare, known)
        after = _moves(disks[1:], spare + source + target, known)
        known[part] = [*before, source + target, disks[0], *after]
    return known[part]


def _to_mark(disks: PointerHandle, *others: PointerHandle) -> None:
    """Move all pointers to the colon after the disks; only the first one reads, so that later moves look different."""
    symbol = ""
    while symbol != ":":
        for pointer in (*others, disks):
            pointer.right()
        symbol = disks.read()


def _begin(w: Workspace, disks: PointerHandle) -> bool:
    """Move to the next disk and begin its list, or the answer if it is the last disk; return whether it is."""
    disks.left()
    disks.left()
    last = disks.read() == "[BOS]"
    disks.right()
    if last:
        w.answer()
    else:
        w.think("#")
    return last


def _copy(pointer: PointerHandle, say: Callable[[str], None], swap: dict[str, str]) -> None:
    """Copy the list that begins after the pointer, with rods exchanged, up to its end mark."""
    while True:
        symbol = _next(pointer)
        if symbol in ("#", "[ANS]"):
            return
        say(swap.get(symbol, symbol))


def _next(pointer: PointerHandle) -> str:
    """Move right and read."""
    pointer.right()
    return pointer.read()


def _next_with_carry(w: Workspace, pointer: PointerHandle) -> str:
    """Move right and read, with the note c between, since nothing else nearby shows that there is a carry."""
    pointer.right()
    w.note("c")
    return pointer.read()


def _walk(pointer: PointerHandle, symbol: str) -> None:
    """Move right, at least once, until the pointer reads the symbol."""
    while _next(pointer) != symbol:
        pass
