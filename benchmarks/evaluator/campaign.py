"""What a ledger tells of one campaign: its candidates, and each finished evaluation with when it was begun.

Nothing is measured here. Rows of another model, machine or evaluator's version than most are left out and counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from search.agents.seeds import Seeds
from search.commands.database import campaign_of, existing
from search.parents import is_sparse
from search.records import Environment, Evaluation, Stage, Status
from search.store import models, rows
from search.store.database import connect, explained, reader
from vortex_dsl import load_program, zoo

if TYPE_CHECKING:
    from collections.abc import Iterable

    from search.contracts import Ledger
    from search.records import Candidate, EvaluationKey, Record

SEARCH = "search"
MEASURED = (Status.OK, Status.BELOW_GATE)
RANDOM = load_program(zoo.text("random_pages")).name


class Origin(StrEnum):
    """Who a program is by."""

    PUBLISHED = "published"
    FOUND = "found"
    REFERENCE = "reference"  # dense attention, oracles, random choice, whatever saves less than half: never ranked


@dataclass(frozen=True)
class Entry:
    """One finished evaluation of one candidate.

    `begun_s` is when, in seconds since 1970 by the database's clock; None for what was never measured (a row in
    quarantine).
    """

    candidate: int
    name: str
    origin: Origin
    split: str
    evaluation: Evaluation
    begun_s: float | None

    @property
    def stage(self) -> Stage:
        return self.evaluation.key.stage

    @property
    def ratio(self) -> float:
        return self.evaluation.ratio

    @property
    def is_measured(self) -> bool:
        return self.evaluation.status in MEASURED


@dataclass(frozen=True)
class Told:
    """One campaign as its ledger tells it.

    `num_elsewhere`: evaluations under other circumstances, which are not among `entries`.
    """

    id: int
    seed: int
    model: str
    model_digest: str
    evaluator_version: str
    environment: Environment
    candidates: tuple[Candidate, ...]
    entries: tuple[Entry, ...]
    lengths: tuple[tuple[str, tuple[int, ...]], ...]  # by stage, of the split that proposers see
    num_elsewhere: int

    @property
    def searched(self) -> list[Entry]:
        """Entries of the split that proposers see."""
        return [entry for entry in self.entries if entry.split == SEARCH]

    @property
    def ratios(self) -> list[float]:
        """The cost ratios at which anything was judged, programs as written aside."""
        return sorted({entry.ratio for entry in self.searched if entry.ratio})


def read(url: str, campaign_id: int | None = None) -> Told:
    """Read a campaign, the newest without an id. Raises CommandError, StoreError, LookupError (nothing measured)."""
    with existing(url) as ledger:
        campaign = campaign_of(ledger, campaign_id)
        records = [ledger.candidate(each.candidate.id) for each in ledger.records(campaign.id)]
        finished_s = _finished(url)
        keys = [e.key for record in records for e in record.evaluations]
        here, num_here = _usual(keys)
        workloads = {digest: ledger.workload(digest) for digest in {key.workload_digest for key in keys}}
        entries = [
            _entry(record, evaluation, workloads[evaluation.key.workload_digest].split, finished_s)
            for record in records
            for evaluation in record.evaluations
            if _circumstance(evaluation.key) == here
        ]
        lengths = {w.stage.value: w.all_lengths for w in workloads.values() if w.split == SEARCH}
        return Told(
            campaign.id,
            campaign.seed,
            campaign.model,
            model_digest=here[0],
            evaluator_version=here[2],
            environment=_environment(ledger, here[1]),
            candidates=tuple(record.candidate for record in records),
            entries=tuple(entries),
            lengths=tuple(sorted(lengths.items())),
            num_elsewhere=len(keys) - num_here,
        )


def _finished(url: str) -> dict[tuple[object, ...], float]:
    """Give when each evaluation was finished, by key; records do not carry it."""
    row, engine = models.Evaluation, connect(url)
    query = select(row).where(row.finished_at.is_not(None))
    try:
        with explained(engine), Session(reader(engine)) as session:
            return {rows.key_columns(each): _seconds(each) for each in session.scalars(query)}
    finally:
        engine.dispose()


def _seconds(row: models.Evaluation) -> float:
    """SQLite gives back no time zone, but keeps UTC, and whole seconds."""
    assert row.finished_at is not None
    return (row.finished_at if row.finished_at.tzinfo else row.finished_at.replace(tzinfo=UTC)).timestamp()


def _entry(record: Record, evaluation: Evaluation, split: str, finished_s: dict[tuple[object, ...], float]) -> Entry:
    ended_s, candidate = finished_s.get(rows.key_columns(evaluation.key)), record.candidate
    begun_s = None if ended_s is None else ended_s - evaluation.elapsed_s
    return Entry(candidate.id, candidate.name, _origin(record, evaluation.ratio), split, evaluation, begun_s)


def _origin(record: Record, ratio: float) -> Origin:
    proposal = record.candidate.proposal
    if record.candidate.name == RANDOM or not is_sparse(record, ratio):
        return Origin.REFERENCE
    return Origin.PUBLISHED if proposal.proposer == Seeds.name else Origin.FOUND


def _circumstance(key: EvaluationKey) -> tuple[str, str, str]:
    return key.model_digest, key.environment_digest, key.evaluator_version


def _usual(keys: Iterable[EvaluationKey]) -> tuple[tuple[str, str, str], int]:
    """Give the circumstance of most evaluations, and of how many."""
    counted = Counter(map(_circumstance, keys)).most_common(1)
    if not counted:
        raise LookupError("nothing of this campaign has been measured yet")
    return counted[0]


def _environment(ledger: Ledger, digest: str) -> Environment:
    try:
        return ledger.environment(digest)
    except LookupError:  # of a row in quarantine, which was never measured anywhere
        return Environment("unknown", "", "", "", "")
