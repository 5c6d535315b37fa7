"""Campaigns: how far each is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from search.asking.owing import bound_told
from search.parents import REFERENCE, SEED
from search.records import Progress, Status, StoredCampaign, digest_of
from search.store import models, rows
from search.store.shown.progress import progress

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

CANDIDATE = models.Candidate
REFUSED = (Status.PROGRAM_ERROR, Status.DUPLICATE, Status.UNSUPPORTED)
MOST_CAMPAIGNS = 200


@dataclass(frozen=True)
class Overview:
    """A campaign and how far it is. `moved_at`: when a candidate was last stored."""

    campaign: StoredCampaign
    progress: Progress
    began_at: datetime
    moved_at: datetime | None
    dollars: float
    num_invented: int

    @property
    def share(self) -> float:
        """How much of what was asked for has been proposed beside seeds and yardsticks, 1 at most."""
        return min(1.0, self.num_invented / max(1, self.campaign.num_candidates))

    @property
    def stamp(self) -> str:
        """A short name for how far it is: the same as long as nothing has moved."""
        return digest_of([self.campaign.id, self.progress.num_running, self.progress.statuses, str(self.moved_at)])

    @property
    def num_ok(self) -> int:
        """How many candidates nothing has stopped."""
        return sum(number for status, number in self.progress.statuses if status is Status.OK)

    @property
    def bound(self) -> str:
        """How much of its dollars is only a bound, in words; nothing where none of it is."""
        return bound_told(self.progress.owing)

    @property
    def num_refused(self) -> int:
        """How many were refused before anything was measured."""
        return sum(number for status, number in self.progress.statuses if status in REFUSED)


def overviews(session: Session) -> list[Overview]:
    """Give all campaigns, the newest first."""
    newest = select(models.Campaign).order_by(models.Campaign.id.desc()).limit(MOST_CAMPAIGNS)
    return [_overview(session, row) for row in session.scalars(newest)]


def overview(session: Session, campaign_id: int) -> Overview | None:
    """Give one campaign, None where there is none."""
    row = session.get(models.Campaign, campaign_id)
    return _overview(session, row) if row else None


def _overview(session: Session, row: models.Campaign) -> Overview:
    mine = CANDIDATE.campaign_id == row.id
    last = select(CANDIDATE.created_at).where(mine).order_by(CANDIDATE.step.desc()).limit(1)
    invented = select(func.count()).where(mine, CANDIDATE.operator.not_in((SEED, REFERENCE)))
    far = progress(session, row.id)
    return Overview(
        rows.campaign(row), far, row.created_at, session.scalar(last), sum(dollars for _, dollars, _ in far.proposers),
        session.scalar(invented) or 0,
    )  # fmt: skip
