"""The loop: one sequence of candidates per seed, whoever measures and however often it is interrupted."""

import importlib.util
import math
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest

from search.agents.baselines import BestOfN, Greedy, Random
from search.agents.grammar import Grammar
from search.agents.seeds import seed_proposals
from search.agents.tuning.tune import Tune
from search.archive.archivist import NUM_TIMED
from search.campaigns.replay import replay
from search.config import LAG, CampaignConfig, ConfigError, SeedProgram
from search.contracts import ProposerError
from search.dispatch import TIMED_SHARE
from search.fit import fit
from search.loop import Loop, start_campaign
from search.observer import Silent
from search.outcome import End
from search.parents import is_sparse, judged_ratios, leaders, loss
from search.records import Proposal, Stage, Status
from search.store.ledger import SqlLedger
from search.workloads import workloads_for
from vortex_dsl import zoo

_spec = importlib.util.spec_from_file_location("fake_evaluator", Path(__file__).parent / "fake_evaluator.py")
fake_evaluator = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fake_evaluator)
FakeEvaluator = fake_evaluator.FakeEvaluator

CLASSES = {each.name: each for each in (Grammar, Tune, Random, BestOfN, Greedy)}
WINDOW = """from vortex_dsl import Int, Program, reserved_only


class Window(Program):
    \"\"\"Keep only sinks and a window of {step} pages.\"\"\"

    window = Int({step}, 1, 64)

    def select(self, q, page):
        return reserved_only()
"""


@pytest.fixture
def ledger(tmp_path):
    ledger = SqlLedger(f"sqlite:///{tmp_path / 'results.db'}")
    yield ledger
    ledger.close()


def proposers(config):
    return [CLASSES[name]() for name in config.proposers]


def run(ledger, config, evaluator, campaign=None, observer=None):
    campaign = campaign or start_campaign(ledger, config)
    outcome = Loop(ledger, evaluator, proposers(config), campaign, observer).run()
    return outcome, campaign


def sequence(ledger, campaign):
    """What a campaign decided, and what came of it, without times and ids."""
    return [
        (r.candidate.step, r.candidate.proposal, r.candidate.status, r.candidate.program_digest, _results(r))
        for r in ledger.records(campaign.id)
    ]


def _results(record):
    done = [e for e in record.evaluations if e.key.stage is not Stage.CHECK]
    return [(e.key.stage, e.ratio, e.key.program_digest, e.status, e.measurements) for e in done]


SMALL = CampaignConfig(seed=3, num_candidates=12, seeds=("dense", "quest", "quest_sub", "centroid"), ratios=(4, 8))
# What a real model's campaign asks: many by recall, few in an engine, which are told apart by fidelity and retrieval.
REAL = replace(SMALL, num_candidates=16, num_layers=30, workloads=workloads_for(0), recall_share=0.3)
NUM_SEEDS = 4


HALF = replace(REAL, seeds=("dense", *sorted(set(zoo.names()) - {"dense"})[:19]), published_share=0.5, lag=8)


@pytest.mark.parametrize("config", [SMALL, REAL, HALF], ids=["probe", "real model", "half of the published rules"])
def test_one_worker_and_eight_give_the_same_candidates(tmp_path, config):
    sequences = []
    for num_workers, shuffle in ((1, 0), (8, 1), (8, 2)):
        ledger = SqlLedger(f"sqlite:///{tmp_path / f'{num_workers}-{shuffle}.db'}")
        outcome, campaign = run(ledger, config, FakeEvaluator(num_workers, shuffle=shuffle))
        assert outcome.end is End.DONE
        sequences.append(sequence(ledger, campaign))
        ledger.close()
    assert sequences[0] == sequences[1] == sequences[2]
    num_seeds = len(seed_proposals(config))
    assert sum(status is Status.OK for _, _, status, _, _ in sequences[0]) == config.num_candidates + num_seeds


def test_no_worker_has_nothing_to_do_while_somebody_is_asked(ledger):
    """What waits is given out as soon as all that follows a result is started; asking may take a while."""
    evaluator, idle = FakeEvaluator(2), []
    loop = Loop(ledger, evaluator, proposers(REAL), start_campaign(ledger, REAL))
    dispatcher, ask = loop._dispatcher, loop._proposals.ask

    def asking(record):
        idle.append(bool(dispatcher._queue) and len(dispatcher._handed) < evaluator.num_workers)
        ask(record)

    loop._proposals.ask = asking
    assert loop.run().end is End.DONE
    assert not any(idle)


