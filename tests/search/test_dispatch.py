"""The way of one evaluation: leases, busy keys, retries."""

import time
from dataclasses import replace

import pytest
from fake_evaluator import ENVIRONMENT, FakeEvaluator
from sqlalchemy import text

from search.contracts import Claim
from search.dispatch import MAX_ATTEMPTS, TIMED_SHARE, Dispatcher, Job, least_read
from search.records import (
    Candidate,
    Evaluation,
    EvaluationKey,
    EvaluationTask,
    Measurement,
    Proposal,
    Record,
    Stage,
    Status,
    StoredCampaign,
    Workload,
)
from search.workloads import HELD_OUT


@pytest.fixture
def job(ledger):
    campaign = ledger.create_campaign(StoredCampaign(0, 1, ("grammar",), ""))
    candidate = ledger.add_candidate(Candidate(campaign.id, 0, Proposal("a\n", "x", "y"), Status.OK, "", "p1", "P"))
    workload = Workload(Stage.PROBE, 100, 1)
    key = EvaluationKey("p1", Stage.PROBE, workload.digest, "model", ENVIRONMENT.digest, "1", 0)
    return Job(EvaluationTask(key, "a\n", (), workload), candidate.id)


def never(task):
    raise AssertionError("nothing is checked here")


def of(job, text, seed=0):
    """Give the same job with another program."""
    task = replace(job.task, text=text, key=replace(job.task.key, program_digest=text, seed=seed))
    return Job(task, job.candidate_id)


class Workers:
    """So many workers, who are told when to end."""

    version, environment, model_digest = "1", ENVIRONMENT, "model"

    def __init__(self, num_workers):
        self.num_workers, self._tasks, self._ended = num_workers, [], []

    def submit(self, task):
        self._tasks.append(task)

    def at_work(self):
        return [f"{each.text}{each.key.seed}" for each in self._tasks]

    def end(self, name):
        (task,) = (each for each in self._tasks if f"{each.text}{each.key.seed}" == name)
        self._tasks.remove(task)
        self._ended.append(Evaluation(task.key, Status.OK))

    def running(self):
        return [each.key for each in self._tasks]

    def completed(self, timeout_s):
        ended, self._ended = self._ended, []
        return ended


def collect(dispatcher, limit_s=10.0):
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        done = dispatcher.collect(0.05)
        if done:
            return done
    return []


def test_what_is_timed_has_to_read_most_of_what_was_read_where_it_was_judged(job):
    key = replace(job.task.key, stage=Stage.FIDELITY)
    read = Measurement("pages_attended", 30.0), Measurement("pages_dense", 240.0)
    judged = Evaluation(key, Status.OK, measurements=read, ratio=8.0)
    record = Record(Candidate(1, 0, Proposal("a", "x", "y"), Status.OK, "", "p1", "P"), (judged,))
    timed = Workload(Stage.SERVE, 100, 1, ratio=8.0)
    assert least_read(record, timed) == pytest.approx(TIMED_SHARE / 8)
    assert least_read(record, replace(timed, ratio=16.0)) == 0.0
    assert least_read(record, replace(timed, stage=Stage.RETRIEVAL)) == 0.0


def test_a_result_is_stored_and_the_second_time_taken_from_there(ledger, job):
    evaluator = FakeEvaluator(failure_rate=0.0)
    for _ in range(2):
        dispatcher = Dispatcher(ledger, evaluator, never)
        dispatcher.start(job)
        (evaluation,) = collect(dispatcher)
        assert evaluation.status is Status.OK
        assert dispatcher.idle
    assert len(evaluator.tasks) == 1


def test_a_worker_goes_on_with_the_program_that_it_has_served(ledger, job):
    """What another worker is at is left to it; else the first comes first."""
    evaluator = Workers(2)
    dispatcher = Dispatcher(ledger, evaluator, never)
    for name, seed in (("a", 1), ("a", 2), ("b", 1), ("c", 1), ("b", 2)):
        dispatcher.start(of(job, name, seed))
    assert evaluator.at_work() == ["a1", "a2"]  # nothing else was there when the second worker was free
    evaluator.end("a2")
    dispatcher.collect(0.0)
    assert evaluator.at_work() == ["a1"]  # the second waits for what follows
    dispatcher.collect(0.0)
    assert evaluator.at_work() == ["a1", "b1"]
    evaluator.end("b1")
    dispatcher.collect(0.0)
    dispatcher.start(of(job, "b", 3))
    assert evaluator.at_work() == ["a1", "b2"]  # which waited longer
    evaluator.end("b2")
    dispatcher.collect(0.0)
    dispatcher.collect(0.0)
    assert evaluator.at_work() == ["a1", "b3"]
    dispatcher.start(of(job, "a", 3))
    evaluator.end("a1")
    dispatcher.collect(0.0)
    dispatcher.start(of(job, "a", 4))
    assert evaluator.at_work() == ["b3", "a3"]
    evaluator.end("a3")
    dispatcher.collect(0.0)
    dispatcher.start(of(job, "d", 1))  # another worker's follows
    assert evaluator.at_work() == ["b3", "a4"]
    evaluator.end("b3")
    dispatcher.collect(0.0)
    dispatcher.collect(0.0)
    assert evaluator.at_work() == ["a4", "c1"]


