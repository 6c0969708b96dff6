"""The 15 tasks of Delétang et al. 2023 (arXiv 2207.02098), "Neural Networks and the Chomsky Hierarchy".

Alphabets, distributions and the meaning of `length` are those of the paper's published code, which takes precedence
over its text. A prompt is the paper's input and nothing else: a program finds its end by reading past it. Where the
paper's output is padded after a termination token, the answer here ends with that token.
"""

from __future__ import annotations

CLASSES = {
    "even-pairs": "regular:EvenPairs",
    "modular-arithmetic": "regular:ModularArithmetic",
    "parity-check": "regular:ParityCheck",
    "cycle-navigation": "regular:CycleNavigation",
    "stack-manipulation": "context_free:StackManipulation",
    "reverse-string": "context_free:ReverseString",
    "modular-arithmetic-brackets": "context_free:ModularArithmeticBrackets",
    "solve-equation": "context_free:SolveEquation",
    "duplicate-string": "context_sensitive:DuplicateString",
    "missing-duplicate": "context_sensitive:MissingDuplicate",
    "odds-first": "context_sensitive:OddsFirst",
    "binary-addition": "arithmetic:BinaryAddition",
    "binary-multiplication": "arithmetic:BinaryMultiplication",
    "compute-sqrt": "square_root:ComputeSqrt",
    "bucket-sort": "context_sensitive:BucketSort",
}
"""Module of this package and class, by short name, in the order of the paper's tables."""
CHOMSKY = {f"chomsky:{name}": f"tallystick.tasks.chomsky.{place}" for name, place in CLASSES.items()}
"""Module and class, by the name for `tasks.load`."""
QUADRATIC = ("chomsky:binary-multiplication", "chomsky:compute-sqrt")
"""Tasks whose programs take a quadratic number of tokens."""
PUBLISHED = dict.fromkeys(
    [
        "chomsky:even-pairs",
        "chomsky:modular-arithmetic",
        "chomsky:parity-check",
        "chomsky:cycle-navigation",
        "chomsky:stack-manipulation",
        "chomsky:reverse-string",
        "chomsky:duplicate-string",
        "chomsky:odds-first",
    ],
    100.0,
)
"""Best score of the paper's RNN, Stack-RNN, Tape-RNN, Transformer and LSTM at lengths 41 to 500, in percent (its table
of results). Seven tasks are left out, since their figures could not be checked."""
