"""Tests of the report's data and page; tests in a browser are in test_report_browser.py."""

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tallystick import cli, runs, tasks
from tallystick.config import configure
from tallystick.episode import Recorder, Role
from tallystick.evaluation import certified, sweep
from tallystick.locality import verdict
from tallystick.report import build, page, stretches
from tallystick.tasks.runner import run, run_problem
from tallystick.training import loop
from tallystick.training.trainer import fresh_model

PROBLEMS = 30
"""Random problems of each row of `check`: few, for the numbers do not matter here."""
MEGABYTE = 10**6
CERTIFIED = Path(__file__).parents[1] / "locality" / "certify" / "reverse"
"""A run folder whose model can be certified."""
SYMBOLS = ["<b>", "&amp;", '"', "</script>", "<!--", "\u2028", "${1}"]
EVIL = f"""
from tallystick import Task

class Evil(Task):
    \"\"\"Say </script> again; <b>& "quotes".\"\"\"
    symbols = {SYMBOLS!r}

    def sample(self, length, rng):
        return rng.choices(self.symbols, k=length)

    def answer(self, prompt):
        return prompt

    def solve(self, w):
        w.answer()
        p = w.pointer(0)
        while (symbol := p.read()) != "[ANS]":
            w.output(symbol)
            p.right()
"""


def folder(path, task="addition", variant=None, model="lookup", rows=None, **given):
    """Make a run folder of an untrained model; rows: of its eval.json."""
    loaded = tasks.load(task, variant)
    runs.create(path, configure(loaded, model, {}, **given), loaded)
    if rows is not None:
        (path / "eval.json").write_text(json.dumps({"rows": rows}))
    return path


def row(length, exact=True, **other):
    """Return a row of eval.json."""
    result = {"length": length, "worst_cases": False, "mode": "verify", "seed": 0, "samples": 4, "exact": 4 * exact}
    result |= {"ci95": [0.5, 1.0], "model_tokens": 100, "error_bound": 1e-3, "low_margin_tokens": 0, "min_margin": 1.5}
    result |= {"answer": None, "score": None, "token_accuracy": 1.0, "stops": {"eos": 4}, "first_errors": []}
    return result | {"train_overlap": 0.0, "seconds": 0.1, "state_bytes": 512} | other


def error(task, length, position, got="[p1.left]"):
    """Return a first error at a token of test problem 0."""
    ids = episode(task, length).ids
    words = task.vocab.decode(ids[position - 16 : position + 1].tolist())
    return {"index": 0, "position": position, "context": words[:-1], "want": words[-1], "got": got, "margin": -0.25}


def episode(task, length):
    sink = Recorder()
    run_problem(task, sink, "test", 0, length, 0)
    return sink


