"""By how much one rule leads another, pair by pair, and how sure that is of the best of many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.evaluator import intervals
from search.ranking.comparison import IncomparableError, compare
from search.workloads import SEARCH

if TYPE_CHECKING:
    from search.ranking.comparison import Circumstances
    from search.records import Record

KL = "kl"  # of the figures that leads are told in, the one of which less is better
BY_DOCUMENTS = 2**0.5  # texts of few documents stray by twice the variance they show (`evaluator.fidelity.figures`)


@dataclass(frozen=True)
class Lead:
    """By how much one is better than another, in the figure's unit, with an interval of 95 %; positive is better.

    `least`: the lower end once the interval is widened for all rules of which it is the best, and on the texts that
    proposers see for how much their documents are alike.
    """

    value: float
    low: float
    high: float
    least: float


def lead_of(best: Record, other: Record, figure: str, known: Circumstances, *, num_chosen_from: int) -> Lead | None:
    """Compare two rules in a figure; None where the ledger holds no pairs of it, or too few for an interval."""
    try:
        differences = compare([other, best], known)
    except IncomparableError:
        return None
    for each in differences:
        if each.figure != figure or each.part or each.low is None or each.high is None:
            continue
        value, low, high = each.difference, each.low, each.high
        if figure == KL:
            value, low, high = -value, -high, -low
        more = intervals.widening(num_chosen_from, each.num_pairs - 1) * by_alike(figure, each.split)
        return Lead(value, low, high, least=value - (value - low) * more)
    return None


def by_alike(figure: str, split: str) -> float:
    """Give how many times as wide an interval over texts of few documents has to be."""
    return BY_DOCUMENTS if figure == KL and split == SEARCH else 1.0
