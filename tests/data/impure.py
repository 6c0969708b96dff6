"""Tasks that differ from process to process, print, or hang; tests load them by their path."""

import os
import pathlib
import time

from tallystick import Task

print("printed at import")


class Hashed(Task):
    """The order of its first symbols follows the hash seed of the process."""

    symbols = "abcdefgh>"

    def sample(self, length, rng):
        return [*sorted("abcdefgh", key=hash), *rng.choices("ab", k=length), ">"]

    def answer(self, prompt):
        return [">"]

    def solve(self, w):
        w.answer()
        w.output(">")


class SaysASet(Hashed):
    """The order of its thoughts does."""

    def sample(self, length, rng):
        return [*rng.choices("ab", k=length), ">"]

    def solve(self, w):
        w.think(*{*"abcdefgh"})
        super().solve(w)


class Prints(SaysASet):
    def solve(self, w):
        print("printed by a program")
        w.answer()
        w.output(">")


class Silent(Prints):
    """It hangs where the test says so."""

    def solve(self, w):
        if "HANG" in os.environ:
            pathlib.Path(os.environ["HANG"]).touch()
            time.sleep(60)  # no CPU time: no watchdog
        super().solve(w)
