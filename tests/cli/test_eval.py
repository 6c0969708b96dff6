"""Tests of `eval`: rows are saved as they are measured, and unusual conditions give warnings."""

import gc
import json
import shutil
import signal
import weakref
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tallystick import runs, tasks
from tallystick.cli import evaluate
from tallystick.cli.console import ERR
from tallystick.evaluation import sweep
from tallystick.tasks.addition import Addition

MINE = Path(__file__).parents[2] / "examples" / "my_task.py"
CERTIFIED = Path(__file__).parents[1] / "locality" / "certify" / "reverse"
"""A run folder whose model can be certified."""


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("eval*.json"))


def test_ctrl_c_keeps_the_rows_that_were_printed(start, copy):
    process = start("eval", copy, "--lengths", "3,5,200000", "--samples", 3)
    lines = [process.stdout.readline() for _ in range(6)]  # two of a head, random problems and worst cases twice
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 130
    assert error == f"the rows so far are in {copy}/eval.json\ntallystick: interrupted\n"
    assert len(lines) == 6
    rows = json.loads((copy / "eval.json").read_text())["rows"]
    assert [(row["length"], row["worst_cases"]) for row in rows] == [(3, False), (3, True), (5, False), (5, True)]


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    """Return a run folder with a certificate, and what `certify` said of it."""
    from tallystick.evaluation.certified import certify_run

    path = shutil.copytree(CERTIFIED, tmp_path_factory.mktemp("certified") / "run")
    return path, certify_run(runs.load(path), 0, lambda line: None)


def test_a_certificate_stands_beside_the_lengths_measured(certified, tallystick):
    path, verdict = certified
    last = tallystick("eval", path, "--lengths", "3", "--samples", 2).out.splitlines()[-1]
    assert last.split() == ["every", "length", "certified", f"{verdict['min_margin']:.2g}"]
    report = json.loads(tallystick("eval", path, "--lengths", "3", "--samples", 2, "--json").out)
    assert report["certified"] == {key: verdict[key] for key in ("min_margin", "contexts")}
    assert "certified" not in json.loads((path / "eval.json").read_text()), "it goes with the weights, not with rows"


OTHERS = {
    "weights": "other weights",
    "task_source": "another version of the task",
    "task": "another task",
    "variant": "another program",
    "machine": "another token graph",
    "format": "certificate.json is damaged: it.format must be of type int",
}


@pytest.mark.parametrize("key", OTHERS)
def test_a_certificate_of_something_else_does_not_count(certified, tallystick, tmp_path, key):
    path = shutil.copytree(certified[0], tmp_path / "run")
    document = json.loads((path / "certificate.json").read_text()) | {key: "another"}
    (path / "certificate.json").write_text(json.dumps(document))
    printed = tallystick("eval", path, "--lengths", "3", "--samples", 2)
    assert "certified" not in printed.out
    assert printed.err.startswith("warning: not certified: ")
    assert OTHERS[key] in printed.err
    assert printed.err.count("\n") == 1


def test_an_error_at_a_later_length_keeps_the_rows(tallystick, tmp_path):
    """Use a program that is wrong on long problems only."""
    mine, out = tmp_path / "mine.py", tmp_path / "run"
    text = MINE.read_text()
    mine.write_text(text)
    tallystick("train", f"{mine}:Reverse", "--model", "lookup", "examples=200", "--out", out)
    longer = text.replace("return prompt[-2::-1]", "return prompt[-2::-1] if len(prompt) < 30 else ['>']")
    (out / "task" / "source.py").write_text(longer)
    mine.unlink()
    tallystick("eval", out, "--lengths", "3,5,50", "--samples", 2, code=2)
    rows = json.loads((out / "eval.json").read_text())["rows"]
    assert [row["length"] for row in rows if not row["worst_cases"]] == [3, 5]


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_eval_file_is_told_before_the_work(tallystick, copy, text):
    (copy / "eval.json").write_text(text)
    printed = tallystick("eval", copy, "--lengths", "3", "--samples", 2, code=2)
    assert printed.out == ""
    assert "eval.json is damaged" in printed.err
    assert (copy / "eval.json").read_text() == text


def test_a_folder_that_cannot_be_written_is_told_before_the_work(tallystick, copy):
    (copy / "eval.json").mkdir()  # root may write everywhere, so a folder stands in the way
    printed = tallystick("eval", copy, "--lengths", "3", "--samples", 2, code=2)
    assert printed.out == ""
    assert printed.err.count("\n") == 1


def test_rows_keep_the_hash_of_the_weights_that_were_measured(copy):
    """Training may replace the weights meanwhile."""
    run = runs.load(copy)
    runs.save_model(copy, run.model, run.examples + 1)
    measure, document = partial(sweep.evaluate, run, [3, 5], 2), partial(sweep.report, run)
    evaluate._measure(run, measure, document, True, evaluate.Table(run, "verify", ERR))
    measured = runs.read_eval(copy)
    assert measured["weights"] == run.weights != runs.weights_hash(copy)


