"""Who comes to which stage, who is timed in the end, and who is confirmed."""

import math
from dataclasses import replace
from statistics import fmean

import pytest
from fake_campaigns import HALF, REAL, SMALL, run
from fake_evaluator import FakeEvaluator

from search.agents.grammar import Grammar
from search.agents.seeds import seed_proposals
from search.archive.archivist import NUM_TIMED
from search.campaigns.replay import replay
from search.dispatch import TIMED_SHARE
from search.fit import fit
from search.loop import Loop, start_campaign
from search.observer import Silent
from search.outcome import End
from search.parents import is_sparse, judged_ratios, leaders, loss
from search.records import Stage, Status


def test_leaders_are_confirmed_afresh_and_no_proposer_is_shown(ledger):
    seen = []

    class Watching(Grammar):
        def propose(self, context):
            seen.append(context)
            return super().propose(context)

    evaluator = FakeEvaluator(4, failure_rate=0.0)
    config = replace(SMALL, proposers=("grammar",))
    campaign = start_campaign(ledger, config)
    outcome = Loop(ledger, evaluator, [Watching()], campaign).run()
    held_out = [task for task in evaluator.tasks if task.workload.split == "held_out"]
    assert len(held_out) == len((*outcome.leaders, *outcome.rivals)) == len(outcome.confirmations) > 0
    assert all(task.fresh and task.key.seed != config.evaluation_seed for task in held_out)
    assert sum(standing.confirmed for standing in ledger.standings(campaign.id)) == len(held_out)
    shown = {e.key.workload_digest for c in seen for r in c.records for e in r.evaluations}
    assert not shown & {task.workload.digest for task in held_out}
    again = Loop(ledger, FakeEvaluator(4), [Watching()], replace(campaign)).run()
    assert again.end is End.DONE


def test_every_seed_is_served_and_what_is_below_the_floor_is_not(ledger):
    evaluator = FakeEvaluator(4, failure_rate=0.0)
    _, campaign = run(ledger, SMALL, evaluator)
    for record in ledger.records(campaign.id):
        for ratio in SMALL.ratios if record.candidate.status is Status.OK else ():
            checked = record.evaluation(Stage.CHECK, ratio)
            accuracy, served = record.value(Stage.PROBE, "accuracy", ratio), record.evaluation(Stage.SERVE, ratio)
            if record.candidate.proposal.operator == "seed":
                assert bool(served) == (checked.status is Status.OK)
            else:
                assert bool(served) == (accuracy is not None and accuracy >= SMALL.serve_floor)


def test_every_candidate_is_judged_at_each_cost_ratio_with_the_budget_that_it_allows(ledger):
    evaluator = FakeEvaluator(4, failure_rate=0.0)
    _, campaign = run(ledger, REAL, evaluator)
    records = [r for r in ledger.records(campaign.id) if r.candidate.status is Status.OK]
    quest = next(r for r in records if r.candidate.name == "Quest")
    assert [e.ratio for e in quest.evaluations if e.key.stage is Stage.FIDELITY] == [4.0, 8.0]
    assert [e.ratio for e in quest.evaluations if e.key.stage is Stage.ORACLE] == [0.0]
    for ratio in REAL.ratios:
        checked, judged = (quest.evaluation(stage, ratio) for stage in (Stage.CHECK, Stage.FIDELITY))
        fitted = fit(quest.candidate.proposal.text, quest.candidate.proposal.values, REAL.terms, ratio)
        assert checked.value("budget") == fitted.budget
        assert checked.key.program_digest == judged.key.program_digest == fitted.digest
        asked = next(task for task in evaluator.tasks if task.key == judged.key)
        assert dict(asked.values)["pages"] == fitted.budget
        assert min(checked.value(f"cost_ratio_{length}") for length in REAL.terms.lengths) >= ratio
    sub = next(r for r in records if r.candidate.name == "QuestSub")
    assert [e.status for e in sub.evaluations] == [Status.BELOW_GATE] * 2
    assert "not judged at a cost ratio of 8" in sub.evaluation(Stage.CHECK, 8.0).message


