"""What agents from outside bring: it waits in arrival order until a step of its campaign takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from search.contracts import SubmissionError
from search.journal.entries import Hypothesis, Note
from search.records import Proposal, Submission
from search.store import models, rows
from search.store.columns import storable

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.orm import Session

ROW, SOURCE = models.Submission, models.Source
MAX_WAITING = 64  # of one agent in one campaign: whoever brings more is told to wait


def submit(session: Session, submission: Submission) -> Submission:
    """Store a submission unless it is there. Raises SubmissionError where too many wait."""
    proposal = submission.proposal
    source = rows.store_source(session, proposal.text)
    same = (ROW.campaign_id == submission.campaign_id, ROW.proposer == proposal.proposer)
    values = [list(pair) for pair in proposal.values]
    earlier = session.execute(_submissions().where(*same, ROW.source_digest == source)).all()
    known = next((found for found in earlier if found[0].values == values), None)
    if known is not None:
        return _submission(*known)
    num_waiting = session.scalar(select(func.count(ROW.id)).where(*same, ROW.step.is_(None)))
    if num_waiting is not None and num_waiting >= MAX_WAITING:
        raise SubmissionError(
            f"{num_waiting} submissions of {proposal.proposer} wait for a step already, which is as many as may; "
            "wait until some are taken"
        )
    row = ROW(
        campaign_id=submission.campaign_id,
        proposer=proposal.proposer,
        source_digest=source,
        values=values,
        operator=proposal.operator,
        parents=list(proposal.parents),
        rationale=proposal.rationale,
        hypotheses=[[storable(each.text), storable(each.prediction)] for each in proposal.hypotheses],
        notes=[[storable(each.kind), storable(each.text)] for each in proposal.notes],
    )
    session.add(row)
    session.flush()
    return _submission(row, storable(proposal.text))


def submissions(session: Session, campaign_id: int) -> list[Submission]:
    """Give a campaign's, in order of arrival."""
    found = session.execute(_submissions().where(ROW.campaign_id == campaign_id).order_by(ROW.id))
    return [_submission(*each) for each in found]


def submission(session: Session, submission_id: int) -> Submission | None:
    """Give one by its id, None where there is none."""
    found = session.execute(_submissions().where(ROW.id == submission_id)).one_or_none()
    return None if found is None else _submission(*found)


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


def _submissions() -> Select[models.Submission, str, int]:
    step = models.Candidate.step == ROW.step
    return (
        select(ROW, SOURCE.text, models.Candidate.id)
        .join(SOURCE, SOURCE.digest == ROW.source_digest)
        .outerjoin(models.Candidate, (models.Candidate.campaign_id == ROW.campaign_id) & step)
    )


def _waiting(campaign_id: int) -> Select[models.Submission, str, int]:
    waiting = _submissions().where(ROW.campaign_id == campaign_id, ROW.step.is_(None))
    return waiting.order_by(ROW.id).limit(1)


def _submission(row: models.Submission, text: str, candidate_id: int | None = None) -> Submission:
    proposal = Proposal(
        text=text,
        proposer=row.proposer,
        operator=row.operator,
        parents=tuple(row.parents),
        rationale=row.rationale,
        values=tuple((name, value) for name, value in row.values),
        hypotheses=tuple(Hypothesis(*each) for each in row.hypotheses),
        notes=tuple(Note(*each) for each in row.notes),
    )
    return Submission(row.campaign_id, proposal, row.step, candidate_id or 0, row.id)
