"""A driver of a stored campaign on the fake evaluator, to be killed while its language model answers.

Usage: asking_driver.py URL CAMPAIGN
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "fakes"))

from fake_evaluator import FakeEvaluator

from search.campaigns.endpoints import endpoints_of
from search.campaigns.proposers import proposers_of
from search.config import CampaignConfig
from search.loop import Loop
from search.store.ledger import SqlLedger

ledger = SqlLedger(sys.argv[1])
campaign = ledger.campaign(int(sys.argv[2]))
config = CampaignConfig.from_json(campaign.settings)
endpoints = endpoints_of(config.endpoints, {}, config.max_dollars)
print(Loop(ledger, FakeEvaluator(2), proposers_of(config, endpoints), campaign).run())
