"""What agents from outside bring: it waits in arrival order until a step of its campaign takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from search.contracts import SubmissionError
from search.records import Proposal, Submission
from search.store import models, rows

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.orm import Session

ROW, SOURCE = models.Submission, models.Source
MAX_WAITING = 64  # of one agent in one campaign: whoever brings more is told to wait


def submit(session: Session, submission: Submission) -> Submission:
    """Store a submission unless it is there. Raises SubmissionError where too many wait."""
    proposal = submission.proposal
    source = rows.store_source(session, proposal.text)
    same = {"campaign_id": submission.campaign_id, "proposer": proposal.proposer}
    values = [list(pair) for pair in proposal.values]
    earlier = session.execute(_submissions().filter_by(**same, source_digest=source)).all()
    known = next((found for found in earlier if found[0].values == values), None)
    if known is not None:
        return _submission(*known)
    num_waiting = session.scalar(select(func.count(ROW.id)).filter_by(**same).where(ROW.step.is_(None)))
    if num_waiting is not None and num_waiting >= MAX_WAITING:
        raise SubmissionError(
            f"{num_waiting} submissions of {proposal.proposer} wait for a step already, which is as many as may; "
            "wait until some are taken"
        )
    row = ROW(
        **same,
        source_digest=source,
        values=values,
        operator=proposal.operator,
        parents=list(proposal.parents),
        rationale=proposal.rationale,
    )
    session.add(row)
    session.flush()
    return _submission(row, models.storable(proposal.text))


def submissions(session: Session, campaign_id: int) -> list[Submission]:
    """Give a campaign's, in order of arrival."""
    found = session.execute(_submissions().where(ROW.campaign_id == campaign_id).order_by(ROW.id))
    return [_submission(row, text) for row, text in found]


def assign(session: Session, campaign_id: int, step: int) -> Submission | None:
    """Give a step to the one that has waited longest, unless it has one."""
    has_it = _submissions().where(ROW.campaign_id == campaign_id, ROW.step == step)
    found = session.execute(has_it).first()
    if found is None:
        found = session.execute(_waiting(campaign_id).with_for_update(of=ROW)).first()
        if found is None:
            return None
        found[0].step = step
        session.flush()
    return _submission(*found)


def _submissions() -> Select[Any]:
    return select(ROW, SOURCE.text).join(SOURCE, SOURCE.digest == ROW.source_digest)


def _waiting(campaign_id: int) -> Select[Any]:
    waiting = _submissions().where(ROW.campaign_id == campaign_id, ROW.step.is_(None))
    return waiting.order_by(ROW.id).limit(1)


def _submission(row: models.Submission, text: str) -> Submission:
    values = tuple((name, value) for name, value in row.values)
    proposal = Proposal(text, row.proposer, row.operator, tuple(row.parents), row.rationale, values=values)
    return Submission(row.campaign_id, proposal, row.step, row.id)
