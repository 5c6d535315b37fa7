"""The way of one evaluation: leases, busy keys, retries."""

import importlib.util
import time
from pathlib import Path

import pytest

from search.contracts import Claim
from search.dispatch import MAX_ATTEMPTS, Dispatcher, Job
from search.records import (
    Campaign,
    Candidate,
    Evaluation,
    EvaluationKey,
    EvaluationTask,
    Proposal,
    Stage,
    Status,
    Workload,
)
from search.store.ledger import SqlLedger

_spec = importlib.util.spec_from_file_location("fake_evaluator", Path(__file__).parent / "fake_evaluator.py")
fake_evaluator = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fake_evaluator)
FakeEvaluator, ENVIRONMENT = fake_evaluator.FakeEvaluator, fake_evaluator.ENVIRONMENT


@pytest.fixture
def ledger(tmp_path):
    ledger = SqlLedger(f"sqlite:///{tmp_path / 'results.db'}")
    yield ledger
    ledger.close()


@pytest.fixture
def job(ledger):
    campaign = ledger.create_campaign(Campaign(0, 1, ("grammar",), ""))
    candidate = ledger.add_candidate(Candidate(campaign.id, 0, Proposal("a\n", "x", "y"), Status.OK, "", "p1", "P"))
    workload = Workload(Stage.PROBE, 100, 1)
    key = EvaluationKey("p1", Stage.PROBE, workload.digest, "model", ENVIRONMENT.digest, "1", 0)
    return Job(EvaluationTask(key, "a\n", (), workload), candidate.id)


def never(task):
    raise AssertionError("nothing is checked here")


def collect(dispatcher, limit_s=10.0):
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        done = dispatcher.collect(0.05)
        if done:
            return done
    return []


def test_a_result_is_stored_and_the_second_time_taken_from_there(ledger, job):
    evaluator = FakeEvaluator(failure_rate=0.0)
    for _ in range(2):
        dispatcher = Dispatcher(ledger, evaluator, never)
        dispatcher.start(job)
        (evaluation,) = collect(dispatcher)
        assert evaluation.status is Status.OK
        assert dispatcher.idle
    assert len(evaluator.tasks) == 1


def test_a_busy_key_is_waited_for_and_its_result_taken(ledger, job):
    assert ledger.claim(job.task, "somebody", 60.0) is Claim.TAKEN
    evaluator = FakeEvaluator()
    dispatcher = Dispatcher(ledger, evaluator, never)
    dispatcher.start(job)
    assert collect(dispatcher, 0.3) == []
    assert not dispatcher.idle
    theirs = Evaluation(job.task.key, Status.OK, "theirs")
    ledger.finish(theirs, "somebody", ENVIRONMENT)
    assert collect(dispatcher) == [theirs]
    assert evaluator.tasks == []


def test_a_lease_that_ran_out_is_taken_over(ledger, job):
    ledger.claim(job.task, "dead", 0.3)
    evaluator = FakeEvaluator(failure_rate=0.0)
    dispatcher = Dispatcher(ledger, evaluator, never)
    dispatcher.start(job)
    assert evaluator.tasks == []
    assert len(collect(dispatcher)) == 1
    assert len(evaluator.tasks) == 1


def test_what_stays_our_fault_is_given_up_after_some_attempts(ledger, job):
    evaluator = FakeEvaluator(infrastructure=1.0)
    dispatcher = Dispatcher(ledger, evaluator, never)
    dispatcher.start(job)
    (evaluation,) = collect(dispatcher)
    assert evaluation.status is Status.INFRASTRUCTURE
    assert len(evaluator.tasks) == MAX_ATTEMPTS
    again = Dispatcher(ledger, FakeEvaluator(failure_rate=0.0), never)
    again.start(job)
    assert collect(again)[0].status is Status.OK


def test_leases_are_kept_while_the_evaluator_works(ledger, job, monkeypatch):
    import search.dispatch

    monkeypatch.setattr(search.dispatch, "LEASE_S", 0.4)
    monkeypatch.setattr(search.dispatch, "HEARTBEAT_S", 0.05)
    dispatcher = Dispatcher(ledger, SlowEvaluator(), never)
    dispatcher.start(job)
    assert collect(dispatcher, 0.9) == []
    assert ledger.claim(job.task, "somebody", 60.0) is Claim.BUSY
    dispatcher.release()
    assert ledger.claim(job.task, "somebody", 60.0) is Claim.TAKEN


class SlowEvaluator(FakeEvaluator):
    """Never finishes anything."""

    def completed(self, timeout_s):
        time.sleep(timeout_s)
        return []


def test_drained_work_is_finished_and_nothing_is_tried_again(ledger, job):
    evaluator = FakeEvaluator(infrastructure=1.0)
    dispatcher = Dispatcher(ledger, evaluator, never)
    dispatcher.start(job)
    dispatcher.drain()
    assert collect(dispatcher, 0.3) == []
    assert dispatcher.idle
    assert len(evaluator.tasks) == 1


def test_checks_run_in_this_process(ledger, job):
    workload = Workload(Stage.CHECK, 100, 1)
    key = EvaluationKey("p1", Stage.CHECK, workload.digest, "model", ENVIRONMENT.digest, "1", 0)
    task = EvaluationTask(key, "a\n", (), workload)
    dispatcher = Dispatcher(ledger, FakeEvaluator(), lambda task: Evaluation(task.key, Status.OK))
    dispatcher.start(Job(task, job.candidate_id))
    assert dispatcher.collect(0.0) == [Evaluation(key, Status.OK)]
