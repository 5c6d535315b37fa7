"""Choices that cannot be of use are told from the graph alone, and no other is."""

import pytest

from vortex_dsl import Shape, load_program, trace, zoo
from vortex_dsl.analysis.influence import aimless

SHAPE = Shape(group=2, head_dim=64)
PROGRAM = """from vortex_dsl import *


class Made(Program):
    "Choose by what is put here."

    pages = Int(4, low=1, high=64)
    past = State()

    def summarize(self, k, v):
        return {{"center": k.mean("token"), "size": k.norm("dim").max("token")}}

    def select(self, q, page):
        score = dot(q, page.center, "dim").max("head")
        return {chosen}
"""
WITHOUT_AN_AIM = {"strided": "what a page holds", "random_pages": "what a page holds"}


def said(chosen):
    return aimless(trace(load_program(PROGRAM.format(chosen=chosen)), SHAPE))


@pytest.mark.parametrize("name", zoo.names())
def test_published_rules_have_an_aim_but_for_those_that_choose_blindly(name):
    found = aimless(trace(load_program(zoo.text(name)), SHAPE))
    assert WITHOUT_AN_AIM.get(name, "") in found
    assert bool(found) == (name in WITHOUT_AN_AIM)


@pytest.mark.parametrize(
    ("chosen", "why"),
    [
        ("topk(score.max('page') + 0.0 * page.index, self.pages)", "the same score"),
        ("topk(score.mean('page') + page.index, self.pages)", "what a page holds"),
        ("topk(hash(page.index + layer.index, 1), self.pages)", "what a page holds"),
        ("topk(page.index * q.norm('dim').max('head'), self.pages)", "what a page holds"),
        ("union(topk(page.index, 2), topk(0 - page.index, self.pages))", "what a page holds"),
        ("topk(0.0 * score + page.reserved, self.pages)", "what a page holds"),
        ("topk(where(score > score, 1.0, 0.0) + page.index, self.pages)", "what a page holds"),
        ("topk(page.size, self.pages)", "the query"),
        ("topk(page.size + 0.5 * page.past, self.pages).remember(past=page.size)", "the query"),
        ("refine(topk(page.index, 8), page.size, self.pages)", "the query"),
        ("union(topk(page.size, 2), above(page.index % 4 == 0, 0.5, limit=4))", "the query"),
    ],
)
def test_a_choice_without_an_aim_is_told(chosen, why):
    assert why in said(chosen)


@pytest.mark.parametrize(
    "chosen",
    [
        "topk(score, self.pages)",
        "topk(page.past, self.pages).remember(past=score)",
        "union(topk(page.index, 2), topk(score, self.pages))",
        "refine(topk(page.index, 8), score, self.pages)",
        "topp(dot(q, page.k, 'dim').max('head', 'token'), 0.9, limit=self.pages)",
        "reserved_only()",
        "every_page()",
    ],
)
def test_others_are_left_alone(chosen):
    assert said(chosen) == ""
