"""The episode: roles, marks, memory, blocks and the recorder."""

import random

import numpy as np
import pytest

from tallystick.episode import (
    BLOCK,
    BOS,
    EOS,
    ID_DTYPE,
    MARKS,
    ROLE_DTYPE,
    BadCommand,
    Brackets,
    Episode,
    Recorder,
    Role,
    StopProgram,
    ToolError,
    id_array,
    not_said,
)  # fmt: skip

TOKENS = (*MARKS, "a", "b", "memo", "[peek]", "[move]", "[twice]", "[/twice]", "[obs]")
IDS = {token: i for i, token in enumerate(TOKENS)}
LETTERS = "ptc<>n"  # by Role: prompt, thought, command, observation, output, note
REMEMBERED = (Role.PROMPT, Role.THOUGHT, Role.OUTPUT)


def encode(text):
    return [IDS[token] for token in text.split()]


def twice(arguments):
    if not arguments:
        raise BadCommand("nothing to say twice")
    if len(arguments) > 2:
        raise ToolError("too much to say twice")
    return [IDS["[obs]"], *arguments, *arguments]


def begin(prompt="a b", memory=True):
    """Start an episode with three commands, in which memo is a note by itself.

    [peek] is answered b a, [move] nothing, and [twice] x ... [/twice] is answered [obs] and x twice, but fails if there
    are more than two arguments.
    """
    commands = {
        IDS["[peek]"]: lambda: encode("b a"),
        IDS["[move]"]: lambda: (),
        IDS["[twice]"]: Brackets(IDS["[/twice]"], twice),
        IDS["[/twice]"]: not_said,
        IDS["[obs]"]: not_said,
    }
    sink = Recorder()
    kept = id_array() if memory else None
    return Episode(encode(prompt), commands, kept, sink, frozenset(encode("memo"))), sink


def say(text, **options):
    episode, sink = begin(**options)
    for token in encode(text):
        episode.push(token)
    episode.flush()
    return episode, sink


SPEECHES = {
    "free": ("a b", "t t"),
    "answer": ("a [ANS] a [EOS]", "t t > t"),
    "silent end": ("a [EOS]", "t t"),
    "think": ("[ANS] [think] a b [/think] a [EOS]", "t t t t t > t"),
    "think twice": ("[ANS] a [think] b [/think] [think] [/think] b", "t > t t t t t >"),
    "notes": ("a [note] a b [/note] a", "t n n n n t"),
    "notes in the answer": ("[ANS] a [note] b [/note] a", "t > n n n >"),
    "notes in thoughts in the answer": ("[ANS] [think] [note] a [/note] b [/think] a", "t t n n n t t >"),
    "single note": ("memo a [ANS] memo a", "n t t n >"),
    "command": ("[peek] a [ANS] [move] a [peek]", "c < < t t c > c < <"),
    "command in thoughts": ("[ANS] [think] [peek] a [/think]", "t t c < < t t"),
    "command in notes": ("[note] [peek] a [/note]", "n c < < n n"),
    "brackets": ("[twice] a b [/twice] a", "c c c c < < < < < t"),
    "brackets in the answer": ("[ANS] [twice] a [/twice] a", "t c c c < < < >"),
    "brackets in thoughts": ("[ANS] [think] [twice] a [/twice] a [/think]", "t t c c c < < < t t"),
    "brackets in notes": ("[note] [twice] a [/twice] a [/note]", "n c c c < < < n n"),
    "a note as an argument": ("[twice] memo [/twice] memo", "c c c < < < n"),
}


@pytest.mark.parametrize("name", SPEECHES)
def test_role_of_every_token(name):
    said, want = SPEECHES[name]
    _, sink = say(said)
    assert " ".join(LETTERS[role] for role in sink.roles) == "p p p " + want


def test_the_sequence_is_bos_prompt_and_what_was_said():
    _, sink = say("a [peek] [ANS] b [EOS]")
    assert sink.ids.tolist() == [BOS, *encode("a b a [peek] b a [ANS] b [EOS]")]


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        ("", "[BOS]"),
        ("[ANS]", "[ANS]"),
        ("[note]", "[ANS]"),
        ("[ANS] [think]", "[ANS]"),
        ("", "[think]"),
        ("[ANS] [think]", "[think]"),
        ("[ANS] [note]", "[think]"),
        ("", "[/think]"),
        ("[ANS]", "[/think]"),
        ("[ANS] [think] [note]", "[/think]"),
        ("[note]", "[note]"),
        ("", "[/note]"),
        ("[ANS] [think]", "[/note]"),
        ("[note]", "[EOS]"),
        ("[ANS] [think]", "[EOS]"),
        ("[ANS] [EOS]", "[EOS]"),
        ("", "[/twice]"),
        ("", "[obs]"),
        ("[twice]", "[twice]"),
        ("[twice]", "[/twice]"),
        ("[twice] a", "[obs]"),
        ("[twice] a", "[peek]"),
        *(("[twice] a", mark) for mark in MARKS),
    ],
)
def test_misuse_of_a_mark_is_a_bad_command(said, refused):
    episode, _ = say(said)
    before = (list(episode.memory), episode.role, episode.written)
    with pytest.raises(BadCommand, match=message(said, refused)):
        episode.push(IDS[refused])
    episode.flush()
    assert (list(episode.memory), episode.role, episode.written) == before


