"""Questions to language models between what is kept back for them and the candidate that pays for them.

A question's row is written before it is sent, with the most that it can cost; it is told its dollars once they are
known, and it goes in the transaction that stores those dollars with a candidate. So whatever dies in between, each
dollar is counted once: with a candidate, or here.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, case, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from search.asking.owing import Owing
from search.store import models
from search.store.derived import tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from search.asking.owing import Reserved

ROW, COUNT = models.Question, models.Tally
# Two drivers that reserve at once do so one after the other; whoever stores candidates is not kept waiting.
LOCK = select(models.Campaign.id).where(models.Campaign.id == bindparam("campaign")).with_for_update(key_share=True)
# One statement, so of one moment: in between a candidate could take over what a question cost.
SPENT = select(
    select(func.coalesce(func.sum(COUNT.number), 0.0))
    .where(COUNT.campaign_id == bindparam("campaign"), COUNT.kind == tally.SPENT)
    .scalar_subquery()
    + select(func.coalesce(func.sum(ROW.dollars), 0.0))
    .where(ROW.campaign_id == bindparam("campaign"), ROW.id != bindparam("question"))
    .scalar_subquery()
)
SETTLE = update(ROW).where(ROW.id == bindparam("question")).values(dollars=bindparam("cost"), heard=True)


def reserve(session: Session, asked: Reserved, most: float) -> float | None:
    """Keep back a question's dollars. Where `most` does not cover them, give what all others cost instead.

    Raises LookupError where there is no such campaign.
    """
    connection = session.connection()
    given = {"campaign": asked.campaign_id, "question": asked.id}
    if connection.scalar(LOCK, given) is None:
        raise LookupError(f"there is no campaign {asked.campaign_id}")
    others = float(connection.scalar(SPENT, given) or 0.0)
    if others + asked.dollars > most:
        return others
    connection.execute(_keeping(connection.dialect.name), asdict(asked))
    return None


@cache
def _keeping(dialect: str) -> Any:
    given: Any = (sqlite if dialect == "sqlite" else postgresql).insert(ROW)
    return given.on_conflict_do_update(index_elements=[ROW.id], set_={"dollars": given.excluded.dollars})


def settle(session: Session, question: str, dollars: float) -> None:
    """Note what a question cost."""
    session.connection().execute(SETTLE, {"question": question, "cost": dollars})


def pay(session: Session, questions: Sequence[str]) -> None:
    """Let go of questions whose dollars a candidate has from now on."""
    session.connection().execute(delete(ROW).where(ROW.id.in_(questions)))


def owing(session: Session, campaign_id: int | None = None) -> list[Owing]:
    """Give what is not paid yet by proposer, of one campaign or of all."""
    cost, unheard = ROW.dollars, ~ROW.heard
    summed = select(
        ROW.proposer,
        func.sum(case((ROW.heard, cost), else_=0.0)),
        func.sum(case((unheard, cost), else_=0.0)),
        func.sum(case((unheard, 1), else_=0)),
    )
    mine = [] if campaign_id is None else [ROW.campaign_id == campaign_id]
    found = session.execute(summed.where(*mine).group_by(ROW.proposer).order_by(ROW.proposer))
    return [Owing(name, float(heard), float(most), int(number)) for name, heard, most, number in found]
