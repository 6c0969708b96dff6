"""The report's data and page; what a browser makes of it stands in test_report_browser.py."""

import json
import math
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from tallystick import cli, runs, tasks
from tallystick.config import configure
from tallystick.episode import Recorder, Role
from tallystick.evaluation import sweep
from tallystick.report import build, replay
from tallystick.tasks.runner import run_problem
from tallystick.training import loop
from tallystick.training import loop as training

PROBLEMS = 30
"""Random problems of each row of `check`: few, for the numbers do not matter here."""
MEGABYTE = 10**6
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
    """A run folder of a model that was never trained; rows: of its eval.json."""
    loaded = tasks.load(task, variant)
    runs.create(path, configure(loaded, model, {}, **given), loaded)
    if rows is not None:
        (path / "eval.json").write_text(json.dumps({"rows": rows}))
    return path


def row(length, exact=True, **other):
    """A row of eval.json."""
    result = {"length": length, "worst_cases": False, "mode": "verify", "seed": 0, "samples": 4, "exact": 4 * exact}
    result |= {"ci95": [0.5, 1.0], "model_tokens": 100, "error_bound": 1e-3, "low_margin_tokens": 0, "min_margin": 1.5}
    return result | {"seen": 0.0, "seconds": 0.1, "state_bytes": 512, "first_errors": []} | other


def error(task, length, position, got="[p1.left]"):
    """A first error at a token of test problem 0."""
    ids = episode(task, length).ids
    words = task.vocab.decode(ids[position - 16 : position + 1].tolist())
    return {"index": 0, "position": position, "context": words[:-1], "want": words[-1], "got": got, "margin": -0.25}


def episode(task, length):
    sink = Recorder()
    run_problem(task, sink, "test", 0, length, 0)
    return sink


