"""The tasks of Delétang et al. 2023: definitions against brute force, problems, score, locality."""

import math
import re
from collections import Counter
from itertools import product

import pytest

from tallystick import locality, models
from tallystick.engine.generation import generate
from tallystick.episode import MARKS, Recorder
from tallystick.evaluation.verify import verify
from tallystick.locality import sequences
from tallystick.tasks import TASKS, load
from tallystick.tasks.chomsky import CHOMSKY, PUBLISHED, QUADRATIC
from tallystick.tasks.runner import run

K = {
    "chomsky:even-pairs": 5,
    "chomsky:modular-arithmetic": 8,
    "chomsky:parity-check": 5,
    "chomsky:cycle-navigation": 5,
    "chomsky:stack-manipulation": 4,
    "chomsky:reverse-string": 3,
    "chomsky:modular-arithmetic-brackets": 8,
    "chomsky:solve-equation": 8,
    "chomsky:duplicate-string": 3,
    "chomsky:missing-duplicate": 4,
    "chomsky:odds-first": 5,
    "chomsky:binary-addition": 8,
    "chomsky:binary-multiplication": 7,
    "chomsky:compute-sqrt": 8,
    "chomsky:bucket-sort": 3,
}
"""The number of last tokens that decide, as the task's docstring has it. The names are a public interface."""
MANY = dict.fromkeys((f"chomsky:{n}" for n in ("modular-arithmetic-brackets", "solve-equation", "bucket-sort")), 400)
PROBLEMS = {**MANY, "chomsky:modular-arithmetic": 400, **dict.fromkeys(QUADRATIC, 60)}
"""Random problems for each length, enough to cover the task; 200 for the others."""
QUICK = {"chomsky:parity-check", "chomsky:reverse-string", "chomsky:stack-manipulation"}
"""Tasks that are checked in the default run; golden trajectories tell there when the program of another one changes."""


def number(bits):
    """Return the value of bits, the lowest first."""
    return sum(2**i for i, bit in enumerate(bits) if bit == "1")