def test_a_worker_goes_on_with_what_follows_a_result(ledger, job):
    """What was waiting comes after it: what is to be measured next of a program is asked once its result is known."""
    evaluator = Workers(1)
    dispatcher = Dispatcher(ledger, evaluator, never)
    for name in ("a", "b"):
        dispatcher.start(of(job, name, 1))
    evaluator.end("a1")
    (done,) = dispatcher.collect(0.0)
    assert done.key.program_digest == "a"
    dispatcher.start(of(job, "a", 2))
    assert evaluator.at_work() == ["a2"]


def test_each_of_two_workers_that_end_at_once_goes_on_with_its_own_program(ledger, job):
    """What waits comes to neither while something may follow of what each has served."""
    evaluator = Workers(2)
    dispatcher = Dispatcher(ledger, evaluator, never)
    for name in ("a", "b", "c", "d"):
        dispatcher.start(of(job, name, 1))
    for name in ("a1", "b1"):
        evaluator.end(name)
    assert len(dispatcher.collect(0.0)) == 2
    dispatcher.start(of(job, "a", 2))
    assert evaluator.at_work() == ["a2"]
    dispatcher.start(of(job, "b", 2))
    assert evaluator.at_work() == ["a2", "b2"]
    for name in ("a2", "b2"):
        evaluator.end(name)
    dispatcher.collect(0.0)
    dispatcher.start(of(job, "b", 3))
    dispatcher.go_on()  # nothing follows of a
    assert evaluator.at_work() == ["b3", "c1"]


def test_whoever_was_free_before_waits_for_nothing(ledger, job):
    """One of three workers ends: what is new goes to those two that were free, and nobody is idle for longer."""
    evaluator = Workers(3)
    dispatcher = Dispatcher(ledger, evaluator, never)
    dispatcher.start(of(job, "a"))
    evaluator.end("a0")
    dispatcher.collect(0.0)
    for name in ("b", "c", "d"):
        dispatcher.start(of(job, name))
    assert evaluator.at_work() == ["b0", "c0"]
    dispatcher.go_on()
    assert evaluator.at_work() == ["b0", "c0", "d0"]
    assert begun(ledger) == ["a", "b", "c", "d"]


def test_what_confirms_comes_in_order(ledger, job):
    """All of one stage before any of the next, whoever has served what: an engine's cache holds one's prompts."""
    workload = replace(job.task.workload, split=HELD_OUT)

    def of(text, seed):
        key = replace(job.task.key, program_digest=text, workload_digest=workload.digest, seed=seed)
        return Job(replace(job.task, text=text, key=key, workload=workload), job.candidate_id)

    evaluator = Workers(1)
    dispatcher = Dispatcher(ledger, evaluator, never)
    for name, seed in (("a", 1), ("b", 1), ("a", 2), ("b", 2)):
        dispatcher.start(of(name, seed))
    done = []
    for _ in range(4):
        done += evaluator.at_work()
        evaluator.end(done[-1])
        dispatcher.collect(0.0)
        dispatcher.collect(0.0)
    assert done == ["a1", "b1", "a2", "b2"]


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


def test_drained_what_waits_for_a_worker_is_given_back(ledger):
    """One worker and three jobs: one is finished, and nobody is blamed for the others, which anybody may take."""
    evaluator, jobs = FakeEvaluator(failure_rate=0.0), jobs_of(ledger, 3)
    dispatcher = Dispatcher(ledger, evaluator, never)
    for job in jobs:
        dispatcher.start(job)
    assert dispatcher.num_running == 3
    dispatcher.drain()
    assert [each.key for each in collect(dispatcher)] == [jobs[0].task.key]
    assert dispatcher.idle
    assert [task.key for task in evaluator.tasks] == [jobs[0].task.key]
    assert [ledger.claim(job.task, "heir", 60.0) for job in jobs[1:]] == [Claim.TAKEN] * 2


def test_what_could_not_be_stored_is_given_back(ledger, job):
    dispatcher = Dispatcher(ledger, FakeEvaluator(failure_rate=0.0), never)
    dispatcher.start(job)
    finish, ledger.finish = ledger.finish, lambda *_: (_ for _ in ()).throw(OSError("the disk is full"))
    with pytest.raises(OSError, match="disk is full"):
        collect(dispatcher)
    ledger.finish = finish
    dispatcher.release()
    assert ledger.claim(job.task, "heir", 60.0) is Claim.TAKEN


