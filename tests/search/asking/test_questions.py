"""Several questions at a time: one sequence of candidates, whichever answer comes first."""

import random
import threading
import time
from dataclasses import replace

import pytest
from fake_evaluator import FakeEvaluator

from search.agents.grammar import Grammar
from search.asking.owing import Reserved
from search.asking.questions import Questions
from search.config import CampaignConfig
from search.contracts import Distant, ProposerError
from search.loop import Loop, start_campaign
from search.outcome import End
from search.records import Context, Proposal, Status
from search.store.ledger import SqlLedger

CONFIG = CampaignConfig(
    seed=2,
    num_candidates=10,
    proposers=("distant", "grammar", "distant"),
    seeds=("quest", "centroid"),
    ratios=(8,),
    lag=5,
    bandit=False,
)
NUM_SEEDS = 2


class Away(Grammar):
    """The grammar behind a server that answers when it likes."""

    name = "distant"

    def __init__(self, num_at_once=16, shuffle=0):
        super().__init__()
        self.num_at_once, self.contexts = num_at_once, {}
        self.most_at_once = self._num_open = 0
        self._luck, self._lock = random.Random(shuffle), threading.Lock()

    def propose(self, context):
        with self._lock:
            self.contexts[context.step] = context
            self._num_open += 1
            self.most_at_once = max(self.most_at_once, self._num_open)
            wait_s = 0.05 * self._luck.random()
        time.sleep(wait_s)
        with self._lock:
            self._num_open -= 1
        return super().propose(context)


def run(ledger, away, config=CONFIG, evaluator=None, campaign=None):
    campaign = campaign or start_campaign(ledger, config)
    proposers = [away if name == "distant" else Grammar() for name in config.proposers]
    outcome = Loop(ledger, evaluator or FakeEvaluator(4), proposers, campaign).run()
    return outcome, campaign


def sequence(ledger, campaign):
    """What a campaign decided and measured, without times."""
    return [
        (r.candidate.step, r.candidate.proposal, r.candidate.status, [(e.key, e.measurements) for e in r.evaluations])
        for r in ledger.records(campaign.id)
    ]


BOTH = pytest.mark.parametrize("bandit", [False, True], ids=["a fixed round", "turns that are drawn"])


@BOTH
def test_the_sequence_depends_on_no_workers_and_no_order_of_answers(tmp_path, bandit):
    sequences, most, config = [], [], replace(CONFIG, bandit=bandit)
    for num_workers, shuffle, num_at_once in ((1, 0, 1), (2, 1, 16), (8, 2, 16)):
        ledger = SqlLedger(f"sqlite:///{tmp_path / f'{num_workers}.db'}")
        away = Away(num_at_once, shuffle)
        outcome, campaign = run(ledger, away, config, FakeEvaluator(num_workers, shuffle=shuffle))
        assert outcome.end is End.DONE
        sequences.append(sequence(ledger, campaign))
        most.append(away.most_at_once)
        ledger.close()
    assert sequences[0] == sequences[1] == sequences[2]
    assert most[0] == 1
    assert bandit or min(most[1:]) > 1


def test_a_question_ahead_knows_what_its_step_may_see_and_nothing_else(ledger):
    away = Away()
    _, campaign = run(ledger, away)
    records = ledger.records(campaign.id)
    for step, context in away.contexts.items():
        visible = [r.candidate for r in records[: max(0, step - CONFIG.lag + 1)]]
        assert [r.candidate.step for r in context.records] == [c.step for c in visible]
        assert context.archive.num_records == len(visible)
        later = {r.candidate.program_digest for r in records[len(visible) :]}
        assert {c.program_digest for c in visible} <= context.seen
        assert later.isdisjoint(context.seen)
        assert context.pending == ()
        assert context.demands == CONFIG.demands


@BOTH
def test_a_campaign_that_is_killed_with_questions_open_goes_on_as_if_undisturbed(tmp_path, ledger, bandit):
    config = replace(CONFIG, bandit=bandit)
    whole = SqlLedger(f"sqlite:///{tmp_path / 'whole.db'}")
    undisturbed = sequence(whole, run(whole, Away(), config)[1])
    whole.close()
    campaign = start_campaign(ledger, config)
    with pytest.raises(RuntimeError, match="killed"):
        run(ledger, Away(), evaluator=FakeEvaluator(4, crash_after=15), campaign=campaign)
    assert 0 < len(ledger.records(campaign.id)) < len(undisturbed)
    assert run(ledger, Away(shuffle=9), campaign=campaign)[0].end is End.DONE
    assert sequence(ledger, campaign) == undisturbed


def test_no_more_is_asked_than_will_be_needed(ledger):
    away = Away()
    config = replace(CONFIG, proposers=("distant",))
    _, campaign = run(ledger, away, config)
    drawn = [r for r in ledger.records(campaign.id) if r.candidate.proposal.proposer == "distant"]
    assert len(away.contexts) == len(drawn)


