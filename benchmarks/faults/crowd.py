"""Programs that misbehave among others that do not, through the real workers and ledger; only the engine is made up."""

from __future__ import annotations

import hashlib
import os
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.faults.host import PAUSE_S
from benchmarks.faults.threads import ThreadPool
from search.dispatch import Dispatcher, Job
from search.evaluator.arms import TimeLimits, WorkerSettings
from search.evaluator.cluster import Placement
from search.evaluator.engine import EngineSettings
from search.evaluator.pool import RayPool
from search.evaluator.probe import MODEL_FOLDER
from search.evaluator.sandbox.strays import of_private_ray
from search.evaluator.supervisor import descendants
from search.records import (
    Candidate,
    Evaluation,
    EvaluationKey,
    EvaluationTask,
    Proposal,
    Stage,
    Status,
    StoredCampaign,
    Workload,
)
from search.store.ledger import SqlLedger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from search.contracts import Evaluator

HOST = (sys.executable, str(Path(__file__).with_name("host.py")))
WORKLOAD = Workload(Stage.PROBE, num_tokens=64, num_sequences=2)
LIMIT_S = 3.0  # after which a program hangs: what dies takes a second to do so on a busy machine
MEMORY_BYTES = 4 << 30
SHARES = {"crash": 0.10, "hang": 0.10, "hog": 0.05}
ENDS = {"good": Status.OK, "crash": Status.CRASHED, "hang": Status.TIMED_OUT, "hog": Status.OUT_OF_MEMORY}
PROGRAM = '''from vortex_dsl import Program, reserved_only


class Told(Program):
    """{behaviour}, number {number}."""

    def select(self, q, page):
        return reserved_only()
'''


@dataclass(frozen=True)
class Report:
    """What became of a crowd."""

    num_evaluations: int
    num_lost: int
    num_doubled: int
    num_innocents_failed: int
    num_guilty_passed: int
    num_misnamed: int  # that did not pass, and ended otherwise than they must
    num_left: int
    wall_s: float
    ideal_s: float
    unlike: tuple[str, ...] = ()  # ends that are others than they must be, with how often each came

    @property
    def is_right(self) -> bool:
        """Whether nothing was lost, doubled, blamed, let pass, misnamed or left behind."""
        passed = self.num_guilty_passed or self.num_misnamed
        return not (self.num_lost or self.num_doubled or self.num_innocents_failed or passed or self.num_left)

    def __str__(self) -> str:
        told = (
            f"{self.num_evaluations} evaluations: {self.num_lost} lost, {self.num_doubled} doubled, "
            f"{self.num_innocents_failed} innocents failed, {self.num_guilty_passed} others passed, "
            f"{self.num_misnamed} misnamed, {self.num_left} processes left; "
            f"{self.wall_s:.1f} s, ideal {self.ideal_s:.1f} s ({self.wall_s / self.ideal_s - 1:+.0%})"
        )
        return "\n".join((told, *self.unlike))


