"""How far a campaign is, by what was counted as it happened."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from sqlalchemy import func, literal, select

from search.records import Progress, Stage, Status
from search.store import models
from search.store.database import Clock
from search.store.lease import LONGEST_S
from search.store.shown import tally

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.orm import Session


def progress(session: Session, campaign_id: int) -> Progress:
    """Give a campaign's candidates by how far they got, its evaluations by how they ended, and what it spent."""
    counts = tally.read(session, campaign_id)
    reached, measured, spent = (counts[kind] for kind in (tally.REACHED, tally.MEASURED, tally.SPENT))
    numbers = {Status(name): int(number) for name, number in reached.items() if number}
    ended = {tuple(name.split(tally.BETWEEN)): int(number) for name, number in measured.items() if number}
    outcomes = tuple(each for each in itertools.product(Stage, Status) if each in ended)
    proposers = sorted(name for name, dollars in spent.items() if dollars)
    return Progress(
        sum(numbers.values()),
        tuple((status, numbers[status]) for status in Status if status in numbers),
        session.scalars(_num_running(campaign_id)).one(),
        tuple((stage, status, ended[stage, status]) for stage, status in outcomes),
        tuple((name, spent[name], int(counts[tally.PROPOSED].get(name, 0))) for name in proposers),
    )


def _num_running(campaign_id: int) -> Select[int]:
    """Count what is leased now, beginning with the few leases that there are."""
    row, link = models.Evaluation, models.CandidateEvaluation
    # Asked so that an evaluation leads to its campaigns, not a campaign to all that it ever asked for.
    campaigns = (
        select(models.Candidate.campaign_id)
        .join(link, link.candidate_id == models.Candidate.id)
        .where(link.evaluation_id == row.id)
    )
    is_leased = row.lease_until.between(Clock(), Clock() + LONGEST_S)
    return select(func.count(row.id)).where(is_leased, literal(campaign_id).in_(campaigns))
