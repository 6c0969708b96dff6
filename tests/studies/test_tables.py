"""Tests of tables and pages of results."""

from dataclasses import replace
from pathlib import Path

import pytest

from tallystick import studies
from tallystick.evaluation.statistics import wilson
from tallystick.studies.definitions import annotate, certified, chomsky, far, locality, targets, theorems
from tallystick.studies.definitions.common import best
from tallystick.studies.definitions.locality import Measured, judge
from tallystick.studies.framework import markdown
from tallystick.studies.framework.cells import Cell, Place, cells, panels, together
from tallystick.studies.framework.experiment import Experiment, LocalityCheck, digest
from tallystick.studies.framework.schema import CHECK_COLUMNS, FORMER_RULE
from tallystick.studies.theory.universal import SAMPLES

EXAMPLES = Path(__file__).parents[2] / "examples"


def cell(*counts, samples=10):
    percents = tuple(100 * count / samples for count in counts)
    return Cell(counts, samples * len(counts), 100, percents, percents, 1.0)


def checked(*ks, coverage=1.0, **more):
    values = {"coverage": coverage, "length": 5}
    rows = [[{**values, "k": k}.get(name) for name in CHECK_COLUMNS] for k in ks]
    return {"check": {"local": True, "covered": True, "rows": rows, **more}}


def by_line(declared, panel):
    return {each.line: each for each in declared if each.panel == panel}


def test_all_seeds_are_shown(results, two, made):
    """Median and range are shown, never only the best."""
    for seed, exact in enumerate((10, 4, 0)):
        results.add(two[1], seed, made.where, made.trained(made.row(3, 10), made.row(9, exact)))
    low, high = wilson(14, 30)
    shown = made.in_table(markdown.sections([two[1]], results))["mamba2:tiny"]
    assert shown[:3] == ["0-2", "100 [89-100]", f"40 (0-100) [{100 * low:.0f}-{100 * high:.0f}]"]
    assert shown[3:] == ["8e-03", "9 (40 %)", "9 (50 %)"]
    assert cells(results.of(two[1]))[Place(9)].percents == (100, 40, 0)
    assert cells(results.of(two[1]))[Place(9)].as_counts == "14/30 (0-10 a seed)"


def test_certified_seeds_have_a_column_if_there_are_any(results, two, made):
    results.add(two[0], 0, made.where, made.trained(made.row(3, 10)))
    assert "every length" not in markdown.sections(two, results)
    for seed, margin in enumerate(({}, {"certified": 0.5})):
        results.add(two[1], seed, made.where, made.trained(made.row(3, 10)) | margin)
    table = made.in_table(markdown.sections(two, results))
    assert table["seeds"][2] == "every length"
    assert (table["lookup"][3], table["mamba2:tiny"][3]) == ("-", "certified: 1 of 2 seeds")


@pytest.mark.parametrize(
    ("numbers", "text"), [([], "-"), ([3], "3"), ([0, 1], "0, 1"), ([0, 1, 2, 7], "0-2, 7"), ([1, 3, 4], "1, 3, 4")]
)
def test_lists_of_seeds(numbers, text):
    assert markdown.seeds(numbers) == text


def test_lengths_together():
    pooled = together([cell(8, 4, samples=8), cell(0, 4, samples=8)])
    assert (pooled.counts, pooled.problems, pooled.percents) == ((8, 8), 32, (50, 50))


def test_the_footing_names_commits_machines_and_the_rule(results, two, made):
    rule = {"held_out_rule": FORMER_RULE}
    for seed in range(3):
        results.add(two[0], seed, {**made.where, "command": f"train {seed}", **rule}, made.trained())
    said = markdown.footing("this command", two, results)
    assert "`train 0` and 2 more like it, commit abcdefg, torch 2, 2 processors m, a day" in said
    assert (
        f"These runs were made under the former rule for the held-out problems that end training: {FORMER_RULE};"
        in said
    )
    results.add(two[1], 0, made.where | {"commit": None, "dirty": True}, made.trained())
    said = markdown.footing("this command", two, results)
    assert "Some of these runs were made under the former rule" in said
    assert "`a command`, commit unknown and changes" in said
    assert "former" not in markdown.footing("this command", two[1:], results)
    assert "Nothing was measured yet" in markdown.footing("this command", [], results)


