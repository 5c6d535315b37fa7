"""How far a campaign is, counted by the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import case, func, select

from search.records import Progress, Status
from search.store import models
from search.store.database import Epoch

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.orm import Session


def progress(session: Session, campaign_id: int) -> Progress:
    """Count a campaign's candidates by how far they got, and the evaluations under way."""
    counts = session.execute(_statuses(campaign_id)).all()
    num_running = session.scalars(_num_running(campaign_id)).one()
    numbers = {Status(status): number for status, number in counts}
    statuses = tuple((status, numbers[status]) for status in Status if status in numbers)
    return Progress(sum(numbers.values()), statuses, num_running)


def _statuses(campaign_id: int) -> Select[str, int]:
    """Count candidates by status: OK where one circumstance is, else any of its rows' (the first by name)."""
    row = models.Standing
    reached = (
        select(
            row.candidate_id,
            func.coalesce(func.max(case((row.status == Status.OK, row.status))), func.min(row.status)).label("status"),
        )
        .where(row.campaign_id == campaign_id)
        .group_by(row.candidate_id)
        .subquery()
    )
    status = func.coalesce(reached.c.status, models.Candidate.status)
    return (
        select(status, func.count())
        .outerjoin_from(models.Candidate, reached, reached.c.candidate_id == models.Candidate.id)
        .where(models.Candidate.campaign_id == campaign_id)
        .group_by(status)
    )


def _num_running(campaign_id: int) -> Select[int]:
    link = models.CandidateEvaluation
    return (
        select(func.count(models.Evaluation.id.distinct()))
        .join(link, link.evaluation_id == models.Evaluation.id)
        .join(models.Candidate, models.Candidate.id == link.candidate_id)
        .where(models.Candidate.campaign_id == campaign_id, models.Evaluation.lease_until > Epoch())
    )