def embedded(html):
    """Return the data embedded in a page, read by a strict JSON parser."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.fixture(scope="module")
def addition():
    return tasks.load("addition")


def test_nothing_from_a_run_becomes_markup(tmp_path):
    (tmp_path / "evil.py").write_text(EVIL)
    name = f"{tmp_path}/evil.py:Evil"
    path = folder(tmp_path / "a<b>", task=name, rows=[row(5), row(20)])
    html = page.render(build.collect([path], PROBLEMS))
    assert html.count("</script>") == html.count("<script") == 1 + len(page.SCRIPTS)
    assert "<!--" not in html
    assert "<b>" not in html
    kept = embedded(html)
    assert set(SYMBOLS) <= set(kept["programs"][0]["vocab"])
    assert kept["runs"][0]["name"] == "a<b>"
    assert kept["episodes"]


def test_a_run_without_eval_says_how_to_make_it(tmp_path):
    (only,) = build.collect([folder(tmp_path / "run")], PROBLEMS).runs
    assert only.rows is None
    assert only.command == f"tallystick eval {tmp_path / 'run'}"


@pytest.mark.parametrize("name", ["eval.json", "environment.json", "metrics.jsonl", "vocab.json"])
def test_what_is_damaged_is_noted(tmp_path, name):
    path = folder(tmp_path / "run", rows=[row(5)])
    (path / name).write_text("{\n")
    (only,) = build.collect([path], PROBLEMS).runs
    assert any(name in note for note in only.notes)


@pytest.mark.parametrize(
    ("name", "text", "note"),
    [
        ("eval.json", "[1]", "it must be of type dict"),
        ("eval.json", '{"rows": 5}', "its rows must be of type list"),
        ("eval.json", '{"rows": [{"length": 5}]}', "its rows[0] has no exact"),
        ("metrics.jsonl", '{"step": 1}\n', "its rows[0] has no loss"),
    ],
)
def test_rows_without_their_keys_are_noted(tmp_path, name, text, note):
    path = folder(tmp_path / "run", "reverse")
    (path / name).write_text(text)
    data = build.collect([path], PROBLEMS)
    (only,) = data.runs[0].notes
    assert only.startswith(f"{name} cannot be read: ")
    assert note in only
    assert page.render(data)


@pytest.mark.parametrize("out", ["", "nowhere/page.html"])
def test_where_nothing_can_be_written_nothing_is_run(tmp_path, out):
    path = folder(tmp_path / "run", "reverse")
    with pytest.raises(OSError, match="folder"):
        build.write([path], tmp_path / out, problems=10**9)


def test_rows_of_older_weights_are_noted(tmp_path):
    path = folder(tmp_path / "run")
    runs.save_model(path, fresh_model(runs.read_config(path), 30), 1)
    runs.write_eval(path, {"rows": [row(5)]}, runs.weights_hash(path))
    assert build.collect([path], PROBLEMS).runs[0].notes == []
    (path / "model.safetensors").write_bytes(b"others")
    (note,) = build.collect([path], PROBLEMS).runs[0].notes
    assert "on weights that have since changed" in note


def test_a_certificate_is_shown_as_long_as_it_is_of_these_weights(tmp_path):
    run = tmp_path / "run"
    shutil.copytree(CERTIFIED, run)
    made = certified.certify_run(runs.load(run), 0, lambda line: None)
    runs.write_json(run / "environment.json", {})
    (only,) = build.collect([run], PROBLEMS).runs
    assert only.certified["min_margin"] == made["min_margin"] > 1
    assert only.notes == []
    runs.save_model(run, runs.load(run).model, 1)
    (only,) = build.collect([run], PROBLEMS).runs
    assert only.certified is None
    (note,) = only.notes
    assert note.startswith("certificate.json is of other weights")


def test_seeds_are_one_group_and_other_settings_another(tmp_path):
    paths = [folder(tmp_path / f"s{seed}", seed=seed) for seed in range(3)]
    paths.append(folder(tmp_path / "longer", train_length=7))
    paths.append(folder(tmp_path / "paper", variant="paper"))
    data = build.collect(paths, PROBLEMS)
    assert [group.runs for group in data.groups] == [[0, 1, 2], [3], [4]]
    assert [(p.variant, p.train_length) for p in data.programs] == [("local", 5), ("local", 7), ("paper", 5)]
    assert [(e.program, e.length) for e in data.episodes if e.run is None] == [(0, 5), (1, 7), (2, 5)]


def test_ten_thousand_digits_stay_small(tmp_path, addition):
    failed = error(addition, 10_000, 300_000)
    rows = [row(10_000, False, mode=mode, first_errors=[failed] * 5) for mode in ("verify", "generate")]
    data = build.collect([folder(tmp_path / "run", rows=rows)], PROBLEMS)
    assert len(page.render(data)) < 5 * MEGABYTE
    assert [e.stretch.start for e in data.episodes] == [0, 298_000, 298_000]
    (size,) = data.programs[0].sizes.values()
    assert size.tokens == len(episode(addition, 10_000))
    assert size.cache > 300 * MEGABYTE


def replayed(task, sink, start):
    """Return memory and pointers before token `start`, computed step by step."""
    memory, at = [], dict.fromkeys(("p0", "p1", "p2"), 0)
    for token, role in list(zip(sink.ids.tolist(), sink.roles.tolist(), strict=True))[1:start]:
        word = task.vocab.tokens[token]
        if role == Role.COMMAND:
            name, verb = word[1:-1].split(".")[-2:]
            at[name] += {"left": -1, "right": 1, "read": 0}[verb]
        elif role != Role.OBSERVATION and word not in ("[EOS]", "[addition]"):
            memory.append(token)
    return memory, at


MIXED = ("reverse:1,addition:9", None)


@pytest.mark.parametrize(("name", "variant"), [("addition", "local"), ("addition", "paper"), MIXED])
@pytest.mark.parametrize("start", [1, 50, 1000, 3000, 3700])
def test_a_stretch_begins_with_the_memory_as_it_stood(name, variant, start):
    task = tasks.load(name, variant)
    sink = episode(task, 100)
    start = min(start, len(sink) - 1)
    part = stretches.stretch(task, sink, start, start + 200)
    memory, at = replayed(task, sink, start)
    assert (part.memory, part.pointers) == (len(memory), at)
    for first, ids, roles in part.cells:
        assert ids == memory[first : first + len(ids)]
        assert len(roles) == len(ids)
    known = {first + i for first, ids, _ in part.cells for i in range(len(ids))}
    ends = (start, min(start + 200, len(sink.ids)))
    visited = {cell for end in range(*ends) for cell in replayed(task, sink, end)[1].values()}
    assert {cell for cell in visited if 0 <= cell < len(memory)} <= known
    assert part.ids == sink.ids[start : start + 200].tolist()
    assert len(part.roles) == len(part.remembered) == len(part.ids)
    assert len(memory) + part.remembered.count("1") == len(replayed(task, sink, start + len(part.ids))[0])


def test_errors_can_be_stepped_through(tmp_path, addition):
    worst = {"index": 2, "position": 40, "got": None, "margin": 0.0}
    sink = Recorder()
    run(addition, addition.worst_cases(5)[2], sink)
    words = addition.vocab.decode(sink.ids[24:41].tolist())
    worst |= {"context": words[:-1], "want": words[-1]}
    rows = [row(5, False, worst_cases=True, first_errors=[worst]), row(9, False, first_errors=[error(addition, 9, 60)])]
    data = build.collect([folder(tmp_path / "run", rows=rows)], PROBLEMS)
    _, first, second = data.episodes
    assert (first.row, first.error["position"], first.stretch.roles[1:8]) == (0, 40, "0000000")
    assert second.stretch.ids == episode(addition, 9).ids[: 60 + stretches.AFTER].tolist()


def test_an_error_that_cannot_be_had_again_is_noted(tmp_path, addition):
    stale = error(addition, 9, 60) | {"want": "[p2.read]"}
    rows = [row(9, False, first_errors=[stale]), row(8, False, first_errors=[stale | {"position": 10**9}])]
    rows.append(row(5, False, worst_cases=True, first_errors=[stale | {"index": 10**6}]))
    data = build.collect([folder(tmp_path / "run", rows=rows)], PROBLEMS)
    assert [e.run for e in data.episodes] == [None]
    changed, far, gone = data.runs[0].notes
    assert "have changed since eval.json" in changed
    assert "have changed since eval.json" in gone
    assert "lies beyond" in far


@pytest.mark.parametrize(
    ("predicted", "learned", "exact", "word"),
    [
        ("exact", True, True, "agrees"),
        ("exact", True, False, "differs"),
        ("fails", True, True, "differs"),
        ("fails", True, False, "agrees"),
        ("exact", False, False, "not learned"),
        ("fails", False, False, "not learned"),
        *((predicted, True, exact, "no prediction") for predicted in ("open", "undecided", "none") for exact in (0, 1)),
    ],
)
def test_a_prediction_is_compared_with_what_was_measured(predicted, learned, exact, word):
    assert verdict.compare(predicted, learned, exact) == word


UNDECIDED = """
from tallystick.tasks.base import Defaults
from tallystick.tasks.reverse import Reverse