def bits(value: int) -> str:
    """Return the bits of a value, the lowest first, at least one."""
    text = str(value % 2)
    return text if value < 2 else text + bits(value // 2)


def stack(text):
    content = ""
    for symbol in text:
        content = content[:-1] if symbol == "2" else content + symbol.replace("3", "0").replace("4", "1")
    return content[::-1] + "2"


def unknown(text):
    left, _, right = text.partition("=")
    return "".join(x for x in "01234" if right and eval(left.replace("x", x)) % 5 == int(right)) or "0"


def missing(text):
    half = len(text) // 2
    whole = {bit: text.replace("2", bit) for bit in "01" if half or text == bit}
    return "".join(bit for bit, string in whole.items() if string[:half] == string[half : 2 * half])


def root(text):
    return f"{math.floor(math.sqrt(int(text, 2))):b}".rjust(math.ceil(len(text) / 2), "0")


def product_of(text):
    if "*" not in text:
        return "0" * (len(text) - 1) + "2"
    a, b = text.split("*")
    return bits(number(a) * number(b)) + "2"


DEFINITIONS = {
    "chomsky:even-pairs": lambda text: str((text.count("01") + text.count("10")) % 2),
    "chomsky:modular-arithmetic": lambda text: str(eval(text) % 5),
    "chomsky:parity-check": lambda text: str(sum(map(int, text)) % 2),
    "chomsky:cycle-navigation": lambda text: str(sum(map(int, text.split())) % 5),
    "chomsky:stack-manipulation": stack,
    "chomsky:reverse-string": lambda text: "".join(reversed(text)),
    "chomsky:modular-arithmetic-brackets": lambda text: str(eval(text) % 5),
    "chomsky:solve-equation": unknown,
    "chomsky:duplicate-string": lambda text: text + text,
    "chomsky:missing-duplicate": missing,
    "chomsky:odds-first": lambda text: "".join(bit for place in (1, 0) for bit in text[place::2]),
    "chomsky:binary-addition": lambda text: bits(sum(map(number, text.split("+")))) + "2",
    "chomsky:binary-multiplication": product_of,
    "chomsky:compute-sqrt": root,
    "chomsky:bucket-sort": lambda text: "".join(d * text.count(d) for d in "01234"),
}
"""The answer to a text, defined in another way than in the tasks."""


@pytest.fixture(params=CHOMSKY)
def task(request):
    return load(request.param)


def inputs(task, most=15_000):
    """Yield all inputs of the task up to a length, the shortest first, trying at most `most` strings per length."""
    length = 1
    while len(task.alphabet) ** length <= most and length <= 7:
        yield from (list(prompt) for prompt in product(task.alphabet, repeat=length) if task.allows(list(prompt)))
        length += 1


def test_the_names():
    assert list(CHOMSKY) == list(K)
    assert [name for name in TASKS if "chomsky" in name] == list(K)
    assert {*QUADRATIC, *PUBLISHED} <= {*K}


def test_definitions_and_programs_on_every_short_input(task):
    tried = 0
    for prompt in inputs(task):
        assert "".join(task.answer(prompt)) == DEFINITIONS[task.name](task.format(prompt))
        sink = Recorder()
        run(task, prompt, sink)
        assert sink.ok
        tried += 1
    assert tried >= 12


def test_definitions_on_long_inputs(task):
    for length in (13, 18):
        prompts = [task.problem("test", 0, length, i) for i in range(10)] + task.worst_cases(length)
        for prompt in prompts:
            assert "".join(task.answer(prompt)) == DEFINITIONS[task.name](task.format(prompt))


def test_two_worked_examples(task):
    line = task.__doc__.splitlines()[0]
    examples = re.findall(r"(?:[:?] |, )([-+*()=x\d ]+?) answers (\d+)", line)
    assert len(examples) == 2
    for text, answer in examples:
        assert task.format(task.answer(task.parse(text))) == answer


def test_lengths_count_as_theirs(task):
    for length in (1, 2, 3, 4, 5, 6, 39, 40, 500):
        size = length - 1 + length % 2 if task.name == "chomsky:modular-arithmetic" else length
        prompts = [task.problem("test", 0, length, i) for i in range(5)] + task.worst_cases(length)
        assert {len(prompt) for prompt in prompts} == {size}


def test_worst_cases_are_valid_inputs(task):
    for length in (1, 2, 3, 7, 40):
        for prompt in task.worst_cases(length):
            assert task.parse(task.format(prompt)) == prompt


def test_training_has_every_length_up_to_40_equally_often(task):
    assert task.defaults.train_length == 40
    lengths = Counter(len(task.problem("train", 0, 40, i, up_to=True)) for i in range(2000))
    odd = task.name == "chomsky:modular-arithmetic"
    assert set(lengths) == set(range(1, 41, 1 + odd))
    assert max(lengths.values()) < 100 * (1 + odd)


def test_worst_cases_are_distinct_and_several(task):
    for length in (20, 33):
        worst_cases = ["".join(prompt) for prompt in task.worst_cases(length)]
        assert len(set(worst_cases)) >= 4


REFUSED = {
    "chomsky:modular-arithmetic": ["1+", "+1", "1++2", "12", "-1", "1+2)", "1+5"],
    "chomsky:cycle-navigation": ["1-1", "1 2", "--1"],
    "chomsky:stack-manipulation": ["2", "0120", "015"],
    "chomsky:modular-arithmetic-brackets": [
        "1+2",
        "(1+2",
        "--1",
        "(1+2)(3)",
        "-(1)",
        "()",
        "(1---2)",
        "((1+2)",
        "(+1)",
    ],
    "chomsky:solve-equation": ["x", "x=", "(x+x)=1", "(1+2)=3", "x=3=3", "=x", "(x*2)=1", "000", "x=(1)", "(x+1=2"],
    "chomsky:missing-duplicate": ["0110", "0", "02212", "3", "0120", "22", "012013", "20333"],
    "chomsky:binary-addition": ["11", "1", "+", "1+", "0+1", "1+0", "1+1+1", "100"],
    "chomsky:binary-multiplication": ["11", "1*", "0*1", "1+1"],
    "chomsky:compute-sqrt": ["0", "000", "2"],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in REFUSED.items() for text in [*texts, ""]])
