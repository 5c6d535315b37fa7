"""What is refused at the door beside what does not parse: a score that cannot know what pages hold."""

import pytest

from search.admission import admit, is_blind
from search.config import CampaignConfig
from search.parents import REFERENCE, SEED
from search.records import Proposal, Status
from vortex_dsl import Shape, load_program, trace, zoo

CONFIG = CampaignConfig(ratios=())
RULE = '''from vortex_dsl import Int, Program, State, hash, layer, refine, reserved_only, topk, union


class Told(Program):
    """A rule."""

    pages = Int(2, 0, 64)
    last = State()

    def summarize(self, k, v):
        return {{"center": k.mean("token"), "spread": v.norm("dim").max("token")}}

    def select(self, q, page):
        asked = q.norm("dim").max("head")
        seen = (q * page.center).sum("dim").max("head")
        return {choice}.remember(last=page.last + seen)
'''
BLIND = (
    "topk(hash(page.index + layer.index, 1), self.pages)",
    "topk(page.index * asked, self.pages)",
    "union(topk(page.index, 2), topk(0 - page.index, self.pages))",
)
SEEING = (
    "topk(seen, self.pages)",
    "topk(page.spread, self.pages)",
    "topk(page.last, self.pages)",
    "union(topk(page.index, 2), topk(seen, self.pages))",
    "refine(topk(page.index, 8), (q * page.k).sum('dim').max('head', 'token'), self.pages)",
    "reserved_only()",
)


def proposal(choice, operator="mutate"):
    return Proposal(RULE.format(choice=choice), "grammar", operator)


@pytest.mark.parametrize("choice", BLIND)
def test_a_score_that_reads_nothing_of_pages_is_refused_with_its_reason(choice):
    candidate = admit(proposal(choice), 1, 5, CONFIG, frozenset())
    assert candidate.status is Status.BELOW_GATE, candidate.message
    assert "no key and no value reaches its score" in candidate.message
    for operator in (SEED, REFERENCE):
        assert admit(proposal(choice, operator), 1, 5, CONFIG, frozenset()).status is Status.OK


@pytest.mark.parametrize("choice", SEEING)
def test_what_reads_pages_is_admitted(choice):
    candidate = admit(proposal(choice), 1, 5, CONFIG, frozenset())
    assert candidate.status is Status.OK, candidate.message


def test_of_published_rules_two_are_blind():
    """One draws lots, one goes by strides."""
    found = {name for name in zoo.names() if is_blind(trace(load_program(zoo.text(name)), Shape(2, 64)))}
    assert found == {"random_pages", "strided"}
