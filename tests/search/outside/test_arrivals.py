"""Programs from outside take steps of a campaign, and nothing else of it changes."""

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest

from search.agents.grammar import Grammar
from search.campaigns.proposers import proposers_of
from search.campaigns.replay import replay
from search.config import CampaignConfig, ConfigError
from search.contracts import ProposerError
from search.loop import Loop, start_campaign
from search.outcome import End
from search.outside.arrivals import Arrivals
from search.records import Proposal, Status, Submission
from search.store.ledger import SqlLedger

CONFIG = CampaignConfig(
    seed=4, num_candidates=8, proposers=("grammar", "random"), seeds=("quest", "centroid"), ratios=(8,), lag=3,
    outside=("claude",),
)  # fmt: skip
ALONE = replace(CONFIG, proposers=(), num_candidates=3)
NUM_SEEDS = 2


@pytest.fixture
def texts(text_of):
    return [text_of(pages) for pages in range(4, 12)]


def bring(ledger, campaign, text, **changed):
    return ledger.submit(Submission(campaign.id, replace(Proposal(text, "claude", "brought"), **changed)))


def sequence(ledger, campaign):
    """What a campaign decided and measured, without times."""
    return [
        (r.candidate.step, r.candidate.proposal, r.candidate.status, [(e.key, e.measurements) for e in r.evaluations])
        for r in ledger.records(campaign.id)
    ]


def loop_of(ledger, evaluator, campaign):
    config = CampaignConfig.from_json(campaign.settings)
    return Loop(ledger, evaluator, proposers_of(config, {}), campaign)


def steps_of(ledger, campaign, name="claude"):
    return [r.candidate.step for r in ledger.records(campaign.id) if r.candidate.proposal.proposer == name]


def test_what_waits_takes_the_next_steps_and_the_others_go_on(ledger, fake, texts):
    campaign = start_campaign(ledger, CONFIG)
    for text in texts[:3]:
        bring(ledger, campaign, text)
    assert loop_of(ledger, fake(2), campaign).run().end is End.DONE
    records = ledger.records(campaign.id)
    assert steps_of(ledger, campaign) == [2, 3, 4]
    assert [r.candidate.proposal.text for r in records[2:5]] == texts[:3]
    assert all(r.candidate.status is Status.OK and r.evaluations for r in records[2:5])
    rest = [r.candidate.proposal.proposer for r in records[5:]]
    assert rest == [CONFIG.proposers[(step - NUM_SEEDS) % 2] for step in range(5, len(records))]


def test_nobody_waits_for_an_agent_that_brings_nothing(ledger, fake):
    campaign = start_campaign(ledger, CONFIG)
    assert loop_of(ledger, fake(2), campaign).run().end is End.DONE
    assert steps_of(ledger, campaign) == []


def test_a_round_of_nobody_else_waits_until_something_comes(ledger, fake, texts):
    campaign = start_campaign(ledger, ALONE)
    loop = loop_of(ledger, fake(1, failure_rate=0), campaign)
    with ThreadPoolExecutor() as threads:
        ended = threads.submit(loop.run)
        for number in range(ALONE.num_candidates):
            while len(ledger.records(campaign.id)) < NUM_SEEDS + number:
                time.sleep(0.02)
            assert not ended.done()
            bring(ledger, campaign, texts[number])
        assert ended.result(30).end is End.DONE
    assert steps_of(ledger, campaign) == [2, 3, 4]


def test_a_refused_program_takes_its_step_and_says_why(ledger, fake, texts):
    campaign = start_campaign(ledger, replace(ALONE, num_candidates=1))
    for text in (texts[0].replace("select", "choose"), texts[0]):
        bring(ledger, campaign, text)
    loop_of(ledger, fake(1, failure_rate=0), campaign).run()
    refused, taken = ledger.records(campaign.id)[NUM_SEEDS:]
    assert (refused.candidate.status, taken.candidate.status) == (Status.PROGRAM_ERROR, Status.OK)
    assert "select" in refused.candidate.message


def test_a_campaign_that_is_killed_goes_on_with_the_same_steps(tmp_path, fake, texts):
    sequences = []
    for number, crash_after in enumerate((None, 4, 9)):
        with closing(SqlLedger(f"sqlite:///{tmp_path}/{number}.db")) as ledger:
            campaign = start_campaign(ledger, CONFIG)
            for text in texts[:4]:
                bring(ledger, campaign, text)
            if crash_after is not None:
                with pytest.raises(RuntimeError, match="killed"):
                    loop_of(ledger, fake(3, crash_after=crash_after), campaign).run()
                assert len(ledger.records(campaign.id)) <= len(sequences[0])
            assert loop_of(ledger, fake(3, shuffle=number), campaign).run().end is End.DONE
            sequences.append(sequence(ledger, campaign))
    assert sequences[1] == sequences[0]
    assert sequences[2] == sequences[0]


def test_a_step_that_was_given_away_before_a_crash_stays_so(ledger, fake, texts):
    campaign = start_campaign(ledger, CONFIG)
    bring(ledger, campaign, texts[0])
    assert ledger.assign(campaign.id, 5).step == 5  # as by a loop that was killed before it recorded the step
    assert loop_of(ledger, fake(2), campaign).run().end is End.DONE
    assert steps_of(ledger, campaign) == [5]


def test_it_is_replayed_from_the_record(ledger, fake, texts):
    campaign = start_campaign(ledger, CONFIG)
    for text in texts[:3]:
        bring(ledger, campaign, text)
    loop_of(ledger, fake(2), campaign).run()
    found = replay(ledger, campaign)
    assert found.difference == ""
    assert found.from_record == ("claude",)


def test_a_replay_finds_what_was_changed(ledger, db, fake, texts):
    campaign = start_campaign(ledger, CONFIG)
    bring(ledger, campaign, texts[0])
    loop_of(ledger, fake(2), campaign).run()
    with closing(sqlite3.connect(db.removeprefix("sqlite:///"))) as connection, connection:
        assert connection.execute("UPDATE submission SET step = 7").rowcount == 1
    assert replay(ledger, campaign).step == NUM_SEEDS


def test_steps_of_proposers_that_are_asked_ahead_are_taken_too(ledger, fake, texts):
    class Away(Grammar):
        name, num_at_once = "away", 8

        def propose(self, context):
            proposal = super().propose(context)
            if context.step == NUM_SEEDS:
                bring(ledger, campaign, texts[0])
            return proposal

    config = replace(CONFIG, proposers=("away",), lag=12)
    campaign = start_campaign(ledger, config)
    bring(ledger, campaign, texts[1])
    assert Loop(ledger, fake(2), [Away()], campaign).run().end is End.DONE
    assert len(steps_of(ledger, campaign)) >= 1
    assert steps_of(ledger, campaign)[0] == NUM_SEEDS


def test_a_step_that_nothing_took_has_no_proposal(ledger):
    campaign = start_campaign(ledger, CONFIG)
    arrivals = Arrivals(ledger, campaign, ("claude",))
    assert not arrivals.take(2)
    with pytest.raises(ProposerError, match="step 2"):
        arrivals.propose(CONFIG.context(2, (), frozenset()))


def test_a_campaign_needs_somebody():
    with pytest.raises(ConfigError, match="proposers is empty"):
        replace(CONFIG, proposers=(), outside=())
