"""Races: who surely loses more than the last of the leaders is stopped after few texts, before all of them are decoded.

Racing as of O. Maron and A. W. Moore (NIPS 6, 1993) and M. Birattari et al. (GECCO 2002): problems are judged in
batches, pairs decide, and who is behind beyond doubt gets no more of them. A race is one text of each length, the
same for all, of as many documents as there are; text by text the logarithms of two rules' mean KL are compared, since
distances of a text stray by a factor. There is one look at each candidate, so the test errs as Student's interval does,
once in forty. But whoever leads is the best of many in these texts among others: of 50 rules and one more that is as
good as the third of them, that one was stopped in 3.5 to 6 of a hundred (simulated, 24 texts of which 6 race,
2026-11-29).
"""

from __future__ import annotations

import bisect
import math
import re
from typing import TYPE_CHECKING

from search.evaluator.intervals import mean
from search.records import Stage, Status

if TYPE_CHECKING:
    from search.evaluator.intervals import Interval
    from search.records import Record

TEXT = re.compile(r"kl_text_\d+")
LEAST_LOSS = 1e-6  # nats per token: below that nothing is told apart


def text_losses(record: Record, ratio: float) -> tuple[float, ...]:
    """Give a candidate's mean KL in each text of its race at a cost ratio, in order; none where it did not run it."""
    evaluation = record.evaluation(Stage.RACE, ratio)
    if evaluation is None or evaluation.status is not Status.OK:
        return ()
    return tuple(each.value for each in evaluation.measurements if TEXT.fullmatch(each.name))


def raced_kl(record: Record, ratio: float) -> float | None:
    """Give the mean KL of a candidate's race at a cost ratio, None where it did not run it or came to no number."""
    evaluation = record.evaluation(Stage.RACE, ratio)
    found = evaluation.value("kl") if evaluation and evaluation.status is Status.OK else None
    return None if found is None or math.isnan(found) else found


def is_behind(mine: tuple[float, ...], theirs: tuple[float, ...]) -> bool:
    """Say whether the first surely loses more than the second, in the same texts; never of fewer than two."""
    found = more_lost(mine, theirs)
    return found is not None and found.low is not None and found.low > 0


def more_lost(mine: tuple[float, ...], theirs: tuple[float, ...]) -> Interval | None:
    """Give the logarithm of how many times more the first loses than the second, in the mean over the same texts.

    None of fewer than two texts.
    """
    if len(mine) != len(theirs) or len(mine) < 2:
        return None
    return mean([log_loss(a) - log_loss(b) for a, b in zip(mine, theirs, strict=True)])


def log_loss(lost: float) -> float:
    """Give the logarithm of a loss, in nats per token."""
    return math.log(max(lost, LEAST_LOSS))


class Field:
    """Those at one cost ratio that lose least, up to `num`: the last of them is whom others have to beat."""

    def __init__(self, num: int) -> None:
        self._num = num
        self._best: list[tuple[float, int, tuple[float, ...]]] = []

    def branch(self) -> Field:
        """Give another one that knows the same and goes on by itself."""
        other = Field(self._num)
        other._best = list(self._best)
        return other

    def add(self, lost: float, step: int, texts: tuple[float, ...]) -> None:
        """Take in a candidate: what it loses in all, and in each text of its race."""
        bisect.insort(self._best, (lost, step, texts))
        del self._best[self._num :]

    @property
    def bar(self) -> tuple[float, ...]:
        """Give what the last of them loses in each text; nothing before there are so many."""
        return self._best[-1][2] if len(self._best) == self._num else ()