def test_two_rules_that_come_to_one_program_are_both_measured(ledger):
    """A budget's range may end where a long text needs more of it: at shorter lengths both are fitted to the same."""

    class Together(FakeEvaluator):
        def completed(self, timeout_s):
            done, self._queue = [self._run(each) for each in self._queue], []
            return done

    wide = zoo.text("quest").replace("Quest", "Wide")
    narrow = wide.replace("Int(64, low=1, high=1024, log=True)", "Int(12, low=1, high=20)")
    assert narrow != wide
    given = tuple(SeedProgram(each) for each in (wide, narrow))
    config = replace(REAL, num_candidates=0, seeds=(), seed_programs=given, ratios=(4,))
    outcome, campaign = run(ledger, config, Together(2, failure_rate=0.0))
    assert outcome.end is End.DONE
    found = [each.evaluation(Stage.RETRIEVAL, 4) for each in ledger.records(campaign.id)]
    assert len(found) == 2
    assert found[0].key == found[1].key
    keys = {each.evaluation(Stage.FIDELITY, 4).key for each in ledger.records(campaign.id)}
    assert len(keys) == 2


def test_another_seed_gives_other_candidates(ledger):
    first = sequence(ledger, run(ledger, SMALL, FakeEvaluator(8))[1])
    second = sequence(ledger, run(ledger, replace(SMALL, seed=4), FakeEvaluator(8))[1])
    assert [p for _, p, *_ in first[:NUM_SEEDS]] == [p for _, p, *_ in second[:NUM_SEEDS]]  # the seeds
    assert {digest for *_, digest, _ in first[NUM_SEEDS:]} != {digest for *_, digest, _ in second[NUM_SEEDS:]}


@pytest.mark.parametrize(
    ("config", "crash_after"), [(SMALL, 1), (SMALL, 19), (SMALL, 40), (HALF, 60), (HALF, 95), (HALF, 120)]
)
def test_a_killed_campaign_goes_on_as_if_undisturbed(tmp_path, ledger, config, crash_after):
    whole = SqlLedger(f"sqlite:///{tmp_path / 'whole.db'}")
    undisturbed = sequence(whole, run(whole, config, FakeEvaluator(4))[1])
    whole.close()
    campaign = start_campaign(ledger, config)
    first = FakeEvaluator(4, crash_after=crash_after)
    with pytest.raises(RuntimeError, match="killed"):
        run(ledger, config, first, campaign)
    finished = {e.key for r in ledger.records(campaign.id) for e in r.evaluations}
    second = FakeEvaluator(4, shuffle=9)
    assert run(ledger, config, second, campaign)[0].end is End.DONE
    assert sequence(ledger, campaign) == undisturbed
    assert not finished & {task.key for task in second.tasks}


def test_a_finished_campaign_run_again_measures_nothing(ledger):
    outcome, campaign = run(ledger, SMALL, FakeEvaluator(4))
    again = FakeEvaluator(4)
    assert run(ledger, SMALL, again, campaign)[0].leaders == outcome.leaders
    assert again.tasks == []


def test_draining_finishes_what_runs_and_starts_nothing(ledger):
    class Drainer(FakeEvaluator):
        def submit(self, task):
            super().submit(task)
            if len(self.tasks) == 20:
                loop.drain()

    campaign, evaluator = start_campaign(ledger, SMALL), Drainer(4)
    loop = Loop(ledger, evaluator, proposers(SMALL), campaign)
    assert loop.run().end is End.INTERRUPTED
    assert len(evaluator.tasks) == 20
    finished = {e.key for r in ledger.records(campaign.id) for e in r.evaluations}
    assert {task.key for task in evaluator.tasks} <= finished
    assert run(ledger, SMALL, FakeEvaluator(4), campaign)[0].end is End.DONE


def test_stopping_gives_the_leases_back(ledger):
    class Stopper(FakeEvaluator):
        def completed(self, timeout_s):
            if len(self.tasks) > 10:
                loop.stop()
                return []
            return super().completed(timeout_s)

    campaign, evaluator = start_campaign(ledger, SMALL), Stopper(4)
    loop = Loop(ledger, evaluator, proposers(SMALL), campaign)
    assert loop.run().end is End.INTERRUPTED
    assert ledger.progress(campaign.id).num_running == 0


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