def test_a_page_names_what_it_does_not_show(results, two, made):
    results.add(replace(two[0], line="dropped", part="another plan"), 0, made.where, made.trained(made.row(3, 5)))
    study = replace(studies.load("hybrid"), experiments=lambda budget: two)
    assert "does not declare them any more: reverse: dropped." in study.page("small", results)


# --- headline, targets, remedies ---


def test_a_row_of_the_headline(results, made):
    declared = {each.model: each for each in targets.headline("small")}
    for seed, (exact, seconds) in enumerate(((50, 10.4), (34, 99.6))):
        rows = [made.row(length, exact, 50) for length in (5, 20, 100, 1000)]
        outcome = made.trained(*rows, made.row(1000, 12, 12, worst_cases=True), wall_seconds=seconds)
        results.add(declared["pythia:tiny"], seed, made.where, outcome)
    shown = made.in_table(targets.headline_table(list(declared.values()), results))
    assert shown["pythia:tiny"] == ["0, 1", "10-100", *["84/100 (34-50 a seed)"] * 4, "-", "24/24"]
    assert shown["lookup"] == ["-"] * 8


def test_a_row_of_the_targets(results, made):
    sort = next(each for each in targets.targets("small") if each.task == "sort")
    for seed in (1, 0):
        rows = made.row(300, 50 - seed, 50, min_margin=4.5 + seed), made.row(300, 50, 50, worst_cases=True)
        results.add(sort, seed, made.where, made.trained(*rows, cpu_seconds=10.0 + seed))
    shown = made.in_table(targets.targets_table([sort], results))["sort"]
    assert shown == ["mamba2:tiny", "<= 8", "0, 1", "10-11", "300", "99/100 (49-50 a seed)", "100/100", "4.5"]


def test_free_running_has_a_row_of_its_own(results, made):
    bb5 = next(each for each in targets.targets("small") if each.task == "turing:bb5")
    rows = made.row(1_000_000, 1, 1), made.row(20_000, 0, 1, mode="generate")
    results.add(bb5, 0, made.where, made.trained(*rows))
    lines = [line for line in targets.targets_table([bb5], results).splitlines() if "| turing" in line]
    assert [line.split(" | ")[5:8] for line in lines] == [
        ["1,000,000", "1/1", "-"],
        ["20,000, generate", "0/1", "-"],
    ]


def test_a_row_of_the_remedies(results, made):
    declared = targets.remedies("small")
    longest = declared[4]
    for seed, exact in ((0, 20), (2, 3)):
        rows = made.row(5, exact, 20), made.row(5, 12, 12, worst_cases=True)
        results.add(longest, seed, made.where, made.trained(*rows, step=500 + seed))
    shown = made.in_table(targets.remedies_table(declared, results))
    assert shown["long memory (dt_min=0.001 dt_max=0.1)"][:4] == ["0, 2", "500, 502", "32/32, 15/32", "-"]


# --- annotate ---


def test_a_row_of_the_annotated_programs(results, made):
    Path("examples").symlink_to(EXAMPLES)
    declared = annotate.experiments("small")
    plain, noted = (by_line(declared, f"addition {variant}") for variant in ("paper", "paper+notes"))
    results.add(plain["check"], 0, made.where, checked(13, 19, coverage=0.5, notes=0, tokens=1000))
    results.add(noted["check"], 0, made.where, checked(7, 7, notes=1, tokens=1057))
    results.add(
        noted["lookup"], 0, made.where, made.trained(made.row(1000, 20, 20), made.row(1000, 1, 12, worst_cases=True))
    )
    refused = by_line(declared, "logic-graph paper+notes")
    assert refused.keys() == {"check"}  # nothing to train
    results.add(refused["check"], 0, made.where, {"refused": "no notes"})
    shown = [line for line in annotate.tables(declared, results).splitlines() if line.startswith("| ")]
    assert "| addition, to 1,000 | paper | 13, 19 | 50 % | 0 | 1,000 | - | - |" in shown
    assert (
        "| addition, to 1,000 | paper+notes | 7, 7 | 100 % | 1 | +5.7 % | 20/20 [84-100] + 1/12 [1-35] (seeds 0) | - |"
        in shown
    )
    assert "| logic-graph, to 1,000 | paper+notes | no notes | - | - | - | - | - |" in shown


