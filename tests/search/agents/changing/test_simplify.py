"""What a program does not need is left out, and nothing else."""

import random

import pytest

from search.agents.changing.mutate import OPERATORS
from search.agents.changing.simplify import MAX_TRIES, removals, simplified, simplify, tidy
from search.agents.changing.source import Source
from vortex_dsl import ProgramError, Shape, load_program, trace, zoo

SHAPE = Shape(group=2, head_dim=64)
LADEN = """from vortex_dsl import Float, Int, Program, State, dot, exp, topk

UNREAD = [1, 2]


class Laden(Program):
    "Rank pages by their mean keys, with much that does nothing."

    pages = Int(8, low=1, high=64)
    window = Int(2, low=1, high=64)
    idle = Float(0.5, low=0.0, high=1.0)
    weight = Float(0.5, low=0.0, high=1.0)
    past = State()

    def summarize(self, k, v):
        left = v.mean("token")
        return {"center": k.mean("token"), "unread": left}

    def select(self, q, page):
        nothing = q.norm("dim")
        score = dot(q, page.center, "dim").max("head")
        score = exp(2.0 * score) + 0.0 * self.weight
        return topk(score, self.pages).remember(past=score)
"""


def digest(text):
    try:
        return trace(load_program(text), SHAPE).digest
    except ProgramError:
        return None


def test_what_means_nothing_is_left_out():
    text = simplified(LADEN, SHAPE)
    assert digest(text) == digest(LADEN)
    for word in ("UNREAD", "window", "idle", "weight", "past", "unread", "left", "nothing", "exp", "remember"):
        assert word not in text, word
    assert "pages = Int(8" in text


def test_what_changes_no_choice_is_left_out_where_a_judge_says_so():
    text = zoo.text("smooth")
    asked = []

    def same_behaviour(each):
        asked.append(each)
        return "smooth(" not in each and "center" in each

    plain = simplified(text, SHAPE, same_behaviour)
    assert digest(plain) != digest(text)
    assert "smooth(" not in plain
    assert all(digest(each) for each in asked)
    assert len(asked) <= MAX_TRIES
    assert digest(simplified(text, SHAPE, lambda _: False)) == digest(text)


@pytest.mark.parametrize("name", zoo.names())
def test_published_rules_keep_their_digest_and_their_budget(name):
    text = simplified(zoo.text(name), SHAPE)
    assert digest(text) == digest(zoo.text(name))
    assert load_program(text).budget == load_program(zoo.text(name)).budget


@pytest.mark.parametrize("operator", [operator for operator, _ in OPERATORS], ids=lambda each: each.__name__)
def test_tidying_keeps_the_digest_of_what_was_changed(operator):
    for name in ("ema", "quest_sub", "two_stage", "shadowkv", "rank_keys"):
        source = Source.parse(zoo.text(name), 64)
        operator(source, random.Random(name))
        before = digest(source.text())
        tidy(source)
        assert digest(source.text()) == before


def test_the_operator_leaves_out_one_part():
    made = set()
    for seed in range(20):
        source = Source.parse(zoo.text("shadowkv"), 64)
        assert "in place of" in simplify(source, random.Random(seed))
        if digest(source.text()):
            made.add(digest(source.text()))
    assert len(made) >= 3
    assert digest(zoo.text("shadowkv")) not in made or len(made) > 3


def test_nothing_can_be_left_out_of_what_has_one_part():
    source = Source.parse(zoo.text("dense"), 64)
    assert removals(source) == []
    assert simplify(source, random.Random(0)) is None
