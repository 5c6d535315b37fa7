"""The rows of the leaderboard: what a candidate's evaluations come to, each circumstance by itself."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from search.records import Evaluation, Measurement, Stage, Status, digest_of
from search.store import models, rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy.orm import Session

# Numbers count where the program behaved, however good it is: what cheated or crashed has none.
MEASURED = (Status.OK, Status.BELOW_GATE)
HELD_OUT = "held_out"
# Stages whose figures are of the judged lengths; questions choose lengths of their own, the oracle gives no figure.
OF_LENGTHS = (Stage.CHECK, Stage.SCREEN, Stage.RECALL, Stage.FIDELITY, Stage.SERVE)
MODELLED = "modelled_speedup_"  # a measurement of this name ends in the device that it is modelled for
BATCH = 500  # candidates whose rows are written anew at a time


@dataclass(frozen=True)
class Figure:
    """A figure of a row: its column, the stages that may give it, its name there, and whether bounds stand beside."""

    column: str
    stages: tuple[Stage, ...]
    name: str
    spread: bool = False


FIGURES = (
    Figure("cost_ratio", (Stage.CHECK,), "cost_ratio"),
    Figure("budget", (Stage.CHECK,), "budget"),
    Figure("bytes_per_page", (Stage.CHECK,), "bytes_per_page"),
    Figure("recall", (Stage.RECALL,), "recall"),
    Figure("kl", (Stage.FIDELITY,), "kl", spread=True),
    Figure("agreement", (Stage.FIDELITY,), "agreement"),
    Figure("perplexity_ratio", (Stage.FIDELITY,), "perplexity_ratio", spread=True),
    Figure("retrieval", (Stage.RETRIEVAL,), "accuracy", spread=True),
    Figure("dense_retrieval", (Stage.RETRIEVAL,), "dense_accuracy"),
    Figure("retrieval_loss", (Stage.RETRIEVAL,), "loss", spread=True),
    Figure("accuracy", (Stage.PROBE,), "accuracy", spread=True),
    Figure("task_loss", (Stage.TASK,), "loss", spread=True),
    Figure("speedup", (Stage.SERVE,), "speedup", spread=True),
)
# At a ratio pages are those of the judged lengths alone.
PAGES = Figure("pages_attended", (Stage.FIDELITY, Stage.SERVE), "pages_attended")
PAGES_AS_WRITTEN = Figure("pages_attended", (Stage.FIDELITY, Stage.PROBE, Stage.SERVE), "pages_attended")
CONFIRMED = (
    Figure("confirmed_accuracy", (Stage.PROBE,), "accuracy", spread=True),
    Figure("confirmed_kl", (Stage.FIDELITY,), "kl", spread=True),
    Figure("confirmed_retrieval_loss", (Stage.RETRIEVAL,), "loss", spread=True),
)


@dataclass(frozen=True)
class Circumstance:
    """What all figures of a row have in common; the fields are `models.CIRCUMSTANCE`. `lengths` ascend."""

    ratio: float = 0.0
    lengths: tuple[int, ...] = ()
    model_digest: str = ""
    environment_digest: str = ""
    evaluator_version: str = ""


@dataclass(frozen=True)
class Asked:
    """What a campaign asks of its candidates: the stages in order, and an identity of all that they run on."""

    stages: tuple[str, ...]
    digest: str


@lru_cache(maxsize=64)
def asked_by(settings: str) -> Asked:
    """Read it from a campaign's settings."""
    given = json.loads(settings)
    workloads = given.get("workloads", [])
    return Asked(tuple(each["stage"] for each in workloads), digest_of([workloads, given.get("evaluation_seed", 0)]))


