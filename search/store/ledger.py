"""The ledger on SQLite and PostgreSQL."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import Double, bindparam, func, select, update
from sqlalchemy.orm import Session

from search.contracts import Claim
from search.ranking.standing import Standing
from search.records import (
    Campaign,
    Candidate,
    Choice,
    Environment,
    Evaluation,
    EvaluationKey,
    EvaluationTask,
    Progress,
    Record,
    Status,
    Submission,
    Workload,
)
from search.store import board, entries, lease, models, progress, rows, schema, standing, submissions
from search.store import spent as spending
from search.store.database import Epoch, Kept, connect, connect_reading, explained, insert_new, keep, reader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Select, Update
    from sqlalchemy.engine import Engine
    from sqlalchemy.orm import InstrumentedAttribute

    from search.store.spent import Spent

LINKED = select(models.CandidateEvaluation.candidate_id).where(
    models.CandidateEvaluation.evaluation_id == bindparam("evaluation")
)
LEASES = update(models.Evaluation).where(lease.IS_KEY, models.Evaluation.owner == bindparam("holder"))
PROLONG = LEASES.values(lease_until=Epoch() + bindparam("lease_s", type_=Double))
RELEASE = LEASES.values(lease_until=None, owner=None, begun=False)
BEGIN = LEASES.values(begun=True)
MAX_DIGITS = 18  # of an id: more would not fit 64 bits


class SqlLedger:
    """`search.contracts.Ledger` in a database. Opening it makes or migrates the tables.

    `place` is a path, `sqlite:///FILE` or `postgresql://USER@HOST/NAME`. Raises StoreError, on opening as later, when
    the database is not ours, not writable or away. `read_only`: nothing can be written, nothing is made or migrated,
    and an older schema is refused.
    """

    def __init__(self, place: str, *, read_only: bool = False) -> None:
        self._engine = connect_reading(place) if read_only else connect(place)
        self._reader = reader(self._engine)
        self._kept: set[tuple[type[models.Base], str]] = set()
        with explained(self._engine):
            schema.require_head(self._reader) if read_only else schema.bring_to_head(self._engine)

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        kept = Kept(self._kept)
        with explained(self._engine), Session(self._engine, info={"kept": kept}) as session, session.begin():
            yield session
        kept.commit()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Give a session that sees one moment of the database and cannot write."""
        with explained(self._engine), Session(self._reader) as session, session.begin():
            yield session

    @property
    def engine(self) -> Engine:
        """The engine whose transactions only read."""
        return self._reader

    def close(self) -> None:
        """Let go of the database. Idempotent."""
        self._engine.dispose()

    # Campaigns and candidates

    def create_campaign(self, campaign: Campaign) -> Campaign:
        """Store a campaign and give it back with its id."""
        columns = asdict(campaign)
        columns.update(id=None, proposers=list(campaign.proposers))
        with self._writing() as session:
            row = models.Campaign(**columns)
            session.add(row)
            session.flush()
            return rows.campaign(row)

    def campaign(self, campaign_id: int | None = None) -> Campaign:
        """Give a campaign, the newest without an id. Raises LookupError where there is none."""
        query = select(models.Campaign).order_by(models.Campaign.id.desc()).limit(1)
        with self.reading() as session:
            row = session.scalars(query if campaign_id is None else query.filter_by(id=campaign_id)).one_or_none()
            if row is None:
                raise LookupError("There is no campaign yet." if campaign_id is None else _missing(campaign_id))
            return rows.campaign(row)

    def campaigns(self) -> list[Campaign]:
        """Give all campaigns, the oldest first."""
        with self.reading() as session:
            return [rows.campaign(row) for row in session.scalars(select(models.Campaign).order_by(models.Campaign.id))]

    def add_candidate(self, candidate: Candidate) -> Candidate:
        """Store a step's candidate; the stored one comes back if that step is already there."""
        where = {"campaign_id": candidate.campaign_id, "step": candidate.step}
        with self._writing() as session:
            if session.get(models.Campaign, candidate.campaign_id) is None:
                raise LookupError(_missing(candidate.campaign_id))
            is_new = _insert(session, candidate)
            row, text = session.execute(_candidates().filter_by(**where)).one()
            if is_new:
                entries.store(session, row.id, candidate.proposal)
                if candidate.status is Status.OK:
                    _admit(session, row)
            return rows.candidate(row, text, _written(session, row.id))

    def records(self, campaign_id: int) -> list[Record]:
        """Give a campaign's candidates in step order with their finished evaluations, never the held-out ones."""
        query = _candidates().where(models.Candidate.campaign_id == campaign_id).order_by(models.Candidate.step)
        with self.reading() as session:
            judged = rows.OF_CAMPAIGN(session, campaign=campaign_id)
            written = entries.read(session, models.Candidate.campaign_id == campaign_id)
            return [
                Record(
                    rows.candidate(row, text, written.get(row.id, entries.NOTHING)),
                    tuple(j.evaluation for j in judged.get(row.id, ()) if j.split != standing.HELD_OUT),
                )
                for row, text in session.execute(query)
            ]

    def candidate(self, candidate_id: int) -> Record:
        """Give one candidate with all that was measured and said of it. Raises LookupError where there is none."""
        query = _candidates().add_columns(models.Candidate.conversation).where(models.Candidate.id == candidate_id)
        with self.reading() as session:
            found = session.execute(query).one_or_none()
            if found is None:
                raise LookupError(f"There is no candidate {candidate_id}.")
            judged = rows.OF_CANDIDATES(session, ids=[candidate_id]).get(candidate_id, [])
            row, text, conversation = found
            written = _written(session, candidate_id)
            return Record(rows.candidate(row, text, written, conversation), tuple(item.evaluation for item in judged))

    def find(self, name: str) -> Record:
        """Give a candidate by its id or by the beginning of its program's digest, the newest that was admitted.

        A program that a candidate's budget was fitted to finds the candidate too.
        """
        with self.reading() as session:
            if name.isdecimal() and len(name) < MAX_DIGITS and session.get(models.Candidate, int(name)) is not None:
                return self.candidate(int(name))
            found = _newest(session, models.Candidate.program_digest, name)
            if len(set(found.values())) != 1:
                found = _newest(session, models.Evaluation.program_digest, name) | found
        if len(set(found.values())) != 1:
            several = f"Several programs' digests begin with {name!r}: {', '.join(sorted(found)[:5])}."
            raise LookupError(several if found else f"There is no candidate {name!r}.")
        return self.candidate(next(iter(found.values())))

    # Submissions

    def submit(self, submission: Submission) -> Submission:
        """Let a proposal from outside wait for a step, and give it back with its id. Raises SubmissionError."""
        with self._writing() as session:
            if session.get(models.Campaign, submission.campaign_id) is None:
                raise LookupError(_missing(submission.campaign_id))
            return submissions.submit(session, submission)

    def submissions(self, campaign_id: int) -> list[Submission]:
        """Give what came from outside, in order of arrival."""
        with self.reading() as session:
            return submissions.submissions(session, campaign_id)

    def submission(self, submission_id: int) -> Submission:
        """Give one of them by its id. Raises LookupError where there is none."""
        with self.reading() as session:
            found = submissions.submission(session, submission_id)
        if found is None:
            raise LookupError(f"There is no submission {submission_id}.")
        return found

    def assign(self, campaign_id: int, step: int) -> Submission | None:
        """Give a step to whatever has waited longest; None where nothing waits. A step that has one keeps it."""
        with self._writing() as session:
            return submissions.assign(session, campaign_id, step)

    # Evaluations

    def claim(
        self, task: EvaluationTask, owner: str, lease_s: float, candidate_id: int | None = None
    ) -> Evaluation | Claim:
        """Take an evaluation for `lease_s`, or give what has been measured under the same key before."""
        _check(task)
        with self._writing() as session:
            row = lease.lock(session, task.key)
            if row is None:
                made = lease.make(session, task, owner, lease_s)
                if made is not None:
                    _link(session, made, candidate_id)
                    return Claim.TAKEN
                row = lease.lock(session, task.key)
                assert row is not None, "what somebody has inserted is there"
            concerned = _link(session, row.id, candidate_id)
            if not lease.is_final(row):
                if lease.take(session, row, owner, lease_s):
                    return Claim.TAKEN
                if not lease.is_final(row):
                    return Claim.BUSY
                concerned = _linked(session, row.id)
            session.flush()
            standing.refresh(session, concerned)
            measurements = rows.measurements_of(session, models.Measurement.evaluation_id == row.id)
            return rows.evaluation(row, measurements.get(row.id, ()), task.workload.ratio)

    def heartbeat(self, keys: Sequence[EvaluationKey], owner: str, lease_s: float) -> None:
        """Prolong our leases. Those that have been lost to somebody else stay lost."""
        self._update_leases(PROLONG, keys, owner, lease_s=lease_s)

    def release(self, keys: Sequence[EvaluationKey], owner: str) -> None:
        """Give leases back unfinished: no death is counted."""
        self._update_leases(RELEASE, keys, owner)

    def begin(self, keys: Sequence[EvaluationKey], owner: str) -> None:
        """Note that these leases of ours are at work now: from here on a lost owner counts as a death."""
        self._update_leases(BEGIN, keys, owner)

    def forgive(self, candidate_ids: Sequence[int]) -> list[Evaluation]:
        """Lift the quarantine of these candidates, for every campaign; gives what was in it, all or nothing."""
        with self._writing() as session:
            found: dict[int, models.Evaluation] = {}
            for candidate_id in candidate_ids:
                theirs = session.scalars(_quarantined(candidate_id)).all()
                if not theirs:
                    raise LookupError(_nothing_to_forgive(session, candidate_id))
                found |= {row.id: row for row in theirs}
            asked = {row.id: session.get_one(models.Workload, row.workload_digest) for row in found.values()}
            forgiven = [rows.evaluation(row, (), rows.ratio_of(asked[row.id].definition)) for row in found.values()]
            for row in found.values():
                lease.forgive(row)
            session.flush()
            standing.refresh(session, [each for row in found.values() for each in _linked(session, row.id)])
        return forgiven

    def _update_leases(self, statement: Update, keys: Sequence[EvaluationKey], owner: str, **given: float) -> None:
        if keys:
            with self._writing() as session:
                rows_of = [{**lease.parameters(key), "holder": owner, **given} for key in keys]
                session.connection().execute(statement, rows_of)

    def finish(self, evaluation: Evaluation, owner: str, environment: Environment) -> None:
        """Store a result and end the lease; the leaderboard follows in the same transaction.

        The first result counts, even from an owner whose lease ran out meanwhile: it was measured. Only what is
        to be tried again anyway cannot end somebody else's lease.
        """
        digest = evaluation.key.environment_digest
        if environment.digest != digest:
            raise ValueError(f"The evaluation names the environment {digest}, not {environment.digest} as given.")
        with self._writing() as session:
            row = lease.look(session, evaluation.key)
            if row is None:
                raise LookupError(f"Nobody has claimed {evaluation.key}.")
            is_retried = evaluation.status in lease.RETRIED
            if lease.is_final(row) or (is_retried and row.owner != owner):
                return
            keep(session, models.Environment, digest, definition=asdict(environment))
            lease.settle(session, row, evaluation)
            standing.refresh(session, _linked(session, row.id))

    def environment(self, digest: str) -> Environment:
        """Give where an evaluation was measured. Raises LookupError where there is none."""
        with self.reading() as session:
            row = session.get(models.Environment, digest)
            if row is None:
                raise LookupError(f"There is no environment {digest}.")
            return rows.environment(row)

    def workload(self, digest: str) -> Workload:
        """Give what an evaluation ran on. Raises LookupError where there is none."""
        with self.reading() as session:
            row = session.get(models.Workload, digest)
            if row is None:
                raise LookupError(f"There is no workload {digest}.")
            return rows.workload(row)

    # People

    def standings(
        self, campaign_id: int | None = None, limit: int | None = None, choice: Choice | None = None
    ) -> list[Standing]:
        """Give rows of the leaderboard, best first unless `choice` sorts them; `limit` cuts them off."""
        with self.reading() as session:
            found = session.execute(board.query(campaign_id, limit, choice or Choice()))
            return [board.standing(*row) for row in found]

    def progress(self, campaign_id: int) -> Progress:
        """Count a campaign's candidates by how far they got, and the evaluations under way."""
        with self.reading() as session:
            return progress.progress(session, campaign_id)

    def spent(self, campaign_id: int) -> Spent:
        """Tell what a campaign's evaluations took, and when. Raises LookupError where there is no campaign."""
        with self.reading() as session:
            row = session.get(models.Campaign, campaign_id)
            if row is None:
                raise LookupError(_missing(campaign_id))
            return spending.spent(session, row)


