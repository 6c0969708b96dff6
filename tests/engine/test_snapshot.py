"""Snapshots: a session that goes on from one says what it would have said, and one of another model is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tallystick import models, runs
from tallystick.engine import gpu_packing, packing
from tallystick.engine.session import Session
from tallystick.engine.snapshot import FORMAT, load
from tallystick.tools.shell.fast import FastShell


@pytest.fixture(scope="module")
def run():
    return runs.load(Path(__file__).parents[2] / "models" / "codefix")


def turns(session, shell, most=100):
    said = []
    while len(said) < most:
        said.append(session.speak())
        if said[-1].command is None:
            break
        session.hear(shell.run(said[-1].command))
    return said


@pytest.mark.parametrize("before", [0, 1, 4])
@pytest.mark.parametrize(("backend", "later"), [("eager", "cpu"), ("cpu", "eager"), ("cpu", "cpu")])
def test_sessions_that_go_on_from_a_snapshot_say_what_the_first_one_says(run, tmp_path, backend, later, before):
    files = run.task.problem("test", 0, 4, 0).files
    whole = turns(Session(run.model, run.task, run.task.default_prompt, backend), FastShell(files))
    assert len(whole) > before + 1
    assert whole[-1].stop == "eos"

    session, shell = Session(run.model, run.task, run.task.default_prompt, backend), FastShell(files)
    turns(session, shell, before)
    session.snapshot().save(tmp_path / "session.safetensors")
    position = session.tokens
    assert turns(session, shell) == whole[before:]  # a snapshot changes nothing
    for _ in range(2):
        shell = FastShell(files)
        turns(Session(run.model, run.task, run.task.default_prompt, backend), shell, before)
        fork = Session.resume(run.model, run.task, load(tmp_path / "session.safetensors"), later)
        assert fork.tokens == position
        assert replace(fork.snapshot(), state={}) == replace(load(tmp_path / "session.safetensors"), state={})
        assert turns(fork, shell) == whole[before:]
        assert fork.tokens == session.tokens


def test_a_command_may_wait_for_its_answer(run):
    files = run.task.problem("test", 0, 4, 1).files
    session, shell = Session(run.model, run.task, run.task.default_prompt), FastShell(files)
    turn = session.speak()
    fork = Session.resume(run.model, run.task, session.snapshot())
    ran = shell.run(turn.command)
    for each in (session, fork):
        each.hear(ran)
    assert session.speak() == fork.speak()


def test_the_file_does_not_grow(run, tmp_path):
    sizes = set()
    for number, length in enumerate((4, 16)):
        session = Session(run.model, run.task, run.task.default_prompt)
        shell = FastShell(run.task.problem("test", 0, length, 0).files)
        turns(session, shell, 2)
        session.speak()
        session.snapshot().save(tmp_path / str(number))
        sizes.add(sum(tensor.nbytes for tensor in load(tmp_path / str(number)).state.values()))
    assert sizes == {session.state_bytes}


def test_a_session_that_is_over_has_no_snapshot(run):
    files = run.task.problem("test", 0, 4, 0).files
    session = Session(run.model, run.task, run.task.default_prompt)
    turns(session, FastShell(files))
    with pytest.raises(ValueError, match=r"the session is over \(eos\)"):
        session.snapshot()


def test_another_model_or_vocabulary_is_refused(run):
    snapshot = Session(run.model, run.task, run.task.default_prompt).snapshot()
    other = models.build("mamba2:tiny", vocab_size=len(run.task.vocab))
    with pytest.raises(ValueError, match="another model"):
        Session.resume(other, run.task, snapshot)
    with pytest.raises(ValueError, match="another vocabulary"):
        snapshot.check(run.model, run.task.vocab.tokens[::-1])


def test_a_damaged_file_and_another_version_are_refused(run, tmp_path):
    path = tmp_path / "session.safetensors"
    path.write_bytes(b"no snapshot")
    with pytest.raises(ValueError, match=f"{path} is not a snapshot"):
        load(path)
    Session(run.model, run.task, run.task.default_prompt).snapshot().save(path)
    said, old = path.read_bytes(), f'\\"format\\": {FORMAT}'.encode()
    assert old in said
    path.write_bytes(said.replace(old, b'\\"format\\": 0'))
    with pytest.raises(ValueError, match=f"format 0; this version of tallystick reads {FORMAT}"):
        load(path)


@pytest.mark.parametrize("name", ["mamba2:tiny", "mamba1:tiny", "lstm:tiny", "gru:tiny"])
def test_the_compiled_step_takes_a_state_and_gives_it_back(name):
    model = models.build(name, vocab_size=20)
    _, state = model(torch.randint(20, (3, 7)))
    packed = packing.pack(model)
    returned = packed.unpack_state(packed.pack_state({part: tensor.detach() for part, tensor in state.items()}))
    for part, tensor in state.items():
        torch.testing.assert_close(returned[part], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("sizes", [{}, {"d_model": 24, "d_state": 5, "head_dim": 24, "d_conv": 3}])
def test_the_gpu_takes_a_state_and_gives_it_back(sizes):
    model = models.build("mamba2:tiny", vocab_size=20, **sizes)
    _, state = model(torch.randint(20, (3, 7)))
    packed = gpu_packing.pack(model, torch.device("cpu"))
    states_SZ = packed.pack_state({part: tensor.detach() for part, tensor in state.items()})
    assert states_SZ.shape == (3, packed.sizes["Z"])
    returned = packed.unpack_state(states_SZ, torch.zeros(3, dtype=torch.long))
    for part, tensor in state.items():
        torch.testing.assert_close(returned[part], tensor, rtol=0, atol=0)
