"""Pointers: positions that are never clamped, over a memory that grows."""

from array import array

import pytest

from tallystick import tools
from tallystick.tasks.reverse import Reverse
from tallystick.vocab import Vocabulary

TASK = Reverse()


class Hand:
    """Says commands by name to pointers over a memory of letters."""

    def __init__(self, option="1", memory="abc"):
        tool = tools.build(f"pointer:{option}", TASK)
        self.vocab = Vocabulary([*tool.tokens, *"abcd"])
        self.memory = array("I", self.vocab.encode(memory))
        self.commands = tool.start(self.vocab, self.memory, TASK, [])

    def say(self, verb, times=1, i=0):
        for _ in range(times):
            observation = self.commands[self.vocab.ids[f"[p{i}.{verb}]"]]()
        return " ".join(self.vocab.decode(observation))


def test_starts_on_the_first_cell():
    assert Hand().say("read") == "a"


@pytest.mark.parametrize("verb", ["left", "right"])
def test_moves_are_not_answered(verb):
    assert Hand().say(verb) == ""


def test_reads_cell_after_cell():
    hand = Hand()
    assert [(hand.say("read"), hand.say("right"))[0] for _ in range(5)] == ["a", "b", "c", "[EOS]", "[EOS]"]


@pytest.mark.parametrize(("away", "back", "beyond"), [("left", "right", "[BOS]"), ("right", "left", "[EOS]")])
@pytest.mark.parametrize("steps", [3, 4, 100])
def test_positions_are_not_clamped(away, back, beyond, steps):
    hand = Hand()
    hand.say(away, steps)
    assert hand.say("read") == beyond
    hand.say(back, steps - 1)
    assert hand.say("read") == ("[BOS]" if away == "left" else "b")
    hand.say(back)
    assert hand.say("read") == "a"


def test_below_the_memory_is_not_its_end():
    hand = Hand()
    hand.say("left")
    assert hand.say("read") == "[BOS]"


def test_the_new_token_is_read_once_the_memory_has_grown():
    hand = Hand()
    hand.say("right", 4)
    hand.memory.extend(hand.vocab.encode("d"))
    assert hand.say("read") == "[EOS]"
    hand.memory.extend(hand.vocab.encode("b"))
    assert hand.say("read") == "b"


def test_an_empty_memory():
    hand = Hand(memory="")
    assert hand.say("read") == "[EOS]"
    hand.say("left")
    assert hand.say("read") == "[BOS]"


def test_pointers_move_by_themselves():
    hand = Hand("3")
    hand.say("right", 1, i=1)
    hand.say("right", 2, i=2)
    assert [hand.say("read", i=i) for i in range(3)] == ["a", "b", "c"]


def test_every_episode_has_fresh_pointers():
    tool = tools.build("pointer:1", TASK)
    vocab = Vocabulary([*tool.tokens, "a"])
    memory = array("I", vocab.encode("a"))
    first, second = (tool.start(vocab, memory, TASK, []) for _ in range(2))
    first[vocab.ids["[p0.left]"]]()
    assert second[vocab.ids["[p0.read]"]]() == (vocab.ids["a"],)


def test_its_tokens():
    assert tools.build("pointer:2", TASK).tokens == (
        "[p0.read]", "[p0.left]", "[p0.right]", "[p1.read]", "[p1.left]", "[p1.right]",
    )  # fmt: skip


@pytest.mark.parametrize("option", ["0", "10", "-1", "x", "1.5", "²"])
def test_a_bad_option_is_refused_in_one_line(option):
    with pytest.raises(ValueError, match=r"^pointer:.*: the number of pointers must be 1 to 9.*$") as error:
        tools.build(f"pointer:{option}", TASK)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("spec", ["pointer", "pointer:", "pointer:1"])
def test_one_pointer_is_the_default(spec):
    assert tools.build(spec, TASK).count == 1


def test_an_unknown_tool_is_refused():
    with pytest.raises(ValueError, match=r"unknown tool 'pencil'; there are: pointer"):
        tools.build("pencil:1", TASK)


@pytest.mark.parametrize(("specs", "kept"), [((), False), (("pointer:1",), True), (("tape",), False)])
def test_the_memory_is_kept_only_if_a_tool_reads_it(specs, kept):
    task = type("Probe", (Reverse,), {"tools": specs})()
    started = tools.start_all(task, [])
    assert (started.memory is not None) == kept
    assert {task.vocab.tokens[token] for token in started.commands} <= {
        t for tool in task.built_tools for t in tool.tokens
    }