# --- chomsky ---


def test_the_chomsky_table(results, made):
    """One wrong problem is not 100 %; without a partial score, exact problems count; without a tool it is measured."""
    every = chomsky.experiments("small")
    parity = by_line(every, "parity-check")
    exact, lengths = [32] * 23 + [31], list(chomsky.LENGTHS)
    for seed, near in enumerate((exact, 32, 32)):
        outcome = made.trained(
            made.row(lengths, near, 32, model_tokens=100),
            made.row(500, 6, 6, worst_cases=True, score=1.0),
            made.row(10_000, 4, 4, score=1.0),
        )
        results.add(parity["mamba2:tiny"], seed, made.where, outcome)
    direct = made.trained(made.row(lengths, 0, 32, mode="generate", score=[0.5, *[0.25] * 23]))
    results.add(parity["mamba2:tiny without a tool"], 0, made.where, direct)
    text = chomsky.tables(every, results)
    assert "in 0 of 1 tasks that are measured (seeds: 3)" in text
    ours, others, beyond = (part for part in text.split("| task |")[1:])
    assert made.in_table(ours)["parity-check"] == [
        *("regular", "2,303/2,304 [99.7-99.9]", "95/96 [94.3-99.8]", "18/18 [82.4-100]", "12/12 [75.7-100]"),
        *("99.9 (99.8-100)", "0/768 [0-0.4]", "26", "100"),
    ]
    assert beyond.startswith(" mamba2:tiny |\n")  # nothing else was measured there
    assert made.in_table(beyond)["parity-check"] == ["12/12 [75.7-100]"]
    assert made.in_table(ours)["bucket-sort"] == ["context-sensitive", *["-"] * 7, "not checked"]
    assert made.in_table(others)["parity-check"] == ["-", "99.9 (99.8-100)", "-", "-", "0"]


# --- far ---


def test_the_farthest_of_most_seeds_and_of_any(results, made):
    every = far.experiments("paper")
    lengths = {100_000: (0, 1), 1_000_000: (0, 1), 10_000_000: (0,)}
    for each in every:
        if each.name.startswith("addition: mamba2:small"):
            length = each.at[0].length
            for seed in lengths.get(length, ()):
                tokens = {"model_tokens": 30 * length}
                worst = [made.row(length, 2, 3, worst_cases=True, **tokens)] if length == 1_000_000 else []
                results.add(each, seed, made.where, made.trained(made.row(length, 3, 3, **tokens), *worst))
    first = far.tables(every, results).split("\n\n")[0]
    lines = [line for line in first.splitlines() if line.startswith("| addition")]
    assert [line.split(" | ")[3:7] for line in lines] == [
        ["1,000,000", "2", "6/6 + 4/6 worst cases", "10,000,000"],
        ["10,000,000", "1", "3/3", "100,000,000"],
    ]


def test_the_best_of_the_paper():
    assert best("hanoi-recursive") == (9, 83)
    assert best("logic-graph:3") == (1000, 100)
    assert best("turing:bb5") is None


# --- locality ---

