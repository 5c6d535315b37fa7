"""Candidates that attend alike: pure functions of their screens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.behaviour.signatures import Behaviours

if TYPE_CHECKING:
    from collections.abc import Iterable

    from search.records import EvaluationKey, Screened


@dataclass(frozen=True)
class Nearest:
    """The earlier candidate whose behaviour at a cost ratio is most like another's, and how alike they are."""

    candidate: Screened
    ratio: float
    likeness: float


def nearest_earlier(mine: Screened, others: Iterable[Screened]) -> list[Nearest]:
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