def test_who_was_suspended_is_not_blamed(ledger, job, monkeypatch):
    """Each of four drivers sleeps for longer than its lease, and wakes when another one has taken over."""
    import search.dispatch

    drivers = []
    with monkeypatch.context() as patch:
        patch.setattr(search.dispatch, "LEASE_S", 0.1)
        patch.setattr(search.dispatch, "HEARTBEAT_S", 0.0)
        for _ in range(4):
            drivers.append(Dispatcher(ledger, SlowEvaluator(), never))
            drivers[-1].start(job)
            drivers[-1].collect(0.0)
            time.sleep(0.2)
        assert ledger.records(1)[0].status is Status.QUARANTINED
        for sleeper in drivers:
            for _ in range(2):  # each death is taken back once
                sleeper.collect(0.0)
    assert ledger.records(1)[0].status is Status.OK
    with ledger.reading() as session:
        assert session.execute(text("SELECT num_deaths, owner FROM evaluation")).one() == (0, None)


def test_what_a_sleeper_measured_counts(ledger, job, monkeypatch):
    import search.dispatch

    monkeypatch.setattr(search.dispatch, "LEASE_S", 0.1)
    sleeper = Dispatcher(ledger, FakeEvaluator(failure_rate=0.0), never)
    sleeper.start(job)
    time.sleep(0.2)
    assert ledger.claim(job.task, "other", 60.0) is Claim.TAKEN
    assert [each.status for each in collect(sleeper)] == [Status.OK]
    assert isinstance(ledger.claim(job.task, "third", 60.0), Evaluation)


def test_checks_run_in_this_process(ledger, job):
    workload = Workload(Stage.CHECK, 100, 1)
    key = EvaluationKey("p1", Stage.CHECK, workload.digest, "model", ENVIRONMENT.digest, "1", 0)
    task = EvaluationTask(key, "a\n", (), workload)
    dispatcher = Dispatcher(ledger, FakeEvaluator(), lambda task: Evaluation(task.key, Status.OK))
    dispatcher.start(Job(task, job.candidate_id))
    assert dispatcher.collect(0.0) == [Evaluation(key, Status.OK)]


def jobs_of(ledger, num):
    """Give so many jobs of one campaign."""
    campaign = ledger.create_campaign(StoredCampaign(0, num, ("grammar",), ""))
    workload = Workload(Stage.PROBE, 100, 1)
    jobs = []
    for step in range(num):
        digest = f"q{step}"
        proposal = Proposal(f"{digest}\n", "x", "y")
        candidate = ledger.add_candidate(Candidate(campaign.id, step, proposal, Status.OK, "", digest, digest))
        key = EvaluationKey(digest, Stage.PROBE, workload.digest, "model", ENVIRONMENT.digest, "1", 0)
        jobs.append(Job(EvaluationTask(key, proposal.text, (), workload), candidate.id))
    return jobs


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_lost_driver_is_blamed_on_what_its_workers_held(ledger, monkeypatch, num_workers):
    """Three drivers lease eight and vanish. Nothing but what was in a worker's hands is given up."""
    import search.dispatch

    jobs = jobs_of(ledger, 8)
    with monkeypatch.context() as patch:
        patch.setattr(search.dispatch, "LEASE_S", 0.5)
        for _ in range(3):
            driver = Dispatcher(ledger, SlowEvaluator(num_workers), never)
            for job in jobs:
                driver.start(job)
            assert driver.num_running == 8
            driver.collect(0.01)
            time.sleep(0.6)
    given_up = [ledger.claim(job.task, "heir", 60.0) for job in jobs]
    blamed, free = given_up[:num_workers], given_up[num_workers:]
    assert [evaluation.status for evaluation in blamed] == [Status.QUARANTINED] * num_workers
    assert free == [Claim.TAKEN] * (8 - num_workers)


def begun(ledger):
    """Give the programs of which it is noted that work on them has begun."""
    with ledger.reading() as session:
        return list(session.scalars(text("SELECT program_digest FROM evaluation WHERE begun ORDER BY id")))


def test_what_comes_into_a_workers_hands_later_is_noted_then(ledger):
    evaluator = FakeEvaluator(failure_rate=0.0)
    dispatcher = Dispatcher(ledger, evaluator, never)
    for job in jobs_of(ledger, 3):
        dispatcher.start(job)
    assert begun(ledger) == ["q0"]
    while not dispatcher.idle:
        dispatcher.collect(0.05)
        assert {key.program_digest for key in evaluator.running()} <= set(begun(ledger))
    assert begun(ledger) == ["q0", "q1", "q2"]


def test_a_check_that_kills_the_driver_is_blamed(ledger, job):
    def fatal(task):
        assert begun(ledger) == ["p1"]
        raise SystemExit

    workload = Workload(Stage.CHECK, 100, 1)
    key = EvaluationKey("p1", Stage.CHECK, workload.digest, "model", ENVIRONMENT.digest, "1", 0)
    with pytest.raises(SystemExit):
        Dispatcher(ledger, FakeEvaluator(), fatal).start(
            Job(EvaluationTask(key, "a\n", (), workload), job.candidate_id)
        )
