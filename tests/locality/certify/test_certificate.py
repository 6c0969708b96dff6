"""Certificates: exact models have one that other code verifies, and models with faults never have."""

import copy
import random
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tallystick import models, runs, suffix
from tallystick.locality import Refusal, sequences
from tallystick.locality.certify import certificate, checker, errors, search
from tallystick.locality.certify.certificate import certify, graph_hash
from tallystick.locality.certify.contexts import PAD
from tallystick.locality.certify.table import Table
from tallystick.locality.proof import proved_graph
from tallystick.storage import parse_json
from tallystick.tasks import load

sys.path.insert(0, str(Path(__file__).parent))
from walking import TRAINED, bounds_of, contexts_of, fitted, random_model, trained

EXACT = TRAINED["mamba2"]
IDENTITY = {"task": "reverse", "variant": "default", "weights": "w", "task_source": "s"}
QUICK, ALL = {"mamba2": (1, 2), "mamba1": (0,), "conv": (0,)}, 20
"""Seeds of the quick tests, whose faults are planted in few steps, and number of seeds with the slow ones."""


@pytest.fixture
def exact():
    return trained("mamba2")


@pytest.mark.parametrize("name", [*TRAINED, "lookup"])
def test_an_exact_model_is_certified_and_the_certificate_is_verified(name):
    task, model = load("reverse"), fitted(200) if name == "lookup" else trained(name)
    verdict, made = certify(task, model, IDENTITY)
    assert verdict["verdict"] == "certified"
    assert verdict["open"] == []
    assert made["min_margin"] == verdict["min_margin"] > 1
    assert len(made["blocks"]) == (2 if name.startswith("mamba") else 0)
    assert checker.check(made, task, model, IDENTITY, lambda _: None) == ""


