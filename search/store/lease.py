"""Who may measure what: an evaluation is free, leased or finished, and its row says which.

Leases end by the database's clock. One that ends later than any may is of a clock that has jumped, or of a machine that
has started since: it is cut to the length of one that begins now, so that whoever still has it can prolong it, and
nobody waits longer for who is gone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Double, and_, bindparam, cast, delete, extract, func, insert, select, update

from search.contracts import Claim
from search.records import Evaluation, EvaluationKey, Status
from search.store import models, rows
from search.store.database import Clock, insert_new, inserting, keep
from search.store.derived import refreshing, tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Select, Update
    from sqlalchemy.orm import Session

    from search.records import EvaluationTask, Measurement

MAX_DEATHS = 3
LONGEST_S = 300.0  # no lease is longer
RETRIED = (Status.INFRASTRUCTURE, Status.INTERRUPTED)
# Built once: building them costs more than the database takes to answer.
ROW = models.Evaluation
IS_KEY = and_(*(getattr(ROW, name) == bindparam(f"key_{name}") for name in models.KEY))
SEEN = (ROW.id, ROW.stage, ROW.workload_digest, ROW.status, ROW.elapsed_s, ROW.owner, ROW.finished_at)
LOOK = select(*SEEN).where(IS_KEY).with_for_update(key_share=True)
ENDED = {"owner": None, "lease_until": None, "finished_at": func.now()}
SETTLE = update(ROW).where(ROW.id == bindparam("settled")).values(ENDED)
# The usual case in one statement: nothing has come of it before.
SETTLE_NEW = update(ROW).where(IS_KEY, ROW.status.is_(None), ROW.finished_at.is_(None)).values(ENDED).returning(ROW.id)
LINKED = select(models.CandidateEvaluation.candidate_id).where(
    models.CandidateEvaluation.evaluation_id == bindparam("evaluation")
)
INSERT_MEASUREMENT = insert(models.Measurement)
LOCK = select(models.Evaluation).where(IS_KEY).with_for_update(key_share=True)
OURS = update(ROW).where(IS_KEY, ROW.owner == bindparam("holder"))
PROLONG = OURS.values(lease_until=Clock() + bindparam("lease_s", type_=Double))
RELEASE = OURS.values(lease_until=None, owner=None, begun=False)
BEGIN = OURS.values(begun=True)
HELD = select(*(getattr(ROW, name) for name in models.KEY)).where(
    ROW.lease_until.is_not(None), ROW.owner == bindparam("holder")
)


@dataclass(frozen=True)
class Wish:
    """Who wants a lease, and for how long.

    `is_again`: it was asked for before, and nobody came back to say whether it was given. `back_s`: for how long the
    database has been there again. `begun`: work begins with it.
    """

    owner: str
    lease_s: float
    is_again: bool
    back_s: float
    begun: bool = False


def parameters(key: EvaluationKey) -> dict[str, Any]:
    """Give the values for `IS_KEY`."""
    return {f"key_{name}": getattr(key, name) for name in models.KEY}


def claim(session: Session, task: EvaluationTask, wish: Wish, candidate_id: int | None) -> models.Evaluation | Claim:
    """Take an evaluation, or give its row where it has been measured: see `search.contracts.Ledger`."""
    made = make(session, task, wish)
    if made is not None:
        link(session, made, candidate_id)
        return Claim.TAKEN
    row = lock(session, task.key)
    assert row is not None, "what somebody has inserted is there"
    concerned = link(session, row.id, candidate_id)
    if concerned and row.status is not None:
        tally.note_link(session, concerned[0], row)
    if not is_final(row):
        if row.status is not None:  # it is taken, or given up
            tally.note_evaluation(session, row, -1)
        if (wish.is_again and row.owner == wish.owner) or take(session, row, wish):
            return Claim.TAKEN
        if not is_final(row):
            return Claim.BUSY
        tally.note_evaluation(session, row, 1)
        concerned = linked(session, row.id)
    session.flush()
    refreshing.refresh(session, concerned)
    return row


def update_all(session: Session, statement: Update, keys: Sequence[EvaluationKey], owner: str, **given: float) -> None:
    """Change those of some leases that are the owner's."""
    session.connection().execute(statement, [{**parameters(key), "holder": owner, **given} for key in keys])


