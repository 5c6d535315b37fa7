"""What a campaign's evaluations took, and when: what no record keeps, read for people."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from sys import intern
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from search.store import models, rows

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.orm import Session

AT_A_TIME = {"yield_per": 5000}  # rows: of a million few are held


@dataclass(frozen=True, slots=True)
class Spending:
    """A finished evaluation that candidates of a campaign asked for, `num_asked` of them.

    `finished_at` is in seconds since 1970, None where nobody noted it. `is_older`: it was there before the campaign
    began, so that the campaign was given it.
    """

    stage: str
    split: str
    ratio: float
    status: str
    model_digest: str
    environment: str
    evaluator_version: str
    elapsed_s: float
    finished_at: float | None
    num_asked: int
    is_older: bool
    commit: str = ""  # of ours, that measured it; empty where an older database does not know it


@dataclass(frozen=True)
class Spent:
    """When a campaign began, when each candidate was stored, and its evaluations, held-out ones included."""

    began_at: float
    proposed_at: tuple[float, ...]
    spendings: tuple[Spending, ...]

    @cached_property
    def gaps_s(self) -> tuple[float, ...]:
        """The seconds from each of these moments to the next; what was there before does not count."""
        finished = (s.finished_at for s in self.spendings if s.finished_at is not None and not s.is_older)
        moments = sorted({self.began_at, *self.proposed_at, *finished})
        return tuple(later - earlier for earlier, later in itertools.pairwise(moments))


def spent(session: Session, campaign: models.Campaign) -> Spent:
    """Read what a campaign spent. Times have the resolution of the database's clock, on SQLite a second."""
    candidate = models.Candidate
    stored = select(candidate.created_at).where(candidate.campaign_id == campaign.id).order_by(candidate.step)
    began_at = _seconds(campaign.created_at)
    known = rows.Definitions.of(session)
    with rows.UNCOLLECTED:
        found = session.execute(_evaluations(campaign.id), execution_options=AT_A_TIME)
        return Spent(
            began_at,
            tuple(map(_seconds, session.scalars(stored))),
            tuple(_spending(row, known.asked(session, row.workload_digest), began_at) for row in found),
        )


def _evaluations(campaign_id: int) -> Select[Any]:
    row, link = models.Evaluation, models.CandidateEvaluation
    asking = (
        select(link.evaluation_id, func.count().label("num"))
        .join(models.Candidate, models.Candidate.id == link.candidate_id)
        .where(models.Candidate.campaign_id == campaign_id)
        .group_by(link.evaluation_id)
        .subquery()
    )
    place = (row.model_digest, row.environment_digest, row.evaluator_version)
    measured: tuple[Any, ...] = (row.stage, row.workload_digest, row.status, *place, row.elapsed_s)
    when = (row.finished_at, row.commit)
    return (
        select(*measured, *when, asking.c.num)
        .join(asking, asking.c.evaluation_id == row.id)
        .where(row.status.is_not(None))
        .order_by(row.id)
    )


def _spending(row: Any, asked: rows.Asked, began_at: float) -> Spending:
    finished_at = None if row.finished_at is None else _seconds(row.finished_at)
    return Spending(
        intern(row.stage),
        asked.split,
        asked.ratio,
        intern(row.status),
        intern(row.model_digest),
        intern(row.environment_digest),
        intern(row.evaluator_version),
        row.elapsed_s,
        finished_at,
        row.num,
        finished_at is not None and finished_at < began_at,
        row.commit,
    )


def _seconds(moment: datetime) -> float:
    """Give seconds since 1970; SQLite keeps times in UTC without saying so."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