def refresh(session: Session, candidate_ids: Sequence[int]) -> None:
    """Write the standings of candidates anew. Candidates are locked in the order of their ids: none deadlock."""
    if not candidate_ids:
        return
    candidate, row = models.Candidate, models.Standing
    query = (
        select(candidate, models.Campaign.settings)
        .join(models.Campaign, models.Campaign.id == candidate.campaign_id)
        .where(candidate.id.in_(candidate_ids))
        .order_by(candidate.id)
    )
    locked = session.execute(query.with_for_update(key_share=True, of=candidate)).all()
    # Read after the locks: another stage of the same program may just have been finished elsewhere.
    mine = row.candidate_id.in_([each.id for each, _ in locked])
    listed = set(session.scalars(select(row.candidate_id).where(mine)))
    judged = rows.judged(session, sorted(listed))
    session.execute(delete(row).where(mine))
    for each, settings in locked:
        if each.id in listed:
            session.add_all(summaries(each, judged.get(each.id, []), asked_by(settings)))
    session.flush()


def rebuild(session: Session) -> None:
    """Write the standings of every candidate anew: what a new version shows of old evaluations."""
    last = 0
    while True:
        row = models.Standing.candidate_id
        ids = session.scalars(select(row).where(row > last).distinct().order_by(row).limit(BATCH)).all()
        if not ids:
            return
        refresh(session, ids)
        session.expunge_all()
        last = ids[-1]


def summaries(candidate: models.Candidate, judged: Sequence[rows.Judged], asked: Asked) -> list[models.Standing]:
    """Give the rows of a candidate from its finished evaluations, given in stage order. One at least."""
    found = list(_divided(judged))
    by_place = _confirming(judged, [place for place, _ in found])
    found += [(place, []) for place in by_place if place not in dict(found)]
    written = []
    for place, items in found or [(Circumstance(), [])]:
        row = models.Standing(
            candidate_id=candidate.id,
            campaign_id=candidate.campaign_id,
            program_digest=candidate.program_digest,
            workload=asked.digest,
            **{name: getattr(place, name) for name in models.CIRCUMSTANCE if name != "lengths"},
            lengths=joined(place.lengths),
        )
        _fill(row, items, asked)
        _confirm(row, [item.evaluation for item in by_place.get(place, ())])
        written.append(row)
    return written


def joined(lengths: Sequence[int]) -> str:
    """Write lengths as the table keeps them."""
    return ",".join(map(str, lengths))


def _divided(judged: Sequence[rows.Judged]) -> Iterator[tuple[Circumstance, list[rows.Judged]]]:
    """Divide what was measured on the search split by circumstance."""
    places: dict[Circumstance, list[rows.Judged]] = defaultdict(list)
    for item in judged:
        if item.split != HELD_OUT:
            places[_place(item)].append(item)
    for place, items in places.items():
        ratios = sorted({item.evaluation.ratio for item in items} - {0.0})
        as_written = [item for item in items if not item.evaluation.ratio]
        for ratio in ratios:
            yield from _at(ratio, place, [item for item in items if item.evaluation.ratio in (0.0, ratio)])
        if not ratios or any(item.evaluation.key.stage is not Stage.ORACLE for item in as_written):
            yield Circumstance(0.0, _lengths(as_written), *_names(place)), as_written


def _at(
    ratio: float, place: Circumstance, items: Sequence[rows.Judged]
) -> Iterator[tuple[Circumstance, list[rows.Judged]]]:
    """Divide by the judged lengths. What serves is right or not for programs as written, and so at every ratio."""
    mine = [i for i in items if i.evaluation.ratio == ratio or i.evaluation.key.stage is Stage.ORACLE]
    bound = [i for i in mine if i.evaluation.key.stage in OF_LENGTHS]
    for lengths in sorted({i.lengths for i in bound}) or [()]:
        kept = [i for i in mine if i.lengths == lengths or i.evaluation.key.stage not in OF_LENGTHS]
        yield Circumstance(ratio, lengths, *_names(place)), kept


def _lengths(items: Sequence[rows.Judged]) -> tuple[int, ...]:
    return tuple(sorted({n for i in items if i.evaluation.key.stage in OF_LENGTHS for n in i.lengths}))


