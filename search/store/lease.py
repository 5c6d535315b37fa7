"""Who may measure what: an evaluation is free, leased or finished, and its row says which."""

from __future__ import annotations

from dataclasses import asdict, astuple
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, delete, func, select

from search.records import Evaluation, Status
from search.store import models, rows
from search.store.database import Epoch, insert_new

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from search.records import EvaluationKey, EvaluationTask

MAX_DEATHS = 3
RETRIED = (Status.INFRASTRUCTURE, Status.INTERRUPTED)
# Built once: building them costs more than the database takes to answer.
IS_KEY = and_(*(getattr(models.Evaluation, name) == bindparam(f"key_{name}") for name in models.KEY))
LOCK = select(models.Evaluation).where(IS_KEY).with_for_update(key_share=True)


def parameters(key: EvaluationKey) -> dict[str, Any]:
    """Give the values for `IS_KEY`."""
    return {f"key_{name}": value for name, value in asdict(key).items()}


def lock(session: Session, key: EvaluationKey) -> models.Evaluation | None:
    """Give the key's row, ours until the transaction ends; None if nobody has claimed it yet."""
    return session.scalars(LOCK, parameters(key)).one_or_none()


def lock_or_make(session: Session, task: EvaluationTask) -> models.Evaluation:
    """Give the task's row, made if it was missing, ours until the transaction ends."""
    row = lock(session, task.key)
    if row is None:
        _make(session, task)
        row = lock(session, task.key)
        assert row is not None, "what is inserted is there, whoever inserted it"
    return row


def _make(session: Session, task: EvaluationTask) -> None:
    """Insert the task's row with what it refers to. Somebody else may be doing the same: one of the two wins."""
    values = [list(pair) for pair in task.values]
    source_digest, digest = rows.store_source(session, task.text), task.key.program_digest
    insert_new(session, models.Program, digest=digest, source_digest=source_digest, values=values, name="")
    definition, split = asdict(task.workload), task.workload.split
    insert_new(session, models.Workload, digest=task.workload.digest, split=split, definition=definition)
    insert_new(session, models.Evaluation, **asdict(task.key))


def is_final(row: models.Evaluation) -> bool:
    """Say whether a row has a result that counts: one that was our own fault does not."""
    return row.status is not None and row.status not in RETRIED


def take(session: Session, row: models.Evaluation, owner: str, lease_s: float) -> bool:
    """Lease a row that has no result. False if somebody else's lease runs, or if this was its last death."""
    now = session.scalars(select(Epoch())).one()
    if row.lease_until is not None:
        if row.lease_until > now:
            return False
        row.num_deaths += row.begun
    if row.num_deaths >= MAX_DEATHS:
        _quarantine(row)
        return False
    row.status, row.owner, row.lease_until, row.begun = None, owner, now + lease_s, False
    return True


def _quarantine(row: models.Evaluation) -> None:
    row.owner = row.lease_until = None
    row.status = Status.QUARANTINED
    row.message = (
        f"The worker was lost {row.num_deaths} times while it measured this program: it is left alone until "
        "`vortex db forgive`."
    )


def forgive(row: models.Evaluation) -> None:
    """Free a row from quarantine, its deaths forgotten."""
    row.status, row.message, row.num_deaths, row.begun = None, "", 0, False


def settle(session: Session, row: models.Evaluation, evaluation: Evaluation) -> None:
    """Write a result into its row and end the lease."""
    row.owner = row.lease_until = None
    row.status, row.message, row.elapsed_s = evaluation.status, evaluation.message, evaluation.elapsed_s
    row.correct, row.answers = evaluation.correct, evaluation.answers
    row.finished_at = func.now()
    session.execute(delete(models.Measurement).where(models.Measurement.evaluation_id == row.id))
    names = ("name", "value", "low", "high", "num_samples")
    for position, measurement in enumerate(evaluation.measurements):
        taken = dict(zip(names, astuple(measurement), strict=True))
        session.add(models.Measurement(evaluation_id=row.id, position=position, **taken))
    session.flush()