def crowd(num: int, num_workers: int, seed: int = 0, *, on_ray: bool = True) -> Report:
    """Measure so many programs. The ideal is what workers are at by design, divided among them evenly.

    That is each answer's pause, the limit for what hangs, and the start of an engine for each that was lost.
    """
    behaviours = _drawn(num, seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = WorkerSettings(
            EngineSettings(str(MODEL_FOLDER), sparse=True, max_tokens=2048),
            folder / "scratch",
            (2, 64),
            MEMORY_BYTES,
            TimeLimits(start_s=20, probe_s=LIMIT_S),
            HOST,
        )
        before = set(descendants(os.getpid()))
        with closing(SqlLedger(f"sqlite:///{folder}/results.db")) as ledger:
            with closing(pool_of(settings, num_workers, on_ray=on_ray)) as pool:
                jobs = _jobs(ledger, pool, behaviours)
                start_s = _warmed(ledger, pool, num_workers)
                began = time.monotonic()
                done = _measured(ledger, pool, jobs)
                wall_s = time.monotonic() - began
            asked = Counter((settings.scratch / "asked").read_text().split()[1::2])
            left = {*descendants(os.getpid()), *of_private_ray(os.getpid())} - before
        found = {job.task.key: done.get(job.task.key, []) for job in jobs}
        told = dict(zip(found, behaviours, strict=True))
        stored = {key: each[0].status for key, each in found.items() if each}
        texts = {job.task.key: hashlib.sha256(job.task.text.encode()).hexdigest() for job in jobs}
        good = [key for key, behaviour in told.items() if behaviour == "good"]
        lost_engines = sum(2 if behaviour in ("crash", "hog") else behaviour == "hang" for behaviour in behaviours)
        by_design_s = len(good) * PAUSE_S + LIMIT_S * behaviours.count("hang") + start_s * lost_engines
        return Report(
            num,
            sum(len(each) == 0 for each in found.values()),
            sum(len(each) > 1 for each in found.values()) + sum(asked[texts[key]] != 1 for key in good),
            sum(stored.get(key) is not Status.OK for key in good),
            sum(stored.get(key) is Status.OK for key in told if told[key] != "good"),
            sum(stored[key] not in (Status.OK, ENDS[told[key]]) for key in stored if told[key] != "good"),
            len([pid for pid in left if Path(f"/proc/{pid}/exe").exists()]),
            wall_s,
            by_design_s / num_workers,
            _unlike(told, found),
        )


def _unlike(told: Mapping[EvaluationKey, str], found: Mapping[EvaluationKey, list[Evaluation]]) -> tuple[str, ...]:
    """Say how those ended that did not end as they must."""
    ends = ((told[key], each[0]) for key, each in found.items() if each)
    counted = Counter((b, e.status, e.message.strip()[:200]) for b, e in ends if e.status is not ENDS[b])
    return tuple(f"  {number} of {b} ended {status}: {message}" for (b, status, message), number in counted.items())


def pool_of(settings: WorkerSettings, num_workers: int, *, on_ray: bool) -> Evaluator:
    """Start workers, on a private Ray or in threads."""
    return RayPool(settings, Placement(num_workers)) if on_ray else ThreadPool(settings, num_workers)


def _drawn(num: int, seed: int) -> list[str]:
    behaviours = [name for name, share in SHARES.items() for _ in range(round(share * num))]
    behaviours += ["good"] * (num - len(behaviours))
    random.Random(seed).shuffle(behaviours)
    return behaviours


def _jobs(ledger: SqlLedger, pool: Evaluator, behaviours: list[str]) -> list[Job]:
    campaign = ledger.create_campaign(StoredCampaign(0, len(behaviours), ("drawn",), str(MODEL_FOLDER)))
    return [_job(ledger, pool, campaign.id, step, behaviour) for step, behaviour in enumerate(behaviours)]


def _job(ledger: SqlLedger, pool: Evaluator, campaign_id: int, step: int, behaviour: str) -> Job:
    text = PROGRAM.format(behaviour=behaviour, number=step)
    digest = hashlib.sha256(text.encode()).hexdigest()
    proposal = Proposal(text, "drawn", behaviour)
    candidate = ledger.add_candidate(Candidate(campaign_id, step, proposal, Status.OK, "", digest, f"P{step}"))
    where = (pool.model_digest, pool.environment.digest, pool.version)
    key = EvaluationKey(digest, Stage.PROBE, WORKLOAD.digest, *where, 0)
    return Job(EvaluationTask(key, text, (), WORKLOAD), candidate.id)


def _warmed(ledger: SqlLedger, pool: Evaluator, num_workers: int) -> float:
    """Have every worker start its engine, and give the seconds that one takes."""
    campaign = ledger.create_campaign(StoredCampaign(0, num_workers, ("drawn",), str(MODEL_FOLDER)))
    jobs = [_job(ledger, pool, campaign.id, step, f"warm {step}") for step in range(num_workers)]
    done = _measured(ledger, pool, jobs)
    return max(0.0, min(each.elapsed_s for found in done.values() for each in found) - PAUSE_S)


def _measured(ledger: SqlLedger, pool: Evaluator, jobs: list[Job]) -> dict[EvaluationKey, list[Evaluation]]:
    def never(task: EvaluationTask) -> Evaluation:
        raise AssertionError(f"{task.key} is nothing to check")

    dispatcher = Dispatcher(ledger, pool, never)
    for job in jobs:
        dispatcher.start(job)
    done: dict[EvaluationKey, list[Evaluation]] = {}
    while not dispatcher.idle:
        for evaluation in dispatcher.collect(0.25):
            done.setdefault(evaluation.key, []).append(evaluation)
    return done
