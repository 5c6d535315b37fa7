"""Rules that earned their place are tuned, by the records alone."""

from dataclasses import replace

import pytest

from search.agents.breed import fits_and_is_new
from search.agents.tuning.rules import MAX_TRIALS, OPERATOR, Rules, known_of
from search.agents.tuning.skeleton import skeleton_of
from search.agents.tuning.tune import Tune
from search.records import Evaluation, Proposal, Record, Stage, Status
from vortex_dsl import load_program

RATIO = 8.0


def skeleton(proposal):
    return skeleton_of(proposal.text, proposal.values)


def test_a_proposal_is_the_rule_with_other_numbers(house, records):
    for seed in range(6):
        context = house.context(records, seed=seed)
        proposal = Tune().propose(context)
        assert proposal.operator == OPERATOR
        assert skeleton(proposal).digest == skeleton(records[0].candidate.proposal).digest
        assert fits_and_is_new(proposal, context)
        assert proposal.parents == (records[8].candidate.program_digest,), "the one that loses least"
        assert "in place of" in proposal.rationale
        assert load_program(proposal.text).values["pages"] == 4, "the budget is not proposed"


def test_it_is_a_function_of_the_context(house, records):
    """What the proposer was asked before, of this campaign or another, changes nothing."""
    asked = Tune()
    other = [house.measured(Proposal(house.blend(0.3, "share_layers = Int(2, 1, 8)\n"), "zoo", "seed"), 0)]
    for shown in (records, records[:4], other, records[:7], records):
        context = house.context(shown)
        assert asked.propose(context) == Tune().propose(context)


def test_nothing_is_tuned_before_it_has_a_result_at_a_ratio(house, records):
    checked = [Record(r.candidate, r.evaluations[:1]) for r in records]
    assert Tune().propose(house.context(checked)).operator != OPERATOR
    assert Tune().propose(house.context([])).operator == "random"


def test_without_cost_ratios_nothing_is_tuned(house, records):
    assert Tune().propose(replace(house.context(records), ratios=())).operator != OPERATOR


def test_a_rule_is_tuned_only_so_often(house, records):
    tuned = replace(records[0].candidate.proposal, operator=OPERATOR)
    again = [replace(records[0], candidate=replace(records[0].candidate, proposal=tuned))] * MAX_TRIALS
    rules = Rules()
    rules.follow([*records, *again[:-1]])
    assert len(rules.best(RATIO)) == 1
    rules.follow([*records, *again])
    assert rules.best(RATIO) == []


def test_yardsticks_and_what_failed_are_not_tuned(house, records):
    reference = replace(records[5].candidate.proposal, operator="reference")
    crash = Evaluation(house.key(Stage.SERVE), Status.CRASHED, ratio=RATIO)
    rules = Rules()
    rules.follow(
        [
            replace(records[5], candidate=replace(records[5].candidate, proposal=reference)),
            replace(records[5], evaluations=(*records[5].evaluations, crash)),
        ]
    )
    assert rules.best(RATIO) == []


def test_what_was_in_an_engine_comes_first(house, records):
    lucky = house.measured(
        Proposal(house.blend(0.8, "# other\n").replace("max(", "min("), "zoo", "seed"), 9, in_engine=False
    )
    rules = Rules()
    rules.follow([*records, lucky])
    first, second = rules.best(RATIO)
    assert (len(first.records), len(second.records)) == (9, 1)


def known(house, records):
    rules = Rules()
    rules.follow(records)
    return known_of(rules.best(RATIO)[0], RATIO, house.context(records).archive)


def test_one_objective_for_all_of_a_rule(house, records):
    """With few results the mass that is lost; with enough, log KL, measured or foretold."""
    masses = [-r.value(Stage.RECALL, "mass", RATIO) for r in records]
    assert [each.loss for each in known(house, records)] == pytest.approx(masses)
    texts = [house.blend(0.61 + i / 100, name=f"More{i}") for i in range(4)]
    more = [house.measured(Proposal(text, "zoo", "seed"), 9 + i) for i, text in enumerate(texts)]
    found = known(house, [*records, *more])
    truth = [2 * house.log(house.lost(each.values)) for each in found]
    assert [each.loss for each in found] == pytest.approx(truth, abs=0.1)


def test_a_program_that_misses_the_ratio_says_by_how_much(house, records):
    checked = records[0].evaluations[0]
    figures = (replace(m, value=6.0) if m.name == "cost_ratio" else m for m in checked.measurements)
    short = Record(records[0].candidate, (replace(checked, status=Status.BELOW_GATE, measurements=tuple(figures)),))
    found = known(house, [records[1], short])
    assert (found[1].loss, found[1].shortfall) == (None, 2.0)


def test_tuning_finds_better_numbers(house, records):
    """Twenty proposals, each from what came of those before."""
    campaign = list(records)
    for _ in range(20):
        context = house.context(campaign)
        campaign.append(house.measured(Tune().propose(context), len(campaign), context.seen))
    losses = [
        house.lost(dict(skeleton(r.candidate.proposal).values)) for r in campaign if r.candidate.status is Status.OK
    ]
    assert min(losses[9:]) < min(losses[:9]) - 0.7 * (min(losses[:9]) - 0.1)


def test_few_values_change_at_a_time(house, records):
    """Where a rule is good, most of its numbers are."""
    num_changed = set()
    for seed in range(20):
        proposal = Tune().propose(house.context(records, seed=seed))
        old, new = dict(skeleton(records[8].candidate.proposal).values), dict(skeleton(proposal).values)
        num_changed.add(sum(new[name] != value for name, value in old.items()))
    assert num_changed <= {1, 2, 3}
    assert len(num_changed) > 1
