"""verify and generate: equal on the same episodes, by test; and each way an episode can end."""

from contextlib import suppress
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from tallystick import engine, models, tasks
from tallystick.data import players
from tallystick.data.loader import Share, produce
from tallystick.data.players import Players
from tallystick.data.source import Source
from tallystick.engine.margins import low_margin, margin
from tallystick.episode import BLOCK, StopReason
from tallystick.evaluation.interleave import EpisodeStream, batches
from tallystick.evaluation.verify import _Scan, verify, verify_recorded
from tallystick.locality import sequences
from tallystick.models.base import Model
from tallystick.models.lookup import SURE
from tallystick.tasks import runner

TASK = tasks.load("reverse")


def lookup(task=TASK, examples=200, length=5):
    model = models.build("lookup", vocab_size=len(task.vocab))
    return model.fit(sequences.sample(task, "train", 0, length, examples))


PROBLEMS = [TASK.problem("test", 0, length, i) for i in range(4) for length in (1, 3, 10, 20)]


class Enough(Exception):
    """Raised to end the stream of batches."""


@cache
def training_batches():
    batches = []

    def keep(portion):
        batches.append(portion.batch)
        if len(batches) == 100:
            raise Enough

    with suppress(Enough):
        produce(TASK, Share(Source(task="reverse", variant=None, length=10, seed=0), 4, 64), keep)
    return batches


@cache
def half_trained(name, lr):
    """A model that is right on some of PROBLEMS and wrong on others.

    It is trained until it is right on one, then its weights are moved back towards those before until it is not right
    on all: by its results, for the number of steps that it takes differs between processors.
    """
    model = untrained(name)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    before = {}
    for step, batch in enumerate(training_batches()):
        if step % 5 == 0:
            if rights(model):
                move_back(model, before)
                break
            before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
        ids, mask = torch.from_numpy(batch.ids.astype(np.int64)), torch.from_numpy(batch.trained)
        logits = model(ids[:, :-1], reset_BL=torch.from_numpy(batch.reset))[0]
        loss = torch.nn.functional.cross_entropy(logits[mask], ids[:, 1:][mask])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def move_back(model, before):
    """Halve the way between weights that are right on nothing and weights that are right on all."""
    after = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    low, share, high = 0.0, 1.0, 1.0
    while not 0 < (right := rights(model)) < len(PROBLEMS):
        low, high = (low, share) if right else (share, high)
        share = (low + high) / 2
        assert low < share < high
        model.load_state_dict({key: before[key].lerp(after[key], share) for key in before})


def untrained(name, task=TASK):
    torch.manual_seed(0)
    return models.build(name, vocab_size=len(task.vocab)).eval()


def rights(model):
    """Count the PROBLEMS that the model solves."""
    return sum(result.exact for result in verify(model, TASK, PROBLEMS))


