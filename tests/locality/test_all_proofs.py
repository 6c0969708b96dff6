"""Each local program is proved with the same k and contexts under each Python whose frames are known.

Another Python than the one that runs the other tests needs no torch: `python3.13 -m pytest -m slow -p no:xdist
--noconftest -o addopts= tests/locality/test_all_proofs.py`.
"""

import pytest

from tallystick import tasks
from tallystick.locality import prove

PROVED = {
    "addition": (7, 849),
    "reverse": (3, 15),
    "multiplication-1": (6, 1067),
    "multiplication-2": (7, 2748),
    "multiplication": (7, 2815),
    "sort": (8, 1168),
    "turing": (4, 56),
    "turing-universal": (8, 777),
    "hanoi": (7, 1854),
    "hanoi-recursive": (3, 1543),
    "chomsky:even-pairs": (5, 26),
    "chomsky:modular-arithmetic": (8, 726),
    "chomsky:parity-check": (5, 22),
    "chomsky:cycle-navigation": (5, 53),
    "chomsky:stack-manipulation": (4, 52),
    "chomsky:reverse-string": (3, 25),
    "chomsky:modular-arithmetic-brackets": (8, 516),
    "chomsky:solve-equation": (8, 4103),
    "chomsky:duplicate-string": (3, 24),
    "chomsky:missing-duplicate": (4, 51),
    "chomsky:odds-first": (5, 40),
    "chomsky:binary-addition": (8, 163),
    "chomsky:binary-multiplication": (7, 166),
    "chomsky:compute-sqrt": (8, 327),
    "chomsky:bucket-sort": (3, 100),
}
"""k, and the number of deciding contexts; that of control states may differ between versions of Python."""


@pytest.mark.slow
@pytest.mark.parametrize("name", PROVED)
def test_local_programs_are_proved(name):
    proof = prove(tasks.load(name))
    assert (proof["verdict"], proof["k"], proof["contexts"]) == ("proved", *PROVED[name])