def held(session: Session, owner: str) -> set[EvaluationKey]:
    """Give what an owner has leased."""
    return {EvaluationKey(*row) for row in session.connection().execute(HELD, {"holder": owner}).tuples()}


def lock(session: Session, key: EvaluationKey) -> models.Evaluation | None:
    """Give the key's row, ours until the transaction ends; None if nobody has claimed it yet."""
    return session.scalars(LOCK, parameters(key)).one_or_none()


def make(session: Session, task: EvaluationTask, wish: Wish) -> int | None:
    """Insert the task's row, leased, with what it refers to, and give its id; None where there is one already."""
    digest, asked = task.key.program_digest, task.workload
    keep(session, models.Program, digest, lambda: _program(session, task))
    keep(session, models.Workload, asked.digest, lambda: {"split": asked.split, "definition": asdict(asked)})
    connection = session.connection()
    columns = dict(zip(models.KEY, rows.key_columns(task.key), strict=True))
    leased = {**columns, "owner": wish.owner, "lease_s": wish.lease_s, "begun": wish.begun}
    return connection.execute(_leasing(connection.dialect.name), leased).scalar_one_or_none()


def _program(session: Session, task: EvaluationTask) -> dict[str, Any]:
    """Give the columns of a task's program, and store its text."""
    source = rows.store_source(session, task.text)
    return {"source_digest": source, "values": [list(pair) for pair in task.values], "name": ""}


@cache
def _leasing(dialect: str) -> Any:
    until = Clock() + bindparam("lease_s", type_=Double)
    return inserting(dialect, models.Evaluation).values(lease_until=until).returning(models.Evaluation.id)


def is_final(row: Any) -> bool:
    """Say whether a row has a result that counts: one that was our own fault does not."""
    return row.status is not None and row.status not in RETRIED


def take(session: Session, row: models.Evaluation, wish: Wish) -> bool:
    """Lease a row that has no result. False if somebody else's lease runs, or if this was its last death.

    Who could not prolong a lease while the database was away has as long for it as a lease lasts.
    """
    now = session.scalars(select(Clock())).one()
    if row.lease_until is not None:
        if row.lease_until > now + LONGEST_S:
            row.lease_until = now + wish.lease_s
        if row.lease_until > now or wish.back_s < wish.lease_s:
            return False
        row.num_deaths += row.begun and not _was_away(session, row.lease_until)
    if row.num_deaths >= MAX_DEATHS:
        _quarantine(row)
        return False
    row.status, row.owner, row.lease_until, row.begun = None, wish.owner, now + wish.lease_s, wish.begun
    return True


def _was_away(session: Session, until: float) -> bool:
    """Say whether the server was started after a lease ran out: its owner, patient or not, could not prolong it."""
    if session.get_bind().dialect.name == "sqlite":
        return False
    started = select(cast(extract("epoch", func.pg_postmaster_start_time()), Double))
    return session.scalars(started).one() >= until


def check_length(lease_s: float) -> None:
    """Refuse a lease that would be taken for one of a clock that has jumped. Raises ValueError."""
    if not 0 < lease_s <= LONGEST_S:
        raise ValueError(f"a lease lasts up to {LONGEST_S:g} s, but {lease_s:g} s were asked for")


def check_task(task: EvaluationTask) -> None:
    """Refuse a task whose key names another workload than it brings. Raises ValueError."""
    asked, named = (task.workload.stage, task.workload.digest), (task.key.stage, task.key.workload_digest)
    if asked != named:
        raise ValueError(f"The task's key names the workload {named}, its workload is {asked}.")


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
        return f"there is no candidate {candidate_id}"
    return f"candidate {candidate_id} is not quarantined, so there is nothing to forgive"