def message(said, refused):
    if (said, refused) == ("[twice]", "[/twice]"):
        return "nothing to say twice"
    if "[twice]" in said:
        return "a command is still open"
    return refused.strip("[]") if refused in MARKS else "only a tool may say"


def test_a_tool_that_fails():
    episode, sink = say("[twice] a b b")
    with pytest.raises(ToolError, match="too much"):
        episode.push(IDS["[/twice]"])
    episode.flush()
    assert sink.ids.tolist() == [BOS, *encode("a b [twice] a b b")]


def test_arguments_and_answers_are_not_remembered():
    episode, _ = say("[twice] a b [/twice] b")
    assert list(episode.memory) == encode("a b b")


def test_brackets_begin_anew():
    episode, _ = say("[twice] a [/twice]")
    assert [list(episode.push(token)) for token in encode("[twice] b [/twice]")] == [[], [], encode("[obs] b b")]


@pytest.mark.parametrize(("said", "answered", "done"), [("a", 0, 0), ("[ANS] a", 1, 0), ("[ANS] a [EOS]", 1, 1)])
def test_flags(said, answered, done):
    episode, _ = say(said)
    assert (episode.answered, episode.done) == (answered, done)


def test_push_returns_the_observation():
    episode, _ = begin()
    assert [list(episode.push(token)) for token in encode("a [peek] [move] [ANS]")] == [
        [],
        encode("b a"),
        [],
        [],
    ]


def test_memory_is_prompt_thoughts_and_outputs():
    episode, _ = say("a [peek] memo [note] b [/note] [ANS] [think] a [/think] [move] b [EOS]")
    assert list(episode.memory) == encode("a b a [ANS] [think] a [/think] b")


@pytest.mark.parametrize("seed", range(20))
def test_memory_follows_from_the_recorded_roles_whatever_is_said(seed):
    episode, sink = begin()
    for token in random.Random(seed).choices(range(len(TOKENS)), k=300):
        try:
            episode.push(token)
        except (BadCommand, ToolError):
            continue
    episode.flush()
    kept = np.isin(sink.roles, REMEMBERED) & ~np.isin(sink.ids, (BOS, EOS))
    assert sink.ids[kept].tolist() == list(episode.memory)
    assert (sink.ids == IDS["[ANS]"]).sum() <= 1


def test_without_memory_the_record_is_the_same():
    said = "a [peek] memo [ANS] [think] a [/think] b [EOS]"
    (blind, blind_sink), (_, sink) = say(said, memory=False), say(said)
    assert blind.memory is None
    assert (blind_sink.ids.tolist(), blind_sink.roles.tolist()) == (sink.ids.tolist(), sink.roles.tolist())


@pytest.mark.parametrize("prompt", [1, BLOCK - 2, BLOCK - 1, BLOCK, 2 * BLOCK + 5])
def test_blocks_are_bounded_and_lose_nothing(prompt):
    said = random.Random(0).choices(encode("a b [peek]"), k=BLOCK)
    episode, sink = begin(prompt=" ".join(["a"] * prompt))
    tokens = [BOS, *[IDS["a"]] * prompt]
    for token in said:
        tokens += [token, *episode.push(token)]
    episode.flush()
    assert sink.ids.tolist() == tokens
    assert episode.written == len(tokens) == len(sink.roles)
    assert max(len(ids) for ids, _ in sink.blocks) <= BLOCK
    assert {(ids.dtype, roles.dtype) for ids, roles in sink.blocks} == {(ID_DTYPE, ROLE_DTYPE)}


def test_a_block_is_handed_on_as_soon_as_it_is_full():
    episode, sink = begin(prompt="a")
    for _ in range(BLOCK - 3):
        episode.push(IDS["a"])
    assert not sink.blocks
    episode.push(IDS["a"])
    assert [len(ids) for ids, _ in sink.blocks] == [BLOCK]


@pytest.mark.parametrize(
    ("limit", "kept"), [(None, 4 * BLOCK), (BLOCK - 1, BLOCK), (BLOCK, BLOCK), (BLOCK + 1, 2 * BLOCK)]
)
def test_a_recorder_ends_the_episode_at_its_limit(limit, kept):
    recorder = Recorder(limit)
    block = np.zeros(BLOCK, ID_DTYPE), np.zeros(BLOCK, ROLE_DTYPE)
    try:
        for _ in range(4):
            recorder.write(*block)
    except StopProgram:
        assert limit is not None
    assert len(recorder) == len(recorder.ids) == kept
    assert recorder.ok is None