def planted(model, task, seed):
    """Fine-tune a model to say a wrong token after a random word of five tokens, at once or some tokens later."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    word = "".join(rng.choices("01", k=4)) + ">"
    prompts = [rng.choices("01", k=rng.randint(1, 7)) for _ in range(24)]
    prompts = [[*prompt, ">"] for prompt in prompts] + [[*prompt, *word] for prompt in prompts[:8]] + [[*word]] * 2
    tokens = [task.vocab.ids[token] for token in ("[p0.left]", "[p0.right]", "[ANS]", "0", "1", "[EOS]")]
    wrong, instead = rng.sample(tokens, 2)  # the second where the first is right
    later = rng.choice([0, 0, 1, 3])  # number of tokens that the program says between the word and the fault
    rows, faults = [], []
    for prompt in prompts:
        ids, mask = sequences.of(task, prompt)
        ids, weight = torch.from_numpy(ids.astype(np.int64)), torch.from_numpy(mask[1:]).float()
        target, at = ids[1:].clone(), np.flatnonzero(mask[1:])[later]
        if "".join(prompt).endswith(word):
            target[at], weight[at] = (wrong if target[at] != wrong else instead), 5.0
            faults.append((len(rows), at))
        rows.append((ids[:-1], target, weight))
    length = max(len(ids) for ids, _, _ in rows)
    ids, target, weight = (torch.stack([F.pad(row[i], (0, length - len(row[0]))) for row in rows]) for i in range(3))
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3, weight_decay=0.0)
    row, at = zip(*faults, strict=True)
    for _ in range(1000):
        logits = model(ids)[0]
        if (logits[row, at].argmax(-1) == target[row, at]).all():
            return model.eval()
        loss = F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none")
        optimizer.zero_grad()
        ((loss * weight.flatten()).sum() / weight.sum()).backward()
        optimizer.step()
    raise AssertionError("no fault was planted")


FAULTS = [
    pytest.param(name, seed, marks=[] if seed in QUICK[name] else [pytest.mark.slow])
    for name in TRAINED
    for seed in range(ALL)
]


@pytest.mark.parametrize(("name", "seed"), FAULTS)
def test_a_planted_fault_is_never_certified(name, seed):
    task = load("reverse")
    model = planted(trained(name), task, seed)
    verdict, made = certify(task, model, IDENTITY)
    assert verdict["verdict"] == "not certified"
    assert made is None
    assert any(row["real_error"] for row in verdict["open"])
    for row in verdict["open"]:
        assert not row["bound"] > 0
        if row["real_error"]:
            assert_real(model, task, row)
    assert forged_for(task, model)


def forged_for(task, model):
    """Return why a forged certificate is not verified."""
    forged = {"format": 1, **IDENTITY, "machine": graph_hash(proved_graph(task).graph), "tokens": 4}
    return checker.check(forged, task, model, IDENTITY, lambda _: None)


@pytest.mark.parametrize("tokens", [1, 4])
@pytest.mark.parametrize("change", ["another token", "no edge"])
def test_any_fault_of_a_table_is_found(change, tokens):
    """Each leaf was met in training, so a run has it, and with it the fault."""
    task, contexts, whole = load("reverse"), contexts_of("reverse", tokens), fitted(200)
    assert not search.search(Table(whole, contexts), lambda paths: np.zeros(len(paths), bool)).open
    assert not checker.against_table(whole, contexts.graph)
    leaves = (whole.values_E < 0).nonzero()[:, 0].tolist()
    assert len(leaves) > 10
    for leaf in leaves:
        model = copy.deepcopy(whole)
        if change == "no edge":
            kept = torch.arange(len(model.keys_E)) != leaf
            model.keys_E, model.values_E = model.keys_E[kept], model.values_E[kept]
        else:
            model.values_E[leaf] = -2 - (-2 - int(model.values_E[leaf]) + 1 + leaf % 3) % len(task.vocab)
        found = search.search(Table(model, contexts), lambda paths: np.zeros(len(paths), bool))
        assert found.open
        assert "the table" in checker.against_table(model, contexts.graph)
    verdict, made = certify(task, model, IDENTITY)
    assert made is None
    assert any(row["real_error"] for row in verdict["open"])
    assert "the table" in forged_for(task, model)


def test_one_open_context_is_enough_for_no_certificate():
    task, model = load("reverse"), fitted(200)
    after_ans = model.keys_E == task.vocab.ids["[ANS]"]
    assert after_ans.sum() == 1
    model.values_E[after_ans] = -2 - task.vocab.ids["[EOS]"]
    verdict, made = certify(task, model, IDENTITY)
    assert [(row["context"][-1], row["want"]) for row in verdict["open"]] == [("[ANS]", "[p0.left]")]
    assert verdict["verdict"] == "not certified"
    assert made is None


def test_a_table_is_walked_before_the_beginning_only_where_it_is_known():
    """A table that tells whether anything came before a token: unknown tokens leave it open."""
    model = models.build("lookup", vocab_size=len(load("reverse").vocab))
    width, token = len(load("reverse").vocab) + 1, 4
    model.keys_E, model.values_E = torch.tensor([token, width + width - 1]), torch.tensor([1, -2 - 3])
    table = Table(model, contexts_of("reverse"))
    assert table._walk(np.array([[7, token], [PAD, token]])).tolist() == [suffix.UNSEEN, -2 - 3]
    assert table._walk(np.array([[token]])).tolist() == [1]


@pytest.mark.parametrize("reach", [1, 2, 3])
def test_a_table_is_read_as_far_as_the_model_reads_it(reach):
    """reverse has k = 3; whatever the table holds, a model that reads fewer tokens is not certified."""
    task, model = load("reverse"), fitted(200)
    model.config = replace(model.config, reach=reach)
    verdict, made = certify(task, model, IDENTITY)
    assert (made is not None) == (reach == 3) == (not forged_for(task, model))


def test_a_table_of_few_examples(monkeypatch):
    """What the table lacks is open; the errors that are named are real."""
    monkeypatch.setattr(errors, "AIMED", 10)
    monkeypatch.setattr(errors, "RANDOM", 5)
    task = load("addition")
    model = models.build("lookup", vocab_size=len(task.vocab))
    with pytest.raises(Refusal, match="not fitted"):
        certify(task, model, IDENTITY)
    model.fit([sequences.of(task, task.problem("train", 0, 3, number)) for number in range(3)])
    verdict, made = certify(task, model, IDENTITY)
    assert made is None
    assert any(row["real_error"] for row in verdict["open"])
    for row in verdict["open"]:
        if row["real_error"]:
            assert_real(model, task, row)


def assert_real(model, task, row):
    """Assert that the model errs on the problem in the context."""
    ids, mask = sequences.of(task, task.parse(row["problem"]))
    want = torch.from_numpy(ids[1:].astype(np.int64))[:, None]
    with torch.no_grad():
        logits = model(torch.from_numpy(ids.astype(np.int64))[None, :-1])[0][0]
    right = logits.gather(1, want)[:, 0] > logits.scatter(1, want, float("-inf")).amax(1)
    wrong = np.flatnonzero(~right.numpy() & mask[1:])
    last = row["context"][-4:]
    words = task.vocab.decode(ids.tolist())
    assert any(words[max(0, at - 3) : at + 1] == last and words[at + 1] == row["want"] for at in wrong)


@pytest.mark.parametrize("limit", [{"deepest": 2}, {"AT_ONCE": 2}, {"MOST": 50}], ids=str)
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    ("name", "context"), [("mamba2", 0), ("mamba2", 14), ("mamba2", 28), ("mamba1", 9), ("conv", 3)]
)
def test_a_wrong_token_in_one_context_stays_open(name, context, known, limit, monkeypatch):
    """The program's graph is changed instead of the model: it says another token at one node.

    known: whether a problem is known on which the model errs. limit: which limit of the search ends it.
    """
    graph = proved_graph(load("reverse")).graph
    said = np.flatnonzero(graph.said >= 0)
    node = said[context % len(said)]
    graph.said = graph.said.copy()
    graph.said[node] = graph.said[said[graph.said[said] != graph.said[node]][0]]
    contexts = certificate.Contexts(graph, 4)
    bounds = bounds_of(trained(name), contexts)
    for name, value in limit.items():
        monkeypatch.setattr(search if name.isupper() else bounds, name, value)
    found = search.search(bounds, lambda paths: np.full(len(paths), known))
    assert {contexts.node[path[-1]] for path, _, _ in found.open} == {node}


def test_a_model_that_errs_on_a_way_that_no_problem_takes_is_wrong():
    """The graph says another token at one node; no problem shows an error, for the model says what the program says."""
    graph, model = proved_graph(load("reverse")).graph, trained("mamba2")
    node = np.flatnonzero(graph.said >= 0)[-1]
    graph.said = graph.said.copy()
    graph.said[node] = (graph.said[node] + 1) % len(load("reverse").vocab)
    contexts = certificate.Contexts(graph, 4)
    known = errors.Known(load("reverse"), model, contexts, 0)
    assert (known.wrong(contexts.speaking[:, None]) == (contexts.node[contexts.speaking] == node)).all()
    assert not known.problems


class Scripted:
    """Bounds that give every margin as 1 but one, whatever is known before it."""

    deepest = 2

    def __init__(self, contexts, value):
        self.contexts, self.value, self.at = contexts, value, contexts.speaking[5]

    def margins_along(self, paths):
        return np.where(paths[:, -1] == self.at, self.value, 1.0), np.zeros(len(paths), int)

    def margins(self, which):
        return self.margins_along(which[:, None])


@pytest.mark.parametrize("value", [0.0, -1e-9, -0.5, -np.inf, np.nan])
def test_only_a_margin_above_zero_is_certified(value):
    scripted = Scripted(contexts_of("reverse"), value)
    found = search.search(scripted, lambda paths: np.zeros(len(paths), bool))
    assert {path[-1] for path, _, _ in found.open} == {scripted.at}
    assert found.least == 1.0


@pytest.mark.parametrize("name", ["mamba2:tiny", "mamba1:tiny", "conv:tiny"])
def test_a_model_of_random_weights_is_not_certified(name):
    task = load("reverse")
    model = random_model(len(task.vocab), 0, name)
    verdict, made = certify(task, model, IDENTITY)
    assert made is None
    assert any(row["real_error"] for row in verdict["open"])


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e30])
def test_weights_that_are_no_numbers_or_absurd(exact, value):
    with torch.no_grad():
        exact.head.weight[3, 3] = value
    with pytest.raises(Refusal, match="weights"):
        certify(load("reverse"), exact, IDENTITY)


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("mamba2:tiny", {}, "no floor"),
        ("mamba2:tiny", {"dt_floor": 2, "d_model": 512}, "wider"),
        ("mamba1:tiny", {}, "no floor"),
        ("mamba1:tiny", {"dt_floor": 2, "d_state": 128}, "d_state"),
        ("conv:tiny", {"d_model": 512}, "wider"),
        ("mistral:tiny", {}, "window"),
        ("nope:tiny", {}, "whole sequence"),
        ("hybrid:tiny", {}, "whole sequence"),
        ("rmt:tiny", {}, "memory tokens"),
        ("gated-deltanet:tiny", {}, "rotated"),
        ("bits:tiny", {}, "bits"),
        ("lstm:tiny", {}, "forget gate"),
        ("gru:tiny", {}, "update gate"),
        ("pythia:tiny", {}, "whole sequence"),
    ],
)
def test_models_without_bounds_are_refused_by_name(name, settings, said):
    task = load("reverse")
    model = models.build(name, vocab_size=len(task.vocab), **settings)
    with pytest.raises(Refusal, match=said):
        certify(task, model, IDENTITY)


def test_a_program_that_is_not_local_is_refused(exact):
    with pytest.raises(Refusal, match="no number of last tokens"):
        certify(load("addition", "paper"), exact, IDENTITY)


@pytest.mark.parametrize("key", ["format", "weights", "task_source", "machine", "variant"])
def test_a_certificate_of_something_else_is_not_verified(exact, key):
    task = load("reverse")
    _, made = certify(task, exact, IDENTITY)
    assert checker.check({**made, key: "another"}, task, exact, IDENTITY, lambda _: None)


def test_command(tallystick, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(EXACT, run)
    document = parse_json(tallystick("certify", run, "--json").out)
    assert set(document) == {"verdict", "min_margin", "contexts", "open", "seconds", "assumptions"}
    assert (document["verdict"], document["open"]) == ("certified", [])
    assert "certified exact at every length" in tallystick("certify", run).out
    assert "verified" in tallystick("certify", "--check", run / "certificate.json").out
    stored = runs.load(run)
    with torch.no_grad():
        stored.model.head.weight[:] = stored.model.head.weight.flip(0)
    runs.save_model(run, stored.model, 0)
    assert "another weights" in tallystick("certify", "--check", run / "certificate.json", code=1).err
    said = tallystick("certify", run, code=1).out
    assert "not certified" in said
    assert "a real error" in said
    assert not (run / "certificate.json").exists()


def test_mistakes(tallystick, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(EXACT, run)
    assert "give a run folder" in tallystick("certify", code=2).err
    assert "give a run folder" in tallystick("certify", run, "--check", run / "certificate.json", code=2).err
    (run / "certificate.json").write_text("{")
    assert "is not a certificate" in tallystick("certify", "--check", run / "certificate.json", code=2).err
    config = runs.read_config(run)
    runs.write_config(run, replace(config, model_settings={**config.model_settings, "dt_floor": 0.0}))
    assert "cannot be certified: its step size has no floor" in tallystick("certify", run, code=2).err
