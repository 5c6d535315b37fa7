"""How wide intervals are: the half-width of a figure's interval as a share of the figure."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.evaluator.campaign import SEARCH, Entry, Origin
from search.records import Stage, Status
from search.workloads import HELD_OUT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.records import Measurement


@dataclass(frozen=True)
class Asked:
    """A figure of a stage on one split, and the half-width that it is meant to stay below, a share of its value."""

    what: str
    stage: Stage
    figure: str
    split: str
    goal: float


ASKED = (
    Asked("candidates", Stage.FIDELITY, "kl", SEARCH, 0.25),
    Asked("confirmed leaders", Stage.FIDELITY, "kl", HELD_OUT, 0.15),
    Asked("candidates", Stage.SERVE, "speedup", SEARCH, 0.05),
)


@dataclass(frozen=True)
class Precision:
    """Half-widths of one figure at one cost ratio.

    `num`: how many have an interval, `num_without`: how many have none (or a figure that is not positive),
    `num_within`: how many stay within the goal. `median` and `worst` are None where there is no interval.
    """

    what: str
    figure: str
    ratio: float
    goal: float
    num: int
    num_within: int
    num_without: int
    median: float | None
    worst: float | None
    worst_name: str


def precisions(entries: Sequence[Entry]) -> list[Precision]:
    """Give the half-widths of each figure at each cost ratio; references are left out."""
    rules = [entry for entry in entries if entry.origin is not Origin.REFERENCE]
    ratios = sorted({entry.ratio for entry in rules})
    found = [_precision(asked, ratio, [e for e in rules if e.ratio == ratio]) for asked in ASKED for ratio in ratios]
    return [each for each in found if each.num or each.num_without]


def _precision(asked: Asked, ratio: float, entries: Sequence[Entry]) -> Precision:
    taken = [
        (measured, entry.name)
        for entry in entries
        if (entry.stage, entry.split, entry.evaluation.status) == (asked.stage, asked.split, Status.OK)
        and (measured := entry.evaluation.measurement(asked.figure)) is not None
    ]
    widths = sorted((width, name) for measured, name in taken if (width := half_width(measured)) is not None)
    shares = [width for width, _ in widths]
    return Precision(
        asked.what,
        asked.figure,
        ratio,
        asked.goal,
        num=len(widths),
        num_within=sum(width <= asked.goal for width in shares),
        num_without=len(taken) - len(widths),
        median=median(shares) if shares else None,
        worst=shares[-1] if shares else None,
        worst_name=widths[-1][1] if widths else "",
    )


def half_width(measured: Measurement) -> float | None:
    """Give half of an interval's width as a share of the value, None where that has no meaning."""
    if measured.low is None or measured.high is None or not measured.value > 0:
        return None
    return (measured.high - measured.low) / 2 / measured.value
