"""Tests of recorded trajectories as a task: what is held out, what is drawn, and that nothing but texts matters."""

import json
import shutil

import numpy as np
import pytest

from tallystick import locality, runs, tasks
from tallystick.config import configure
from tallystick.data.files import write
from tallystick.data.loader import Share, produce
from tallystick.data.source import Source
from tallystick.engine.generation import generate
from tallystick.episode import Role
from tallystick.evaluation import sweep
from tallystick.evaluation.verify import verify
from tallystick.problem import prompt_digest
from tallystick.tasks import runner
from tallystick.tasks.recorded import collection
from tallystick.training import loop
from tallystick.training.trainer import Trainer


def chat(prompt, calls):
    """Return a conversation: a command for each call, each answered, and a last word."""
    messages = [{"role": "user", "content": prompt}]
    for number in range(calls):
        function = {"name": "bash", "arguments": {"command": f"echo {number}"}}
        messages.append({"role": "assistant", "content": "", "tool_calls": [{"id": str(number), "function": function}]})
        messages.append({"role": "tool", "tool_call_id": str(number), "content": f"0\n{number}\n"})
    return {"messages": [*messages, {"role": "assistant", "content": f"Done: {prompt}."}]}


def saved(path, documents):
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))
    return str(path)


@pytest.fixture
def many(tmp_path):
    """Forty prompts, with two trajectories each, of 1 to 8 calls."""
    return saved(tmp_path / "many.jsonl", [chat(f"task {n // 2}", n % 8 + 1) for n in range(80)])


@pytest.fixture(scope="module")
def fixes(tmp_path_factory):
    """Trajectories of codefix in OpenAI's form."""
    path = tmp_path_factory.mktemp("fixes") / "fixes.jsonl"
    write(tasks.load("codefix"), path, [6], 30, "train", 0, "openai")
    return path


def drawn(task, split, length, count, **options):
    return [prompt_digest(task.problem(split, 0, length, index, **options)) for index in range(count)]


def test_tokens_and_roles_are_those_of_the_task_itself(fixes):
    """The sequence of codefix's own program is that of its trajectory as messages, read back."""
    own, read = tasks.load("codefix"), tasks.load(str(fixes))
    sequences = {}
    for index in range(30):
        record = runner.record(own, own.problem("train", 0, 6, index, up_to=True))
        words = own.vocab.decode(record.ids.tolist())
        sequences["".join(words)] = [(word, role) for word, role in zip(words, record.roles.tolist(), strict=True)]
    for index in range(read.collection.count("show", read.max_length, up_to=True)):
        record = runner.record(read, read.problem("show", 0, read.max_length, index, up_to=True))
        words, own_words = (
            read.vocab.decode(record.ids.tolist()),
            sequences["".join(read.vocab.decode(record.ids.tolist()))],
        )
        said = np.repeat(record.roles, [len(word) for word in words]).tolist()
        assert said == np.repeat([role for _, role in own_words], [len(word) for word, _ in own_words]).tolist()


def test_no_prompt_is_on_both_sides(many):
    task = tasks.load(many)
    sides = {
        split: {"".join(task.problem(split, 0, 8, i, up_to=True)) for i in task.indices(split, 8, 1000, up_to=True)}
        for split in ("train", "test")
    }
    assert len(sides["train"]), len(sides["test"]) == (36, 4)
    assert not sides["train"] & sides["test"]


def test_with_few_prompts_trajectories_are_held_out(tmp_path):
    documents = [chat("the same" if n % 3 else f"another {n}", n + 1) for n in range(20)]
    task = tasks.load(saved(tmp_path / "a.jsonl", documents + documents))
    counts = {split: task.collection.count(split, 20, up_to=True) for split in ("train", "test")}
    assert counts == {"train": 36, "test": 4}  # equal ones are on the same side
    assert not set(drawn(task, "train", 20, 36, up_to=True)) & set(drawn(task, "test", 20, 4, up_to=True))


def test_all_are_drawn_before_one_is_drawn_again(many):
    task = tasks.load(many)
    count = task.collection.count("train", 8, up_to=True)
    first, second = drawn(task, "train", 8, count, up_to=True), drawn(task, "train", 8, 2 * count, up_to=True)[count:]
    assert len(set(first)) == count
    assert sorted(first) == sorted(second)
    assert first != second


