"""The towers of Hanoi (paper, section 4): all disks from rod A to rod C, 2^n - 1 moves.

A problem is the disks on rod A, the largest first, of distinct random sizes 1..100, each size a symbol: 83 41 7.
A move is two symbols, its rods and its disk; as text it looks as in the paper: (7)AC$.
"""

from __future__ import annotations

from tallystick.tasks.base import Defaults, Task

SIZES = tuple(str(size) for size in range(1, 101))
MOVES = ("AB", "AC", "BA", "BC", "CA", "CB")


class _Towers(Task):
    """What both tasks share: the problems and their text."""

    max_length = 20

    def sample(self, length, rng):
        """`length` disks of distinct uniform sizes."""
        return _tower(rng.sample(range(1, 101), length))

    def sample_up_to(self, length, rng):
        """Half of the time neighbouring sizes: else the last sizes would rarely come up in the middle of a tower."""
        count = rng.randint(self.min_length, length)
        low = rng.randint(1 - count, 100)
        near = range(max(1, low), min(100, low + 2 * count) + 1)
        near = near if len(near) >= count else range(1, 101)
        return _tower(rng.sample(rng.choice((near, range(1, 101))), count))

    def corners(self, length):
        """The smallest sizes, the largest, and both."""
        low, high = list(range(1, length + 1)), list(range(101 - length, 101))
        both = low[: length // 2] + high[length // 2 :]
        return [_tower(sizes) for sizes in (low, high, both)]

    def parse(self, text):
        """ "83 41 7", in any order, with or without commas, brackets and the closing #."""
        words = text.translate(str.maketrans("(),", "   ")).removesuffix("#").split()
        wrong = [word for word in words if word not in SIZES]
        if wrong or not words or len(set(words)) < len(words):
            raise ValueError(f"{text[:40]!r} is not a tower; write the distinct sizes of its disks, 1-100, as in 83 41 7")
        self.check_length(len(words))
        return _tower(int(word) for word in words)

    def format(self, tokens):
        """Moves as (7)AC$, a tower as 83 41 7."""
        if not any(token in MOVES for token in tokens):
            return " ".join(token for token in tokens if token != "#")
        pairs = zip(tokens[::2], tokens[1::2], strict=True)
        return "".join(f"({disk}){rods}$" for rods, disk in pairs)

    def answer(self, prompt):
        """The moves, by the textbook's recursion; a generator, for there are 2^n - 1."""
        return [symbol for move in _moves(prompt[:-1], "A", "B", "C") for symbol in move]

    def token_limit(self, prompt):
        """Both programs write 2^n times at most this."""
        return 10_000 + (40 * len(prompt) + 100) * 2 ** len(prompt)


class HanoiRecursive(_Towers):
    """Hanoi, recursively: 2 1 answers (1)AB$(2)AC$(1)BC$; about 18 tokens a move of the solution, 36 * 2^n in all.

    The program writes the solutions for the smallest disk, the two smallest, and so on, each from the one before: its
    copy with B and C exchanged, the move of the next disk, its copy with A and B exchanged. Each copy has a pointer
    of its own, which sees in the moves that it reads what to do; the last solution is the answer: the one for which no
    disk is left. `paper` has one pointer for both copies, and which of the two it is at cannot be seen. `length` is
    the number of disks.
    """

    symbols = (*MOVES, *SIZES, "#")
    tools = ("pointer:3",)
    variants = {"local": "solve", "paper": "solve_paper"}
    defaults = Defaults(train_length=6, check=(2, 4, 6, 7, 8), eval=(4, 6, 8, 10, 12))

    def solve(self, w):
        """Pointer 0 finds the disks; 1 and 2 copy. All three walk to the #, where only pointer 0 reads."""
        disks, first, second = (w.pointer(i) for i in range(3))
        while disks.read() != "#":
            for pointer in (disks, first, second):
                pointer.right()
        last = False
        while not last:
            last = self._begin(w, disks)
            say = w.output if last else w.think
            _copy(first, say, "ACB")
            say("AC", disks.read())
            _copy(second, say, "BAC")
            if not last:
                disks.left()

    def solve_paper(self, w):
        """Pointer 1 copies, goes back to the beginning of the list, and copies again."""
        disks, copier = w.pointer(0), w.pointer(1)
        while disks.read() != "#":
            disks.right()
            copier.right()
        last = False
        while not last:
            last = self._begin(w, disks)
            say = w.output if last else w.think
            _copy(copier, say, "ACB")
            copier.left()
            while copier.read() != "#":
                copier.left()
            say("AC", disks.read())
            _copy(copier, say, "BAC")
            if not last:
                disks.left()

    def _begin(self, w, disks):
        ...
