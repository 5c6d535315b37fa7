"""Dollars of questions that are under way when a driver dies, stops or is not alone: each counts once."""

import json
import math
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from scripted_server import Scripted, Server, chat

from search.agents.llm.endpoint import Endpoint
from search.campaigns.endpoints import endpoints_of
from search.campaigns.proposers import proposers_of
from search.cli import main
from search.config import CampaignConfig
from search.loop import Loop, start_campaign
from search.outcome import End
from search.store.errors import StoreError
from search.store.ledger import SqlLedger
from vortex_dsl import zoo

FOLDER = Path(__file__).parent
USAGE = {"prompt_tokens": 8000, "completion_tokens": 300, "total_tokens": 8300}
GOOD = chat(f"Envelopes.\n\n```python\n{zoo.text('quest')}```\n", usage=USAGE)
PAID, COST = (8000, 0, 300), 0.0285  # dollars at the prices below
LONG_S = 60.0


@pytest.fixture
def wire():
    server = Server()
    server.script = [Scripted(GOOD, paid=PAID)]
    yield server
    server.close()


@pytest.fixture
def config(wire):
    big = Endpoint(
        "big-model", wire.url, prompt_price=3.0, completion_price=15.0, max_tokens=300, name="big", max_retries=0
    )
    return CampaignConfig(
        model="probe", num_candidates=3, seeds=("quest",), ratios=(), lag=2, proposers=("big",), endpoints=(big,),
        turns=2,
    )  # fmt: skip


def loop_of(ledger, campaign, evaluator):
    """Give the loop of a stored campaign as `vortex resume` does."""
    config = CampaignConfig.from_json(campaign.settings)
    endpoints = endpoints_of(config.endpoints, {}, config.max_dollars)
    return Loop(ledger, evaluator, proposers_of(config, endpoints), campaign)


def soon(condition):
    """Wait until something holds."""
    end = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def recorded(ledger, campaign):
    return math.fsum(record.candidate.proposal.dollars for record in ledger.records(campaign.id))


def in_all(ledger, campaign):
    return math.fsum(dollars for _, dollars, _ in ledger.progress(campaign.id).proposers)