class Two(Reverse):
    defaults = Defaults(check=(3, 5))  # too few lengths for a verdict
"""


@pytest.mark.parametrize(
    ("task", "variant", "model", "predicted", "words"),
    [
        ("reverse", None, "mamba2:tiny", "exact", ["agrees", "agrees", "differs"]),
        ("addition", "paper", "mamba2:tiny", "fails", ["no prediction", "differs", "agrees"]),
        ("reverse", None, "pythia:tiny", "exact", ["no prediction"] * 3),
        ("two.py:Two", None, "lookup", "undecided", ["no prediction"] * 3),
    ],
)
def test_verdicts_of_the_rows(tmp_path, monkeypatch, task, variant, model, predicted, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.py").write_text(UNDECIDED)
    rows = [row(5), row(100), row(200, False)]
    data = build.collect([folder(tmp_path / "run", task, variant, model, rows)], PROBLEMS)
    assert data.programs[0].predicted == predicted
    assert [r["comparison"] for r in data.runs[0].rows] == words
    assert [r["all_exact"] for r in data.runs[0].rows] == [True, True, False]


def test_what_was_not_learned_is_no_exception(tmp_path):
    rows = [row(5, False), row(100, False)]
    (only,) = build.collect([folder(tmp_path / "run", "reverse", model="mamba2:tiny", rows=rows)], PROBLEMS).runs
    assert [r["comparison"] for r in only.rows] == ["not learned"] * 2


def test_check_is_made_at_each_training_length(tmp_path):
    paths = [folder(tmp_path / str(n), "reverse", train_length=n) for n in (3, 9)]
    assert [p.check["train_length"] for p in build.collect(paths, PROBLEMS).programs] == [3, 9]


def test_labels_say_what_sets_runs_apart(tmp_path):
    one = build.collect([folder(tmp_path / f"s{seed}", seed=seed) for seed in (0, 1)], PROBLEMS)
    assert [group.label for group in one.groups] == ["lookup"]
    paths = [tmp_path / f"s{seed}" for seed in (0, 1)]
    paths += [folder(tmp_path / "paper", variant="paper"), folder(tmp_path / "longer", train_length=7)]
    paths += [folder(tmp_path / "reverse", "reverse"), folder(tmp_path / "steps", "reverse", steps=7)]
    assert [group.label for group in build.collect(paths, PROBLEMS).groups] == [
        "addition, local program, trained to length 5, lookup",
        "addition, paper program, trained to length 5, lookup",
        "addition, local program, trained to length 7, lookup",
        "reverse, lookup, steps=2000",
        "reverse, lookup, steps=7",
    ]


def test_the_reach_of_a_group_is_that_of_all_its_runs(tmp_path):
    good, bad = [row(5), row(20), row(100)], [row(5), row(20), row(20, False, worst_cases=True), row(100)]
    paths = [folder(tmp_path / f"s{i}", "reverse", rows=rows, seed=i) for i, rows in enumerate((good, bad))]
    for chosen, reach, all_exact in ((paths[:1], 100, True), (paths, 5, False)):
        (group,) = build.collect(chosen, PROBLEMS).groups
        assert (group.reach, group.all_exact) == (reach, all_exact)


def test_folders_of_the_same_name_are_told_apart(tmp_path):
    paths = [folder(tmp_path / name / "run", "reverse") for name in ("a", "b")]
    assert [run.name for run in build.collect(paths, PROBLEMS).runs] == [str(path) for path in paths]


def test_infinities_do_not_break_the_page(tmp_path):
    data = build.collect([folder(tmp_path / "run", rows=[row(5)])], PROBLEMS)
    data.runs[0].rows = [row(5, min_margin=math.inf, error_bound=math.nan)]
    (kept,) = embedded(page.render(data))["runs"]
    assert kept["rows"][0]["min_margin"] is kept["rows"][0]["error_bound"] is None


def test_the_page_names_no_other_file(tmp_path):
    html = page.render(build.collect([folder(tmp_path / "run")], PROBLEMS))
    assert not re.findall(r"""(?:src|href)=["'](?!#)|@import|url\(|\bfetch\(|XMLHttpRequest""", html)
    assert "default-src 'none'" in html


