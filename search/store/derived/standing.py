"""The rows of the leaderboard: what a candidate's evaluations come to, each circumstance by itself."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import literal_column, or_

from search.archive.speeds import MODELLED
from search.records import Evaluation, Measurement, Stage, Status, digest_of
from search.store import models, rows
from search.store.derived.place import place as place_of
from search.workloads import HELD_OUT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    Known = dict[tuple[Stage, str], Measurement]  # by stage and name

# Numbers count where the program behaved, however good it is: what cheated or crashed has none.
MEASURED = (Status.OK, Status.BELOW_GATE)
# Stages whose figures are of the judged lengths; questions choose lengths of their own, the oracle gives no figure.
OF_LENGTHS = (Stage.CHECK, Stage.SCREEN, Stage.RECALL, Stage.FIDELITY, Stage.SERVE)


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

# Of all measurements, those that a row may show: figures by layer alone are ten times as many.
NAMES = {figure.name for figure in (*FIGURES, PAGES_AS_WRITTEN, *CONFIRMED)}
IS_SHOWN = or_(
    # Written out: as values they would be put into the text of the statement each time.
    models.Measurement.name.in_([literal_column(f"'{name}'") for name in sorted(NAMES)]),
    models.Measurement.name.startswith(MODELLED, autoescape=True),
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
    """Read it from a campaign's settings. For which GPU speed is modelled sets no rows apart: each tells its own."""
    given = json.loads(settings)
    workloads = [{**w, "source": ""} if _models_speed(w) else w for w in given.get("workloads", [])]
    return Asked(tuple(each["stage"] for each in workloads), digest_of([workloads, given.get("evaluation_seed", 0)]))


def _models_speed(workload: dict[str, Any]) -> bool:
    return workload["stage"] == Stage.CHECK and bool(workload.get("source"))


def summaries(candidate: Any, judged: Sequence[rows.Judged], alike: Mapping[str, str]) -> list[dict[str, Any]]:
    """Give the rows of a candidate from its finished evaluations, given in stage order. One at least.

    `candidate`: its id, campaign_id and program_digest, and the settings of its campaign. `alike`: see `_alike`.
    """
    found, asked = list(_divided(judged)), asked_by(candidate.settings)
    by_place = _confirming(judged, [place for place, _ in found])
    found += [(place, []) for place in by_place if place not in dict(found)]
    summed = [
        {
            "candidate_id": candidate.id,
            "campaign_id": candidate.campaign_id,
            "program_digest": candidate.program_digest,
            "workload": asked.digest,
            **{name: getattr(place, name) for name in models.CIRCUMSTANCE},
            "lengths": joined(place.lengths),
            **_filled(place.ratio, items, asked, alike),
            **(_confirmed([item.evaluation for item in by_place[place]]) if place in by_place else UNCONFIRMED),
        }
        for place, items in found or [(Circumstance(), [])]
    ]
    return [{**row, "place": place_of(row)} for row in summed]


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


def _filled(ratio: float, items: Sequence[rows.Judged], asked: Asked, alike: Mapping[str, str]) -> dict[str, Any]:
    found = [item.evaluation for item in items]
    known = _known(found)
    status, reason = _end(found, asked, alike)
    device, dtype = next(((item.device, item.dtype) for item in items if item.device), ("", ""))
    target, speedup = _modelled(known)
    written = {
        "status": status,
        "reason": reason,
        "device": device,
        "dtype": dtype,
        "fitted_digest": next((e.key.program_digest for e in found if e.ratio == ratio), ""),
        "target": target,
        "modelled_speedup": speedup,
        "mixed_lengths": len({i.lengths for i in items if i.evaluation.key.stage in OF_LENGTHS}) > 1,
    }
    for figure in (*FIGURES, PAGES if ratio else PAGES_AS_WRITTEN):
        written |= _written(figure, known)
    for name, stage in (("retrieval_lengths", Stage.RETRIEVAL), ("accuracy_lengths", Stage.PROBE)):
        asked_at = (item.lengths for item in items if item.evaluation.key.stage is stage)
        written[name] = joined(next(asked_at, ()))
    return written


def _end(found: Sequence[Evaluation], asked: Asked, alike: Mapping[str, str]) -> tuple[Status, str]:
    """Give the last stage's status, and why there is no other stage: empty where all have been passed."""
    if not found:
        return Status.OK, "nothing is measured yet"
    last = found[-1]
    stage = last.key.stage
    if last.status is not Status.OK:
        return last.status, f"{stage.value}: {last.message or last.status.value}"
    if stage is Stage.SCREEN and last.answers in alike:
        return Status.OK, f"passed screen; it chooses the same pages as {alike[last.answers]}"
    beyond = asked.stages[asked.stages.index(stage) + 1 :] if stage in asked.stages else ()
    return Status.OK, f"passed {stage.value}; {beyond[0]} was not run: not chosen for it, or not yet" if beyond else ""


def _confirmed(confirming: Sequence[Evaluation]) -> dict[str, Any]:
    written, known = dict[str, Any](), _known(confirming)
    for figure in CONFIRMED:
        written |= _written(figure, known)
    return {**written, "confirmed": any(written[figure.column] is not None for figure in CONFIRMED)}


def _known(found: Iterable[Evaluation]) -> Known:
    """Give each stage's numbers by name, from its first evaluation that has them, in order."""
    known: Known = {}
    for evaluation in found:
        for each in evaluation.measurements if evaluation.status in MEASURED else ():
            known.setdefault((evaluation.key.stage, each.name), each)
    return known


def _written(figure: Figure, known: Known) -> dict[str, float | None]:
    taken = next(filter(None, (known.get((stage, figure.name)) for stage in figure.stages)), None)
    written = {figure.column: taken.value if taken else None}
    if figure.spread:
        written[f"{figure.column}_low"] = taken.low if taken else None
        written[f"{figure.column}_high"] = taken.high if taken else None
    return written


def _modelled(known: Known) -> tuple[str, float | None]:
    """Give the device and the modelled speed-up of the first stage that tells one."""
    told = ((name.removeprefix(MODELLED), each.value) for (_, name), each in known.items() if name.startswith(MODELLED))
    return next(told, ("", None))


UNCONFIRMED = _confirmed(())  # most rows are