def killed(db, campaign, wire):
    """Start a driver, let it ask, and kill it before it hears an answer."""
    wire.script = [Scripted(GOOD, paid=PAID, wait_s=LONG_S)]
    command = [sys.executable, FOLDER / "asking_driver.py", db, str(campaign.id)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as driver:
        soon(lambda: wire.requests or driver.poll() is not None)
        time.sleep(0.5)
        driver.kill()
    wire.script = [Scripted(GOOD, paid=PAID)]


def test_what_a_killed_driver_had_asked_counts_and_is_told(config, ledger, fake, db, wire, capsys):
    campaign = start_campaign(ledger, config)
    killed(db, campaign, wire)
    (owed,) = ledger.owing(campaign.id)
    assert (owed.proposer, owed.heard, owed.num_unheard) == ("big", 0.0, len(wire.requests))
    assert owed.unheard > wire.dollars > 0
    assert loop_of(ledger, campaign, fake(2)).run().end is End.DONE
    assert ledger.owing(campaign.id) == [owed]
    assert in_all(ledger, campaign) == pytest.approx(recorded(ledger, campaign) + owed.unheard)
    assert recorded(ledger, campaign) == pytest.approx(wire.dollars - owed.num_unheard * COST)

    assert main(["status", "--db", db, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["dollars"]["big"]["spent"] == pytest.approx(in_all(ledger, campaign))
    assert told["owing"] == [
        {"proposer": "big", "heard": 0.0, "unheard": owed.unheard, "num_unheard": owed.num_unheard}
    ]
    bound = f"of which at most ${owed.unheard:,.4f} for {owed.num_unheard} question"
    assert main(["status", "--db", db]) == 0
    assert bound in " ".join(capsys.readouterr().out.split())
    assert main(["leaderboard", "--db", db]) == 0
    assert bound in " ".join(capsys.readouterr().err.split())


def test_who_goes_on_after_a_kill_stays_below_the_most(config, ledger, fake, db, wire):
    """However often: each time what was asked takes its most from what is left."""
    most = 0.5
    campaign = start_campaign(ledger, replace(config, max_dollars=most, num_candidates=500))
    for _ in range(2):
        killed(db, campaign, wire)
    (owed,) = ledger.owing(campaign.id)
    outcome = loop_of(ledger, campaign, fake(2)).run()
    assert outcome.end is End.DONE
    assert f"of which at most ${owed.unheard:,.4f} for" in outcome.message
    assert owed.unheard <= in_all(ledger, campaign) <= most
    assert wire.dollars <= most


def test_who_stops_at_once_counts_the_most_and_what_is_heard_later_exactly(config, ledger, fake, wire):
    wire.script = [Scripted(GOOD, paid=PAID, wait_s=3.0)]
    campaign = start_campaign(ledger, config)
    loop = loop_of(ledger, campaign, fake(2))
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(loop.run)
        soon(lambda: wire.requests)
        loop.stop()
        assert run.result(timeout=LONG_S).end is End.INTERRUPTED
    (owed,) = ledger.owing(campaign.id)
    soon(lambda: len(wire.requests) == owed.num_unheard)
    soon(lambda: not ledger.owing(campaign.id)[0].num_unheard)
    assert in_all(ledger, campaign) == pytest.approx(wire.dollars)
    wire.script = [Scripted(GOOD, paid=PAID)]
    assert loop_of(ledger, campaign, fake(2)).run().end is End.DONE
    assert in_all(ledger, campaign) == pytest.approx(wire.dollars)


def test_who_drains_owes_nothing(config, ledger, fake, wire):
    wire.script = [Scripted(GOOD, paid=PAID, wait_s=0.5)]
    campaign = start_campaign(ledger, config)
    loop = loop_of(ledger, campaign, fake(2))
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(loop.run)
        soon(lambda: wire.requests)
        loop.drain()
        assert run.result(timeout=LONG_S).end is End.INTERRUPTED
    assert ledger.owing(campaign.id) == []
    assert recorded(ledger, campaign) == pytest.approx(wire.dollars) != 0


def test_two_drivers_of_one_campaign_count_all_that_both_asked(config, ledger, fake, db, wire):
    bad = chat("no program", usage=USAGE)
    wire.script = lambda number: Scripted(GOOD if number % 3 else bad, paid=PAID, wait_s=0.05 * (number % 2))
    campaign = start_campaign(ledger, replace(config, num_candidates=6))

    def drive(shuffle):
        with closing(SqlLedger(db)) as mine:
            loop_of(mine, campaign, fake(2, shuffle=shuffle)).run()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(drive, range(2)))
    soon(lambda: not any(each.num_unheard for each in ledger.owing(campaign.id)))
    assert in_all(ledger, campaign) == pytest.approx(wire.dollars)
    assert recorded(ledger, campaign) < wire.dollars, "nothing was asked twice"


def test_two_drivers_share_the_most(config, ledger, fake, db, wire):
    most = 0.3
    wire.script = [Scripted(GOOD, paid=PAID, wait_s=0.05)]
    campaign = start_campaign(ledger, replace(config, num_candidates=500, max_dollars=most))

    def drive(shuffle):
        with closing(SqlLedger(db)) as mine:
            loop_of(mine, campaign, fake(2, shuffle=shuffle)).run()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(drive, range(2)))
    assert 0 < wire.dollars <= most
    assert in_all(ledger, campaign) <= most


def test_a_request_that_is_sent_again_is_reserved_again(config, ledger, fake, wire):
    """Of the first one nobody knows what it cost: where the rest does not cover another, none is sent."""
    wire.script = [Scripted(GOOD, paid=PAID, wait_s=LONG_S)]
    (big,) = config.endpoints
    hasty = replace(config, endpoints=(replace(big, timeout_s=0.5, max_retries=1),), lag=1)
    campaign = start_campaign(ledger, hasty)
    assert loop_of(ledger, campaign, fake(2)).run().end is End.INFRASTRUCTURE
    (owed,) = ledger.owing(campaign.id)
    assert (len(wire.requests), owed.num_unheard) == (2, 0)
    once = owed.heard / 2

    poor = start_campaign(ledger, replace(hasty, max_dollars=1.5 * once))
    outcome = loop_of(ledger, poor, fake(2)).run()
    assert (outcome.end, len(wire.requests)) == (End.INFRASTRUCTURE, 3)
    assert "do not cover it" in outcome.message
    assert in_all(ledger, poor) == pytest.approx(once)


def test_nothing_is_sent_that_the_ledger_does_not_hold(config, ledger, fake, wire, monkeypatch):
    def away(*_):
        raise StoreError("The database cannot be used.")

    campaign = start_campaign(ledger, config)
    monkeypatch.setattr(ledger, "reserve", away)
    with pytest.raises(StoreError):
        loop_of(ledger, campaign, fake(2)).run()
    assert wire.requests == []


def test_what_has_no_price_writes_nothing(config, ledger, fake, monkeypatch):
    (big,) = config.endpoints
    free = replace(config, endpoints=(replace(big, prompt_price=0.0, completion_price=0.0),))
    for name in ("reserve", "settle"):
        monkeypatch.setattr(ledger, name, None)
    assert loop_of(ledger, start_campaign(ledger, free), fake(2)).run().end is End.DONE