WHOLE, NOT_WHOLE = cell(10, 10), cell(10, 9)
EXACT, FAILS = Measured(WHOLE, WHOLE), Measured(NOT_WHOLE, WHOLE)
WORST_FAILS = Measured(WHOLE, NOT_WHOLE)
VERDICTS = {
    "as predicted": ("exact", EXACT, EXACT, False, locality.AGREES),
    "fails as predicted": ("fails", EXACT, FAILS, False, locality.AGREES),
    "fails on worst cases as predicted": ("fails", EXACT, WORST_FAILS, False, locality.AGREES),
    "fails on random problems": ("exact", EXACT, FAILS, False, locality.DIFFERS),
    "exact against the prediction": ("fails", EXACT, EXACT, False, locality.DIFFERS),
    "exact on random problems alone": ("exact", EXACT, WORST_FAILS, False, locality.RANDOM_ONLY),
    "worst cases not measured": ("exact", Measured(WHOLE, None), Measured(WHOLE, None), True, locality.NOT_TESTED),
    "fails without worst cases": ("exact", Measured(WHOLE, None), Measured(NOT_WHOLE, None), True, locality.DIFFERS),
    "not learned": ("fails", FAILS, FAILS, False, locality.NOT_LEARNED),
    "worst cases not learned": ("exact", WORST_FAILS, EXACT, False, locality.NOT_LEARNED),
    "undecided": ("undecided", EXACT, EXACT, False, locality.UNDECIDED),
    "a growing state": ("none", EXACT, EXACT, False, locality.NOTHING),
    "contents to copy": ("open", EXACT, EXACT, False, locality.NOTHING),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_verdicts(name):
    *given, verdict = VERDICTS[name]
    assert judge(*given) == verdict


def test_the_locality_table(results, made, tmp_path):
    """Exceptions come first; a row whose worst cases were measured shows them."""
    every = [each for each in locality.experiments("small") if each.panel == "reverse default"]
    check, *models = every
    results.add(check, 0, made.where, checked(3))
    far_length = models[0].at[1].length
    for each, (near, beyond, worst) in zip(models, ((10, 10, 5), (10, 9, 5), (9, 0, 0), (10, 10, 3)), strict=False):
        rows = made.row(10, near), made.row(10, 5, 5, worst_cases=True), made.row(far_length, beyond)
        outcome = made.trained(*rows, made.row(far_length, worst, 5, worst_cases=True))
        for seed, reach in enumerate((3, 7, None)) if beyond == 9 else ():
            results.add(each, seed, made.where, outcome | {"looks_back": reach})
        if beyond != 9:
            results.add(each, 0, made.where, outcome)
    sections = {part.split("\n")[0]: part for part in locality.tables(every, results).split("## ")[1:]}
    lines = {verdict: made.in_table(sections[title]) for verdict, title in locality.TITLES.items()}
    shown = {verdict: rows["reverse default"] for verdict, rows in lines.items() if rows}
    assert {verdict: cells[0] for verdict, cells in shown.items()} == {
        locality.AGREES: "lookup",
        locality.DIFFERS: "mamba2:tiny",
        locality.NOT_LEARNED: "lstm:tiny",
        locality.RANDOM_ONLY: "gru:tiny",
    }
    assert shown[locality.RANDOM_ONLY][-1] == "5/5, 3/5"
    assert shown[locality.DIFFERS][1:5] == ["3", "7 (3-> 512)", "100", "exact"]
    assert shown[locality.AGREES][2] == "-"
    locality.draw("title", every, results, tmp_path / "grid.png")
    assert (tmp_path / "grid.png").stat().st_size > 1000


def test_runs_from_before_worst_cases_were_measured_say_so(results, made):
    check, lookup, *_ = (each for each in locality.experiments("small") if each.panel == "reverse default")
    before = replace(lookup, at=tuple(replace(at, worst_cases=False) for at in lookup.at), added=())
    results.add(check, 0, made.where, checked(3))
    results.add(before, 0, made.where, made.trained(made.row(10, 20, 20), made.row(lookup.at[1].length, 20, 20)))
    plan = results.plans[results.runs[-1]["plan"]]["plan"]
    results.plans = {key: value for key, value in results.plans.items() if value["plan"] != plan}
    old = {key: value for key, value in plan.items() if key not in locality.LATER}
    results.plans[digest(old)] = {"name": lookup.name, "plan": old}
    results.runs[-1]["plan"] = digest(old)
    results.refuse_changed([lookup])
    text = locality.tables([check, lookup], results)
    part = text.split(f"## {locality.TITLES[locality.NOT_TESTED]}")[1]
    assert made.in_table(part)["reverse default"][-1] == "random problems alone"


def test_an_undecided_check_is_a_verdict(results, made):
    check, lookup, *_ = (each for each in locality.experiments("small") if each.panel == "reverse default")
    outcome = checked(3)
    outcome["check"]["local"] = None
    results.add(check, 0, made.where, outcome)
    results.add(lookup, 0, made.where, made.trained(made.row(10, 20, 20), made.row(lookup.at[1].length, 20, 20)))
    assert [row.verdict for row in locality.rows_by_verdict([check, lookup], results)[locality.UNDECIDED]]


# --- certified ---


def test_the_table_and_figure_of_certificates(results, made, tmp_path):
    reverse, addition = (
        next(each for each in certified.experiments("small") if each.line == name) for name in ("reverse", "addition")
    )
    near, far = (at.length for at in reverse.at)
    rows = made.row(near, 20, 20), made.row(near, 8, 8, worst_cases=True), made.row(far, 20, 20)
    attempts = [[50, 42, 40, 9, None, 2.0], [100, 42, 2, 0, None, 5.5], [150, 42, 0, 0, 0.25, 6.0]]
    found = made.trained(*rows) | {"attempts": attempts, "certified": 0.25, "looks_back": 3}
    results.add(reverse, 0, made.where, found)
    results.add(reverse, 1, made.where, made.trained(*rows) | {"attempts": attempts[:2], "looks_back": None})
    shown = made.in_table(certified.page([addition, reverse], results))
    assert shown["reverse"] == [
        *("0, 1", "1 of 2", "-", "0.25", "42", "100", "150", "3"),
        *(f"{near}: 40/40; {far}: 40/40", "16/16"),
    ]
    assert shown["addition"] == ["-"] * 10
    results.add(reverse, 2, made.where, found | {"checked": True})
    results.add(reverse, 3, made.where, found | {"checked": False})
    shown = made.in_table(certified.page([addition, reverse], results))
    assert shown["reverse"][:3] == ["0-3", "3 of 4", "1 of 2"]
    certified.draw("title", [addition, reverse], results, tmp_path / "certified.png")
    assert (tmp_path / "certified.png").stat().st_size > 1000


# --- theorems ---


def test_the_samples_that_lookup_needs_follow_from_its_runs(results, made):
    declared = theorems.through_a_tape("small")
    for each in declared:
        count = each.settings.get("examples")
        if isinstance(count, int) and count <= 64:
            results.add(each, 5, made.where, made.trained(made.row(10_000, SAMPLES if count >= 16 else 0, SAMPLES)))
    text = theorems.universal_table(declared, results)
    assert "lookup needed 16 (powers of 2 tried; seeds 5; wrong on at most epsilon of 20 problems of 10,000" in text
    assert made.in_table(text.split("by its samples")[1])["5"] == [*["0"] * 4, *["20"] * 3, *["-"] * 6]
    assert "lookup needed" not in theorems.universal_table(declared[:2], results)


def test_the_bound_beside_what_was_reached(results, made):
    declared = theorems.without_tools("small")
    rows = [made.row(length, 596, 1000) for length in theorems.BOUND_LENGTHS]
    results.add(declared[0], 3, made.where, made.trained(*rows))
    shown = made.in_table(theorems.bound_table(declared, results).split("The share")[1])
    assert shown["bits:16"][3] == "59.6 % (59.6)"
    assert shown["mamba2:paper"] == ["100 %"] * 6


def test_panels_keep_their_order(results, two):
    declared = [two[1], LocalityCheck(task="reverse"), replace(two[0], panel="second"), two[0]]
    assert {panel: [line.first.line for line in lines] for panel, lines in panels(declared, results).items()} == {
        "reverse": ["mamba2:tiny", "lookup"],
        "second": ["lookup"],
    }
    assert all(isinstance(line.first, Experiment) for lines in panels(declared, results).values() for line in lines)
