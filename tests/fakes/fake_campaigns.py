"""Campaigns on the fake evaluator, and what they decided."""

from dataclasses import replace

from search.agents.baselines import BestOfN, Greedy, Random
from search.agents.grammar import Grammar
from search.agents.tuning.tune import Tune
from search.config import CampaignConfig
from search.loop import Loop, start_campaign
from search.records import Stage
from search.workloads import workloads_for
from vortex_dsl import zoo

CLASSES = {each.name: each for each in (Grammar, Tune, Random, BestOfN, Greedy)}


def proposers(config):
    return [CLASSES[name]() for name in config.proposers]


def run(ledger, config, evaluator, campaign=None, observer=None):
    campaign = campaign or start_campaign(ledger, config)
    outcome = Loop(ledger, evaluator, proposers(config), campaign, observer).run()
    return outcome, campaign


def sequence(ledger, campaign):
    """What a campaign decided, and what came of it, without times and ids."""
    return [
        (r.candidate.step, r.candidate.proposal, r.candidate.status, r.candidate.program_digest, _results(r))
        for r in ledger.records(campaign.id)
    ]


def _results(record):
    done = [e for e in record.evaluations if e.key.stage is not Stage.CHECK]
    return [(e.key.stage, e.ratio, e.key.program_digest, e.status, e.measurements) for e in done]


SMALL = CampaignConfig(seed=3, num_candidates=12, seeds=("dense", "quest", "quest_sub", "centroid"), ratios=(4, 8))
# What a real model's campaign asks: many by recall, few in an engine, which are told apart by fidelity and retrieval.
REAL = replace(SMALL, num_candidates=16, num_layers=30, workloads=workloads_for(0), recall_share=0.3)
NUM_SEEDS = 4


HALF = replace(REAL, seeds=("dense", *sorted(set(zoo.names()) - {"dense"})[:19]), published_share=0.5, lag=8)