def embedded(page):
    """The data that lies in a page, as a strict reader of JSON takes it."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.fixture(scope="module")
def addition():
    return tasks.load("addition")


def test_nothing_from_a_run_becomes_markup(tmp_path):
    (tmp_path / "evil.py").write_text(EVIL)
    name = f"{tmp_path}/evil.py:Evil"
    path = folder(tmp_path / "a<b>", task=name, rows=[row(5), row(20)])
    data = build.collect([path], PROBLEMS)
    page = build.render(data)
    assert page.count("</script>") == page.count("<script") == 1 + len(build.SCRIPTS)
    assert "<!--" not in page
    assert "<b>" not in page
    kept = embedded(page)
    assert set(SYMBOLS) <= set(kept["tasks"][f"{name} default"]["vocab"])
    assert kept["runs"][0]["name"] == "a<b>"
    assert kept["episodes"]


def test_a_run_without_eval_says_how_to_make_it(tmp_path):
    data = build.collect([folder(tmp_path / "run")], PROBLEMS)
    (run,) = data["runs"]
    assert run["rows"] is None
    assert run["command"] == f"tallystick eval {tmp_path / 'run'}"
    assert data["predictions"] == []


@pytest.mark.parametrize("name", ["eval.json", "environment.json", "metrics.jsonl", "vocab.json"])
def test_what_is_damaged_is_noted(tmp_path, name):
    path = folder(tmp_path / "run", rows=[row(5)])
    (path / name).write_text("{\n")
    (run,) = build.collect([path], PROBLEMS)["runs"]
    assert any(name in note for note in run["notes"])


def test_rows_of_older_weights_are_noted(tmp_path):
    path = folder(tmp_path / "run")
    runs.save_model(path, training.fresh_model(runs.read_config(path), 30), 1)
    runs.write_eval(path, {"rows": [row(5)]})
    assert build.collect([path], PROBLEMS)["runs"][0]["notes"] == []
    (path / "model.safetensors").write_bytes(b"others")
    (note,) = build.collect([path], PROBLEMS)["runs"][0]["notes"]
    assert "other weights" in note


def test_seeds_are_one_group_and_other_settings_another(tmp_path):
    paths = [folder(tmp_path / f"s{seed}", seed=seed) for seed in range(3)]
    paths.append(folder(tmp_path / "longer", train_length=7))
    paths.append(folder(tmp_path / "paper", variant="paper"))
    data = build.collect(paths, PROBLEMS)
    assert [group["runs"] for group in data["groups"]] == [[0, 1, 2], [3], [4]]
    assert len(data["tasks"]) == 2
    solved = [(e["task"], e["length"]) for e in data["episodes"] if e["run"] is None]
    assert solved == [("addition local", 5), ("addition local", 7), ("addition paper", 5)]


def test_ten_thousand_digits_stay_small(tmp_path, addition):
    failed = error(addition, 10_000, 300_000)
    rows = [row(10_000, False, mode=mode, first_errors=[failed] * 5) for mode in ("verify", "generate")]
    data = build.collect([folder(tmp_path / "run", rows=rows)], PROBLEMS)
    assert len(build.render(data)) < 5 * MEGABYTE
    assert [e["start"] for e in data["episodes"]] == [0, 298_000, 298_000]
    (counted,) = data["tasks"]["addition local"]["tokens"].values()
    assert counted["tokens"] == len(episode(addition, 10_000).ids)
    assert counted["cache"] > 300 * MEGABYTE


def replayed(task, sink, start):
    """Memory and pointers before token `start`, the slow way."""
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
    part = replay.stretch(task, sink.ids, sink.roles, start, start + 200)
    memory, at = replayed(task, sink, start)
    assert (part["memory"], part["pointers"]) == (len(memory), at)
    for first, ids, roles in part["cells"]:
        assert ids == memory[first : first + len(ids)]
        assert len(roles) == len(ids)
    known = {first + i for first, ids, _ in part["cells"] for i in range(len(ids))}
    ends = (start, min(start + 200, len(sink.ids)))
    visited = {cell for end in range(*ends) for cell in replayed(task, sink, end)[1].values()}
    assert {cell for cell in visited if 0 <= cell < len(memory)} <= known
    assert part["ids"] == sink.ids[start : start + 200].tolist()


def test_errors_can_be_stepped_through(tmp_path, addition):
    worst = {"index": 2, "position": 40, "got": None, "margin": 0.0}
    sink = Recorder()
    build.replay.runner.run(addition, addition.worst_cases(5)[2], sink)
    words = addition.vocab.decode(sink.ids[24:41].tolist())
    worst |= {"context": words[:-1], "want": words[-1]}
    rows = [row(5, False, worst_cases=True, first_errors=[worst]), row(9, False, first_errors=[error(addition, 9, 60)])]
    data = build.collect([folder(tmp_path / "run", rows=rows)], PROBLEMS)
    _, first, second = data["episodes"]
    assert (first["row"], first["error"]["position"], first["roles"][1:8]) == (0, 40, "0000000")
    assert second["ids"] == episode(addition, 9).ids[: 60 + replay.AFTER].tolist()


def test_an_error_that_cannot_be_had_again_is_noted(tmp_path, addition):
    stale = error(addition, 9, 60) | {"want": "[p2.read]"}
    rows = [row(9, False, first_errors=[stale]), row(8, False, first_errors=[stale | {"position": 10**9}])]
    data = build.collect([folder(tmp_path / "run", rows=rows)], PROBLEMS)
    assert [e["run"] for e in data["episodes"]] == [None]
    changed, far = data["runs"][0]["notes"]
    assert "no longer those of eval.json" in changed
    assert "lies beyond" in far


@pytest.mark.parametrize(
    ("local", "covered", "model", "length", "expected"),
    [
        (True, True, "mamba2:tiny", 1000, "exact"),
        (True, True, "mamba2:tiny", 3, "exact"),
        (True, True, "pythia:tiny", 1000, "none"),
        (True, False, "mamba2:tiny", 1000, "open"),
        (True, False, "lookup", 1000, "open"),
        (False, False, "mamba2:tiny", 1000, "fails"),
        (False, False, "mamba2:tiny", 5, "none"),
        (None, True, "mamba2:tiny", 1000, "undecided"),
    ],
)
def test_what_is_predicted(tmp_path, local, covered, model, length, expected):
    (run,) = build.collect([folder(tmp_path / "run", model=model)], PROBLEMS)["runs"]
    check = {"local": local, "covered": covered}
    assert build.predict(run, check, length) == expected
    judged = build.predictions(run | {"rows": [row(length), row(length, False)]}, check)
    agrees = {"exact": [True, False], "fails": [False, True]}.get(expected, [None, None])
    assert [p["agrees"] for p in judged] == agrees


def test_infinities_do_not_break_the_page(tmp_path):
    path = folder(tmp_path / "run", rows=[row(5, min_margin=math.inf, error_bound=math.nan)])
    (kept,) = embedded(build.render(build.collect([path], PROBLEMS)))["runs"]
    assert kept["rows"][0]["min_margin"] is kept["rows"][0]["error_bound"] is None


def test_the_page_names_no_other_file(tmp_path):
    page = build.render(build.collect([folder(tmp_path / "run")], PROBLEMS))
    assert not re.findall(r"""(?:src|href)=["'](?!#)|@import|url\(|\bfetch\(|XMLHttpRequest""", page)
    assert "default-src 'none'" in page


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
    prompt = replay.problem(task, only, 1)
    assert np.array_equal(task.vocab.encode(prompt), task.vocab.encode(task.problem("test", 3, 12, 1)))
