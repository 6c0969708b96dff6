"""Prompts: the task's sentence, or any text at all, since an agent's prompt is its user's to write.

What has to be done does not depend on the prompt. A model that was trained on one prompt alone fails on any other; one
that was also trained on random ones has learned to pass over it, whatever it is and however long.
"""

from __future__ import annotations

import random
import string

from tallystick.tasks.codefix import teachers
from tallystick.text.tokenizers import PIECE

SENTENCE = (
    "Fix the code in this folder, so that python main.py runs without an error. v10 is declared in main() and used in "
    "foo(): pass it to foo() and to all functions between them. Change only what is wrong."
)
RANDOM_SHARE = 0.0625
"""Share of problems with a random prompt."""
SHORTEST, LONGEST = 10, 6000
"""Characters of a random prompt; the logarithm of their number is uniform. mini-swe-agent's own has 3,500."""
_PIECES = PIECE.findall(SENTENCE) + PIECE.findall(teachers.SHORT_RUN)
_FIRST = [piece for piece in _PIECES if piece.isalpha()]
_SIGNS = string.punctuation.replace("_", "")
_FOREIGN = [*range(0xC0, 0x250), *range(0x400, 0x480), *range(0x4E00, 0x5200), *range(0x1F300, 0x1F600)]
_LATER = [piece for piece in _PIECES if piece.startswith(" ") and piece.strip()] + [*string.digits]


def draw(rng: random.Random) -> str:
    """Draw a prompt."""
    if rng.random() >= RANDOM_SHARE:
        return SENTENCE
    length = SHORTEST * (LONGEST / SHORTEST) ** rng.random()
    text = ""
    while len(text) < length:
        text += _line(rng) + "\n"
    return text


def _line(rng: random.Random) -> str:
    """Draw a line of pieces that the task's texts have, and of words that no text has and that are spelled as bytes.

    Pieces stand so that none runs into its neighbour: random ones must not enter the task's vocabulary.
    """
    words = [rng.choice(_FIRST)]
    for _ in range(rng.randint(1, 20)):
        words.append(rng.choice(_LATER) if rng.random() < 0.5 else " " + _word(rng))
    return "".join(words)


def _word(rng: random.Random) -> str:
    """Draw letters, signs, or characters of other alphabets, so many that no other word is the same."""
    kind = rng.random()
    if kind < 0.05:
        return "".join(map(chr, rng.choices(_FOREIGN, k=rng.randint(2, 4))))
    alphabet = _SIGNS if kind < 0.25 else string.ascii_letters if kind < 0.5 else string.ascii_lowercase
    return "".join(rng.choices(alphabet, k=rng.randint(4, 10)))
