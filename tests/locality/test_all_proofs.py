"""Each local program is proved with the same k, contexts and states, under each Python whose frames are known.

Another Python than the one that runs the other tests needs no torch: `python3.13 -m pytest -m slow -p no:xdist
--noconftest -o addopts= tests/locality/test_all_proofs.py`.
"""

import pytest

from tallystick import tasks
from tallystick.locality import prove

PROVED = {
    "addition": (7, 849, 31),
    "reverse": (3, 15, 3),
    "multiplication-1": (6, 1067, 123),
    "multiplication-2": (7, 2748, 151),
    "multiplication": (7, 2815, 151),
    "sort": (8, 1168, 93),
    "turing": (4, 56, 5),
    "turing-universal": (8, 777, 69),
    "hanoi": (12, 7816, 16),
    "hanoi-recursive": (3, 1661, 8),
    "chomsky:even-pairs": (5, 26, 5),
    "chomsky:modular-arithmetic": (8, 726, 100),
    "chomsky:parity-check": (5, 22, 3),
    "chomsky:cycle-navigation": (5, 53, 6),
    "chomsky:stack-manipulation": (4, 52, 5),
    "chomsky:reverse-string": (3, 25, 4),
    "chomsky:modular-arithmetic-brackets": (8, 516, 106),
    "chomsky:solve-equation": (8, 4103, 373),
    "chomsky:duplicate-string": (3, 24, 4),
    "chomsky:missing-duplicate": (4, 51, 6),
    "chomsky:odds-first": (5, 40, 6),
    "chomsky:binary-addition": (8, 163, 15),
    "chomsky:binary-multiplication": (7, 166, 20),
    "chomsky:compute-sqrt": (8, 327, 31),
    "chomsky:bucket-sort": (3, 100, 10),
}
"""k, number of deciding contexts, and number of control states."""


@pytest.mark.slow
@pytest.mark.parametrize("name", PROVED)
def test_local_programs_are_proved(name):
    proof = prove(tasks.load(name))
    assert (proof["verdict"], proof["k"], proof["contexts"], proof["states"]) == ("proved", *PROVED[name])
