"""A campaign that is followed: whatever comes, it is known as if everything had just been read, and little is read."""

import random
from collections import Counter
from contextlib import closing
from dataclasses import fields, replace
from types import SimpleNamespace

import pytest

from search.agents.llm.operators import ask
from search.archive.archive import Archive
from search.archive.archivist import archive_of
from search.config import CampaignConfig
from search.contracts import Claim
from search.loop import Loop, start_campaign
from search.observer import Silent
from search.outside.following import Followed, Following, end_of
from search.outside.gateway import Gateway
from search.outside.tools import TOOLS, answer
from search.records import Evaluation, EvaluationTask, Stage, Status
from search.stages import next_workload
from search.store.ledger import SqlLedger
from search.workloads import workloads_for

CONFIG = CampaignConfig(
    seed=7, num_candidates=10, proposers=("random", "greedy"), seeds=("quest", "centroid", "dense"), ratios=(4, 8),
    lag=3, outside=("claude",), recall_share=0.5, published_share=0.7, workloads=workloads_for(0),
)  # fmt: skip
COMPARED = [each.name for each in fields(Archive) if each.name != "outlooks"]


class Reads:
    """A ledger that notes which steps are read."""

    def __init__(self, ledger):
        self._ledger, self.steps = ledger, []

    def __getattr__(self, name):
        return getattr(self._ledger, name)

    def records(self, campaign_id, steps=range(2**62)):
        found = self._ledger.records(campaign_id, steps)
        self.steps.append([each.candidate.step for each in found])
        return found


def context_of(campaign, records):
    """Give in words of Python what is known after these records."""
    config = CampaignConfig.from_json(campaign.settings)
    seen = {each.candidate.program_digest for each in records}
    seen |= {evaluation.key.program_digest for each in records for evaluation in each.evaluations}
    return config.context(len(records), records, seen - {""}, archive_of(records, config))


def is_finished(campaign, records, step):
    config = CampaignConfig.from_json(campaign.settings)
    visible = records[: max(0, step - config.lag + 1)]
    return next_workload(records[step], archive_of(visible, config), config) is None


def check(following, campaign, ledger, num_given=None):
    records = ledger.records(campaign.id)
    known, wanted = following.context, context_of(campaign, records)
    assert list(known.records) == records
    assert set(known.seen) == wanted.seen
    for name in COMPARED:
        assert getattr(known.archive, name) == getattr(wanted.archive, name), name
    for place, outlook in wanted.archive.outlooks.items():
        assert known.archive.outlooks[place].weights(len(records)) == outlook.weights(len(records))
    if len(records) % 3 == 1:  # it takes a while
        assert ask(known, "claude").question == ask(wanted, "claude").question
    for step in range(num_given or len(records), len(records)):
        assert following.is_finished(step) == is_finished(campaign, records, step)


class Checking(Silent):
    """Compares whenever something has come."""

    def __init__(self, following, campaign, ledger, num_given):
        self._given, self.num = (following, campaign, ledger, num_given), 0

    def on_candidate(self, record):
        self._check()

    def on_evaluation(self, record, evaluation):
        self._check()

    def _check(self):
        self._given[0].refresh()
        check(*self._given)
        self.num += 1


@pytest.fixture
def searching(ledger):
    return start_campaign(ledger, CONFIG)


@pytest.fixture
def run(ledger, db, searching, fake):
    """Run the campaign, or a part of it."""
    from search.campaigns.proposers import proposers_of

    def run(observer=None, num_steps=None, **given):
        with closing(SqlLedger(db)) as own:
            proposers = proposers_of(CampaignConfig.from_json(searching.settings), {})
            return Loop(own, fake(3, **given), proposers, searching, observer).run(num_steps)

    return run