def test_a_length_has_the_trajectories_of_about_that_many_calls(many):
    task = tasks.load(many)
    for split, length, up_to, calls in [
        ("train", 8, False, (5, 8)),
        ("train", 8, True, (1, 8)),
        ("show", 1, False, (1, 1)),
    ]:
        found = set()
        for index in task.indices(split, length, 1000, up_to=up_to):
            record = runner.record(task, task.problem(split, 0, length, index, up_to=up_to))
            found.add(task.vocab.decode(record.ids.tolist()).count("[call]"))
        assert (min(found), max(found)) == calls


def test_no_more_problems_are_measured_than_there_are(many):
    task = tasks.load(many)
    report = locality.check(task, problems=1000)
    assert [row["problems"] for row in report["rows"]] == sorted({row["problems"] for row in report["rows"]})
    assert report["rows"][-1]["problems"] == 8
    assert report["train_problems"] == 72
    with pytest.raises(
        ValueError, match="many.jsonl: no trajectory for test has 101 to 200 calls; there are some with"
    ):
        task.indices("test", 200, 10)


def test_lengths_that_one_side_lacks_are_named(tmp_path):
    """Every length of a row is one of the task's, also where no training trajectory is so short."""
    for salt in range(20):
        documents = [chat(f"{salt} {n}", 1 if n == 0 else 5) for n in range(10)]
        task = tasks.load(saved(tmp_path / "a.jsonl", documents))
        assert [task.check_length(length) for length in task.defaults.eval] == list(task.defaults.eval)
        if task.defaults.eval == (1,):
            break
    with pytest.raises(ValueError, match="a.jsonl: no trajectory for train has 1 to 1 calls; there are some with 5"):
        task.problem("train", 0, 1, 0, up_to=True)


def test_long_held_out_trajectories_are_limited(many, monkeypatch):
    task = tasks.load(many)
    monkeypatch.setattr(collection, "HELD_OUT_TEXT", 300)
    assert 1 <= len(task.indices("holdout", 8, 1000, up_to=True)) < 8
    monkeypatch.setattr(collection, "HELD_OUT_TEXT", 1)
    assert len(task.indices("holdout", 8, 1000, up_to=True)) == 1


def test_all_that_an_agent_does_has_its_tokens(tmp_path):
    function = {"name": "open", "arguments": {"path": "x"}}
    messages = [
        {"role": "user", "content": "Go."},
        {"role": "assistant", "content": "What?", "reasoning_content": "Hm."},
        {"role": "user", "content": "On."},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "a", "function": function}]},
        {"role": "tool", "tool_call_id": "a", "content": "[obs]"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "b", "function": {"name": "end", "arguments": "{}"}}],
        },
    ]
    task = tasks.load(saved(tmp_path / "a.jsonl", [{"messages": messages}]), None, "bytes")
    record = runner.record(task, task.problem("show", 0, 3, 0))
    words = task.vocab.decode(record.ids.tolist())
    assert "".join(words) == (
        "[BOS]Go.\n[ANS][think]Hm.[/think]What?[call][user][/call][obs]On.[/obs]"
        '[call]open{"path": "x"}[/call][obs][obs][/obs][call]end[/call][EOS]'
    )
    said = np.isin(record.roles, [Role.PROMPT, Role.OBSERVATION], invert=True)
    heard = "".join(word for word, own in zip(words, said, strict=True) if not own)
    assert heard == "[BOS]Go.\n[obs]On.[/obs][obs][obs][/obs]"


def test_one_trajectory_can_be_shown_but_not_learned(tmp_path):
    task = tasks.load(saved(tmp_path / "one.jsonl", [chat("x", 2)] * 2))
    assert runner.record(task, task.problem("show", 0, 2, 0)).ok
    with pytest.raises(ValueError, match="one.jsonl: one trajectory alone cannot be learned and tested"):
        loop.train(tmp_path / "run", configure(task, "lookup", {"examples": "5"}))
    assert not (tmp_path / "run").exists()


