"""Between rows and the frozen values of `search.records`."""

from __future__ import annotations

import gc
import itertools
import math
import sys
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from operator import attrgetter, itemgetter
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import BindParameter, ColumnElement, bindparam, select

from search.records import (
    Candidate,
    Environment,
    Evaluation,
    EvaluationKey,
    Measurement,
    Proposal,
    Stage,
    Status,
    StoredCampaign,
    Workload,
    digest_of,
)
from search.store import models
from search.store.columns import storable
from search.store.database import insert_new, keep
from search.store.entries import NOTHING, Written
from search.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Select
    from sqlalchemy.orm import Session

Named = TypeVar("Named")
STAGES = {stage.value: stage for stage in Stage}
STATUSES = {status.value: status for status in Status}
MAX_NAME = 80  # characters of a name that is not known
ORDER = {stage: place for place, stage in enumerate(Stage)}
PASSING = (Status.INFRASTRUCTURE, Status.INTERRUPTED, Status.QUARANTINED)  # what may become another
MOST_FINISHED = 8192  # that are remembered: more than all candidates under way have
TOLD = ("status", "message", "correct", "answers", "elapsed_s")
READ = tuple(getattr(models.Evaluation, name) for name in (*models.KEY, *TOLD))  # what `evaluation` needs of a row
key_columns = attrgetter(*models.KEY)


@dataclass(frozen=True)
class Judged:
    """A finished evaluation with what the leaderboard must know besides."""

    evaluation: Evaluation
    split: str
    device: str  # empty for what was never measured anywhere: a row in quarantine
    dtype: str  # empty there too, and where an older database does not know it
    lengths: tuple[int, ...]  # ascending

    @property
    def order(self) -> tuple[Any, ...]:
        """Order by stage, the search split first; the rest only makes it the same on every database."""
        key = self.evaluation.key
        return (
            ORDER[key.stage],
            self.evaluation.ratio,
            self.split != "search",
            key.seed,
            key.repeat,
            key.workload_digest,
        )


def campaign(row: models.Campaign) -> StoredCampaign:
    """Read a campaign."""
    return StoredCampaign(row.seed, row.num_candidates, tuple(row.proposers), row.model, row.settings, row.id)


def candidate(row: Any, text: str, written: Written = NOTHING, conversation: str = "") -> Candidate:
    """Read a row of candidates, with what was written beside its program, and what was said of it if that was asked."""
    proposal = Proposal(
        text=text,
        proposer=row.proposer,
        operator=row.operator,
        parents=tuple(row.parents),
        rationale=row.rationale,
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        dollars=row.dollars,
        elapsed_s=row.elapsed_s,
        values=tuple((name, value) for name, value in row.values),
        hypotheses=written.hypotheses,
        notes=written.notes,
        conversation=conversation,
    )
    status, digest = status_of(row.status), row.program_digest or ""
    return Candidate(row.campaign_id, row.step, proposal, status, row.message, digest, row.name, row.id)


def evaluation(row: Any, measurements: tuple[Measurement, ...], ratio: float) -> Evaluation:
    """Read a finished evaluation, a row of its table; `ratio` is its workload's."""
    return Evaluation(
        key=key_of(key_columns(row)),
        status=status_of(row.status),
        message=row.message,
        measurements=measurements,
        correct=row.correct,
        answers=row.answers,
        elapsed_s=row.elapsed_s,
        ratio=ratio,
    )


def key_of(columns: Sequence[Any]) -> EvaluationKey:
    """Read what tells an evaluation apart, in the order of `models.KEY`."""
    program, stage, *circumstances, seed, repeat = columns
    # A million evaluations have few circumstances, which are kept once, and so are the names of what was measured.
    workload, model, environment, version = map(sys.intern, circumstances)
    return EvaluationKey(program, _stage(stage), workload, model, environment, version, seed, repeat)


def judged(session: Session, evaluation: Evaluation) -> Judged:
    """Give a finished evaluation as `Reading` does, once its workload and its environment are stored."""
    definitions, key = Definitions.of(session), evaluation.key
    asked, place = definitions.asked(session, key.workload_digest), definitions.place(session, key.environment_digest)
    return Judged(evaluation, asked.split, place.device, place.dtype, asked.lengths)


def workload(row: models.Workload) -> Workload:
    """Read a workload."""
    return Workload(**{**row.definition, "stage": _stage(row.definition["stage"])})


@dataclass(frozen=True)
class Asked:
    """Of a workload, what tells its evaluations apart. `lengths` ascend."""

    split: str
    ratio: float
    lengths: tuple[int, ...]


