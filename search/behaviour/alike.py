"""Candidates that attend alike: pure functions of their records."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from search.behaviour.signatures import Behaviours
from search.records import Stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from search.records import Evaluation, EvaluationKey, Record


@dataclass(frozen=True)
class Nearest:
    """The earlier candidate whose behaviour at a cost ratio is most like another's, and how alike they are."""

    record: Record
    ratio: float
    likeness: float


def nearest_earlier(record: Record, others: Iterable[Record]) -> list[Nearest]:
    """Give for each screen of a candidate the most alike of those of earlier steps, if there is any."""
    screens = list(_screens(record))
    asked = {_circumstances(each.key) for each in screens}
    kept: dict[EvaluationKey, Behaviours] = {each: Behaviours() for each in asked}
    earlier = {each.candidate.step: each for each in others if each.candidate.step < record.candidate.step}
    for step, other in sorted(earlier.items()):
        for each in _screens(other):
            if (place := _circumstances(each.key)) in kept:
                kept[place].add(step, each.answers)
    found = ((each, kept[_circumstances(each.key)].nearest(each.answers)) for each in screens)
    return [Nearest(earlier[near[0]], each.ratio, near[1]) for each, near in found if near is not None]


def _screens(record: Record) -> Iterator[Evaluation]:
    return (each for each in record.evaluations if each.key.stage is Stage.SCREEN and each.answers)


def _circumstances(key: EvaluationKey) -> EvaluationKey:
    """Give what signatures must share to be compared: the queries on which they were taken."""
    return replace(key, program_digest="")