def test_unfinished_trainings_are_told(tallystick, tmp_path):
    out = tmp_path / "a run"
    small = ("batch_size=4", "seq_len=64", "validate_every=4", "min_margin=99", "train_length=3")
    tallystick("train", "reverse", *small, "--steps", 4, "--out", out)
    measure = ("eval", out, "--lengths", "3", "--samples", 2)
    assert tallystick(*measure).err == ""
    config = runs.read_config(out)
    document = json.loads((out / "config.json").read_text())
    document["settings"]["steps"] = 8
    (out / "config.json").write_text(json.dumps(document))
    again = f"warning: {out} was interrupted at step 4 of at most 8; continue with: tallystick resume '{out}'\n"
    assert tallystick(*measure).err == again
    with runs.training(out):
        assert "is still being trained; its weights of step 4 of at most 8 are measured" in tallystick(*measure).err
    report = json.loads(tallystick(*measure, "--json").out)
    assert report["trained"] == {"step": 4, "finished": False, "passed": False}
    shutil.rmtree(out)
    runs.create(out, config, tasks.load("reverse"))
    from tallystick.training.trainer import Trainer

    Trainer(out, config, lambda row: None).save()
    assert "has made no training step; its weights are random" in tallystick(*measure).err


def test_a_changed_file_is_told_once(tallystick, tmp_path):
    mine, folders = tmp_path / "mine.py", [tmp_path / name for name in "ab"]
    mine.write_text(MINE.read_text())
    for folder in folders:
        tallystick("train", f"{mine}:Reverse", "--model", "lookup", "examples=20", "--out", folder)
    mine.write_text(MINE.read_text() + "# edited\n")
    printed = tallystick("eval", *folders, "--lengths", "3", "--samples", 2)
    assert printed.err.count("has changed since it was trained on") == 1


class Symbol(str):
    """A symbol that can be watched, also in copies of a prompt."""


class Watched(Addition):
    """Counts how many of its prompts are alive, by watching their first symbols."""

    alive = most = 0

    def problem(self, *arguments, **options):
        prompt = super().problem(*arguments, **options)
        prompt[0] = Symbol(prompt[0])
        Watched.alive += 1
        weakref.finalize(prompt[0], self._freed)
        Watched.most = max(Watched.most, Watched.alive)
        return prompt

    @staticmethod
    def _freed():
        Watched.alive -= 1


@pytest.mark.parametrize(("mode", "samples", "most"), [("verify", 40, 4), ("generate", 140, 132)])
def test_prompts_are_not_all_held(copy, mode, samples, most):
    """Only a few may be held by `verify`, and by `generate` those of two batches."""
    loaded = runs.load(copy)
    loaded.task = Watched()
    Watched.alive = Watched.most = 0
    gc.collect()
    sweep.evaluate(loaded, [4], samples, mode, worst_cases=False)
    assert 0 < Watched.most <= most
    assert Watched.alive <= 1


AGENT = Path(__file__).parents[2] / "models" / "codefix"


def test_another_text_task_is_posed_in_the_tokens_of_the_run(tallystick, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "_training_digests", lambda run: set())  # there are thousands
    copy = shutil.copytree(AGENT, tmp_path / "agent")
    posed = ["--on", "codefix:rename", "--lengths", "4", "--samples", 2, "--json"]
    document = json.loads(tallystick("eval", copy, *posed).out)
    kept = json.loads((copy / "eval-codefix-rename.json").read_text())
    assert document["on"] == kept["on"] == "codefix:rename"
    assert document["task"] == "codefix"
    assert [row["samples"] for row in kept["rows"]] == [2, 1]
    assert not (copy / "eval.json").exists()


def test_the_other_task_has_the_teacher_of_the_run_where_it_can():
    run = runs.load(AGENT)
    run.config = replace(run.config, variant="three")
    assert sweep.posed_to(run, "codefix").variant == "three"
    assert sweep.posed_to(run, "codefix:rename").variant == "general"


def test_only_tasks_with_the_same_tokens_are_posed_instead(tallystick, run, tmp_path):
    copy = shutil.copytree(AGENT, tmp_path / "agent")
    for arguments, message in (
        ([copy, "--on", "addition"], "text tasks"),
        ([run, "--on", "codefix"], "text tasks"),
        ([copy, "--on", "codefix", "--part", "codefix"], "leave one out"),
    ):
        assert message in tallystick("eval", *arguments, code=2).err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--backend", "cpu"], "--backend has no effect: only --mode generate decodes; leave it out"),
        (["--mode", "generate", "--backend", "gpu"], "unknown backend 'gpu'; there are: auto, cpu, cuda, eager"),
    ],
)
def test_a_backend_that_cannot_be(tallystick, run, options, message):
    assert message in tallystick("eval", run, "--lengths", 3, *options, code=2).err


def test_a_backend_that_does_not_run_the_model(tallystick, lookup_run):
    for words in (("eval", lookup_run, "--lengths", 3, "--mode", "generate"), ("solve", lookup_run, "101>")):
        printed = tallystick(*words, "--backend", "cpu", code=2)
        assert "the backend cpu runs Mamba2, Mamba1, LSTM, GRU, not Lookup; use --backend eager" in printed.err
        assert printed.out == ""