@dataclass(frozen=True)
class Place:
    """Of an environment, what the leaderboard shows."""

    device: str = ""
    dtype: str = ""


class Definitions:
    """Workloads and environments by their digests, each read once: a digest never means another.

    One for a ledger, in `Session.info`; a session without makes its own.
    """

    def __init__(self) -> None:
        self._asked: dict[str, Asked] = {}
        self._places: dict[str, Place] = {}

    @classmethod
    def of(cls, session: Session) -> Definitions:
        """Give those of a session."""
        found: Definitions = session.info.setdefault("definitions", cls())
        return found

    def asked(self, session: Session, digest: str) -> Asked:
        """Give what is asked by the workload of a digest, which is there."""
        known = self._asked.get(digest)
        if known is None:
            split, told = session.connection().execute(WORKLOAD, {"digest": digest}).one()
            known = self._asked[digest] = Asked(split, ratio_of(told), lengths_of(told))
        return known

    def place(self, session: Session, digest: str) -> Place:
        """Give the environment of a digest, an empty one where nothing was measured there yet."""
        known = self._places.get(digest)
        if known is None:
            told = session.connection().scalars(ENVIRONMENT, {"digest": digest}).one_or_none()
            if told is None:
                return NOWHERE
            known = self._places[digest] = Place(told["device"], told.get("dtype", ""))
        return known


class Finished:
    """Evaluations by id as the leaderboard reads them: a result that counts is never another, so it is read once.

    One for each of a ledger's transactions that write, in `Session.info`; `committed` is what transactions before it
    have stored or seen. What may be forgiven or tried again is not kept.
    """

    def __init__(self, committed: dict[int, Judged]) -> None:
        self._committed = committed
        self._new: dict[int, Judged] = {}

    @staticmethod
    def of(session: Session) -> Finished | None:
        """Give those of a session, None where it has none."""
        return session.info.get("finished")

    def get(self, evaluation_id: int) -> Judged | None:
        """Give one, None where it is not known."""
        return self._new.get(evaluation_id) or self._committed.get(evaluation_id)

    def add(self, evaluation_id: int, found: Judged) -> None:
        """Note one that this transaction has stored or read."""
        if found.evaluation.status not in PASSING:
            self._new[evaluation_id] = found

    def commit(self) -> None:
        """Tell the transactions that come; what was rolled back is told to nobody."""
        if len(self._committed) > MOST_FINISHED:
            self._committed.clear()
        self._committed.update(self._new)


NOWHERE = Place()
WORKLOAD = select(models.Workload.split, models.Workload.definition).where(
    models.Workload.digest == bindparam("digest")
)
ENVIRONMENT = select(models.Environment.definition).where(models.Environment.digest == bindparam("digest"))


def ratio_of(definition: dict[str, Any]) -> float:
    """Give the cost ratio of a workload; those of older databases have none."""
    return float(definition.get("ratio", 0.0))


def lengths_of(definition: dict[str, Any]) -> tuple[int, ...]:
    """Give the lengths of a workload's prompts, ascending; older databases know the longest only."""
    return tuple(sorted(set(definition.get("lengths") or [definition["num_tokens"]])))


def status_of(name: str | None) -> Status:
    """Read a status. Raises StoreError for one that a newer version wrote, or nobody."""
    return _known("a status", name or "", STATUSES)


def _stage(name: str) -> Stage:
    return _known("an evaluation of the stage", name, STAGES)


def _known(what: str, name: str, known: Mapping[str, Named]) -> Named:
    if name not in known:
        raise StoreError(
            f"The database holds {what} {name[:MAX_NAME]!r}, which this version does not know (only "
            f"{', '.join(known)}): upgrade vortex-search, or give another database with --db."
        )
    return known[name]


def environment(row: models.Environment) -> Environment:
    """Read an environment."""
    return Environment(**row.definition)


def measurements_of(session: Session, *which: ColumnElement[bool]) -> dict[int, tuple[Measurement, ...]]:
    """Read the measurements of the evaluations that `which` chooses, in the order in which they were taken."""
    return _measurements(session, _measuring(*which), {})


def _measuring(*which: ColumnElement[bool]) -> Select[Any]:
    row = models.Measurement
    columns: tuple[Any, ...] = (row.evaluation_id, row.name, row.value, row.low, row.high, row.num_samples)
    return select(*columns).where(*which).order_by(row.evaluation_id, row.position)


def _measurements(session: Session, query: Select[Any], given: dict[str, Any]) -> dict[int, tuple[Measurement, ...]]:
    found = session.connection().execute(query, given).all()  # one by one, SQLAlchemy takes twice as long
    return {number: tuple(map(_measurement, mine)) for number, mine in itertools.groupby(found, itemgetter(0))}


