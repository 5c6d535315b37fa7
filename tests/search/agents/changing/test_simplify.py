"""What a program does not need is left out, and nothing else."""

import random

import pytest

from search.agents.changing.mutate import OPERATORS
from search.agents.changing.simplify import MAX_TRIES, removals, shorter, simplify, tidy
from search.agents.changing.source import Source
from vortex_dsl import ProgramError, Shape, load_program, trace, zoo

SHAPE = Shape(group=2, head_dim=64)
LADEN = """from vortex_dsl import Float, Int, Program, State, dot, exp, topk

UNREAD = [1, 2]


class Laden(Program):
    "Rank pages by their mean keys, and keep much beside."

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


def shortest(text, is_alike=lambda _: False):
    """Drive it: the last text from which it went on, and all that were asked about."""
    source = Source.parse(text, SHAPE.head_dim)
    tidy(source)
    trials, asked, found = shorter(source, SHAPE), [], source.text()
    each = next(trials, None)
    while each is not None:
        asked.append(each)
        alike = is_alike(each.source.text())
        found = each.source.text() if alike else found
        try:
            each = trials.send(alike)
        except StopIteration:
            break
    return found, asked


def test_what_means_nothing_is_left_out_unasked():
    stored = LADEN.replace('k.mean("token"), "unread"', 'k.mean("token").to("int8"), "unread"')
    _, (asked,) = shortest(stored)
    assert asked.without[-1] == "k.mean('token') in place of k.mean('token').to('int8')"
    text = asked.source.text()
    assert digest(text) == digest(LADEN)
    for word in ("UNREAD", "window", "idle", "weight", "past", "unread", "left", "nothing", "exp", "remember"):
        assert word not in text, word
    assert "pages = Int(8" in text


def test_what_changes_no_choice_is_left_out_where_a_judge_says_so():
    text = zoo.text("smooth")
    plain, asked = shortest(text, lambda each: "smooth(" not in each and "center" in each)
    texts = [each.source.text() for each in asked]
    assert digest(plain) != digest(text)
    assert "smooth(" not in plain
    assert all(map(digest, texts))
    assert len(set(map(digest, texts))) == len(texts) <= MAX_TRIES
    assert plain in texts


@pytest.mark.parametrize("default", [8, 16])
def test_what_is_the_same_at_one_budget_alone_is_asked_about(default):
    """Its budget is fitted afterwards, when the other is the same no more."""
    text = LADEN.replace("Int(8, ", f"Int({default}, ").replace("self.pages)", "maximum(self.pages, 8))")
    text = text.replace("exp, topk", "exp, maximum, topk")
    assert digest(text) == digest(text.replace("maximum(self.pages, 8)", "self.pages"))
    words = [words for each in shortest(text)[1] for words in each.without]
    assert "self.pages in place of maximum(self.pages, 8)" in words
    assert "8 in place of maximum(self.pages, 8)" in words


def test_a_budget_at_whose_end_it_does_not_trace_is_no_fault():
    text = (
        zoo.text("quest")
        .replace("self.pages)", "64 / self.pages)")
        .replace("low=1, high=1024, log=True", "low=0, high=1024")
    )
    assert digest(text)
    assert digest(text.replace("Int(64", "Int(0")) is None
    assert all(digest(each.source.text()) for each in shortest(text)[1])


@pytest.mark.parametrize("name", zoo.names())
def test_published_rules_are_only_asked_about_what_is_another_program(name):
    _, asked = shortest(zoo.text(name))
    found = [digest(each.source.text()) for each in asked]
    assert digest(zoo.text(name)) not in found
    assert len(set(found)) == len(found)


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


def test_nothing_can_be_left_out_of_what_has_one_part():
    source = Source.parse(zoo.text("dense"), 64)
    assert removals(source) == []
    assert simplify(source, random.Random(0)) is None
