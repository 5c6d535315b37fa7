"""Who may measure what: an evaluation is free, leased or finished, and its row says which.

Leases end by the database's clock. One that ends later than any may is of a clock that has jumped, or of a machine that
has started since: it is cut to the length of one that begins now, so that whoever still has it can prolong it, and
nobody waits longer for who is gone.
"""

from __future__ import annotations

from dataclasses import asdict, astuple
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Double, and_, bindparam, delete, func, insert, select, update

from search.records import Evaluation, Status
from search.store import models, rows
from search.store.database import Clock, insert_new, inserting, keep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Select
    from sqlalchemy.orm import Session

    from search.records import EvaluationKey, EvaluationTask

MAX_DEATHS = 3
LONGEST_S = 300.0  # no lease is longer
RETRIED = (Status.INFRASTRUCTURE, Status.INTERRUPTED)
# Built once: building them costs more than the database takes to answer.
ROW = models.Evaluation
IS_KEY = and_(*(getattr(ROW, name) == bindparam(f"key_{name}") for name in models.KEY))
LOOK = select(ROW.id, ROW.status, ROW.owner, ROW.finished_at).where(IS_KEY).with_for_update(key_share=True)
SETTLE = update(ROW).where(ROW.id == bindparam("settled")).values(owner=None, lease_until=None, finished_at=func.now())
LINKED = select(models.CandidateEvaluation.candidate_id).where(
    models.CandidateEvaluation.evaluation_id == bindparam("evaluation")
)
INSERT_MEASUREMENT = insert(models.Measurement)
LOCK = select(models.Evaluation).where(IS_KEY).with_for_update(key_share=True)


def parameters(key: EvaluationKey) -> dict[str, Any]:
    """Give the values for `IS_KEY`."""
    return {f"key_{name}": value for name, value in asdict(key).items()}


def lock(session: Session, key: EvaluationKey) -> models.Evaluation | None:
    """Give the key's row, ours until the transaction ends; None if nobody has claimed it yet."""
    return session.scalars(LOCK, parameters(key)).one_or_none()


def look(session: Session, key: EvaluationKey) -> Any:
    """Give id, status, owner and time of the key's row, ours until the transaction ends; None if nobody claimed it."""
    return session.connection().execute(LOOK, parameters(key)).one_or_none()


def make(session: Session, task: EvaluationTask, owner: str, lease_s: float) -> int | None:
    """Insert the task's row, leased, with what it refers to, and give its id.

    None where somebody else was quicker: then the row is there.
    """
    digest, asked = task.key.program_digest, task.workload
    if not session.info["kept"].has(models.Program, digest):
        values, source_digest = [list(pair) for pair in task.values], rows.store_source(session, task.text)
        keep(session, models.Program, digest, source_digest=source_digest, values=values, name="")
    keep(session, models.Workload, asked.digest, split=asked.split, definition=asdict(asked))
    connection = session.connection()
    leased = {**asdict(task.key), "owner": owner, "lease_s": lease_s}
    return connection.execute(_leasing(connection.dialect.name), leased).scalar_one_or_none()


@cache
def _leasing(dialect: str) -> Any:
    until = Clock() + bindparam("lease_s", type_=Double)
    return inserting(dialect, models.Evaluation).values(lease_until=until).returning(models.Evaluation.id)


def is_final(row: Any) -> bool:
    """Say whether a row has a result that counts: one that was our own fault does not."""
    return row.status is not None and row.status not in RETRIED


def take(session: Session, row: models.Evaluation, owner: str, lease_s: float, back_s: float) -> bool:
    """Lease a row that has no result. False if somebody else's lease runs, or if this was its last death.

    `back_s`: for how long the database has been there again. Who could not prolong a lease has as long for it.
    """
    now = session.scalars(select(Clock())).one()
    if row.lease_until is not None:
        if row.lease_until > now + LONGEST_S:
            row.lease_until = now + lease_s
        if row.lease_until > now or back_s < lease_s:
            return False
        row.num_deaths += row.begun
    if row.num_deaths >= MAX_DEATHS:
        _quarantine(row)
        return False
    row.status, row.owner, row.lease_until, row.begun = None, owner, now + lease_s, False
    return True


def check_length(lease_s: float) -> None:
    """Refuse a lease that would be taken for one of a clock that has jumped. Raises ValueError."""
    if not 0 < lease_s <= LONGEST_S:
        raise ValueError(f"a lease lasts up to {LONGEST_S:g} s, but {lease_s:g} s were asked for")


def _quarantine(row: models.Evaluation) -> None:
    row.owner = row.lease_until = None
    row.status = Status.QUARANTINED
    row.message = (
        f"The worker was lost {row.num_deaths} times while it measured this program: it is left alone until "
        "`vortex db forgive`."
    )


def quarantined(candidate_id: int) -> Select[models.Evaluation]:
    """Give the query for what is in quarantine of a candidate, ours until the transaction ends."""
    link = models.CandidateEvaluation
    row = models.Evaluation
    return (
        select(row)
        .join(link, link.evaluation_id == row.id)
        .where(link.candidate_id == candidate_id, row.status == Status.QUARANTINED)
        .order_by(row.id)
        .with_for_update(of=row)
    )


def nothing_to_forgive(session: Session, candidate_id: int) -> str:
    """Say why a candidate cannot be forgiven."""
    if session.get(models.Candidate, candidate_id) is None:
        return f"There is no candidate {candidate_id}."
    return f"Candidate {candidate_id} is not quarantined, so there is nothing to forgive."


def forgive(row: models.Evaluation) -> None:
    """Free a row from quarantine, its deaths forgotten."""
    row.status, row.message, row.num_deaths, row.begun = None, "", 0, False


def settle(session: Session, row: Any, evaluation: Evaluation, commit: str) -> None:
    """Write a result into its row, as `look` gives it, with the commit that measured it, and end the lease."""
    names = ("status", "message", "elapsed_s", "correct", "answers")
    told = {name: getattr(evaluation, name) for name in names}
    session.connection().execute(SETTLE, {"settled": row.id, "commit": commit, **told})
    if row.finished_at is not None:  # it was tried before
        session.execute(delete(models.Measurement).where(models.Measurement.evaluation_id == row.id))
    names = ("name", "value", "low", "high", "num_samples")
    taken = [
        {"evaluation_id": row.id, "position": position, **dict(zip(names, astuple(measurement), strict=True))}
        for position, measurement in enumerate(evaluation.measurements)
    ]
    if taken:
        session.connection().execute(INSERT_MEASUREMENT, taken)


def link(session: Session, evaluation_id: int, candidate_id: int | None) -> Sequence[int]:
    """Note whose evaluation it is. Gives the candidates whose standing does not show it yet."""
    if candidate_id is None:
        return []
    is_new = insert_new(session, models.CandidateEvaluation, candidate_id=candidate_id, evaluation_id=evaluation_id)
    return [candidate_id] if is_new else []


def linked(session: Session, evaluation_id: int) -> Sequence[int]:
    """Give the candidates whose evaluation it is."""
    return session.connection().scalars(LINKED, {"evaluation": evaluation_id}).all()