def _measurement(row: Any) -> Measurement:
    _, name, value, low, high, num_samples = row
    return Measurement(sys.intern(name), math.nan if value is None else value, low, high, num_samples)


class Uncollected:
    """Within it Python seeks no garbage: rows of thousands hold no circles, and seeking takes a third of reading them.

    Several threads may be within at once; the last one to leave lets it seek again, if it did before.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._num_within = 0
        self._was_enabled = False

    def __enter__(self) -> None:
        """Let no more garbage be sought."""
        with self._lock:
            if not self._num_within:
                self._was_enabled = gc.isenabled()
                gc.disable()
            self._num_within += 1

    def __exit__(self, *error: object) -> None:
        """Let it be sought again."""
        with self._lock:
            self._num_within -= 1
            if not self._num_within and self._was_enabled:
                gc.enable()


UNCOLLECTED = Uncollected()


class Reading:
    """Reads the finished evaluations of candidates, each candidate's in stage order.

    Its statements are built once: that costs more than a database takes to answer them. `candidates` is what their ids
    are among, `which` conditions on `models.Measurement`, where not all measurements are wanted.
    """

    def __init__(self, candidates: Any, *which: ColumnElement[bool]) -> None:
        link, row = models.CandidateEvaluation, models.Evaluation
        mine = link.candidate_id.in_(candidates)
        self._measuring = _measuring(
            models.Measurement.evaluation_id.in_(select(link.evaluation_id).where(mine)), *which
        )
        self._evaluating = (
            select(link.candidate_id, row.id, *READ)
            .join(row, row.id == link.evaluation_id)
            .where(mine, row.status.is_not(None))
        )

    def by_id(self, session: Session, **given: Any) -> dict[int, list[tuple[int, Judged]]]:
        """Give by candidate what is finished, in no order, each with the id of its row."""
        definitions, measurements = Definitions.of(session), _measurements(session, self._measuring, given)
        found: dict[int, list[tuple[int, Judged]]] = defaultdict(list)
        for row in session.connection().execute(self._evaluating, given).all():
            ratio = definitions.asked(session, row.workload_digest).ratio
            taken = judged(session, evaluation(row, measurements.get(row.id, ()), ratio))
            found[row.candidate_id].append((row.id, taken))
        return found

    def __call__(self, session: Session, **given: Any) -> dict[int, list[Judged]]:
        """Give by candidate what is finished, in stage order; `given` are the values that `candidates` leaves open."""
        return ordered(self.by_id(session, **given))


def ordered(found: dict[int, list[tuple[int, Judged]]]) -> dict[int, list[Judged]]:
    """Put what `Reading.by_id` gives into stage order."""
    return {candidate_id: in_order([each for _, each in items]) for candidate_id, items in found.items()}


def in_order(items: list[Judged]) -> list[Judged]:
    """Order a candidate's evaluations; of one stage, those of the machine that has most of them come first.

    That is the one that decided the search: on further kinds, candidates go through some of its stages. No two that
    differ in their keys are alike to it, so that every database gives them in one order.
    """
    where = attrgetter("evaluation.key.environment_digest")
    place = attrgetter("evaluation.key.place", "evaluation.key.program_digest")
    numbers = Counter(map(where, items))
    return sorted(items, key=lambda item: (*item.order, -numbers[where(item)], where(item), *place(item)))


IDS: BindParameter[int] = bindparam("ids", expanding=True)
OF_CANDIDATES = Reading(IDS)


def store_source(session: Session, text: str) -> str:
    """Store a text unless it is known; give its digest."""
    digest = digest_of(storable(text))
    keep(session, models.Source, digest, lambda: {"text": text})
    return digest


def insert_candidate(session: Session, candidate: Candidate) -> bool:
    """Insert a candidate with its text and program unless its step is taken; say whether it was inserted."""
    columns = asdict(candidate.proposal)
    columns.update(parents=list(columns["parents"]), values=[list(pair) for pair in columns["values"]])
    del columns["hypotheses"], columns["notes"], columns["questions"]  # they have tables of their own
    columns["source_digest"] = source = store_source(session, columns.pop("text"))
    digest, name = candidate.program_digest or None, candidate.name
    if digest:
        program = {"source_digest": source, "values": columns["values"], "name": name}
        keep(session, models.Program, digest, lambda: program)
    columns.update(campaign_id=candidate.campaign_id, step=candidate.step, program_digest=digest, name=name)
    return insert_new(session, models.Candidate, **columns, status=candidate.status, message=candidate.message)
