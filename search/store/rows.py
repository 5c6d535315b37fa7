"""Between rows and the frozen values of `search.records`."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import BindParameter, ColumnElement, bindparam, select

from search.records import (
    Campaign,
    Candidate,
    Environment,
    Evaluation,
    EvaluationKey,
    Measurement,
    Proposal,
    Stage,
    Status,
    Workload,
    digest_of,
)
from search.store import models
from search.store.columns import storable
from search.store.database import keep
from search.store.entries import NOTHING, Written
from search.store.errors import StoreError

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.orm import Session

STAGES = tuple(Stage)
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
            STAGES.index(key.stage),
            self.evaluation.ratio,
            self.split != "search",
            key.seed,
            key.repeat,
            key.workload_digest,
        )


def campaign(row: models.Campaign) -> Campaign:
    """Read a campaign."""
    return Campaign(row.seed, row.num_candidates, tuple(row.proposers), row.model, row.settings, row.id)


def candidate(row: models.Candidate, text: str, written: Written = NOTHING, conversation: str = "") -> Candidate:
    """Read a candidate, with what was written beside its program, and what was said of it where that was asked for."""
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
    status, digest = Status(row.status), row.program_digest or ""
    return Candidate(row.campaign_id, row.step, proposal, status, row.message, digest, row.name, row.id)


def evaluation(row: Any, measurements: tuple[Measurement, ...], ratio: float) -> Evaluation:
    """Read a finished evaluation, a row of its table; `ratio` is its workload's."""
    key = dict(zip(models.KEY, key_columns(row), strict=True))
    return Evaluation(
        key=EvaluationKey(**{**key, "stage": _stage(row.stage)}),
        status=Status(row.status or ""),
        message=row.message,
        measurements=measurements,
        correct=row.correct,
        answers=row.answers,
        elapsed_s=row.elapsed_s,
        ratio=ratio,
    )


def workload(row: models.Workload) -> Workload:
    """Read a workload."""
    return Workload(**{**row.definition, "stage": _stage(row.definition["stage"])})


def ratio_of(definition: dict[str, Any]) -> float:
    """Give the cost ratio of a workload; those of older databases have none."""
    return float(definition.get("ratio", 0.0))


def lengths_of(definition: dict[str, Any]) -> tuple[int, ...]:
    """Give the lengths of a workload's prompts, ascending; older databases know the longest only."""
    return tuple(sorted(set(definition.get("lengths") or [definition["num_tokens"]])))


def _stage(name: str) -> Stage:
    if name not in STAGES:
        raise StoreError(
            f"The database holds an evaluation of the stage {name!r}, which this version does not know (only "
            f"{', '.join(STAGES)}): upgrade vortex-search, or give another database with --db."
        )
    return Stage(name)


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
    found: dict[int, list[Measurement]] = defaultdict(list)
    for evaluation_id, name, value, low, high, num_samples in session.connection().execute(query, given):
        found[evaluation_id].append(Measurement(name, math.nan if value is None else value, low, high, num_samples))
    return {evaluation_id: tuple(measurements) for evaluation_id, measurements in found.items()}


class Reading:
    """Reads the finished evaluations of candidates, each candidate's in stage order.

    Its statements are built once: that costs more than a database takes to answer them. `candidates` is what their ids
    are among, `which` conditions on `models.Measurement`, where not all measurements are wanted,
    and `among` one on `models.Evaluation`.
    """

    def __init__(self, candidates: Any, *which: ColumnElement[bool], among: ColumnElement[bool] | None = None) -> None:
        link, row = models.CandidateEvaluation, models.Evaluation
        mine = link.candidate_id.in_(candidates)
        self._measuring = _measuring(
            models.Measurement.evaluation_id.in_(select(link.evaluation_id).where(mine)), *which
        )
        self._evaluating = (
            select(
                link.candidate_id,
                *row.__table__.columns,
                models.Workload.split,
                models.Workload.definition.label("asked"),
                models.Environment.definition.label("place"),
            )
            .join(row, row.id == link.evaluation_id)
            .join(models.Workload, models.Workload.digest == row.workload_digest)
            .outerjoin(models.Environment, models.Environment.digest == row.environment_digest)
            .where(mine, row.status.is_not(None), *([] if among is None else [among]))
        )

    def __call__(self, session: Session, **given: Any) -> dict[int, list[Judged]]:
        """Give by candidate what is finished; `given` are the values that `candidates` leaves open."""
        measurements = _measurements(session, self._measuring, given)
        found: dict[int, list[Judged]] = defaultdict(list)
        for row in session.connection().execute(self._evaluating, given):
            device, dtype = (row.place["device"], row.place.get("dtype", "")) if row.place else ("", "")
            taken = evaluation(row, measurements.get(row.id, ()), ratio_of(row.asked))
            found[row.candidate_id].append(Judged(taken, row.split, device, dtype, lengths_of(row.asked)))
        return {candidate_id: _ordered(items) for candidate_id, items in found.items()}


def _ordered(items: list[Judged]) -> list[Judged]:
    """Order a candidate's evaluations; of one stage, those of the machine that has most of them come first.

    That is the one that decided the search: on further kinds, candidates go through some of its stages.
    """
    numbers = Counter(item.evaluation.key.environment_digest for item in items)
    if len(numbers) == 1:
        return sorted(items, key=attrgetter("order"))
    place = attrgetter("evaluation.key.environment_digest")
    return sorted(items, key=lambda item: (*item.order, -numbers[place(item)], place(item)))


IDS: BindParameter[int] = bindparam("ids", expanding=True)
OF_CANDIDATES = Reading(IDS)
OF_CAMPAIGN = Reading(select(models.Candidate.id).where(models.Candidate.campaign_id == bindparam("campaign")))


def store_source(session: Session, text: str) -> str:
    """Store a text unless it is known; give its digest."""
    digest = digest_of(storable(text))
    keep(session, models.Source, digest, text=text)
    return digest