MODELS = {
    "lookup that knows little": lambda: lookup(examples=2, length=3),
    "lookup": lookup,
    "mamba2, untrained": lambda: untrained("mamba2"),
    "mamba2, half trained": lambda: half_trained("mamba2", 1e-3),
    "pythia, half trained": lambda: half_trained("pythia", 5e-3),
    "lstm, half trained": lambda: half_trained("lstm", 1e-3),  # in several rows
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("chunk", [7, 64, 10_000])
def test_verify_is_generate(name, chunk):
    model = MODELS[name]()
    verified, generated = verify(model, TASK, PROBLEMS, chunk=chunk), engine.generate(model, TASK, PROBLEMS)
    assert_alike(verified, generated)


def assert_alike(ones, others):
    """Compare results up to rounding, since episodes are cut at other places."""
    assert len(ones) == len(others)
    for one, other in zip(ones, others, strict=True):
        assert (one.exact, one.model_tokens) == (other.exact, other.model_tokens)
        assert abs(one.min_margin - other.min_margin) < 1e-3
        if one.exact:
            assert one.answer is other.answer is True
            assert one.score == other.score == 1
            assert one.stop == other.stop == StopReason.EOS
        else:
            keys = ("position", "context", "want", "got")
            assert [one.first_error[key] for key in keys] == [other.first_error[key] for key in keys]
            assert one.score is None


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("chunk", [7, 64, 10_000])
def test_scored_late_is_scored_alike(name, chunk):
    """On a GPU a chunk is scored after the next one has begun."""
    model = MODELS[name]()
    late = _Scan(model, TASK, chunk, carry=False, late=1)
    with Players(TASK, 0) as nobody:
        assert_alike(late.run(late.of_programs(PROBLEMS, nobody)), verify(model, TASK, PROBLEMS, chunk=chunk))


@pytest.mark.parametrize("name", ["mamba2, half trained"])
def test_programs_in_processes_are_verified_alike(name, monkeypatch):
    """For a GPU programs run in processes, and sequences share a chunk."""
    monkeypatch.setattr(players, "LONG", 4)
    monkeypatch.setattr(players, "PATIENCE", 0.0)
    model = MODELS[name]()
    scan = _Scan(model, TASK, 300, carry=False, late=1)
    scan.rows, scan.processes = 3, 2
    with Players(TASK, scan.processes) as two:
        assert_alike(scan.run(scan.of_programs(PROBLEMS, two)), verify(model, TASK, PROBLEMS, chunk=100))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("carry", [False, True])
def test_recorded_trajectories_are_verified_alike(name, carry):
    records = [runner.record(TASK, prompt) for prompt in PROBLEMS]
    results = verify_recorded(MODELS[name](), TASK, records, carry=carry)
    expected = verify(MODELS[name](), TASK, PROBLEMS, carry=carry)
    assert results == [replace(result, low_margin_tokens=0) for result in expected]


@pytest.mark.parametrize("name", [name for name in MODELS if "half" in name or "little" in name])
def test_half_trained_models_are_half_right(name):
    """Otherwise the tests above would compare nothing."""
    assert 0 < rights(MODELS[name]()) < len(PROBLEMS)


def test_an_exact_episode():
    (result,) = verify(lookup(), TASK, [list("1101") + [">"]])
    assert (result.exact, result.answer, result.stop) == (True, True, StopReason.EOS)
    ids, mask = sequences.of(TASK, list("1101") + [">"])
    assert result.model_tokens == mask.sum()
    assert result.tokens == len(ids)
    assert result.min_margin == SURE
    assert result.low_margin_tokens == 0


def test_a_deviation_names_its_context():
    """After the paper's addition, lookup does not know what to do at the end of the second sweep."""
    task = tasks.load("addition", "paper")
    model = lookup(task, examples=1000)
    (result,) = verify(model, task, [task.problem("test", 0, 40, 0)])
    assert (result.exact, result.answer, result.stop) == (False, None, StopReason.UNSEEN)
    assert result.first_error["context"][-2:] == ["[p1.read]", "="]
    assert result.first_error["want"] == "[p1.left]"
    assert result.first_error["got"] is None


@pytest.mark.parametrize("name", ["mamba2", "lstm"])
def test_what_is_no_number_is_wrong(name):
    """A diverged model is never right, although comparisons with NaN are false."""
    model = untrained(name)
    with torch.no_grad():
        model.head.weight.fill_(torch.nan)
    results = verify(model, TASK, PROBLEMS)
    assert not any(result.exact for result in results)
    assert all(result.first_error["margin"] == result.min_margin < -1e30 for result in results)


@pytest.fixture
def watched(monkeypatch):
    """Record for each batch that verify reads its lengths, and the maximum number of tokens held by a sequence."""
    seen = []

    def watching(streams, length):
        for batch in batches(streams, length):
            seen.append((batch.lengths.tolist(), max(len(stream.packed) for stream in streams)))
            yield batch

    monkeypatch.setattr("tallystick.evaluation.verify.batches", watching)
    return seen


@pytest.mark.parametrize("rows", [1, 3])
def test_an_episode_ends_with_its_deviation(rows, monkeypatch, watched):
    """A giant episode of seven blocks is dropped after the first and not read on; the others are as each is alone."""
    task = tasks.load("hanoi")
    model = untrained("lstm", task)
    monkeypatch.setattr(type(model), "verify_batch_size", rows)

    prompts = [task.problem("test", 0, 12 if i % 2 else 2, i) for i in range(6)]
    results = verify(model, task, prompts, chunk=64)
    assert [result.index for result in results] == list(range(6))
    assert [result.first_error["index"] for result in results] == list(range(6))
    assert sum(sum(lengths) for lengths, _ in watched) < 6 * 500
    assert_alike(results, [verify(model, task, [prompt], chunk=64)[0] for prompt in prompts])


@pytest.mark.parametrize("rows", [1, 3])
def test_no_more_is_written_of_it(rows, monkeypatch):
    task, written, write = tasks.load("hanoi"), [], EpisodeStream.write
    model = untrained("lstm", task)
    monkeypatch.setattr(type(model), "verify_batch_size", rows)
    monkeypatch.setattr(EpisodeStream, "write", lambda *arguments: (written.append(1), write(*arguments))[1])
    verify(model, task, [task.problem("test", 0, 12, i) for i in range(4)], chunk=64)
    assert len(written) == 4


def test_short_problems_fill_all_rows(monkeypatch, watched):
    model = lookup()
    monkeypatch.setattr(type(model), "verify_batch_size", 4)

    verify(model, TASK, [TASK.problem("test", 0, 10, i) for i in range(40)])
    by_row = zip(*(lengths for lengths, _ in watched), strict=True)
    (each,) = {sum(lengths) for lengths in by_row}  # as many tokens in every row, for all problems are alike
    assert each > 100


def test_near_ties_are_counted(monkeypatch):
    model = half_trained("mamba2", 1e-3)
    monkeypatch.setattr("tallystick.evaluation.verify.low_margin", lambda *arguments: 1e9)
    assert all(result.low_margin_tokens == result.model_tokens > 0 for result in verify(model, TASK, PROBLEMS))
    records = [runner.record(TASK, prompt) for prompt in PROBLEMS]
    assert not any(result.low_margin_tokens for result in verify_recorded(model, TASK, records))


def test_episodes_after_a_deviation_are_still_verified():
    model = lookup(examples=2, length=3)
    alone = [verify(model, TASK, [TASK.problem("test", 0, 12, i)])[0] for i in range(6)]
    together = verify(model, TASK, [TASK.problem("test", 0, 12, i) for i in range(6)], chunk=16)
    assert [result.exact for result in together] == [result.exact for result in alone]
    assert [result.first_error and result.first_error["position"] for result in together] == [
        result.first_error and result.first_error["position"] for result in alone
    ]


class Says(Model):
    """A scripted model that says the given tokens, whatever it reads."""

    chunk = 64

    def __init__(self, script):
        super().__init__(None)
        self.script = torch.tensor(TASK.vocab.encode(script))
        self.register_buffer("device", torch.zeros(1))

    def forward(self, ids_BL, state=None, *, reset_BL=None, length_B=None):
        state = self.init_state(len(ids_BL)) if state is None else state
        read_BL = state["read"][:, None] + torch.arange(1, ids_BL.shape[1] + 1)
        said_BL = (read_BL - self.skip).clamp(0, len(self.script) - 1)
        used = ids_BL.shape[1] if length_B is None else length_B
        logits = torch.nn.functional.one_hot(self.script[said_BL], len(TASK.vocab)).float()
        return logits, {"read": state["read"] + used}

    def init_state(self, batch):
        return {"read": torch.zeros(batch, dtype=torch.int64)}


@pytest.mark.parametrize(
    ("script", "stop"),
    [
        (["[ANS]", "1", "[EOS]"], StopReason.EOS),
        (["[ANS]", "[ANS]"], StopReason.BAD_COMMAND),
        (["[BOS]"], StopReason.BAD_COMMAND),
        (["0"], StopReason.TOKEN_LIMIT),
    ],
)
def test_how_an_episode_ends(script, stop):
    model = Says(script)
    model.skip = 3  # [BOS] 1 > come first
    (result,) = engine.generate(model, TASK, [["1", ">"]])
    assert result.stop == stop
    assert not result.exact
    assert result.answer == (stop == StopReason.EOS)  # right, though not the program's way


def test_token_limit():
    model = Says(["0"])
    model.skip = 3
    (result,) = engine.generate(model, TASK, [["1", ">"]], max_tokens=10)
    assert (result.stop, result.tokens) == (StopReason.TOKEN_LIMIT, 10)


def test_margin():
    logits = torch.tensor([[1.0, 3.0, 2.0], [5.0, 3.0, 5.0]])
    torch.testing.assert_close(margin(logits, torch.tensor([1, 0])), torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(margin(logits, torch.tensor([0, 1])), torch.tensor([-2.0, -2.0]))


def test_a_near_tie_is_at_least_a_thousandth():
    prompt = TASK.problem("test", 0, 10, 0)
    assert low_margin(lookup(), TASK, prompt, torch.device("cpu")) == 1e-3


@pytest.mark.parametrize("rows", [1, 3])
def test_memory_does_not_grow_with_the_length(rows, monkeypatch, watched):
    """Every sequence holds a chunk and a block, whatever the episodes' length, and all are full."""
    model = lookup()
    monkeypatch.setattr(type(model), "verify_batch_size", rows)

    results = verify(model, TASK, [TASK.problem("test", 0, 40_000, i) for i in range(rows)], chunk=1024)
    assert all(result.exact and result.tokens > 2 * BLOCK for result in results)
    assert max(most for _, most in watched) <= BLOCK
    assert {min(lengths) for lengths, _ in watched} == {1024, (results[0].tokens - 1) % 1024}  # all are as long


def test_carried_states():
    """With `carry`, the second episode is read as the continuation of the first."""
    torch.manual_seed(0)
    model = models.build("mamba2", vocab_size=len(TASK.vocab), dt_min=0.001, dt_max=0.002).eval()  # a long memory
    prompts = [TASK.problem("test", 0, 9, i) for i in range(2)]
    (ids, _), (others, mask) = (sequences.of(TASK, prompt) for prompt in prompts)
    both, trained = torch.from_numpy(np.concatenate([ids, others]).astype(np.int64)), torch.from_numpy(mask[1:])
    margins = margin(model(both[None])[0][0, len(ids) : -1][trained], both[len(ids) + 1 :][trained])
    expected = margins[: int((margins <= 0).nonzero()[0, 0]) + 1].min().item()
    fresh, carried = verify(model, TASK, prompts), verify(model, TASK, prompts, carry=True)
    assert carried[0].min_margin == pytest.approx(fresh[0].min_margin, rel=1e-4)
    assert carried[1].min_margin == pytest.approx(expected, rel=1e-4)
    assert carried[1].min_margin != pytest.approx(fresh[1].min_margin, rel=1e-3)


def test_without_a_tool_its_answers_count():
    """In addition's variant no-tool, everything after the prompt is the model's to say; only verify measures it."""
    task = tasks.load("addition", "no-tool")
    prompt = list("58+67=")
    ids, mask = sequences.of(task, prompt)
    assert mask.tolist() == [False] * (len(prompt) + 1) + [True] * (len(ids) - len(prompt) - 1)
    model = models.build("lookup", vocab_size=len(task.vocab)).fit([(ids, mask)])
    (result,) = verify(model, task, [prompt])
    assert (result.exact, result.model_tokens) == (True, mask.sum())
    with pytest.raises(ValueError, match="no-tool: this model works without tools"):
        engine.generate(model, task, [prompt])
