"""A rule at a declared cost: the budget that the platform fits, and the rules that it refuses."""

from dataclasses import replace

import pytest

from search.fit import Terms, at_ratio, fit
from search.records import Candidate, Evaluation, EvaluationKey, Measurement, Proposal, Record, Stage, Status
from vortex_dsl import ProgramError, Shape, load_program, trace, zoo
from vortex_dsl.analysis.cost import cost_of

TERMS = Terms(Shape(3, 64), 30, (3100, 3500, 4000))
SPARSE = (("dense_layers", 0),)
TEXT = '''from vortex_dsl import *


class P(Program):
    """A rule."""

    {declared}

    def summarize(self, k, v):
        return {{"center": k.mean("token")}}

    def select(self, q, page):
        score = dot(q.mean("head"), page.center, "dim")
        return {selection}
'''


def rule(selection, declared="other = Int(1, 1, 2)"):
    return TEXT.format(selection=selection, declared=declared)


def ratios(text, values, terms=TERMS):
    """The cost ratios of a program by its own values, by length, straight from the cost model."""
    graph = trace(load_program(text).with_values(**dict(values)), terms.shape)
    return {length: cost_of(graph, length, terms.num_layers).ratio for length in terms.lengths}


@pytest.mark.parametrize("ratio", [4.0, 8.0, 16.0, 32.0])
@pytest.mark.parametrize("name", zoo.names())
def test_a_published_rule_gets_the_largest_budget_that_reaches_the_ratio_at_every_length(name, ratio):
    found, program = fit(zoo.text(name), SPARSE, TERMS, ratio), load_program(zoo.text(name))
    costs = ratios(program.text, found.values)
    if found.refusal:
        most = {} if program.budget is None else {program.budget: int(found.budget)}
        costs = ratios(program.text, dict(SPARSE) | most)
        assert found.values == SPARSE
        assert min(costs.values()) == found.cost_ratio < ratio
        return
    assert dict(found.cost_ratios) == costs
    assert min(costs.values()) == found.cost_ratio >= ratio
    fitted = program.with_values(**dict(found.values))
    assert found.digest == trace(fitted, TERMS.shape).digest
    more = found.budget + (-1 if program.budget == "stride" else 1)
    if more <= program.tunables[program.budget].high:
        assert min(ratios(program.text, dict(found.values) | {program.budget: int(more)}).values()) < ratio


def test_which_published_rules_reach_what_at_4k():
    """At 4,000 tokens and pages of 16 a summary of one vector in bfloat16 alone takes 1/32 of what dense reads."""
    reached = {
        ratio: {name for name in zoo.names() if not fit(zoo.text(name), SPARSE, TERMS, ratio).refusal}
        for ratio in (8.0, 16.0, 32.0)
    }
    never = {"dense", "oracle_mass", "oracle_max", "h2o", "sparq", "quest_sub", "centroid_sub", "diverse"}
    assert reached[8.0] == set(zoo.names()) - never
    assert reached[32.0] == {"index_reuse", "random_pages", "streaming", "strided"}
    assert reached[32.0] < reached[16.0] < reached[8.0]


@pytest.mark.parametrize("ratio", [2.0, 8.0, 16.0, 32.0])
@pytest.mark.parametrize("budget", ["1", "self.pages"])
def test_a_rule_that_is_dense_at_one_judged_length_is_refused(ratio, budget):
    """The trap: dense where accuracy is measured, a few pages where it is timed."""
    text = rule(f"topk(score, where(page.count < 200, 200, {budget}))", "pages = Int(1, 1, 200)")
    terms = Terms(TERMS.shape, 30, (2000, 8000))
    found = fit(text, SPARSE, terms, ratio)
    assert found.refusal
    assert f"at a cost ratio of {ratio:g}: at 2,000 tokens dense attention reads" in found.refusal
    lowest = ratios(text, dict(SPARSE) | {"pages": 1}, terms)
    assert lowest[2000] < 1 < 16 < lowest[8000]
    assert not fit(text, SPARSE, Terms(TERMS.shape, 30, (8000,)), 8.0).refusal


def test_what_has_no_budget_is_judged_as_written_where_it_reaches_the_ratio():
    text = rule("topk(score, 10)")
    reached, missed = fit(text, SPARSE, TERMS, 8.0), fit(text, SPARSE, TERMS, 16.0)
    assert (reached.values, reached.budget, reached.refusal) == (SPARSE, None, "")
    assert "'P' is not judged at a cost ratio of 16: at 3,100 tokens dense attention reads" in missed.refusal
    assert "call a number 'pages', or declare one by budget=True" in missed.refusal
    assert missed.digest == reached.digest
    assert missed.cost_ratios == reached.cost_ratios


