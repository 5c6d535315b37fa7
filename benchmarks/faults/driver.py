"""A campaign that may be killed: `python -m benchmarks.faults.driver DATABASE_URL SCRATCH CANDIDATES ray|threads`.

Starts one, or goes on with the one that is there. Leases are short, so that whoever goes on need not wait for half a
minute; everything else is as `vortex run` has it, but the engine, which is made up.
"""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import search.dispatch
from benchmarks.faults.crowd import HOST, pool_of
from search.campaigns.proposers import proposers_of
from search.commands.campaign import exit_code
from search.commands.exits import explain
from search.config import CampaignConfig
from search.evaluator.arms import TimeLimits, WorkerSettings
from search.evaluator.engine import EngineSettings
from search.evaluator.probe import MODEL_FOLDER
from search.loop import Loop, start_campaign
from search.records import Stage, Workload
from search.store.ledger import SqlLedger

LEASE_S, HEARTBEAT_S, PATIENCE_S = 2.0, 0.5, 60.0
NUM_WORKERS = 2
CONFIG = CampaignConfig(
    seed=5,
    proposers=("grammar",),
    model=str(MODEL_FOLDER),
    seeds=("dense", "quest", "centroid"),
    serve_floor=0.0,
    ratios=(2.5,),
    lag=8,
    workloads=(
        Workload(Stage.CHECK, num_tokens=1000, num_sequences=1, lengths=(500, 1000)),
        Workload(Stage.ORACLE, num_tokens=100, num_sequences=2),
        Workload(Stage.RECALL, num_tokens=500, num_sequences=2),
        Workload(Stage.PROBE, num_tokens=500, num_sequences=8),
        Workload(Stage.SERVE, num_tokens=1000, num_sequences=2, repeats=2),
    ),
)


def main() -> int:
    """Run it, and give the exit code that `vortex run` would."""
    search.dispatch.LEASE_S, search.dispatch.HEARTBEAT_S = LEASE_S, HEARTBEAT_S
    url, scratch, num = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    engine = EngineSettings(str(MODEL_FOLDER), sparse=True, max_tokens=2048, kv_cache_bytes=128 << 20)
    limits = TimeLimits(start_s=30, oracle_s=30, recall_s=30, probe_s=30, serve_round_s=30)
    settings = WorkerSettings(engine, scratch, (CONFIG.group, CONFIG.head_dim), limits=limits, host_command=HOST)
    config = replace(CONFIG, num_candidates=num)
    try:
        with closing(SqlLedger(url, patience_s=PATIENCE_S)) as ledger:
            campaign = ledger.campaigns()[-1] if ledger.campaigns() else start_campaign(ledger, config)
            with closing(pool_of(settings, NUM_WORKERS, on_ray=sys.argv[4] == "ray")) as pool:
                return exit_code(Loop(ledger, pool, proposers_of(config, {}), campaign).run())
    except Exception as error:
        explained = explain(error)
        if explained is None:
            raise
        print(explained, file=sys.stderr)
        return explained.code


if __name__ == "__main__":
    sys.exit(main())
