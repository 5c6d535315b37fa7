"""Evaluations that steps were settled without, by our own fault: noted beside their rows, which may be tried again."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from search.archive.unmeasured import Unmeasured
from search.records import Evaluation
from search.store import models, rows
from search.store.lease import IS_KEY, parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

ROW, OF, BY, LINK = models.Unmeasured, models.Candidate, models.Evaluation, models.CandidateEvaluation
WHOSE = (
    select(OF.id, BY.id)
    .join(LINK, LINK.candidate_id == OF.id)
    .join(BY, BY.id == LINK.evaluation_id)
    .where(OF.campaign_id == bindparam("campaign"), OF.step == bindparam("step"), IS_KEY)
)
NOTED = (
    select(OF.step, ROW.status, ROW.message, ROW.until, ROW.resumed, *(getattr(BY, name) for name in models.KEY))
    .join(ROW, ROW.candidate_id == OF.id)
    .join(BY, BY.id == ROW.evaluation_id)
    .where(OF.campaign_id == bindparam("campaign"))
    .order_by(OF.step, BY.id)
)


def note(session: Session, campaign_id: int, found: Sequence[Unmeasured]) -> None:
    """Write them down, in place of what was written of the same evaluations of the same steps."""
    connection = session.connection()
    for each in found:
        asked = {"campaign": campaign_id, "step": each.step, **parameters(each.evaluation.key)}
        candidate_id, evaluation_id = connection.execute(WHOSE, asked).one()
        failed, since = each.evaluation, {"until": each.until, "resumed": each.resumed}
        told = {"status": failed.status, "message": failed.message, **since}
        given = {"candidate_id": candidate_id, "evaluation_id": evaluation_id, **told}
        connection.execute(_noting(connection.dialect.name), given)


@cache
def _noting(dialect: str) -> Any:
    given: Any = (sqlite if dialect == "sqlite" else postgresql).insert(ROW)
    new = {name: getattr(given.excluded, name) for name in ("status", "message", "until", "resumed")}
    return given.on_conflict_do_update(index_elements=[ROW.candidate_id, ROW.evaluation_id], set_=new)


def unmeasured(session: Session, campaign_id: int) -> list[Unmeasured]:
    """Give what is written down of a campaign, in step order."""
    definitions, found = rows.Definitions.of(session), []
    for step, status, message, until, resumed, *columns in session.connection().execute(
        NOTED, {"campaign": campaign_id}
    ):
        key = rows.key_of(columns)
        ratio = definitions.asked(session, key.workload_digest).ratio
        found.append(Unmeasured(step, Evaluation(key, rows.status_of(status), message, ratio=ratio), until, resumed))
    return found