def test_a_ratio_of_nothing_leaves_a_rule_as_written():
    text = zoo.text("quest")
    found = fit(text, (("pages", 5),), TERMS, 0)
    assert (found.values, found.budget, found.refusal) == ((("pages", 5),), 5.0, "")
    assert found.digest == trace(load_program(text).with_values(pages=5), TERMS.shape).digest


@pytest.mark.parametrize(
    ("declared", "selection"),
    [
        ("share = Float(0.5, 0.001, 1.0, budget=True)", "topk(score, self.share * page.count)"),
        ("share = Float(0.5, 0.001, 1.0, log=True, budget=True)", "topk(score, self.share * page.count)"),
        ("skipped = Float(0.5, 0.0, 0.999, budget=True)", "topk(score, page.count - self.skipped * page.count)"),
    ],
)
def test_a_budget_may_be_a_share_and_may_count_downwards(declared, selection):
    text = rule(selection, declared)
    found = fit(text, SPARSE, TERMS, 8.0)
    assert not found.refusal
    assert 8.0 <= found.cost_ratio < 8.6
    assert dict(found.cost_ratios) == ratios(text, found.values)


def test_a_declared_budget_goes_before_one_called_pages():
    text = rule("topk(score, self.few + 0 * self.pages)", "pages = Int(3, 1, 9)\n    few = Int(1, 1, 200, budget=True)")
    assert dict(fit(text, SPARSE, TERMS, 8.0).values)["few"] == 14


@pytest.mark.parametrize(
    "selection", ["topk(score, (self.pages * 37) % 211)", "topk(score, where(self.pages % 2 == 0, 4, 100))"]
)
def test_a_budget_that_goes_up_and_down_is_still_verified(selection):
    text = rule(selection, "pages = Int(4, 1, 200)")
    found = fit(text, SPARSE, TERMS, 8.0)
    assert found.refusal or min(ratios(text, found.values).values()) >= 8.0


def test_values_that_the_language_refuses_are_no_budget():
    """With more than a few pages the loop makes more operations than a program may have."""
    text = rule("topk(total(score, self.pages), self.pages)", "pages = Int(4, 1, 4096)")
    text += "\n\ndef total(score, num):\n    for i in range(num):\n        score = score + sqrt(score * i)\n"
    text += "    return score\n"
    found = fit(text, SPARSE, TERMS, 8.0)
    assert found.budget == 14
    with pytest.raises(ProgramError):
        load_program(text).with_values(pages=4096) and trace(load_program(text).with_values(pages=4096), TERMS.shape)


def test_layers_that_are_dense_bound_the_ratio():
    quest = zoo.text("centroid")
    assert not fit(quest, (("dense_layers", 1),), TERMS, 8.0).refusal
    assert fit(quest, (("dense_layers", 4),), TERMS, 8.0).refusal  # 30 / 4 is less than 8
    assert not fit(quest, (("dense_layers", 4),), Terms(TERMS.shape, 60, TERMS.lengths), 8.0).refusal


def test_a_candidate_as_it_was_measured_at_a_cost_ratio():
    proposal = Proposal(zoo.text("quest"), "x", "seed", values=SPARSE)
    fitted = fit(proposal.text, proposal.values, TERMS, 8.0)
    keys = (EvaluationKey(fitted.digest, stage, "w", "m", "e", "1", 0) for stage in (Stage.CHECK, Stage.PROBE))
    check, probe = (Evaluation(key, Status.OK, "", (Measurement("budget", 8.0),), ratio=8.0) for key in keys)
    refused = replace(check, status=Status.BELOW_GATE, ratio=16.0)
    record = Record(Candidate(1, 0, proposal, Status.OK, "", "written", "Quest"), (check, refused, probe))
    found = at_ratio(record, 8.0)
    assert found.candidate.program_digest == fitted.digest
    assert found.candidate.proposal.values == fitted.values
    assert found.evaluations == (check, probe)
    for ratio in (16.0, 32.0):
        with pytest.raises(LookupError, match=f"was not measured at a cost ratio of {ratio:g}"):
            at_ratio(record, ratio)