@pytest.fixture
def trained(fixes, tmp_path):
    """A run on a copy of the trajectories, fitted by lookup."""
    file = tmp_path / "own.jsonl"
    shutil.copy(fixes, file)
    task = tasks.load(str(file))
    loop.train(tmp_path / "run", configure(task, "lookup", {"examples": "60", "tokenizer": "bpe:400"}))
    return file, tmp_path / "run"


def test_a_run_is_loaded_without_its_file(trained):
    file, path = trained
    before = runs.load(path)
    file.unlink()
    run = runs.load(path)
    assert (before.changed, run.changed) == (False, False)
    assert run.config.task == str(file)
    assert run.task.spelling.document == (path / "task" / "tokenizer.json").read_text()
    (row,) = sweep.evaluate(run, run.task.defaults.eval[-1:], samples=3)
    problem = run.task.problem("train", 0, run.task.max_length, 0, up_to=True)
    assert [result.exact for result in verify(run.model, run.task, [problem])] == [True]
    assert (row["samples"], row["train_overlap"], row["mode"]) == (3, 0, "verify")
    with pytest.raises(ValueError, match="there is no live tool to run"):
        generate(run.model, run.task, [problem])
    with pytest.raises(ValueError, match="only the problems that are recorded in it"):
        run.task.parse("another")


def test_a_changed_file_is_noticed(trained):
    file, path = trained
    file.write_text("".join(file.read_text().splitlines(keepends=True)[1:]))
    run = runs.load(path)
    assert run.changed
    assert len(run.task.collection.trajectories) == 30


def test_a_tokenizer_of_a_checkpoint_is_kept_with_the_run(trained, many, tmp_path):
    kept = (trained[1] / "task" / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(kept)
    config = configure(tasks.load(many), "lookup", {"examples": "3", "tokenizer": f"hf:{tmp_path}"})
    loop.train(tmp_path / "other", config)
    (tmp_path / "tokenizer.json").unlink()
    run = runs.load(tmp_path / "other")
    assert run.config.tokenizer == f"hf:{tmp_path}"
    assert run.task.spelling.document == kept


def test_only_text_tasks_take_a_tokenizer():
    with pytest.raises(ValueError, match="reverse is no text task, so it takes no tokenizer; leave out tokenizer=bpe"):
        configure(tasks.load("reverse"), "lookup", {"tokenizer": "bpe"})


class EnoughError(Exception):
    """Ends the endless making of batches."""


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """The name of a checkpoint's tokenizer with 70,000 tokens, of which the last is "zz"."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    tokens = [*pre_tokenizers.ByteLevel.alphabet(), *(f"unused {number}" for number in range(69_743)), "zz"]
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, [("z", "z")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    path = tmp_path_factory.mktemp("wide")
    tokenizer.save(str(path / "tokenizer.json"))
    return f"hf:{path}"


def test_a_vocabulary_may_have_more_than_65536_tokens(wide, tmp_path):
    """Their ids go through batches, a training step and verification unchanged."""
    name = saved(tmp_path / "a.jsonl", [chat(f"{number} zz", 1) for number in range(20)])
    task = tasks.load(name, None, wide)
    last = task.vocab.ids["zz"]
    assert last > 70_000
    batches = []

    def keep(portion):
        batches.append(portion.batch)
        raise EnoughError

    with pytest.raises(EnoughError):
        produce(task, Share(Source(task=name, variant=None, tokenizer=wide, length=1, seed=0), 2, 64), keep)
    ids, trained = batches[0].ids, batches[0].trained
    assert last in ids[:, 1:][trained]
    settings = {"steps": "1", "batch_size": "2", "seq_len": "64", "d_model": "32", "n_layer": "1", "tokenizer": wide}
    trainer = Trainer(tmp_path / "run", configure(task, "mamba2:tiny", settings), lambda row: None)
    before = trainer.model.state_dict()["embedding.weight"][last].clone()
    assert trainer.update(batches[0])
    assert not (trainer.model.state_dict()["embedding.weight"][last] == before).all()
    (result,) = verify(trainer.model, task, [task.problem("train", 0, 1, 0)])
    assert result.first_error["want"] in task.vocab.tokens
