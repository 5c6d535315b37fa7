"""How far a campaign is, by what was counted as it happened."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sqlalchemy import func, literal, select

from search.records import Progress, Status, Took
from search.store import models, rows
from search.store.asked import questions
from search.store.database import Clock
from search.store.derived import tally
from search.store.lease import LONGEST_S
from search.workloads import HELD_OUT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Select
    from sqlalchemy.orm import Session

    from search.records import Stage

    Where = tuple[str, str, float]  # stage, split and cost ratio

PLACES = {status: place for place, status in enumerate(Status)}


def progress(session: Session, campaign_id: int) -> Progress:
    """Give a campaign's candidates by how far they got, its evaluations by how they ended, and what it spent."""
    counts = tally.read(session, campaign_id)
    numbers = {rows.status_of(name): int(number) for name, number in counts[tally.REACHED].items() if number}
    spent, proposed = dict(counts[tally.SPENT]), counts[tally.PROPOSED]
    owed = questions.owing(session, campaign_id)
    for each in owed:
        spent[each.proposer] = spent.get(each.proposer, 0.0) + each.dollars
    running, ended = _running(session, campaign_id), _ended(counts[tally.MEASURED])
    return Progress(
        sum(numbers.values()),
        tuple((status, numbers[status]) for status in Status if status in numbers),
        running.total(),
        _outcomes(ended),
        tuple((name, spent[name], int(proposed.get(name, 0))) for name in sorted(spent) if spent[name]),
        _took(counts, ended, running),
        tuple(owed),
    )


def _ended(measured: Mapping[str, float]) -> dict[Where, Counter[Status]]:
    """Divide what has ended by where it ran, and count it there by status."""
    found: dict[Where, Counter[Status]] = {}
    for name, number in measured.items():
        where, _, status = name.rpartition(tally.BETWEEN)
        if number:
            found.setdefault(_where(where), Counter())[rows.status_of(status)] += int(number)
    return found


def _where(name: str) -> Where:
    stage, split, ratio = name.split(tally.BETWEEN)
    return stage, split, float(ratio)


def _outcomes(ended: Mapping[Where, Counter[Status]]) -> tuple[tuple[Stage, Status, int], ...]:
    """Count by stage and status, what is held out aside. Stages that this version does not know are left out."""
    found: Counter[tuple[Stage, Status]] = Counter()
    for (stage, split, _), numbers in ended.items():
        if split != HELD_OUT and stage in rows.STAGES:
            found.update({(rows.STAGES[stage], status): number for status, number in numbers.items()})
    ordered = sorted(found.items(), key=lambda each: (rows.ORDER[each[0][0]], PLACES[each[0][1]]))
    return tuple((stage, status, number) for (stage, status), number in ordered)


def _took(
    counts: Mapping[str, Mapping[str, float]], ended: Mapping[Where, Counter[Status]], running: Counter[Where]
) -> tuple[Took, ...]:
    ran = {_where(name): int(number) for name, number in counts[tally.RAN].items()}
    seconds = {_where(name): number for name, number in counts[tally.TOOK].items()}
    found = [
        Took(
            rows.STAGES[where[0]],
            *where[1:],
            seconds.get(where, 0.0),
            ran.get(where, 0),
            ended.get(where, Counter())[Status.OK],
            ended.get(where, Counter()).total(),
            running[where],
        )
        for where in {*ended, *running}
        if where[0] in rows.STAGES
    ]
    return tuple(sorted(found, key=lambda each: (each.split == HELD_OUT, rows.ORDER[each.stage], each.ratio)))


def _running(session: Session, campaign_id: int) -> Counter[Where]:
    """Count what is leased now by where it runs."""
    found: Counter[Where] = Counter()
    for stage, digest, number in session.execute(_leased(campaign_id)).tuples():
        asked = rows.Definitions.of(session).asked(session, digest)
        found[stage, asked.split, asked.ratio] += number
    return found


def _leased(campaign_id: int) -> Select[str, str, int]:
    """Ask for what is leased now, beginning with the few leases that there are."""
    row, link = models.Evaluation, models.CandidateEvaluation
    # Asked so that an evaluation leads to its campaigns, not a campaign to all that it ever asked for.
    campaigns = (
        select(models.Candidate.campaign_id)
        .join(link, link.candidate_id == models.Candidate.id)
        .where(link.evaluation_id == row.id)
    )
    is_leased = row.lease_until.between(Clock(), Clock() + LONGEST_S)
    counted = select(row.stage, row.workload_digest, func.count(row.id))
    return counted.where(is_leased, literal(campaign_id).in_(campaigns)).group_by(row.stage, row.workload_digest)