def test_a_step_sees_all_finished_records_up_to_its_lag(ledger):
    contexts = []

    class Watching(Grammar):
        def propose(self, context):
            contexts.append(context)
            return super().propose(context)

    config = replace(SMALL, proposers=("grammar",), num_candidates=12)
    Loop(ledger, FakeEvaluator(8), [Watching()], start_campaign(ledger, config)).run()
    for context in contexts:
        assert [r.candidate.step for r in context.records] == list(range(max(0, context.step - LAG + 1)))
        admitted = [r for r in context.records if r.candidate.status is Status.OK]
        assert all(r.evaluations for r in admitted)
        assert {r.candidate.program_digest for r in admitted} <= context.seen


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


def test_a_campaign_that_goes_on_elsewhere_measures_all_of_it_again(tmp_path, ledger):
    """Gates are decided on what is measured there; until then, later steps wait."""

    class Elsewhere(FakeEvaluator):
        model_digest = "another"

    _, campaign = run(ledger, REAL, FakeEvaluator(4))
    first = sequence(ledger, campaign)
    evaluator = Elsewhere(4)
    assert run(ledger, REAL, evaluator, campaign)[0].end is End.DONE
    keys = [task.key for task in evaluator.tasks]
    assert len({key.program_digest for key in keys}) > NUM_SEEDS
    assert {key.model_digest for key in keys} == {"another"}
    assert [row[:4] for row in sequence(ledger, campaign)] == [row[:4] for row in first]


def test_the_same_rule_with_another_budget_is_a_duplicate(ledger):
    quest = zoo.text("quest").replace("{", "{{").replace("}", "}}")
    config = CampaignConfig(num_candidates=2, proposers=("scripted",), seeds=("quest",), num_layers=30, ratios=(8,))
    campaign = start_campaign(ledger, config)
    answers = [quest.replace("Int(64", f"Int({pages}") for pages in (8, 9)]
    answers = [text.replace("    def summ", "    dense_layers = Int(0, 0, 8)\n\n    def summ", 1) for text in answers]
    Loop(ledger, FakeEvaluator(2, failure_rate=0), [Scripted(*answers)], campaign).run()
    statuses = [record.candidate.status for record in ledger.records(campaign.id)]
    assert statuses[0] is Status.OK
    assert set(statuses[1:]) == {Status.DUPLICATE}


def test_what_fails_by_our_fault_is_tried_again(ledger):
    evaluator = FakeEvaluator(4, infrastructure=0.1)
    outcome, campaign = run(ledger, SMALL, evaluator)
    assert outcome.end is End.DONE
    assert len(evaluator.tasks) > len({task.key for task in evaluator.tasks})
    statuses = {e.status for r in ledger.records(campaign.id) for e in r.evaluations}
    assert Status.QUARANTINED not in statuses


def test_an_evaluator_that_is_out_of_order_ends_the_run(ledger):
    outcome, _ = run(ledger, SMALL, FakeEvaluator(4, infrastructure=1.0))
    assert outcome.end is End.INFRASTRUCTURE
    assert "a worker was lost" in outcome.message


def test_no_feasible_candidate(ledger):
    outcome, _ = run(ledger, replace(SMALL, num_candidates=3), FakeEvaluator(2, failure_rate=1.0))
    assert outcome.end is End.NO_FEASIBLE


class Scripted:
    """Proposes what it is given, step by step."""

    name = "scripted"

    def __init__(self, *answers):
        self._answers = list(answers)

    def propose(self, context):
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return Proposal(answer.format(step=context.step), self.name, "explore")


def scripted(ledger, num_candidates, *answers):
    config = CampaignConfig(num_candidates=num_candidates, proposers=("scripted",), seeds=(), ratios=())
    campaign = start_campaign(ledger, config)
    outcome = Loop(ledger, FakeEvaluator(2, failure_rate=0), [Scripted(*answers)], campaign).run()
    return outcome, ledger.records(campaign.id)


def program(step):
    return WINDOW.replace("{step}", str(step))