def test_an_invalid_input_is_refused_in_one_line(name, text):
    with pytest.raises(ValueError, match=f"is not a valid input for {name.removeprefix('chomsky:')}; use ") as error:
        load(name).parse(text)
    assert "\n" not in str(error.value)


def test_stacks_have_1_to_all_but_one_bits():
    task = load("chomsky:stack-manipulation")
    sizes = Counter(sum(s in "01" for s in task.problem("test", 0, 5, i)) for i in range(400))
    assert set(sizes) == {1, 2, 3, 4}
    assert min(sizes.values()) > 60


@pytest.mark.parametrize(("name", "sign"), [("binary-addition", "+"), ("binary-multiplication", "*")])
def test_numbers_have_uniform_lengths_and_are_not_zero(name, sign):
    task = load(f"chomsky:{name}")
    prompts = [task.problem("test", 0, 6, i) for i in range(400)]
    places = Counter(prompt.index(sign) for prompt in prompts)
    assert set(places) == {1, 2, 3, 4}
    assert min(places.values()) > 60
    assert any(prompt[-1] == "0" for prompt in prompts)


def test_equations_hide_every_kind_of_place():
    task = load("chomsky:solve-equation")
    before = {"".join(p)[: "".join(p).index("x")][-1:] for p in (task.problem("test", 0, 30, i) for i in range(200))}
    assert before == {"", "(", "+", "-"} - {""}


def test_their_score_is_the_share_of_tokens_in_place(task):
    prompt = task.problem("test", 0, 12, 0)
    answer = task.answer(prompt)
    assert task.partial_score(prompt, answer) == 1
    assert task.partial_score(prompt, [*answer, "0"]) == 1
    assert task.partial_score(prompt, answer[:-1]) == pytest.approx(1 - 1 / len(answer))
    assert task.partial_score(prompt, ["[ANS]", *answer[1:]]) == pytest.approx(1 - 1 / len(answer))
    assert task.partial_score(prompt, []) == 0


def test_direct_answers_at_once(task):
    """The variant has no tool, no thoughts, and no tokens of tools in its vocabulary."""
    direct = load(task.name, "direct")
    prompt = direct.problem("test", 0, 12, 0)
    run(direct, prompt, sink := Recorder())
    words = direct.vocab.decode(sink.ids.tolist())
    assert words == ["[BOS]", *prompt, "[ANS]", *direct.answer(prompt), "[EOS]"]
    assert len(direct.vocab) == len(MARKS) + len({*direct.symbols})


def test_free_running_is_scored_in_parts():
    """The model says the string twice instead of backwards."""
    task, other = load("chomsky:reverse-string", "direct"), load("chomsky:duplicate-string", "direct")
    lookup = models.build("lookup", vocab_size=len(task.vocab)).fit([sequences.of(other, list("0100"))])
    (result,) = generate(lookup, task, [list("0100")])
    assert (result.output, result.exact, result.answer, result.score) == (list("01000100"), False, False, 0.5)


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in CHOMSKY])
def test_local_and_covered(name):
    task = load(name)
    report = locality.check(task, [10, 20, 30], problems=PROBLEMS.get(task.name, 200))
    assert [row["k"] for row in report["rows"]] == [K[task.name]] * 3
    assert (report["local"], report["covered"]) == (True, True)


@pytest.mark.slow
def test_local_and_covered_as_check_prints_it(task):
    report = locality.check(task)
    assert [row["k"] for row in report["rows"]] == [K[task.name]] * 5
    assert (report["local"], report["covered"]) == (True, True)


@pytest.mark.slow
def test_lookup_is_exact_far_beyond(task):
    lookup = models.build("lookup", vocab_size=len(task.vocab))
    lookup.fit(sequences.sample(task, "train", 0, task.defaults.train_length, lookup.config.examples))
    far = 200 if task.name in QUADRATIC else 500
    prompts = [task.problem("test", 0, length, i) for length in (41, 120, far) for i in range(4)]
    prompts += task.worst_cases(far)
    assert all(result.exact for result in verify(lookup, task, prompts))
