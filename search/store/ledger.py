"""The ledger on SQLite and PostgreSQL."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from search.contracts import Claim
from search.ranking.standing import Standing
from search.records import (
    Candidate,
    Choice,
    Environment,
    Evaluation,
    EvaluationKey,
    EvaluationTask,
    Progress,
    Record,
    Status,
    StoredCampaign,
    Submission,
    Workload,
)
from search.store import entries, lease, models, rows, schema, submissions
from search.store import spent as spending
from search.store.asked import questions, unmeasured
from search.store.database import Kept, Transaction, connect, explained, keep, reader
from search.store.derived import refreshing, tally
from search.store.patience import PATIENCE_S, Patience, patient
from search.store.shown import board, candidates, fronts, listing, progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Update
    from sqlalchemy.engine import Engine

    from search.archive.unmeasured import Unmeasured
    from search.asking.owing import Owing, Reserved
    from search.behaviour import Sketched
    from search.ranking.front import Front
    from search.store.spent import Spent

Found = TypeVar("Found")
ANY = Choice()
SETTINGS = select(models.Campaign.settings).where(models.Campaign.id == bindparam("campaign"))


class SqlLedger:
    """`search.contracts.Ledger` in a database. Opening it makes or migrates the tables.

    `place` is a path, `sqlite:///FILE` or `postgresql://USER@HOST/NAME`. `read_only`: nothing is made or migrated, an
    older schema is refused, and neither a lock nor a right to write is needed. A database that is away or locked is
    asked again for `patience_s`; `told` hears of it when that takes long. Raises StoreError, on opening as later, when
    the database is not ours, not writable or stays away.
    """

    def __init__(
        self,
        place: str,
        *,
        read_only: bool = False,
        patience_s: float = PATIENCE_S,
        told: Callable[[str], None] | None = None,
    ) -> None:
        self._engine = connect(place, read_only=read_only)
        self._reader = reader(self._engine)
        self._patience = Patience(patience_s, told)
        self._kept: set[tuple[type[models.Base], str]] = set()
        self._definitions = rows.Definitions()
        self._finished: dict[int, rows.Judged] = {}
        # A lock passes, but a server that was never there is a wrong address.
        waits = self._engine.dialect.name == "sqlite"
        patience = self._patience if waits else Patience(0.0)
        patience.call(lambda: schema.prepare(self._engine, read_only=read_only))

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        kept, finished = Kept(self._kept), rows.Finished(self._finished)
        info = {"kept": kept, "finished": finished, "definitions": self._definitions}
        with explained(self._engine), self._engine.begin() as connection, Transaction(connection, info) as session:
            yield session
            session.flush()
            tally.store(session)
        kept.commit()
        finished.commit()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Give a session that sees one moment of the database and cannot write."""
        info = {"definitions": self._definitions}
        with explained(self._engine), self._reader.begin() as connection, Transaction(connection, info) as session:
            yield session

    @property
    def engine(self) -> Engine:
        """The engine whose transactions only read."""
        return self._reader

    def give_up(self) -> None:
        """Wait no more for a database that is away: what waits fails now. Safe in signal handlers."""
        self._patience.give_up()

    def close(self) -> None:
        """Let go of the database. Idempotent."""
        self._engine.dispose()

    # Campaigns and candidates

    def create_campaign(self, campaign: StoredCampaign) -> StoredCampaign:
        """Store a campaign and give it back with its id."""
        columns = asdict(campaign)
        columns.update(id=None, proposers=list(campaign.proposers))
        ids: list[int] = []

        def attempt() -> StoredCampaign:
            with self._writing() as session:
                # The attempt before may have been stored, though nobody came back to say so.
                row = session.get(models.Campaign, ids[-1]) if ids else None
                if row is None:
                    row = models.Campaign(**columns)
                    session.add(row)
                    session.flush()
                    ids.append(row.id)
                return rows.campaign(row)

        return self._patience.call(attempt)

    @patient
    def campaign(self, campaign_id: int | None = None) -> StoredCampaign:
        """Give a campaign, the newest without an id. Raises LookupError where there is none."""
        query = select(models.Campaign).order_by(models.Campaign.id.desc()).limit(1)
        with self.reading() as session:
            row = session.scalars(query if campaign_id is None else query.filter_by(id=campaign_id)).one_or_none()
            return rows.campaign(_found(row, "campaign yet" if campaign_id is None else f"campaign {campaign_id}"))

    @patient
    def campaigns(self) -> list[StoredCampaign]:
        """Give all campaigns, the oldest first."""
        with self.reading() as session:
            return [rows.campaign(row) for row in session.scalars(select(models.Campaign).order_by(models.Campaign.id))]

    @patient
    def add_candidate(self, candidate: Candidate) -> Candidate:
        """Store a step's candidate; the stored one comes back if that step is already there."""
        with self._writing() as session:
            settings = session.connection().scalars(SETTINGS, {"campaign": candidate.campaign_id}).one_or_none()
            if settings is None:
                raise LookupError(f"there is no campaign {candidate.campaign_id}")
            is_new = rows.insert_candidate(session, candidate)
            row, text = candidates.of_step(session, candidate.campaign_id, candidate.step)
            if is_new:
                tally.note_candidate(session, row)
                if candidate.proposal.questions:
                    questions.pay(session, candidate.proposal.questions)
                entries.store(session, row.id, candidate.proposal)
                if candidate.status is Status.OK:
                    refreshing.admit(session, row, settings)
            is_alone = is_new and not (candidate.proposal.hypotheses or candidate.proposal.notes)
            said = entries.NOTHING if is_alone else candidates.written(session, row.id)
            return rows.candidate(row, text, said)

    @patient
    def records(self, campaign_id: int, steps: range = candidates.ALL) -> list[Record]:
        """Give a campaign's candidates in step order with their finished evaluations, never the held-out ones."""
        with self.reading() as session:
            return candidates.records(session, campaign_id, steps)

    @patient
    def step_of(self, campaign_id: int, digest: str) -> int | None:
        """Give the first step of a campaign whose program has this digest, None where none has."""
        with self.reading() as session:
            return candidates.step_of(session, campaign_id, digest)

    @patient
    def sketched(self, campaign_id: int, steps: range) -> list[Sketched]:
        """Give those candidates of some steps of whose behaviour a screen noted something, in step order."""
        with self.reading() as session:
            return candidates.sketched(session, campaign_id, steps)

    @patient
    def candidate(self, candidate_id: int) -> Record:
        """Give one candidate with all that was measured and said of it. Raises LookupError where there is none."""
        with self.reading() as session:
            return _found(candidates.record(session, candidate_id), f"candidate {candidate_id}")

    @patient
    def find(self, name: str) -> Record:
        """Give a candidate by its id or by the beginning of its program's digest, the newest that was admitted.

        A program that a candidate's budget was fitted to finds the candidate too.
        """
        with self.reading() as session:
            return candidates.find(session, name)

    # Submissions and questions

    @patient
    def submit(self, submission: Submission) -> Submission:
        """Let a proposal from outside wait for a step, and give it back with its id. Raises SubmissionError."""
        with self._writing() as session:
            if session.get(models.Campaign, submission.campaign_id) is None:
                raise LookupError(f"there is no campaign {submission.campaign_id}")
            return submissions.submit(session, submission)

    @patient
    def submissions(self, campaign_id: int) -> list[Submission]:
        """Give what came from outside, in order of arrival."""
        with self.reading() as session:
            return submissions.submissions(session, campaign_id)

    @patient
    def submission(self, submission_id: int) -> Submission:
        """Give one of them by its id. Raises LookupError where there is none."""
        with self.reading() as session:
            return _found(submissions.submission(session, submission_id), f"submission {submission_id}")

    @patient
    def assign(self, campaign_id: int, step: int) -> Submission | None:
        """Give a step to whatever has waited longest; None where nothing waits. A step that has one keeps it."""
        with self._writing() as session:
            return submissions.assign(session, campaign_id, step)

    @patient
    def reserve(self, asked: Reserved, most: float) -> float | None:
        """Keep back a question's dollars; where `most` does not cover them, give what the campaign has cost instead."""
        with self._writing() as session:
            return questions.reserve(session, asked, most)

    @patient
    def settle(self, question: str, dollars: float) -> None:
        """Note what a question cost, once that is known."""
        with self._writing() as session:
            questions.settle(session, question, dollars)

    @patient
    def owing(self, campaign_id: int | None = None) -> list[Owing]:
        """Give what questions cost that no candidate has paid, by proposer."""
        with self.reading() as session:
            return questions.owing(session, campaign_id)

    # Evaluations

    def claim(
        self, task: EvaluationTask, owner: str, lease_s: float, candidate_id: int | None = None, *, begun: bool = False
    ) -> Evaluation | Claim:
        """Take an evaluation for `lease_s`, or give what has been measured under the same key before."""
        lease.check_task(task)
        lease.check_length(lease_s)
        attempts = itertools.count()

        def attempt() -> Evaluation | Claim:
            wish = lease.Wish(owner, lease_s, next(attempts) > 0, self._patience.back_s, begun)
            return self._claim(task, wish, candidate_id)

        return self._patience.call(attempt)

    def _claim(self, task: EvaluationTask, wish: lease.Wish, candidate_id: int | None) -> Evaluation | Claim:
        with self._writing() as session:
            row = lease.claim(session, task, wish, candidate_id)
            if isinstance(row, Claim):
                return row
            measurements = rows.measurements_of(session, models.Measurement.evaluation_id == row.id)
            return rows.evaluation(row, measurements.get(row.id, ()), task.workload.ratio)

    @patient
    def heartbeat(self, keys: Sequence[EvaluationKey], owner: str, lease_s: float) -> list[EvaluationKey]:
        """Prolong our leases. Gives those that have been lost to somebody else: they stay lost."""
        lease.check_length(lease_s)
        if not keys:
            return []
        with self._writing() as session:
            lease.update_all(session, lease.PROLONG, keys, owner, lease_s=lease_s)
            held = lease.held(session, owner)
        return [key for key in keys if key not in held]

    def release(self, keys: Sequence[EvaluationKey], owner: str) -> None:
        """Give leases back unfinished: no death is counted."""
        self._update_leases(lease.RELEASE, keys, owner)

    def begin(self, keys: Sequence[EvaluationKey], owner: str) -> None:
        """Note that these leases of ours are at work now: from here on a lost owner counts as a death."""
        self._update_leases(lease.BEGIN, keys, owner)

    @patient
    def forgive(self, candidate_ids: Sequence[int]) -> list[Evaluation]:
        """Lift the quarantine of these candidates, for every campaign; gives what was in it, all or nothing."""
        with self._writing() as session:
            return lease.forgive(session, candidate_ids)

    @patient
    def absolve(self, keys: Sequence[EvaluationKey]) -> None:
        """Take back the death that was counted for each of these when it was taken from us: we live."""
        if keys:
            with self._writing() as session:
                lease.absolve(session, keys)

    @patient
    def _update_leases(self, statement: Update, keys: Sequence[EvaluationKey], owner: str) -> None:
        if keys:
            with self._writing() as session:
                lease.update_all(session, statement, keys, owner)

    @patient
    def finish(self, evaluation: Evaluation, owner: str, environment: Environment) -> None:
        """Store a result and end the lease; the leaderboard follows in the same transaction.

        The first result counts, even from an owner whose lease ran out meanwhile: it was measured. Only what is to be
        tried again anyway cannot end somebody else's lease.
        """
        digest = evaluation.key.environment_digest
        if environment.digest != digest:
            raise ValueError(f"The evaluation names the environment {digest}, not {environment.digest} as given.")
        with self._writing() as session:
            settled = lease.settle(session, evaluation, owner, environment.commit)
            if settled is None:
                return
            keep(session, models.Environment, digest, lambda: {"definition": asdict(environment)})
            refreshing.note(session, session.info["finished"], settled, evaluation)
            tally.note_result(session, evaluation, refreshing.refresh_linked(session, settled))

    @patient
    def note_unmeasured(self, campaign_id: int, found: Sequence[Unmeasured]) -> None:
        """Note what steps were settled without by our own fault, or since when it may be known after all."""
        with self._writing() as session:
            unmeasured.note(session, campaign_id, found)

    @patient
    def unmeasured(self, campaign_id: int) -> list[Unmeasured]:
        """Give what is so noted, in step order."""
        with self.reading() as session:
            return unmeasured.unmeasured(session, campaign_id)

    @patient
    def environment(self, digest: str) -> Environment:
        """Give where an evaluation was measured. Raises LookupError where there is none."""
        with self.reading() as session:
            return rows.environment(_found(session.get(models.Environment, digest), f"environment {digest}"))

    @patient
    def workload(self, digest: str) -> Workload:
        """Give what an evaluation ran on. Raises LookupError where there is none."""
        with self.reading() as session:
            return rows.workload(_found(session.get(models.Workload, digest), f"workload {digest}"))

    # People

    def standings(
        self, campaign_id: int | None = None, limit: int | None = None, choice: Choice | None = None
    ) -> list[Standing]:
        """Give rows of the leaderboard, best first unless `choice` sorts them; `limit` cuts them off."""
        return self.page(campaign_id, limit, choice or ANY).standings

    @patient
    def page(self, campaign_id: int | None, limit: int | None, choice: Choice = ANY, after: str = "") -> board.Page:
        """Give a page of them, which says what the next one begins `after`."""
        with self.reading() as session:
            return board.page(session, campaign_id, limit, choice, after)

    def listed(self, campaign_id: int | None = None, choice: Choice = ANY) -> Iterator[tuple[Standing, bool]]:
        """Give them one after the other, each with whether it is on the front of those that are chosen."""
        return self._patience.call(lambda: listing.begun(self._listed(campaign_id, choice)))

    def _listed(self, campaign_id: int | None, choice: Choice) -> Iterator[tuple[Standing, bool]]:
        with self.reading() as session:
            yield from listing.listing(session, campaign_id, choice)

    @patient
    def fronts(self, campaign_id: int | None = None, choice: Choice = ANY, *, published: bool = False) -> list[Front]:
        """Give the front of every section in which there are rows, in the leaderboard's order."""
        with self.reading() as session:
            return fronts.fronts(session, campaign_id, choice, published=published)

    @patient
    def progress(self, campaign_id: int) -> Progress:
        """Count a campaign's candidates by how far they got, and the evaluations under way."""
        with self.reading() as session:
            return progress.progress(session, campaign_id)

    @patient
    def spent(self, campaign_id: int) -> Spent:
        """Tell what a campaign's evaluations took, and when. Raises LookupError where there is no campaign."""
        with self.reading() as session:
            return spending.spent(session, _found(session.get(models.Campaign, campaign_id), f"campaign {campaign_id}"))


def _found(value: Found | None, what: str) -> Found:
    if value is None:
        raise LookupError(f"there is no {what}")
    return value
