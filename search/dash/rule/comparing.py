"""Two rules side by side: their texts, and their figures in pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.ranking.comparison import Circumstances, IncomparableError, compare

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from search.dash.rule.gathering import Rule
    from search.ranking.comparison import Difference

MAX_ROWS = 400


@dataclass(frozen=True)
class Pairs:
    """Figures of two rules in pairs: those of the whole, and of parts; `reason` says why there are none."""

    whole: tuple[Difference, ...] = ()
    parts: tuple[Difference, ...] = ()
    reason: str = ""


def pairs(a: Rule, b: Rule) -> Pairs:
    """Compare two rules where their circumstances are the same, by cost ratio and stage."""
    known = Circumstances({**a.known.workloads, **b.known.workloads}, {**a.known.environments, **b.known.environments})
    try:
        found = compare([a.record, b.record], known)
    except IncomparableError as error:
        return Pairs(reason=str(error))
    return Pairs(
        tuple(each for each in _ordered(found) if each.part in ("", "over layers"))[:MAX_ROWS],
        tuple(each for each in _ordered(found) if each.part not in ("", "over layers"))[:MAX_ROWS],
    )


def _ordered(found: Iterable[Difference]) -> Sequence[Difference]:
    return sorted(found, key=lambda each: each.ratio)  # stages keep their order
