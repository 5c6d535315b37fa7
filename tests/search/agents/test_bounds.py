"""The bounds: one list for the grammar and for agents, each refusal with its reason."""

import random
from dataclasses import replace

import pytest

from search.admission import admit
from search.agents.bounds import BOUNDS, _is_dear, enforced, facts, is_hopeless, objections, rules
from search.agents.breed import fits_and_is_new
from search.agents.drawing.draft import field_bytes_at
from search.agents.drawing.generate import generate
from search.config import CampaignConfig
from search.parents import REFERENCE, SEED
from search.records import Proposal, Status
from vortex_dsl import zoo

RULE = """
from vortex_dsl import Choice, Int, Program, topk


class Rule(Program):
    \"\"\"Mean keys.\"\"\"

    pages = Int(8, low=1, high=1024, log=True)
    dense_layers = Int(0, 0, 8)

    def summarize(self, k, v):
        return {"mean": k.mean("token")}

    def select(self, q, page):
        return topk((q * page.mean).sum("dim").max("head"), self.pages)
"""


def proposed(text):
    return Proposal(text, "llm", "explore")


@pytest.fixture
def context(context_at, seeds):
    return replace(context_at(30, shown=seeds), ratios=(8.0, 16.0), lengths=(8000,))


def test_a_program_within_the_bounds_has_no_objection(context):
    assert list(objections(proposed(RULE), context)) == []
    assert fits_and_is_new(proposed(RULE), context)


KEPT, SCORE = '{"mean": k.mean("token")}', '(q * page.mean).sum("dim").max("head")'


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({SCORE: SCORE.replace("mean", "means")}, "means"),
        ({SCORE: "page.index * 1.0"}, "does not depend on what a page holds"),
        ({"    pages": "    page_size = Choice(32, (16, 32))\n    pages"}, "pages of 16; leave it so"),
        ({KEPT: '{"all": k.to("float32")}', SCORE: '(q * page.all).sum("dim").max("token", "head")'}, "at most 1,024"),
        ({"Int(8, low=1,": "Int(900, low=900,"}, "cost ratio of 8"),
    ],
    ids=["text", "aim", "page_size", "bytes", "cost"],
)
def test_each_bound_says_what_was_seen_and_what_is_asked(context, changes, told):
    text = RULE
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    found = list(objections(proposed(text), context))
    assert any(told in each for each in found), found
    assert not fits_and_is_new(proposed(text), context)


@pytest.mark.parametrize("ratio", [4.0, 16.0, 40.0])
def test_what_is_quickly_called_hopeless_is_what_no_budget_brings_to_the_ratio(context, ratio):
    here, hopeless = replace(context, ratios=(ratio, 2 * ratio), lengths=(3000, 8000)), 0
    drawn = [generate(random.Random(i), here.head_dim, i) for i in range(60)]
    for each in map(proposed, [*drawn, *map(zoo.text, zoo.names())]):
        if is_hopeless(each, here):
            hopeless += 1
            assert f"not judged at a cost ratio of {ratio:g}" in _is_dear(each, None, here)
    assert 0 < hopeless < 60 + len(zoo.names())


@pytest.mark.parametrize("ratio", [8.0, 16.0, 32.0])
def test_most_of_what_is_drawn_for_a_cost_ratio_has_a_budget_for_it(context, ratio):
    here = replace(context, ratios=(ratio,), lengths=(3000, 8000))

    def hopeless(most_bytes):
        drawn = [generate(random.Random(i), here.head_dim, i, most_bytes) for i in range(60)]
        return sum(is_hopeless(each, here) for each in map(proposed, drawn))

    assert hopeless(field_bytes_at(ratio, here.head_dim, 3000)) < min(36, hopeless(0))


def test_what_is_beyond_a_bound_is_refused_at_the_door_but_for_yardsticks_and_seeds(context):
    blind, found = RULE.replace(SCORE, "page.index * 1.0"), {}
    for operator in ("explore", SEED, REFERENCE):
        admitted = admit(Proposal(blind, "llm", operator), 1, 5, CampaignConfig(ratios=()), frozenset())
        found[operator] = enforced(admitted, context)
    assert (found["explore"].status, found[SEED].status) == (Status.PROGRAM_ERROR, Status.OK)
    assert "does not depend on what a page holds" in found["explore"].message
    assert found[REFERENCE].status is Status.OK


def test_what_means_the_same_is_named(context, seeds):
    text = zoo.text("centroid").replace("class Centroid", "class Another")
    known = next(r for r in seeds if r.candidate.name == "Centroid")
    seen = replace(known.candidate.proposal, text=text, proposer="llm")
    (told,) = objections(seen, context)
    assert "'Centroid'" in told


def test_every_bound_is_told_beforehand(context):
    told = rules(context)
    assert len(told) == len(BOUNDS)
    assert any("at most 1,024 bytes" in each for each in told)
    assert any("at least 8 times" in each for each in told)
    assert any("1.1 times" in each for each in rules(replace(context, ratios=())))


def test_facts_tell_bytes_by_field_and_the_budget_at_each_ratio(context):
    found = facts(proposed(RULE), context)
    assert found.name == "Rule"
    assert found.fields == (("[dim 64]", "bfloat16", 128),)
    assert found.bytes_per_page == 128
    budgets = {ratio: fitted.budget for ratio, fitted in found.fitted}
    assert set(budgets) == {8.0, 16.0}
    assert budgets[8.0] > budgets[16.0]
