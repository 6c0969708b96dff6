"""Tests of search: the lines that grep would find, in a memory that grows to millions of tokens."""

import random
import statistics
import time
from array import array

import numpy as np
import pytest

from tallystick import tools
from tallystick.episode import BadCommand
from tallystick.tasks.reverse import Reverse
from tallystick.tools.search import TAIL, Index
from tallystick.vocab import Vocabulary

TOOL = tools.build("search", Reverse())
VOCAB = Vocabulary([*TOOL.tokens, *"abc"])
NEWLINE = VOCAB.ids["\n"]


def find(memory, wanted):
    commands = TOOL.start(VOCAB, array("I", VOCAB.encode(memory)), Reverse(), [])
    brackets = commands[VOCAB.ids["[find]"]]
    return " ".join(VOCAB.decode(brackets.call(VOCAB.encode(wanted))))


@pytest.mark.parametrize(
    ("memory", "wanted", "lines"),
    [
        ("ab\nbc\nca\n", "c", "b c [/line] c a [/line]"),
        ("ab\nbc\nca\n", "ab", "a b [/line]"),
        ("ab\nbc", "bc", "b c [/line]"),
        ("ab\nbc\n", "ac", ""),
        ("ab\nbc\n", "bb", ""),
        ("ab\nbc\n", "b\nb", ""),
        ("ab\nbc\n", "\n", ""),
        ("aaaa\nb\naa", "aa", "a a a a [/line] a a [/line]"),
        ("ab\nab\n", "a", "a b [/line] a b [/line]"),
        ("\n\na\n\n", "a", "a [/line]"),
        ("", "a", ""),
        ("ab", "abc", ""),
    ],
)
def test_the_lines_that_contain_it(memory, wanted, lines):
    assert find(memory, wanted) == " ".join(f"[obs] {lines} [/obs]".split())


def test_an_empty_search_is_a_bad_command():
    with pytest.raises(BadCommand, match="needs one or more symbols"):
        find("ab\n", "")


def test_a_search_finds_what_came_later():
    memory = array("I", VOCAB.encode("ab\n"))
    index = Index(memory, NEWLINE, len(VOCAB))
    wanted = VOCAB.encode("bc")
    assert list(index.lines(wanted)) == []
    memory.extend(VOCAB.encode("ab"))
    assert list(index.lines(wanted)) == []
    memory.extend(VOCAB.encode("c"))
    assert list(index.lines(wanted)) == [(3, 6)]
    memory.extend(VOCAB.encode("\nbc"))
    assert list(index.lines(wanted)) == [(3, 6), (7, 9)]


def grep(memory, wanted):
    """Find the lines slowly, with tokens as characters."""
    text, needle = "".join(map(chr, memory)), "".join(map(chr, wanted))
    found, start = [], 0
    for line in text.split(chr(NEWLINE)):
        if needle in line:
            found.append((start, start + len(line)))
        start += len(line) + 1
    return found


@pytest.mark.parametrize(("seed", "size"), [(0, 13), (1, 13), (2, 1000), (3, 65_536)])
def test_against_grep_while_it_grows(seed, size):
    """size: the vocabulary's, which decides how many symbols a key holds."""
    rng, memory = random.Random(seed), array("I")
    index = Index(memory, NEWLINE, size)
    letters = [*range(5), NEWLINE, size - 1, size - 2]
    while len(memory) < 4 * TAIL:
        memory.extend(rng.choices(letters, [1] * 5 + [0.3, 0.3, 0.01], k=rng.randint(1, 600)))
        start = rng.randrange(len(memory))
        for wanted in (memory[start : start + rng.randint(1, 14)], rng.choices(letters[:5], k=rng.randint(1, 7))):
            assert list(index.lines(list(wanted))) == ([] if NEWLINE in wanted else grep(memory, wanted))


@pytest.mark.parametrize("before", range(10))
def test_what_lies_across_the_end_of_the_index(before):
    """The rarest symbols come last, and some did not exist yet when the index was built."""
    a, b, c = VOCAB.encode("abc")
    memory = array("I", [c, NEWLINE] * TAIL + [a] * before)
    index = Index(memory, NEWLINE, 65_536)
    assert list(index.lines([b])) == []
    memory.extend([a] * (9 - before) + [b, NEWLINE])
    assert list(index.lines([a] * 9 + [b])) == [(2 * TAIL, 2 * TAIL + 10)]


def test_it_takes_no_option():
    with pytest.raises(ValueError, match="search:3: search takes no option; write search"):
        tools.build("search:3", Reverse())


@pytest.mark.slow
def test_ten_million_tokens():
    """Half a million lines are searched while they are added; then a search takes milliseconds."""
    lines, rng = 500_000, np.random.default_rng(0)
    labels = rng.integers(0, 12, (lines, 7))
    memory = array("I")
    index = Index(memory, NEWLINE, len(VOCAB) + 20)
    block = np.full((lines, 20), NEWLINE, np.uint32)
    block[:, :7], block[:, 7:19] = labels + 40, rng.integers(20, 30, (lines, 12))
    for part in np.split(block, 100):
        memory.frombytes(part.tobytes())
        assert list(index.lines(part[0, :7].tolist()))
    seconds = []
    for line in rng.integers(0, lines, 500):
        memory.extend(block[line].tolist())
        began = time.perf_counter()
        found = list(index.lines(block[line, :7].tolist()))
        seconds.append(time.perf_counter() - began)
        assert (20 * line, 20 * line + 19) in found
    assert statistics.median(seconds) < 0.005
