"""Prompts vary, and nothing that a teacher says depends on them or on the folder."""

import random
from collections import Counter

import pytest

from tallystick.episode import Role
from tallystick.problem import Problem
from tallystick.tasks.codefix import prompts, teachers
from tallystick.tasks.codefix.task import CodeFix
from tallystick.tasks.runner import record
from tallystick.text.tokenizers import PIECE

DRAWN = [prompts.draw(random.Random(i)) for i in range(160)]
OTHERS = [prompt for prompt in DRAWN if prompt != prompts.SENTENCE]


def said(task, problem):
    recorder = record(task, problem)
    return task.vocab.decode(recorder.ids[recorder.roles != Role.PROMPT])


def test_some_prompts_are_random():
    assert 4 <= len(OTHERS) <= 16
    assert len(set(OTHERS)) == len(OTHERS)
    assert min(map(len, OTHERS)) < 100
    assert max(map(len, OTHERS)) > 2000


def test_random_prompts_bring_no_pieces_into_the_vocabulary():
    counts = Counter(piece for prompt in OTHERS for piece in PIECE.findall(prompt))
    again = {piece for piece, count in counts.items() if count > 1 and len(piece) > 1}
    assert again
    assert again <= {*PIECE.findall(prompts.SENTENCE), *PIECE.findall(teachers.SHORT_RUN)}


@pytest.mark.parametrize("prompt", ["", "Fix it.", "Repariere es \N{EM DASH} bitte!\n\n", OTHERS[0]])
def test_what_is_said_depends_on_neither_prompt_nor_folder(prompt):
    task = CodeFix()
    problem = task.problem("test", 0, 8, 0)
    other = Problem(task.parse(prompt), problem.files, "/home/me/some folder", problem.data)
    assert said(task, other) == said(task, problem)


@pytest.mark.parametrize("prompt", ["", "Fix it", "Fix it.\n", "Fix it. \n\n"])
def test_every_prompt_ends_with_one_newline(prompt):
    assert CodeFix().parse(prompt)[-1:] == ["\n"]
    assert CodeFix().format(CodeFix().parse(prompt)) == prompt.rstrip() + "\n"