def test_few_enter_an_engine_and_fewer_are_timed(ledger):
    """By recall among the best that their step could see, or lucky; yardsticks as written, and never timed."""
    config = replace(REAL, num_candidates=80, recall_share=0.1, proposers=("random",))
    outcome, campaign = run(ledger, config, FakeEvaluator(8, failure_rate=0.0))
    records = [r for r in ledger.records(campaign.id) if r.candidate.status is Status.OK]
    assert judged_ratios(records) == [4.0, 8.0]
    found = [r for r in records if r.candidate.proposal.operator not in ("seed", "reference")]
    for ratio in config.ratios:
        entered = [r for r in found if r.evaluation(Stage.FIDELITY, ratio)]
        assert 4 <= len(entered) < len([r for r in found if r.evaluation(Stage.RECALL, ratio)]) * 2 / 3
        recalls = {r.candidate.step: r.value(Stage.RECALL, "recall", ratio) for r in found}
        recalls = {step: recall for step, recall in recalls.items() if recall is not None}
        mine = [recalls.pop(r.candidate.step) for r in entered]
        assert fmean(mine) > fmean(recalls.values())
        timed = [r for r in entered if r.evaluation(Stage.SERVE, ratio)]
        assert timed
        assert all(each.record.evaluation(Stage.SERVE, ratio) for each in outcome.leaders if each.ratio == ratio)
        published = [r for r in records if r.candidate.proposal.operator == "seed" and loss(r, ratio) is not None]
        assert min(published, key=lambda r: loss(r, ratio)).evaluation(Stage.SERVE, ratio)
        top = sorted(entered, key=lambda r: loss(r, ratio))[:NUM_TIMED]
        assert set(map(id, top)) <= set(map(id, timed))
    (dense,) = [r for r in records if r.candidate.name == "Dense"]
    assert dense.candidate.proposal.operator == "reference"
    stages = [Stage.CHECK, Stage.SCREEN, Stage.RECALL, Stage.ORACLE, Stage.FIDELITY, Stage.RETRIEVAL]
    assert [(e.key.stage, e.ratio) for e in dense.evaluations] == [(stage, 0.0) for stage in stages]
    assert dense.candidate.step not in {each.record.candidate.step for each in outcome.leaders}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_in_a_short_search_nobody_is_timed_before_the_end_and_then_who_loses_least(ledger, seed):
    config = replace(REAL, seed=seed, num_candidates=40, timed_in_search=False)
    seen = []

    class Watching(Silent):
        def on_finished(self, record):
            seen.append(record)

    outcome, campaign = run(ledger, config, FakeEvaluator(8, failure_rate=0.0), observer=Watching())
    assert seen
    assert not any(record.evaluation(Stage.SERVE) for record in seen)
    records = [r for r in ledger.records(campaign.id) if is_sparse(r) and loss(r) is not None]
    for ratio in config.ratios:
        best = min(records, key=lambda r: loss(r, ratio) if loss(r, ratio) is not None else 2.0)
        assert best.evaluation(Stage.SERVE, ratio)
    assert outcome.leaders
    assert all(each.record.evaluation(Stage.SERVE, each.ratio) for each in outcome.leaders)


def test_the_better_half_of_the_published_rules_enters_an_engine(ledger):
    """At each cost ratio by recall, however many more they are than the lag; yardsticks always."""
    _, campaign = run(ledger, HALF, FakeEvaluator(4, failure_rate=0.0))
    seeds = ledger.records(campaign.id)[: len(seed_proposals(HALF))]
    published = [r for r in seeds if r.candidate.proposal.operator == "seed"]
    assert len(published) > 2 * HALF.lag
    for ratio in HALF.ratios:
        recalls = {r.candidate.step: r.value(Stage.RECALL, "recall", ratio) for r in published}
        known = sorted((step for step, found in recalls.items() if found is not None), key=lambda step: -recalls[step])
        assert len(known) > 8
        decoded = {r.candidate.step for r in published if r.evaluation(Stage.FIDELITY, ratio)}
        assert decoded == set(known[: math.ceil(len(known) / 2)])
    references = [r for r in seeds if r.candidate.proposal.operator == "reference"]
    assert all(r.evaluation(Stage.FIDELITY) for r in references)


