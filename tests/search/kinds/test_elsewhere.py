"""Several kinds of machines in one campaign: the first decides, the others measure what it has timed."""

from collections import defaultdict
from contextlib import closing
from dataclasses import replace

import pytest
from fake_evaluator import ENVIRONMENT as HERE
from fake_evaluator import FakeEvaluator

from search.campaigns.proposers import proposers_of
from search.campaigns.replay import replay
from search.config import CampaignConfig
from search.contracts import OfKinds
from search.kinds.elsewhere import REPEATED
from search.loop import Loop, start_campaign
from search.observer import Silent
from search.outcome import End
from search.parents import LOSSES, SEED
from search.records import Evaluation, Stage, Status
from search.report.material import gather
from search.report.report import claims_at
from search.store.ledger import SqlLedger
from search.workloads import workloads_for

THERE = replace(HERE, device="another device", dtype="bfloat16")
CONFIG = CampaignConfig(
    seed=3, num_candidates=16, seeds=("dense", "quest", "quest_sub", "centroid"), ratios=(4, 8),
    num_layers=30, workloads=workloads_for(0), recall_share=0.3, proposers=("grammar", "random"),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _without_rest(monkeypatch):
    """Look at once for what other kinds have finished: nothing here takes any time."""
    monkeypatch.setattr("search.loop.TURN_S", 0.005)


class Other(FakeEvaluator):
    """Another kind of machine, on which what is lost and how fast it is are others."""

    environment = THERE

    def _measurements(self, task):
        return tuple(replace(each, value=each.value + 10) for each in super()._measurements(task))


class Lost(Other):
    """A kind whose machines are away."""

    def _run(self, task):
        return Evaluation(task.key, Status.INFRASTRUCTURE, "no worker of kind H100 is left")


class Failing(Other):
    """A kind on which nothing is served rightly."""

    def _run(self, task):
        if task.key.stage is Stage.ORACLE:
            return Evaluation(task.key, Status.WRONG_RESULT, "page 3 is attended by nobody")
        return super()._run(task)


class Crashing(Other):
    """A kind whose engines break while programs are timed."""

    def _run(self, task):
        if task.key.stage is Stage.SERVE:
            return Evaluation(task.key, Status.CRASHED, "the engine's process ended with signal 11")
        return super()._run(task)


class Both(FakeEvaluator):
    """Two kinds, each with workers of its own."""

    def __init__(self, num_workers=1, shuffle=0, other=Other, failure_rate=0.0, crash_after=None):
        super().__init__(num_workers, failure_rate, shuffle, crash_after)
        self.further = (other(3, failure_rate, shuffle + 1),)

    @property
    def elsewhere(self):
        return self.further[0].tasks


def search(ledger, evaluator, campaign=None, observer=None):
    campaign = campaign or start_campaign(ledger, CONFIG)
    return Loop(ledger, evaluator, proposers_of(CONFIG, {}), campaign, observer).run(), campaign


def measured(record, environment=HERE):
    return [e for e in record.evaluations if e.key.environment_digest == environment.digest]


def decided(ledger, campaign):
    """What a campaign decided, and what its first kind measured."""
    return [
        (r.candidate.program_digest, [(e.key.stage, e.ratio, e.status) for e in measured(r)])
        for r in ledger.records(campaign.id)
    ]


def went_through(record, environment):
    found = defaultdict(set)
    for each in measured(record, environment):
        found[each.ratio].add(each.key.stage)
    return found


def test_an_evaluator_of_several_kinds_is_told_from_one_of_one():
    assert isinstance(Both(), OfKinds)
    assert not isinstance(FakeEvaluator(), OfKinds)


def test_further_kinds_and_numbers_of_workers_decide_nothing(tmp_path):
    sequences, everything = [], []
    alone, two, eight = FakeEvaluator(1, 0.0), Both(2, shuffle=1), Both(8, shuffle=2)
    for i, evaluator in enumerate((alone, two, eight)):
        with closing(SqlLedger(f"sqlite:///{tmp_path / f'{i}.db'}")) as ledger:
            outcome, campaign = search(ledger, evaluator)
            assert outcome.end is End.DONE
            sequences.append(decided(ledger, campaign))
            keys = {e.key for r in ledger.records(campaign.id) for e in r.evaluations}
            everything.append({key for key in keys if key.environment_digest == THERE.digest})
    assert sequences[0] == sequences[1] == sequences[2]
    assert everything[0] == set()
    assert everything[1] == everything[2] != set()


def test_whoever_was_timed_goes_through_its_stages_on_the_other_kind_too(ledger):
    evaluator = Both(2)
    _, campaign = search(ledger, evaluator)
    timed = 0
    for record in ledger.records(campaign.id):
        here, there = went_through(record, HERE), went_through(record, THERE)
        served = [ratio for ratio, stages in here.items() if Stage.SERVE in stages]
        timed += len(served)
        as_written = {0.0: {Stage.ORACLE}} if served else {}
        repeated = {ratio: here[ratio] & set(REPEATED) for ratio in served}
        checked = {ratio: {Stage.CHECK} for ratio in here if ratio or not CONFIG.ratios}
        is_seed = record.candidate.proposal.operator == SEED
        assert there == (checked if is_seed else {}) | repeated | as_written
    assert timed > 4
    assert {Stage.SCREEN, Stage.RECALL} & {task.key.stage for task in evaluator.elsewhere} == set()
    keys = [task.key for task in (*evaluator.tasks, *evaluator.elsewhere)]
    assert len(keys) == len(set(keys))


def test_a_row_has_the_figures_of_one_machine_alone(ledger):
    _, campaign = search(ledger, Both(2))
    rows = defaultdict(dict)
    for row in ledger.standings(campaign.id):
        rows[row.id, row.ratio][row.device] = row
    timed = (found for found in rows.values() if all(row.speedup is not None for row in found.values()))
    both = [found for found in timed if set(found) == {HERE.device, THERE.device}]
    assert len(both) > 4
    assert sum(found[HERE.device].retrieval is not None for found in both) > 2
    for found in both:
        here, there = found[HERE.device], found[THERE.device]
        for name in ("kl", "speedup"):
            assert getattr(there, name) == pytest.approx(getattr(here, name) + 10)
        asked = here.retrieval is not None  # not every rule can be asked questions at its cost
        assert there.retrieval == (pytest.approx(here.retrieval + 10) if asked else None)
        assert there.cost_ratio == here.cost_ratio  # of the cost model, which knows no machine
        assert (there.status, there.reason, there.recall) == ("ok", "", None)
        assert (here.dtype, there.dtype) == (HERE.dtype, THERE.dtype)
    sections = {(front.first.device, front.first.ratio): front for front in ledger.fronts(campaign.id)}
    for ratio in CONFIG.ratios:
        assert sections[HERE.device, ratio].members
        assert sections[THERE.device, ratio].members
    assert {row.device for row in ledger.standings(campaign.id) if row.confirmed} == {HERE.device, THERE.device}


def test_nobody_is_said_to_beat_published_rules_that_were_not_measured_on_that_machine(ledger):
    _, campaign = search(ledger, Both(2))
    material = gather(ledger, campaign)
    deciding, further = material.places
    assert (deciding.environment, further.environment) == (HERE, THERE)
    told = [name for claim in claims_at(further, material) for name in claim.shortfalls]
    unmeasured = {s.name for s in ledger.standings(campaign.id) if s.device == THERE.device and s.kl is None}
    assert unmeasured
    assert any("no figure at this cost" in reason and min(unmeasured) in reason for reason in told)


def test_leaders_are_confirmed_where_they_lead(ledger):
    evaluator = Both(2)
    search(ledger, evaluator)
    again = [task for task in evaluator.elsewhere if task.fresh]
    assert {task.key.stage for task in again} == {stage for stage in LOSSES if stage in CONFIG.stages}
    assert {task.workload.split for task in again} == {"held_out"}


def test_what_is_wrong_on_the_other_kind_is_not_timed_there(ledger):
    evaluator = Both(2, other=Failing)
    outcome, campaign = search(ledger, evaluator)
    assert outcome.end is End.DONE
    assert outcome.leaders
    assert {task.key.stage for task in evaluator.elsewhere} == {Stage.ORACLE}
    rows = [row for row in ledger.standings(campaign.id) if row.device == THERE.device]
    assert all(row.speedup is None for row in rows)
    failed = {row.id for row in rows if row.status == Status.WRONG_RESULT}
    assert failed
    assert {row.origin for row in rows if row.id not in failed} <= {"zoo/seed"}  # which are checked in any case
    assert {r.status for r in ledger.records(campaign.id) if r.candidate.id in failed} == {Status.OK}


def test_who_fails_on_another_kind_alone_has_not_failed(ledger):
    _, campaign = search(ledger, Both(2, other=Crashing))
    there = {row.id: row.status for row in ledger.standings(campaign.id) if row.device == THERE.device and row.kl}
    assert set(there.values()) == {Status.CRASHED}
    assert {r.status for r in ledger.records(campaign.id) if r.candidate.id in there} == {Status.OK}


def test_a_kind_that_is_away_does_not_stop_the_search_and_is_made_up_for(ledger):
    outcome, campaign = search(ledger, Both(2, other=Lost))
    assert outcome.end is End.INFRASTRUCTURE
    assert outcome.leaders
    assert "could not be made on another device, bfloat16: no worker of kind H100 is left" in outcome.message
    before = decided(ledger, campaign)
    back = Both(2)
    outcome, _ = search(ledger, back, campaign)
    assert (outcome.end, back.tasks) == (End.DONE, [])
    assert back.elsewhere
    assert decided(ledger, campaign) == before


@pytest.mark.parametrize("crash_after", [30, 80])
def test_a_killed_campaign_measures_nothing_twice_on_any_kind(tmp_path, ledger, crash_after):
    with closing(SqlLedger(f"sqlite:///{tmp_path / 'whole.db'}")) as whole:
        undisturbed = sorted(decided(whole, search(whole, Both(4))[1]))
    campaign, first = start_campaign(ledger, CONFIG), Both(4, crash_after=crash_after)
    with pytest.raises(RuntimeError, match="killed"):
        search(ledger, first, campaign)
    done = {e.key for r in ledger.records(campaign.id) for e in r.evaluations}
    second = Both(4, shuffle=5)
    assert search(ledger, second, campaign)[0].end is End.DONE
    assert sorted(decided(ledger, campaign)) == undisturbed
    assert not done & {task.key for task in (*second.tasks, *second.elsewhere)}


def test_draining_waits_for_what_runs_on_every_kind(ledger):
    class Drainer(Other):
        def submit(self, task):
            super().submit(task)
            if len(self.tasks) == 3:
                loop.drain()

    evaluator, campaign = Both(2, other=Drainer), start_campaign(ledger, CONFIG)
    loop = Loop(ledger, evaluator, proposers_of(CONFIG, {}), campaign)
    assert loop.run().end is End.INTERRUPTED
    stored = {e.key for r in ledger.records(campaign.id) for e in r.evaluations}
    assert {task.key for task in (*evaluator.tasks, *evaluator.elsewhere)} <= stored
    assert ledger.progress(campaign.id).num_running == 0


def test_nobody_has_nothing_to_do_while_the_deciding_kind_is_waited_for(ledger):
    class Waiting(Both):
        def completed(self, timeout_s):
            there = loop._dispatcher._elsewhere[0].dispatcher
            idle.append(bool(there._queue) and not there._handed)
            return super().completed(timeout_s)

    idle, campaign = [], start_campaign(ledger, CONFIG)
    loop = Loop(ledger, Waiting(2, other=lambda _, *given: Other(1, *given)), proposers_of(CONFIG, {}), campaign)
    assert loop.run().end is End.DONE
    assert idle
    assert not any(idle)


def test_people_see_what_runs_on_every_kind(ledger):
    class Watching(Silent):
        def __init__(self):
            self.seen = set()

        def on_waiting(self, running, num_waiting):
            self.seen |= {each.key.environment_digest for each in running if each.key}

    class Slow(Other):
        def completed(self, timeout_s):
            return super().completed(timeout_s) if self._luck.random() < 0.5 else []

    watching = Watching()
    search(ledger, Both(2, other=Slow), observer=watching)
    assert watching.seen >= {THERE.digest}


def test_a_campaign_of_several_kinds_is_replayed_by_the_one_that_decided(ledger):
    _, campaign = search(ledger, Both(4))
    found = replay(ledger, campaign)
    assert (found.difference, found.num_absent) == ("", 0)


def test_records_tell_of_the_deciding_kind_first(ledger):
    """An earlier campaign may have searched on what is a further kind now: its results are older."""
    search(ledger, Other(2, 0.0))
    _, campaign = search(ledger, Both(2))
    timed = [r for r in ledger.records(campaign.id) if r.evaluation(Stage.SERVE)]
    assert timed
    for record in timed:
        for stage in (Stage.CHECK, Stage.FIDELITY, Stage.SERVE):
            assert record.evaluation(stage).key.environment_digest == HERE.digest