def test_money_is_kept_back_for_what_is_asked(ledger):
    class Dear(Away):
        def propose(self, context):
            return replace(super().propose(context), dollars=0.4)

    away = Dear()
    config = replace(CONFIG, proposers=("distant",), max_dollars=1.0)
    outcome, _ = run(ledger, away, config)
    assert len(away.contexts) == 3
    assert outcome.num_admitted == NUM_SEEDS + 3


def test_what_is_owed_is_kept_back_too(ledger):
    """What an earlier driver asked leaves room for one question at a time."""

    class Dear(Away):
        def propose(self, context):
            return replace(super().propose(context), dollars=0.4)

    config, most = replace(CONFIG, proposers=("distant",), max_dollars=1.0), []
    for owed in (0.0, 0.5):
        campaign = start_campaign(ledger, config)
        assert ledger.reserve(Reserved(f"{owed}", campaign.id, 0, "distant", "m", owed), 1.0) is None
        away = Dear()
        run(ledger, away, config, campaign=campaign)
        assert len(away.contexts) == 3
        most.append(away.most_at_once)
    assert most == [2, 1]


def test_draining_waits_for_what_was_asked(ledger):
    class Drainer(FakeEvaluator):
        def submit(self, task):
            super().submit(task)
            if len(self.tasks) == 12:
                loop.drain()

    away, campaign = Away(), start_campaign(ledger, CONFIG)
    loop = Loop(ledger, Drainer(4), [away, Grammar(), away], campaign)
    assert loop.run().end is End.INTERRUPTED
    steps = {r.candidate.step for r in ledger.records(campaign.id) if r.candidate.proposal.proposer == "distant"}
    assert set(away.contexts) == steps
    assert run(ledger, Away(), campaign=campaign)[0].end is End.DONE


def test_the_same_program_twice_at_once_is_a_duplicate_of_the_earlier_step(ledger):
    class Same(Away):
        def propose(self, context):
            return replace(super().propose(replace(context, step=0)), operator=f"asked at {context.step}")

    config = replace(CONFIG, num_candidates=2, proposers=("distant",), lag=8)
    _, campaign = run(ledger, Same(), config)
    first, *others = [r for r in ledger.records(campaign.id) if r.candidate.step >= NUM_SEEDS]
    assert first.candidate.status is Status.OK
    assert {r.candidate.status for r in others[: config.lag - NUM_SEEDS - 1]} == {Status.DUPLICATE}
    assert not any(r.evaluations for r in others if r.candidate.status is Status.DUPLICATE)


def test_a_proposer_is_asked_ahead_only_if_it_says_so():
    assert isinstance(Away(), Distant)
    assert not isinstance(Grammar(), Distant)


def test_answers_are_taken_by_step():
    may_answer = threading.Event()

    class Scripted:
        name = "scripted"

        def propose(self, context):
            may_answer.wait(5.0)
            if context.step == 2:
                raise ProposerError("away")
            return Proposal(str(context.step), self.name, "explore")

    questions, scripted = Questions(), Scripted()
    assert questions.last == -1
    for step in (3, 1, 2):
        questions.put(scripted, Context(0, step, (), frozenset(), 2, 64, 1000))
    assert (questions.last, len(questions), questions.num_to(scripted)) == (3, 3, 3)
    assert not questions.is_answered(3)
    may_answer.set()
    assert questions.take(1, 5.0).text == "1"
    with pytest.raises(ProposerError, match="away"):
        questions.take(2, 5.0)
    assert 1 not in questions
    assert 2 not in questions
    while not questions.is_answered(3):
        time.sleep(0.001)
    assert (questions.num_to(scripted), questions.num_waiting(scripted)) == (1, 0), (
        "what waits to be taken keeps nobody busy"
    )
    assert questions.take(3, 5.0).text == "3"


class Slow(Away):
    """Answers once it may, and notes the steps it was asked for."""

    def __init__(self, name, num_at_once, may_answer=None):
        super().__init__(num_at_once)
        self.name, self._may_answer = name, may_answer

    def propose(self, context):
        if self._may_answer is not None:
            self._may_answer.wait(10.0)
        return replace(super().propose(context), proposer=self.name)


def test_a_slow_endpoint_with_all_its_slots_taken_keeps_no_other_from_being_asked(ledger):
    may_answer = threading.Event()
    slow, quick = Slow("slow", 1, may_answer), Slow("quick", 16)
    config = replace(CONFIG, proposers=("slow", "quick"), lag=8, num_candidates=12)
    campaign = start_campaign(ledger, config)
    loop = Loop(ledger, FakeEvaluator(4), [slow, quick], campaign)
    thread = threading.Thread(target=loop.run)
    thread.start()
    while len(quick.contexts) < 3 and thread.is_alive():
        time.sleep(0.001)
    assert slow.contexts == {}, "the first answer of the slow one is not there yet"
    may_answer.set()
    thread.join(30.0)
    drawn = [r.candidate.proposal.proposer for r in ledger.records(campaign.id)[NUM_SEEDS:]]
    assert drawn == ["slow", "quick"] * 6