def _quarantined(candidate_id: int) -> Select[models.Evaluation]:
    link = models.CandidateEvaluation
    row = models.Evaluation
    return (
        select(row)
        .join(link, link.evaluation_id == row.id)
        .where(link.candidate_id == candidate_id, row.status == Status.QUARANTINED)
        .order_by(row.id)
        .with_for_update(of=row)
    )


def _nothing_to_forgive(session: Session, candidate_id: int) -> str:
    if session.get(models.Candidate, candidate_id) is None:
        return f"There is no candidate {candidate_id}."
    return f"Candidate {candidate_id} is not quarantined, so there is nothing to forgive."


def _newest(session: Session, digest: InstrumentedAttribute[Any], beginning: str) -> dict[str, int]:
    """Give the digests that begin so, each with the newest candidate that was admitted with it or measured as it."""
    candidate, link = models.Candidate, models.CandidateEvaluation
    query = select(digest, func.max(candidate.id)).select_from(candidate)
    if digest.class_ is models.Evaluation:
        query = query.join(link, link.candidate_id == candidate.id)
        query = query.join(models.Evaluation, models.Evaluation.id == link.evaluation_id)
    begins = digest.startswith(beginning, autoescape=True)
    return dict(session.execute(query.where(begins, candidate.status == Status.OK).group_by(digest)).tuples().all())


