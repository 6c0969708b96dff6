"""The two theorems: shares of answers against counting, the lengths that follow, and the documents."""

import math
from collections import Counter
from itertools import combinations_with_replacement, product

import pytest

from tallystick.studies.framework.cells import Cell, Place
from tallystick.studies.theory import bound, universal
from tallystick.studies.theory.answers import EXACT, SHARES, bites, share
from tallystick.studies.theory.reports import report_bound, report_universal


def numbers(n):
    return range(10) if n == 1 else range(10 ** (n - 1), 10**n)


def likeliest(counts, bits):
    """Return the share of the 2^bits likeliest answers, by counting."""
    return sum(count for _, count in Counter(counts).most_common(2**bits)) / sum(counts.values())


def counted(task, n):
    """Count the problems of length n with each answer."""
    if task == "addition":
        return Counter(a + b for a in numbers(n) for b in numbers(n))
    if task == "reverse":
        return Counter(product("01", repeat=n))
    digits = {"multiplication": n, "multiplication-1": 1, "multiplication-2": 2}[task]
    return Counter(a * b for a in numbers(n) for b in numbers(digits))


@pytest.mark.parametrize("task", [name for name in SHARES if name != "sort"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_shares_against_counting(task, n):
    counts = counted(task, n)
    for bits in range(1, 14):
        want, got = likeliest(counts, bits), share(task, n, bits)
        assert got == pytest.approx(want) if task in EXACT else want <= got + 1e-12


def test_the_share_of_sorted_lists_against_counting():
    """Of two numbers, 1,000 pairs occur once, all others twice; of three, the likeliest six times."""
    assert share("sort", 2, 10) == pytest.approx(2 * 1024 / 1000**2)
    assert share("sort", 3, 4) == pytest.approx(6 * 16 / 1000**3)
    assert share("sort", 1, 3) == pytest.approx(8 / 1000)
    few = Counter(tuple(sorted(numbers)) for numbers in product(range(4), repeat=3))
    assert set(few) == set(combinations_with_replacement(range(4), 3))
    assert max(few.values()) == 6


def test_lists_longer_than_there_are_numbers():
    """Of 2,500 numbers from 1,000, the likeliest lists have 500 numbers three times and 500 twice."""
    ways = math.lgamma(2501) - 500 * math.log(6) - 500 * math.log(2)
    log2 = ways / math.log(2) - 2500 * math.log2(1000)
    bits = round(-log2) - 2
    assert share("sort", 2500, bits) == pytest.approx(2.0 ** (bits + log2))


@pytest.mark.parametrize(("bits", "length"), [(16, 5), (32, 10), (64, 20)])
def test_where_the_bound_bites(bits, length):
    """The bound is as in the paper's proof: there are more sums than states."""
    assert bites("addition", bits) == length
    assert 2 * 10 ** (length - 1) * 9 / 10 - 1 < 2**bits < 18 * 10 ** (length - 1) - 1


@pytest.mark.parametrize("task", SHARES)
@pytest.mark.parametrize("below", [1.0, 0.5, 0.3])
@pytest.mark.parametrize("bits", [8, 16, 1000, 161_792])
def test_it_bites_from_there_on(task, below, bits):
    length = bites(task, bits, below)
    if length is None:  # a long list of a thousand different numbers is as many counts
        assert (task, bits) == ("sort", 161_792)
        return
    assert share(task, length, bits) < below
    assert length == 1 or share(task, length - 1, bits) >= below


def test_one_product_in_ten_is_always_right():
    assert bites("multiplication-1", 64, 0.01) is None
    assert share("multiplication-1", 1000, 64) == pytest.approx(0.1)


def test_other_tasks_are_refused():
    with pytest.raises(ValueError, match="the answers of 'turing' are not counted; choose from addition"):
        share("turing", 5, 16)


def test_bits_of_a_state():
    assert [bound.state_bits(f"bits:{bits}", 20) for bits in (16, 64)] == [16, 64]
    assert bound.state_bits("mamba2:tiny", 20) == 8 * 20_224
    with pytest.raises(ValueError, match="pythia's state grows with its input"):
        bound.state_bits("pythia", 20)


def test_bound_without_training():
    report, text = report_bound("addition", ["bits:16", "mamba2:tiny"], [3, 5], [])
    small, real = report["models"]
    assert [at["from"] for at in small["below"]] == [5, 6, 7]
    assert [row["bound"] for row in small["rows"]] == [1.0, pytest.approx(0.595617, abs=1e-6)]
    assert real["below"][0]["from"] > 40_000
    assert "| bits:16 | 16 | 5 | 6 | 7 |" in text
    assert "| bits:16 | 100 % | 59.6 % |" in text
    assert "at most" in report_bound("sort", ["bits:16"], [3], [])[1]


@pytest.mark.slow
def test_bound_measured():
    lines = []
    report, text = report_bound("reverse", ["bits:16"], [1, 20], [0], steps=5, samples=40, say=lines.append)
    short, long = report["models"][0]["rows"]
    assert (short["bound"], long["bound"]) == (1.0, 1 / 16)
    assert [row["measured"][0]["samples"] for row in (short, long)] == [40, 40]
    assert long["within"]
    (run,) = report["models"][0]["runs"]
    assert (long["measured"][0]["exact"], run["training"]["step"], run["seed"]) == (0, 5, 0)
    assert [row["length"] for row in run["rows"] if not row["worst_cases"]] == [1, 20]
    assert lines[-1].startswith("bits:16, seed 0: ")
    assert "(0)" in text


def test_more_than_the_bound_is_told():
    found = {Place(9): Cell((90,), 100, 1000, (90.0,), (90.0,), 1.0)}
    assert bound._row(9, 0.7, found)["within"] is False
    assert bound._row(9, 0.85, found)["within"] is True
    assert bound._row(5, 0.1, found)["measured"] == []


def test_a_task_without_the_variant_is_not_trained():
    with pytest.raises(ValueError, match="unknown variant 'direct'"):
        report_bound("sort", ["bits:16"], [3], [0])


def test_the_experiments_of_a_theorem_are_those_that_were_stored():
    """Their settings are not the defaults, so no other test would notice a change."""
    plan = bound.experiment("addition", "bits:16", [3], 3000).plan
    assert {key: plan[key] for key in ("variant", "steps", "curriculum", "batch_size", "seq_len", "problem_seed")} == {
        "variant": "direct", "steps": "3000", "curriculum": "300000", "batch_size": "64", "seq_len": "32",
        "problem_seed": "0",
    }  # fmt: skip


def test_sample_bound():
    theorem = universal.Bound("turing:x", 5, 2, 40, 0.05, 0.05)
    assert theorem.samples == math.ceil(40 * 10 * math.log(200) / 0.05) == 42_387
    for epsilon, delta, name in ((0, 0.1, "epsilon"), (0.1, 1.5, "delta"), (1e-320, 0.1, "epsilon")):
        with pytest.raises(ValueError, match=f"{name} .* must be at least 1e-12 and less than 1"):
            universal.Bound.of("bb2", epsilon, delta)


def test_an_unknown_model_is_refused_before_the_work():
    said = []
    with pytest.raises(ValueError, match="unknown model 'x'"):
        report_universal("bb2", ["lookup", "x"], [10], [0], say=said.append)
    assert said == []


def test_the_fewest_samples_that_are_enough():
    assert universal.samples_needed(lambda count: 19 if count >= 8 else 18, 0.05) == 8
    assert universal.samples_needed(lambda count: 18, 0.05) is None
    assert universal.samples_needed({4: None, 16: 20}.get, 0.05) == 16


@pytest.mark.slow
def test_universal_with_lookup():
    report, text = report_universal("bb3", ["lookup"], [40, 300], [1])
    assert (report["states"], report["symbols"], report["bound"]) == (3, 2, math.ceil(4800 * math.log(120)))
    assert [row["exact"] for run in report["runs"] for row in run["rows"]] == [20, 1] * 2
    (needed,) = report["needed"]
    assert needed["seed"] == 1
    assert 2 < needed["examples"] <= 64
    assert f"lookup needed {needed['examples']} (powers of 2 tried; seeds 1;" in text
    assert "| lookup | 1 | 4,000 |" in text
    assert "20/20 + 1/1" in text