def _place(item: rows.Judged) -> Circumstance:
    key = item.evaluation.key
    return Circumstance(0.0, (), key.model_digest, key.environment_digest, key.evaluator_version)


def _names(place: Circumstance) -> tuple[str, str, str]:
    return place.model_digest, place.environment_digest, place.evaluator_version


def _confirming(judged: Sequence[rows.Judged], known: Sequence[Circumstance]) -> dict[Circumstance, list[rows.Judged]]:
    """Put what was measured on the held-out split to the row of its circumstance; its lengths may be held out too."""
    found: dict[Circumstance, list[rows.Judged]] = defaultdict(list)
    for item in judged:
        if item.split == HELD_OUT:
            own = Circumstance(item.evaluation.ratio, item.lengths, *_names(_place(item)))
            same = [p for p in known if (p.ratio, *_names(p)) == (own.ratio, *_names(own))]
            found[next((p for p in same if p.lengths == own.lengths), same[0] if same else own)].append(item)
    return found


def _fill(row: models.Standing, items: Sequence[rows.Judged], asked: Asked) -> None:
    found = [item.evaluation for item in items]
    row.status, row.reason = _end(found, asked)
    row.device, row.dtype = next(((item.device, item.dtype) for item in items if item.device), ("", ""))
    row.fitted_digest = next((e.key.program_digest for e in found if e.ratio == row.ratio), "")
    for figure in (*FIGURES, PAGES if row.ratio else PAGES_AS_WRITTEN):
        _write(row, figure, found)
    row.target, row.modelled_speedup = _modelled(found)
    row.mixed_lengths = len({i.lengths for i in items if i.evaluation.key.stage in OF_LENGTHS}) > 1
    for name, stage in (("retrieval_lengths", Stage.RETRIEVAL), ("accuracy_lengths", Stage.PROBE)):
        asked_at = (item.lengths for item in items if item.evaluation.key.stage is stage)
        setattr(row, name, joined(next(asked_at, ())))


def _end(found: Sequence[Evaluation], asked: Asked) -> tuple[Status, str]:
    """Give the last stage's status, and why there is no other stage: empty where all have been passed."""
    if not found:
        return Status.OK, "nothing is measured yet"
    last = found[-1]
    stage = last.key.stage
    if last.status is not Status.OK:
        return last.status, f"{stage.value}: {last.message or last.status.value}"
    beyond = asked.stages[asked.stages.index(stage) + 1 :] if stage in asked.stages else ()
    return Status.OK, f"passed {stage.value}; {beyond[0]} was not run: not chosen for it, or not yet" if beyond else ""


def _confirm(row: models.Standing, confirming: Sequence[Evaluation]) -> None:
    for figure in CONFIRMED:
        _write(row, figure, confirming)
    row.confirmed = any(getattr(row, figure.column) is not None for figure in CONFIRMED)


def _write(row: models.Standing, figure: Figure, found: Sequence[Evaluation]) -> None:
    taken = next(filter(None, (_taken(found, stage, figure.name) for stage in figure.stages)), None)
    setattr(row, figure.column, taken and taken.value)
    if figure.spread:
        setattr(row, f"{figure.column}_low", taken and taken.low)
        setattr(row, f"{figure.column}_high", taken and taken.high)


def _taken(found: Sequence[Evaluation], stage: Stage, name: str) -> Measurement | None:
    """Give a stage's number, from its first evaluation that has it."""
    named = (e.measurement(name) for e in found if e.key.stage is stage and e.status in MEASURED)
    return next((measurement for measurement in named if measurement), None)


def _modelled(found: Sequence[Evaluation]) -> tuple[str, float | None]:
    """Give the device and the modelled speed-up of the first stage that tells one."""
    for evaluation in found:
        for measurement in evaluation.measurements if evaluation.status in MEASURED else ():
            if measurement.name.startswith(MODELLED):
                return measurement.name.removeprefix(MODELLED), measurement.value
    return "", None
