"""The loop: one seed, one sequence of candidates, whoever measures and whatever interrupts it."""

from dataclasses import replace

import pytest
from fake_campaigns import HALF, NUM_SEEDS, REAL, SMALL, proposers, run, sequence
from fake_evaluator import FakeEvaluator

from search.agents.grammar import Grammar
from search.agents.seeds import seed_proposals
from search.config import LAG, SeedProgram
from search.loop import Loop, start_campaign
from search.outcome import End
from search.records import Stage, Status
from search.store.ledger import SqlLedger
from vortex_dsl import zoo


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


def test_a_key_that_somebody_else_measures_is_waited_for(ledger):
    """Two campaigns on one database share what they measure: no key is measured twice."""
    first, second = FakeEvaluator(4), FakeEvaluator(4)
    run(ledger, SMALL, first)
    run(ledger, SMALL, second)
    assert second.tasks == []


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
