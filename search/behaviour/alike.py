"""Candidates that attend alike: pure functions of their screens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.behaviour.signatures import Behaviours
from search.records import Stage, Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from search.records import Evaluation, EvaluationKey, Record


@dataclass(frozen=True, slots=True)
class Sketched:
    """A candidate with its screens that noted its behaviour, without their measurements, and nothing else of it."""

    id: int
    step: int
    name: str
    screens: tuple[Evaluation, ...] = ()


def sketched(record: Record) -> Sketched:
    """Keep of a record what the screen noted of its behaviour."""
    noted = tuple(e for e in record.evaluations if e.key.stage is Stage.SCREEN and e.answers)
    return Sketched(record.candidate.id, record.candidate.step, record.candidate.name, noted)


def attend_alike(one: Record, other: Record, ratio: float) -> bool:
    """Say whether two candidates attended to the same tokens in the screen at a cost ratio; not where it is unknown."""
    screens = [each.evaluation(Stage.SCREEN, ratio) for each in (one, other)]
    signatures = {each.answers if each is not None and each.status is Status.OK else "" for each in screens}
    return len(signatures) == 1 and "" not in signatures


@dataclass(frozen=True)
class Nearest:
    """The earlier candidate whose behaviour at a cost ratio is most like another's, and how alike they are."""

    candidate: Sketched
    ratio: float
    likeness: float


def nearest_earlier(mine: Sketched, others: Iterable[Sketched]) -> list[Nearest]:
    """Give for each screen of a candidate the most alike of those of earlier steps, if there is any."""
    kept = {_circumstances(each.key): Behaviours() for each in mine.screens}
    earlier = {each.step: each for each in others if each.step < mine.step}
    for step, other in sorted(earlier.items()):
        for each in other.screens:
            if (place := _circumstances(each.key)) in kept:
                kept[place].add(step, each.answers)
    found = ((each, kept[_circumstances(each.key)].nearest(each.answers)) for each in mine.screens)
    return [Nearest(earlier[near[0]], each.ratio, near[1]) for each, near in found if near is not None]


def _circumstances(key: EvaluationKey) -> tuple[object, ...]:
    """Give what signatures must share to be compared: the queries on which they were taken."""
    place = (key.model_digest, key.environment_digest, key.evaluator_version)
    return (key.stage, key.workload_digest, *place, key.seed, key.repeat)