def test_it_is_known_as_if_all_had_been_read_and_what_is_settled_is_read_once(ledger, searching, run):
    reads = Reads(ledger)
    following = Following(reads, searching)
    observer = Checking(following, searching, ledger, num_given=3)
    run(observer, failure_rate=0.15)
    assert observer.num > 40
    following.refresh()
    check(following, searching, ledger)
    assert ledger.progress(searching.id).num_steps == len(following.context.records)
    assert sum(map(len, reads.steps)) < 0.6 * observer.num * len(following.context.records)
    late = sorted(steps[0] for steps in reads.steps[observer.num // 2 :] if steps)
    assert late[len(late) // 2] > 3


class Moments:
    """A ledger of one campaign as it is at some moment, whatever that is."""

    def __init__(self):
        self.recorded = []

    def records(self, campaign_id, steps=range(2**62)):
        return [each for each in self.recorded if each.candidate.step in steps]

    def progress(self, campaign_id):
        counts = Counter((e.key.stage, e.status) for each in self.recorded for e in each.evaluations)
        evaluations = tuple((*kind, number) for kind, number in counts.items())
        return SimpleNamespace(num_steps=len(self.recorded), evaluations=evaluations)


def changed(recorded, whole, drawn):
    """Let a few results come, or one be lost with its machine, or taken away again before it is measured once more."""
    now, step = list(recorded), drawn.randrange(len(recorded))
    evaluations = now[step].evaluations
    if evaluations and evaluations[-1].status is Status.INFRASTRUCTURE:
        now[step] = replace(now[step], evaluations=evaluations[:-1])
        return now
    if evaluations and drawn.random() < 0.1:
        lost = replace(evaluations[-1], status=Status.INFRASTRUCTURE, measurements=())
        now[step] = replace(now[step], evaluations=(*evaluations[:-1], lost))
        return now
    for step in drawn.choices(range(len(now)), k=4):
        known = now[step].evaluations
        if not known or known[-1].status is not Status.INFRASTRUCTURE:
            now[step] = replace(now[step], evaluations=whole[step].evaluations[: len(known) + 2])
    if drawn.random() < 0.5 and len(now) < len(whole):
        now.append(replace(whole[len(now)], evaluations=()))
    return now


@pytest.mark.parametrize("seed", [0, 1])
def test_whatever_is_recorded_when_it_is_known_as_if_all_had_been_read(ledger, searching, run, seed):
    """In an order that no loop would measure in, with machines that are lost."""
    run(failure_rate=0.05)
    whole, drawn, moments = ledger.records(searching.id), random.Random(seed), Moments()
    moments.recorded = [replace(each, evaluations=()) for each in whole[:3]]
    following = Following(moments, searching)
    for _ in range(70):
        following.refresh()
        check(following, searching, moments, num_given=3)
        moments.recorded = changed(moments.recorded, whole, drawn)
    moments.recorded = whole
    following.refresh()
    check(following, searching, moments, num_given=3)


class ReadAll:
    """Answers by reading everything each time."""

    def context(self, ledger, campaign):
        return context_of(campaign, ledger.records(campaign.id))

    def end(self, ledger, campaign):
        return end_of(campaign.id, CampaignConfig.from_json(campaign.settings), ledger.records(campaign.id))

    def is_finished(self, ledger, campaign, step):
        return is_finished(campaign, ledger.records(campaign.id), step)


@pytest.mark.parametrize("num_steps", [8, None])
def test_every_tool_answers_what_it_would_if_all_had_been_read(ledger, searching, run, text_of, num_steps):
    """Of a campaign in its midst and at its end, beside another one, with what is held out."""
    for number in range(2):
        Gateway(ledger, "claude", searching.id).submit(text_of(number))
    start_campaign(ledger, replace(CONFIG, seed=8))
    run(num_steps=num_steps, failure_rate=0)
    given = {
        "check": {"program": text_of(3)}, "look": {"program": text_of(3)}, "submit": {"program": text_of(0)},
        "show": {"name": "Quest"}, "diff": {"name": "Quest", "other": "Centroid"},
        "wait": {"submission": 1, "timeout_s": 0},
    }  # fmt: skip
    gateway, plain = (Gateway(ledger, "claude", searching.id) for _ in range(2))
    object.__setattr__(plain, "_followed", ReadAll())
    for _ in range(2):
        for tool in TOOLS:
            arguments = given.get(tool.name, {})
            assert answer(gateway, tool.name, arguments) == answer(plain, tool.name, arguments), tool.name


@pytest.mark.parametrize("num_steps", [8, None])
def test_where_nothing_came_nothing_is_read(ledger, searching, run, num_steps):
    """What is held out, as at a campaign's end, is nothing that came."""
    run(num_steps=num_steps)
    reads = Reads(ledger)
    following = Following(reads, searching)
    following.refresh()
    num_read = len(reads.steps)
    known = following.context
    for _ in range(3):
        following.refresh()
        assert following.context is known
    assert len(reads.steps) == num_read == 1


def test_what_changes_long_after_it_was_settled_is_seen(ledger, searching, run):
    """As where a leader is timed in the end, or a quarantine is lifted."""
    run(num_steps=10, failure_rate=0)
    reads = Reads(ledger)
    following = Following(reads, searching)
    following.refresh()
    assert following.is_finished(1)
    before = following.context.records[1]
    key = replace(before.evaluations[0].key, program_digest="another budget")
    workload = ledger.workload(key.workload_digest)
    task = EvaluationTask(key, before.candidate.proposal.text, (), workload)
    assert ledger.claim(task, "test", 30.0, before.candidate.id) is Claim.TAKEN
    following.refresh()
    assert len(reads.steps) == 1
    ledger.finish(Evaluation(key, Status.OK, ratio=workload.ratio), "test", ledger.environment(key.environment_digest))
    following.refresh()
    check(following, searching, ledger)
    assert len(following.context.records[1].evaluations) == len(before.evaluations) + 1
    assert [steps[0] for steps in reads.steps[::2]] == [0, 0]


def test_campaigns_are_followed_side_by_side_and_the_oldest_forgotten(ledger, searching):
    reads, followed = Reads(ledger), Followed()
    campaigns = [searching, *(start_campaign(ledger, replace(CONFIG, seed=seed)) for seed in (8, 9))]
    for each in (*campaigns, campaigns[2], campaigns[1], campaigns[0]):
        assert followed.context(reads, each).seed == CampaignConfig.from_json(each.settings).seed


def test_an_agent_that_waits_does_not_have_the_campaign_read_again(ledger, running, text_of):
    reads = Reads(ledger)
    gateway = Gateway(reads, "claude", running.id)
    fate = gateway.submit(text_of(1))
    fate = gateway.wait(fate.submission, 20.0, 10**6)
    assert Stage.CHECK in {each.stage for each in fate.results}
    assert sum(steps[:1] == [0] for steps in reads.steps) == 1