def test_refused_and_repeated_programs_are_recorded_and_do_not_count(ledger):
    bad = "from vortex_dsl import Program\n\nimport os\n"
    _, records = scripted(ledger, 3, program(1), bad, program(1), program(2), program(3))
    statuses = [record.candidate.status for record in records]
    assert statuses == [Status.OK, Status.PROGRAM_ERROR, Status.DUPLICATE, Status.OK, Status.OK]
    assert "3:1" in records[1].candidate.message
    assert records[2].candidate.program_digest == records[0].candidate.program_digest


def test_a_text_is_never_taken_for_a_path(ledger):
    _, records = scripted(ledger, 1, "/etc/passwd", program(1))
    assert records[0].candidate.status is Status.PROGRAM_ERROR


def test_a_campaign_of_nothing_but_refusals_ends(ledger):
    outcome, records = scripted(ledger, 5, "no program")
    assert outcome.end is End.NO_FEASIBLE
    assert len(records) == 2 * 5 + LAG


def test_a_proposer_that_is_away_from_the_start_stops_the_run(ledger):
    outcome, records = scripted(ledger, 3, ProposerError("connection refused"))
    assert outcome.end is End.INFRASTRUCTURE
    assert "connection refused" in outcome.message
    assert records == []


def test_a_proposer_that_fails_later_costs_a_step(ledger):
    outcome, records = scripted(ledger, 2, program(1), ProposerError("overloaded"), program(2))
    assert outcome.end is End.DONE
    assert [r.candidate.status for r in records] == [Status.OK, Status.INFRASTRUCTURE, Status.OK]
    assert records[1].candidate.message == "overloaded"


def test_a_first_step_in_vain_costs_no_more_where_others_were_answered(ledger):
    """Those that are asked beside it may be at their second question, with no proposal yet."""
    outcome, records = scripted(ledger, 1, ProposerError("this one is refused", works=True), program(1))
    assert outcome.end is End.DONE
    assert [r.candidate.status for r in records] == [Status.INFRASTRUCTURE, Status.OK]


def test_a_proposer_that_never_comes_back_ends_the_run(ledger):
    outcome, records = scripted(ledger, 3, program(1), ProposerError("away"))
    assert outcome.end is End.INFRASTRUCTURE
    assert len(records) == 6


def test_a_fault_of_ours_surfaces(ledger):
    with pytest.raises(ZeroDivisionError):
        scripted(ledger, 3, program(1), ZeroDivisionError())


def test_proposers_must_match_the_campaign(ledger):
    with pytest.raises(ConfigError, match="one for each"):
        Loop(ledger, FakeEvaluator(), [Grammar()], start_campaign(ledger, SMALL))


def test_a_key_that_somebody_else_measures_is_waited_for(ledger):
    """Two campaigns on one database share what they measure: no key is measured twice."""
    first, second = FakeEvaluator(4), FakeEvaluator(4)
    run(ledger, SMALL, first)
    run(ledger, SMALL, second)
    assert second.tasks == []


def test_money_ends_a_campaign(ledger):
    class Dear(Grammar):
        def propose(self, context):
            return replace(super().propose(context), dollars=0.4)

    config = replace(SMALL, proposers=("grammar",), max_dollars=1.0)
    campaign = start_campaign(ledger, config)
    outcome = Loop(ledger, FakeEvaluator(4), [Dear()], campaign).run()
    assert outcome.num_admitted == NUM_SEEDS + 3


def test_observers_see_every_candidate_once(ledger):
    class Counting:
        def __init__(self):
            self.candidates, self.finished, self.evaluations, self.total = [], [], 0, None

        def on_start(self, num_finished, num_candidates):
            self.total = num_finished, num_candidates

        def on_candidate(self, record):
            self.candidates.append(record.candidate.step)

        def on_evaluation(self, record, evaluation):
            self.evaluations += 1

        def on_finished(self, record):
            self.finished.append(record.candidate.step)

        def on_confirming(self, leaders):
            self.confirming = len(leaders)

        def on_waiting(self, running, num_waiting):
            assert all(each.age_s >= 0 and each.name for each in running)
            self.waited = True

    observer = Counting()
    outcome, campaign = run(ledger, SMALL, FakeEvaluator(4), observer=observer)
    assert observer.total == (0, 16)
    assert observer.candidates == list(range(outcome.num_steps))
    admitted = [r.candidate.step for r in ledger.records(campaign.id) if r.candidate.status is Status.OK]
    assert sorted(observer.finished) == admitted
    assert observer.confirming == len(outcome.leaders)
