"""Campaigns on the fake evaluator of the loop's tests, and programs that differ."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from search.config import CampaignConfig
from search.loop import Loop, start_campaign
from search.records import Stage
from search.store.ledger import SqlLedger

PROGRAM = '''from vortex_dsl import Int, Program, dot, topk


class Outside{number}(Program):
    """Rank pages by q·(mean key + {number}.5 of the greatest)."""

    pages = Int(64, low=1, high=1024, log=True)
    dense_layers = Int(0, 0, 8)

    def summarize(self, k, v):
        return {{"middle": k.mean("token") + k.max("token") * {number}.5}}

    def select(self, q, page):
        return topk(dot(q.mean("head"), page.middle, "dim"), self.pages)
'''


@pytest.fixture(scope="session")
def text_of():
    return lambda number: PROGRAM.format(number=number)


CONFIG = CampaignConfig(
    seed=4, num_candidates=3, proposers=(), seeds=("quest", "centroid"), ratios=(4,), lag=3, outside=("claude",)
)


@pytest.fixture
def campaign(ledger):
    """A campaign that waits for programs of one agent. Nothing runs it yet."""
    return start_campaign(ledger, CONFIG)


def _are_timed(records):
    """Whether the published rules are through, so that the loop waits."""
    return len(records) == len(CONFIG.seeds) and all(each.evaluation(Stage.SERVE) for each in records)


@pytest.fixture
def running(db, ledger, campaign, fake):
    """The same, run on the fake evaluator until the test ends."""
    with closing(SqlLedger(db)) as own, ThreadPoolExecutor(1) as thread:
        loop = Loop(own, fake(2, failure_rate=0), (), campaign)
        ended = thread.submit(loop.run)
        try:
            while not _are_timed(ledger.records(campaign.id)) and not ended.done():
                time.sleep(0.02)
            yield campaign
        finally:
            loop.drain()
            ended.result(30)
