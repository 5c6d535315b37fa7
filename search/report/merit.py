"""By which figure programs are told apart: the first of fidelity, the probe and retrieval that was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.ranking.leaderboard import NOTHING, PUBLISHED
from search.records import Stage

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
    digits = 4 if max(abs(each) for each in (value, low, high) if each is not None) < SMALL else 3
    number, *ends = ("–" if each is None else f"{each:{sign}.{digits}f}" for each in (value, low, high))
    return number if None in (low, high) else f"{number} [{', '.join(ends)}]"


def merit_of(standings: Sequence[Standing]) -> Merit | None:
    """Give the figure by which rows are told apart; None while none of them has one."""
    return next((m for m in MERITS if any(m.value(s) is not None for s in standings if not s.reference)), None)


def is_published(standing: Standing) -> bool:
    """Say whether a row is a published rule: neither found here nor only there to compare with."""
    return standing.origin.startswith(PUBLISHED) and not standing.reference


def is_found(standing: Standing) -> bool:
    """Say whether a row is a rule that somebody proposed in the campaign."""
    return not standing.origin.startswith(PUBLISHED) and not standing.reference