def test_leaders_of_a_real_model_are_confirmed_at_lengths_that_were_held_out(ledger):
    evaluator = FakeEvaluator(4, failure_rate=0.0)
    outcome, _ = run(ledger, REAL, evaluator)
    confirming = [task for task in evaluator.tasks if task.workload.split == "held_out"]
    assert {each.ratio for each in outcome.leaders} == set(REAL.ratios)
    assert {task.key.stage for task in confirming} == {Stage.FIDELITY, Stage.RETRIEVAL}
    both = [(each.record, each.ratio) for each in (*outcome.leaders, *outcome.rivals)]
    told = [(record.value(Stage.CHECK, "retrieval_cost_ratio", ratio), ratio) for record, ratio in both]
    assert any(found < ratio for found, ratio in told), "questions are shorter, so some rules cost too much there"
    asked = sum(found >= ratio for found, ratio in told)
    assert len(confirming) == len(both) + asked == len(outcome.confirmations)
    timed = [task for task in evaluator.tasks if task.key.stage is Stage.SERVE]
    assert {task.least_read for task in timed} == {TIMED_SHARE * 30 / 240}
    assert all(each.record.candidate.proposal.operator == "seed" for each in outcome.rivals)
    for task in (task for task in confirming if task.key.stage is Stage.FIDELITY):
        further = set(task.workload.lengths) - set(REAL.terms.lengths)
        assert further
        assert all(min(REAL.terms.lengths) < length < max(REAL.terms.lengths) for length in further)
        assert (task.fresh, task.key.seed) == (True, REAL.evaluation_seed + 1)


@pytest.mark.parametrize("seed", [8, 14])
def test_a_campaign_that_has_ended_leaves_nothing_to_be_measured(ledger, seed):
    """Of these seeds some are slower than was foretold once they are timed, and others lead in their place."""
    config = replace(REAL, seed=seed)
    outcome, campaign = run(ledger, config, FakeEvaluator(8))
    assert all(each.record.evaluation(Stage.SERVE, each.ratio) for each in outcome.leaders)
    again = FakeEvaluator(8)
    assert run(ledger, config, again, campaign)[0].end is End.DONE
    assert not again.tasks
    assert not replay(ledger, campaign).difference


def test_steered_by_modelled_speed_who_leads_by_that_is_timed_and_confirmed(ledger):
    outcome, campaign = run(ledger, replace(REAL, seed=4, steer_by="modelled"), FakeEvaluator(8))
    records = ledger.records(campaign.id)
    expected, measured = leaders(records, steered_on="H200"), leaders(records)
    led, by_model, by_clock = (
        [(each.record.candidate.step, each.ratio) for each in found] for found in (outcome.leaders, expected, measured)
    )
    assert led == by_model != by_clock
    for each in expected:
        assert each.record.evaluation(Stage.SERVE, each.ratio) is not None
    held_out = {(e.key.program_digest, e.ratio) for e in outcome.confirmations if e.key.stage is Stage.FIDELITY}
    asked = {(each.record.evaluation(Stage.FIDELITY, each.ratio).key.program_digest, each.ratio) for each in expected}
    assert asked <= held_out


def test_no_feasible_candidate(ledger):
    outcome, _ = run(ledger, replace(SMALL, num_candidates=3), FakeEvaluator(2, failure_rate=1.0))
    assert outcome.end is End.NO_FEASIBLE