def forgive(session: Session, candidate_ids: Sequence[int]) -> list[Evaluation]:
    """Free what is in quarantine of these candidates, deaths forgotten; gives what it was, all or nothing."""
    found: dict[int, models.Evaluation] = {}
    for candidate_id in candidate_ids:
        theirs = session.scalars(quarantined(candidate_id)).all()
        if not theirs:
            raise LookupError(nothing_to_forgive(session, candidate_id))
        found |= {row.id: row for row in theirs}
    asked = {row.id: session.get_one(models.Workload, row.workload_digest) for row in found.values()}
    forgiven = [rows.evaluation(row, (), rows.ratio_of(asked[row.id].definition)) for row in found.values()]
    for row in found.values():
        row.num_deaths = 0
    _free(session, list(found.values()))
    return forgiven


def absolve(session: Session, keys: Sequence[EvaluationKey]) -> None:
    """Take back one death of each, and free from quarantine what has no longer as many as lead there."""
    found = [row for key in keys if (row := lock(session, key)) is not None and row.num_deaths]
    for row in found:
        row.num_deaths -= 1
    _free(session, [row for row in found if row.status == Status.QUARANTINED and row.num_deaths < MAX_DEATHS])


def _free(session: Session, found: Sequence[models.Evaluation]) -> None:
    for row in found:
        tally.note_evaluation(session, row, -1)
        row.status, row.message, row.begun = None, "", False
    session.flush()
    refreshing.refresh(session, [each for row in found for each in linked(session, row.id)])


def settle(session: Session, evaluation: Evaluation, owner: str, commit: str) -> int | None:
    """Write a result into its row, with the commit that measured it, end the lease, and give the row's id.

    None where another result counts, or somebody else's lease. Raises LookupError where nobody has claimed it.
    """
    told = {"commit": commit, **{name: getattr(evaluation, name) for name in rows.TOLD}}
    settled = None
    if evaluation.status not in RETRIED:  # what is tried again may only end its own lease
        settled = session.connection().execute(SETTLE_NEW, {**parameters(evaluation.key), **told}).scalar_one_or_none()
    if settled is None:
        settled = _settle_again(session, evaluation, owner, told)
    if settled is not None and evaluation.measurements:
        taken = [
            {"evaluation_id": settled, "position": position, **_figure(measurement)}
            for position, measurement in enumerate(evaluation.measurements)
        ]
        session.connection().execute(INSERT_MEASUREMENT, taken)
    return settled


def _figure(measured: Measurement) -> dict[str, Any]:
    """Give a measurement's columns; `dataclasses.asdict` would take it apart by copies."""
    return {
        "name": measured.name, "value": measured.value, "low": measured.low, "high": measured.high,
        "num_samples": measured.num_samples,
    }  # fmt: skip


def _settle_again(session: Session, evaluation: Evaluation, owner: str, told: dict[str, Any]) -> int | None:
    row = session.connection().execute(LOOK, parameters(evaluation.key)).one_or_none()
    if row is None:
        raise LookupError(f"nobody has claimed {evaluation.key}")
    if is_final(row) or (evaluation.status in RETRIED and row.owner != owner):
        return None
    if row.status is not None:
        tally.note_evaluation(session, row, -1)
    session.connection().execute(SETTLE, {"settled": row.id, **told})
    if row.finished_at is not None:  # it was tried before
        session.execute(delete(models.Measurement).where(models.Measurement.evaluation_id == row.id))
    found: int = row.id
    return found


def link(session: Session, evaluation_id: int, candidate_id: int | None) -> Sequence[int]:
    """Note whose evaluation it is. Gives the candidates whose standing does not show it yet."""
    if candidate_id is None:
        return []
    is_new = insert_new(session, models.CandidateEvaluation, candidate_id=candidate_id, evaluation_id=evaluation_id)
    return [candidate_id] if is_new else []


def linked(session: Session, evaluation_id: int) -> Sequence[int]:
    """Give the candidates whose evaluation it is."""
    return session.connection().scalars(LINKED, {"evaluation": evaluation_id}).all()
