"""A small campaign on a real engine, started or gone on with: `campaign_script.py DATABASE_URL SCRATCH`.

Run as a script, so that a test can kill it.
"""

import sys
from pathlib import Path

from search.campaigns.proposers import proposers_of
from search.config import CampaignConfig
from search.evaluator.arms import WorkerSettings
from search.evaluator.cluster import Placement
from search.evaluator.engine import EngineSettings
from search.evaluator.pool import RayPool
from search.evaluator.probe import MODEL_FOLDER
from search.loop import Loop, start_campaign
from search.records import Stage, Workload
from search.store.ledger import SqlLedger

CONFIG = CampaignConfig(
    seed=5,
    num_candidates=3,
    proposers=("grammar",),
    model=str(MODEL_FOLDER),
    seeds=("dense", "quest", "random_pages"),
    serve_floor=0.0,
    ratios=(2.5,),
    workloads=(
        Workload(Stage.CHECK, num_tokens=1000, num_sequences=1, lengths=(500, 1000)),
        Workload(Stage.ORACLE, num_tokens=100, num_sequences=2),
        Workload(Stage.RECALL, num_tokens=500, num_sequences=2),
        Workload(Stage.PROBE, num_tokens=500, num_sequences=8),
        Workload(Stage.SERVE, num_tokens=1000, num_sequences=2, repeats=2),
    ),
)


def main() -> None:
    engine = EngineSettings(str(MODEL_FOLDER), sparse=True, max_tokens=2048, kv_cache_bytes=128 << 20)
    settings = WorkerSettings(engine, Path(sys.argv[2]), (CONFIG.group, CONFIG.head_dim))
    ledger = SqlLedger(sys.argv[1])
    campaign = ledger.campaigns()[-1] if ledger.campaigns() else start_campaign(ledger, CONFIG)
    pool = RayPool(settings, Placement(1))
    try:
        proposers = proposers_of(CONFIG, {})
        outcome = Loop(ledger, pool, proposers, campaign).run()
    finally:
        pool.close()
        ledger.close()
    print(outcome.end, outcome.num_admitted, len(outcome.confirmations))


if __name__ == "__main__":
    main()
