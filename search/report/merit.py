"""By which figure programs are told apart: the first of fidelity, the probe and retrieval that was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.ranking.leaderboard import NOTHING, PUBLISHED
from search.records import Stage
from search.report.wording import ended

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from search.ranking.standing import Standing

SMALL = 0.1
LEAST_SERVED = 2  # of rules: fewer measured speeds make no picture
LEAST_DRAWN = 1e-6  # a logarithmic axis that held dense attention's own loss would show nothing else


@dataclass(frozen=True)
class Merit:
    """A figure of a standing: its field, what `search.ranking.comparison` calls it, and whether less is better."""

    stage: Stage
    field: str
    figure: str
    title: str
    unit: str
    is_loss: bool = True

    def value(self, standing: Standing, *, confirmed: bool = False) -> float | None:
        """Give a row's figure, on the split that proposers see or on the held-out one."""
        found: float | None = getattr(standing, f"confirmed_{self.field}" if confirmed else self.field)
        return found

    def is_drawable(self, standing: Standing) -> bool:
        """Say whether a row's figure has a place on an axis."""
        value = self.value(standing)
        return value is not None and math.isfinite(value)

    def bounds(self, standing: Standing, *, confirmed: bool = False) -> tuple[float | None, float | None]:
        """Give the figure's interval."""
        name = f"confirmed_{self.field}" if confirmed else self.field
        return getattr(standing, f"{name}_low"), getattr(standing, f"{name}_high")

    def told(self, standing: Standing, *, confirmed: bool = False) -> str:
        """Write a row's figure with its interval."""
        return figure(self.value(standing, confirmed=confirmed), *self.bounds(standing, confirmed=confirmed))

    def ranked(self, standings: Iterable[Standing]) -> list[Standing]:
        """Give those that have the figure, best first, of equals the older."""
        known = ((value, s) for s in standings if (value := self.value(s)) is not None)
        return [s for _, s in sorted(known, key=lambda each: (each[0] if self.is_loss else -each[0], each[1].id))]


KL = Merit(Stage.FIDELITY, "kl", "kl", "KL to dense attention", "nats per token")
ACCURACY = Merit(Stage.PROBE, "accuracy", "accuracy", "accuracy on the probe", "share of hops", is_loss=False)
RETRIEVAL = Merit(Stage.RETRIEVAL, "retrieval_loss", "accuracy", "answers lost in retrieval", "share of answers")
MERITS = (KL, ACCURACY, RETRIEVAL)


def figure(value: float | None, low: float | None = None, high: float | None = None, sign: str = "") -> str:
    """Write a figure with its interval, small ones with four decimals; `sign` "+" shows it of positive ones too."""
    if value is None:
        return NOTHING
    known = [value, *(end for end in (low, high) if end is not None and math.isfinite(end))]
    written = f"{{:{sign}.{4 if max(map(abs, known)) < SMALL else 3}f}}".format
    return f"{written(value)} {ended(low, high, written, ', ')}".rstrip()


def is_bounded(ends: tuple[float | None, float | None]) -> bool:
    """Say whether both ends of an interval are known and finite: what can be drawn, and reckoned with."""
    return all(end is not None and math.isfinite(end) for end in ends)


def merit_of(standings: Sequence[Standing]) -> Merit | None:
    """Give the figure by which rows are told apart; None while none of them has one."""
    return next((m for m in MERITS if any(m.value(s) is not None for s in standings if not s.reference)), None)


def is_published(standing: Standing) -> bool:
    """Say whether a row is a published rule: neither found here nor only there to compare with."""
    return standing.origin.startswith(PUBLISHED) and not standing.reference


def is_found(standing: Standing) -> bool:
    """Say whether a row is a rule that somebody proposed in the campaign."""
    return not standing.origin.startswith(PUBLISHED) and not standing.reference