def test_the_command(tmp_path):
    paths = [str(folder(tmp_path / name)) for name in ("one", "two")]
    few = ["--problems", "5"]
    done = CliRunner().invoke(cli.app, ["report", *paths, *few])
    assert done.stdout.splitlines()[-1] == f"{paths[0]}/report.html"
    made = json.loads(
        CliRunner().invoke(cli.app, ["report", *paths, *few, "--out", f"{tmp_path}/r.html", "--json"]).stdout
    )
    assert made == {"report": f"{tmp_path}/r.html", "bytes": (tmp_path / "r.html").stat().st_size, "runs": paths}
    failed = CliRunner().invoke(cli.app, ["report", f"{tmp_path}/none", "--out", f"{tmp_path}/no.html"])
    assert isinstance(failed.exception, runs.RunError)
    assert not (tmp_path / "no.html").exists()


def test_rows_keep_the_seed_of_their_problems(tmp_path):
    path = tmp_path / "run"
    task = tasks.load("reverse")
    loop.train(path, configure(task, "lookup", {"examples": "20"}))
    (only,) = [r for r in sweep.evaluate(runs.load(path), [12], samples=2, seed=3) if not r["worst_cases"]]
    assert only["seed"] == 3
    prompt = stretches.problem(task, only, 1)
    assert np.array_equal(task.vocab.encode(prompt), task.vocab.encode(task.problem("test", 3, 12, 1)))
