"""What proposers and moves earned, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, and_, case, cast, func, or_, select

from search.archive.moves import moves_of
from search.parents import REFERENCE
from search.ranking.leaderboard import NOTHING
from search.records import Status
from search.store import models
from search.store.shown import board

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sqlalchemy.orm import Session

    from search.store.shown.sections import Section

CANDIDATE, ROW = models.Candidate, models.Standing
MOST_GROUPS = 20_000
NUM_POINTS = 200  # of a curve


@dataclass
class Earned:
    """What came of some proposals, in numbers of them; `best`: the least KL at each cost ratio."""

    name: str
    num_proposed: int = 0
    num_duplicates: int = 0
    num_refused: int = 0
    num_judged: int = 0
    num_front: int = 0
    best: dict[float, float] = field(default_factory=dict)
    seconds: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float = 0.0

    @property
    def num_admitted(self) -> int:
        """How many were neither seen before nor refused."""
        return self.num_proposed - self.num_duplicates - self.num_refused

    def take(self, other: Earned) -> None:
        """Count another's proposals too."""
        for name in ("num_proposed", "num_duplicates", "num_refused", "num_judged", "num_front", "seconds",
                     "prompt_tokens", "completion_tokens", "dollars"):  # fmt: skip
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for ratio, kl in other.best.items():
            self.best[ratio] = min(kl, self.best.get(ratio, kl))


def earned(
    session: Session, campaign_id: int, found: Sequence[Section], front: Collection[int]
) -> tuple[list[Earned], list[Earned]]:
    """Give what proposers, and what moves earned; a program that several moves made counts for each of them.

    `found`: the sections, of one place, in which figures are compared; `front`: candidates on a front of theirs.
    Yardsticks (dense attention, the oracles) are left out. Who has most on a front comes first.
    """
    groups = _groups(session, campaign_id)
    _judged(session, campaign_id, found, groups)
    for proposer, operator in session.execute(
        select(CANDIDATE.proposer, CANDIDATE.operator).where(CANDIDATE.id.in_(sorted(front)))
    ).tuples():
        if (proposer, operator) in groups:
            groups[proposer, operator].num_front += 1
    by_proposer = _together(((proposer,), each) for (proposer, _), each in groups.items())
    by_move = _together((moves_of(operator) or (NOTHING,), each) for (_, operator), each in groups.items())
    return by_proposer, by_move


def _groups(session: Session, campaign_id: int) -> dict[tuple[str, str], Earned]:
    def number(*statuses: Status) -> Any:
        return func.sum(case((CANDIDATE.status.in_(statuses), 1), else_=0))

    grouped = (
        select(
            CANDIDATE.proposer, CANDIDATE.operator, func.count(), number(Status.DUPLICATE),
            number(*(s for s in Status if s not in (Status.OK, Status.DUPLICATE))), func.sum(CANDIDATE.elapsed_s),
            func.sum(CANDIDATE.prompt_tokens), func.sum(CANDIDATE.completion_tokens), func.sum(CANDIDATE.dollars),
        )
        .where(CANDIDATE.campaign_id == campaign_id, CANDIDATE.operator != REFERENCE)
        .group_by(CANDIDATE.proposer, CANDIDATE.operator)
        .limit(MOST_GROUPS)
    )  # fmt: skip
    return {
        (proposer, operator): Earned(
            proposer, int(num), int(duplicates), int(refused), seconds=float(seconds), prompt_tokens=int(read),
            completion_tokens=int(written), dollars=float(dollars),
        )
        for proposer, operator, num, duplicates, refused, seconds, read, written, dollars in session.execute(grouped)
    }  # fmt: skip


def _judged(
    session: Session, campaign_id: int, found: Sequence[Section], groups: dict[tuple[str, str], Earned]
) -> None:
    """Note how many candidates have a KL in any of the sections, and the least at each cost ratio."""
    if not found:
        return
    who = CANDIDATE.proposer, CANDIDATE.operator
    ours = and_(ROW.campaign_id == campaign_id, ROW.kl.is_not(None), ~board.REFERENCE)
    judged = select(*who, func.count(ROW.candidate_id.distinct())).join(CANDIDATE, CANDIDATE.id == ROW.candidate_id)
    anywhere = or_(*(and_(*section.holds(campaign_id)) for section in found))
    for proposer, operator, number in session.execute(judged.where(ours, anywhere).group_by(*who)):
        if (each := groups.get((proposer, operator))) is not None:
            each.num_judged = int(number)
    least = select(*who, func.min(ROW.kl)).join(CANDIDATE, CANDIDATE.id == ROW.candidate_id)
    for section in found:
        ranked = least.where(*section.holds(campaign_id), ours, ROW.status == Status.OK)
        for proposer, operator, kl in session.execute(ranked.group_by(*who)):
            if kl is not None and (each := groups.get((proposer, operator))) is not None:
                each.best[section.ratio] = kl


def _together(named: Iterable[tuple[tuple[str, ...], Earned]]) -> list[Earned]:
    summed: dict[str, Earned] = {}
    for names, each in named:
        for name in names:
            summed.setdefault(name, Earned(name)).take(each)
    return sorted(summed.values(), key=lambda e: (-e.num_front, -e.num_proposed, e.name))


def money_curve(session: Session, campaign_id: int) -> list[tuple[int, float]]:
    """Give (step, dollars so far), at `NUM_POINTS` steps at most."""
    mine = CANDIDATE.campaign_id == campaign_id
    last = session.scalar(select(func.max(CANDIDATE.step)).where(mine)) or 0
    each = last // NUM_POINTS + 1
    bucket = cast(CANDIDATE.step / each, Integer)
    sums = (
        select(bucket, func.max(CANDIDATE.step), func.sum(CANDIDATE.dollars))
        .where(mine)
        .group_by(bucket)
        .order_by(bucket)
    )
    found, dollars = [], 0.0
    for _, step, more in session.execute(sums):
        dollars += float(more)
        found.append((int(step), dollars))
    return found