def _missing(campaign_id: int) -> str:
    return f"There is no campaign {campaign_id}."


def _candidates() -> Select[models.Candidate, str]:
    source = models.Source
    return select(models.Candidate, source.text).join(source, source.digest == models.Candidate.source_digest)


def _written(session: Session, candidate_id: int) -> entries.Written:
    return entries.read(session, models.Candidate.id == candidate_id).get(candidate_id, entries.NOTHING)


def _insert(session: Session, candidate: Candidate) -> bool:
    """Insert a candidate with its text and program unless its step is taken; say whether it was inserted."""
    columns = asdict(candidate.proposal)
    columns.update(parents=list(columns["parents"]), values=[list(pair) for pair in columns["values"]])
    del columns["hypotheses"], columns["notes"]  # they have tables of their own
    columns["source_digest"] = source = rows.store_source(session, columns.pop("text"))
    digest, name = candidate.program_digest or None, candidate.name
    if digest:
        keep(session, models.Program, digest, source_digest=source, values=columns["values"], name=name)
    columns.update(campaign_id=candidate.campaign_id, step=candidate.step, program_digest=digest, name=name)
    return insert_new(session, models.Candidate, **columns, status=candidate.status, message=candidate.message)


def _admit(session: Session, row: models.Candidate) -> None:
    """Put a candidate on the leaderboard, once per program and campaign."""
    where = {"campaign_id": row.campaign_id, "program_digest": row.program_digest}
    if session.scalars(select(models.Standing.id).filter_by(**where).limit(1)).first() is None:
        insert_new(session, models.Standing, candidate_id=row.id, **where, status=Status.OK)
        standing.refresh(session, [row.id])


def _check(task: EvaluationTask) -> None:
    asked, named = (task.workload.stage, task.workload.digest), (task.key.stage, task.key.workload_digest)
    if asked != named:
        raise ValueError(f"The task's key names the workload {named}, its workload is {asked}.")


def _link(session: Session, evaluation_id: int, candidate_id: int | None) -> Sequence[int]:
    """Note whose evaluation it is. Gives the candidates whose standing does not show it yet."""
    if candidate_id is None:
        return []
    is_new = insert_new(session, models.CandidateEvaluation, candidate_id=candidate_id, evaluation_id=evaluation_id)
    return [candidate_id] if is_new else []


def _linked(session: Session, evaluation_id: int) -> Sequence[int]:
    return session.connection().scalars(LINKED, {"evaluation": evaluation_id}).all()
