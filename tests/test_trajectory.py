"""Trajectories: segments and their JSONL form."""

import io
import json

import numpy as np
import pytest

from tallystick.episode import BLOCK, ID_DTYPE, MARKS, ROLE_DTYPE, Recorder, Role
from tallystick.trajectory import FORMAT_VERSION, JsonlWriter, Trajectory, merge

TOKENS = (*MARKS, "a", "b", "[peek]")

SEGMENTS = [
    (Role.PROMPT, ["ü", "\n", '"']),
    (Role.THOUGHT, "text of one thought"),
    (Role.THOUGHT, "text of another"),
    (Role.COMMAND, ["[peek]"]),
    (Role.OBSERVATION, ["b"]),
    (Role.OUTPUT, "text\n"),
    (Role.NOTE, ["memo"]),
]


def test_json_round_trip():
    trajectory = Trajectory(SEGMENTS, {"task": "täsk", "length": 3})
    line = trajectory.to_json()
    assert Trajectory.from_json(line) == trajectory
    assert "\n" not in line


def test_json_joins_symbols_that_blocks_have_split():
    segments = [["prompt", ["a"]], ["prompt", ["b"]], ["output", ["c"]], ["output", "d"], ["output", "e"]]
    read = Trajectory.from_json(json.dumps({"format": FORMAT_VERSION, "segments": segments}))
    wanted = [(Role.PROMPT, ["a", "b"]), (Role.OUTPUT, ["c"]), (Role.OUTPUT, "d"), (Role.OUTPUT, "e")]
    assert read.segments == wanted


def test_merge_leaves_its_argument_alone():
    segments = [(Role.THOUGHT, ["a"]), (Role.THOUGHT, ["b"])]
    merge(segments)
    assert segments == [(Role.THOUGHT, ["a"]), (Role.THOUGHT, ["b"])]


@pytest.mark.parametrize("version", [None, FORMAT_VERSION + 1, str(FORMAT_VERSION)])
def test_another_format_version_is_refused(version):
    with pytest.raises(ValueError, match=f"format {FORMAT_VERSION}"):
        Trajectory.from_json(json.dumps({"format": version, "segments": []}))


def test_an_unknown_role_is_refused():
    line = Trajectory([(Role.PROMPT, ["a"])]).to_json().replace("prompt", "system")
    with pytest.raises(ValueError, match="unknown role 'system'; roles are prompt, thought"):
        Trajectory.from_json(line)


def recorded(thoughts):
    """Record an episode with the prompt "a", so many thoughts, a command, its answer, and the output "b"."""
    said = [(Role.PROMPT, "[BOS]"), (Role.PROMPT, "a"), *[(Role.THOUGHT, "b")] * thoughts, (Role.COMMAND, "[peek]"),
            (Role.OBSERVATION, "a"), (Role.THOUGHT, "[ANS]"), (Role.OUTPUT, "b"), (Role.THOUGHT, "[EOS]")]  # fmt: skip
    ids = np.array([TOKENS.index(token) for _, token in said], ID_DTYPE)
    roles = np.array([role for role, _ in said], ROLE_DTYPE)
    sink = Recorder()
    for start in range(0, len(ids), BLOCK):
        sink.write(ids[start : start + BLOCK], roles[start : start + BLOCK])
    return sink


@pytest.mark.parametrize("thoughts", [0, 5, BLOCK + 5])
@pytest.mark.parametrize("meta", [{}, {"task": "täsk", "seed": 1}])
def test_jsonl_writer_writes_the_recorded_trajectory(thoughts, meta):
    sink, file = recorded(thoughts), io.StringIO()
    writer = JsonlWriter(file, TOKENS, meta)
    for ids, roles in sink.blocks:
        writer.write(ids, roles)
    writer.close(True)
    assert file.getvalue().endswith("\n")
    assert file.getvalue().count("\n") == 1
    assert Trajectory.from_json(file.getvalue()) == Trajectory.of(sink, TOKENS, {**meta, "ok": True})


def test_segments_are_stretches_of_one_role():
    thoughts = [(Role.THOUGHT, ["b", "b"])]
    command = [(Role.COMMAND, ["[peek]"]), (Role.OBSERVATION, ["a"])]
    answer = [(Role.THOUGHT, ["[ANS]"]), (Role.OUTPUT, ["b"]), (Role.THOUGHT, ["[EOS]"])]
    assert Trajectory.of(recorded(2), TOKENS).segments == [(Role.PROMPT, ["a"]), *thoughts, *command, *answer]
