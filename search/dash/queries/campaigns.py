"""Campaigns: how far each is, and where its time goes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, func, select

from search.parents import REFERENCE, SEED
from search.records import Campaign, Progress, Stage, Status, digest_of
from search.store import models, rows
from search.store.shown.progress import progress

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

CANDIDATE, LINK, EVALUATION = models.Candidate, models.CandidateEvaluation, models.Evaluation
HELD_OUT = "held_out"
REFUSED = (Status.PROGRAM_ERROR, Status.DUPLICATE, Status.UNSUPPORTED)
MOST_CAMPAIGNS = 200


@dataclass(frozen=True)
class Overview:
    """A campaign and how far it is. `moved_at`: when a candidate was last stored."""

    campaign: Campaign
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
    def num_refused(self) -> int:
        """How many were refused before anything was measured."""
        return sum(number for status, number in self.progress.statuses if status in REFUSED)


@dataclass(frozen=True)
class StageCost:
    """What one stage took at one cost ratio. Shared evaluations count once, `num_given` says how many were there.

    `seconds` and `num_measured` are of those that this campaign was not given by an earlier one.
    """

    stage: str
    split: str
    ratio: float
    num_measured: int
    num_given: int
    num_passed: int
    num_running: int
    seconds: float

    @property
    def name(self) -> str:
        """The stage, and whether its texts were held out."""
        return f"{self.stage} (held out)" if self.split == HELD_OUT else self.stage


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


def stage_costs(session: Session, campaign_id: int) -> list[StageCost]:
    """Tell what each stage took at each cost ratio, in the stages' order, held-out ones last."""
    # Compared by the database: SQLite has times as texts, and what Python would send has fractions of seconds.
    began = select(models.Campaign.created_at).where(models.Campaign.id == campaign_id).scalar_subquery()
    asked = (
        select(LINK.evaluation_id)
        .join(CANDIDATE, CANDIDATE.id == LINK.candidate_id)
        .where(CANDIDATE.campaign_id == campaign_id)
        .distinct()
        .subquery()
    )
    is_ended = EVALUATION.status.is_not(None)
    is_given = func.coalesce(EVALUATION.finished_at < began, False)
    grouped = (
        select(
            EVALUATION.stage,
            EVALUATION.workload_digest,
            _sum(is_ended & ~is_given),
            _sum(is_ended & is_given),
            _sum(EVALUATION.status == Status.OK),
            _sum(EVALUATION.owner.is_not(None)),
            func.sum(case((is_ended & ~is_given, EVALUATION.elapsed_s), else_=0.0)),
        )
        .join(asked, asked.c.evaluation_id == EVALUATION.id)
        .group_by(EVALUATION.stage, EVALUATION.workload_digest)
    )
    found = [_stage_cost(session, *row) for row in session.execute(grouped)]
    order = {stage.value: place for place, stage in enumerate(Stage)}
    return sorted(found, key=lambda c: (c.split == HELD_OUT, order.get(c.stage, len(order)), c.ratio))


def _sum(condition: Any) -> Any:
    return func.sum(case((condition, 1), else_=0))


def _stage_cost(session: Session, stage: str, workload: str, *figures: Any) -> StageCost:
    asked = session.get_one(models.Workload, workload)
    measured, given, passed, running, seconds = figures
    ratio = rows.ratio_of(asked.definition)
    return StageCost(
        stage, asked.split, ratio, int(measured), int(given), int(passed), int(running), float(seconds or 0.0)
    )
