"""A found rule against a published one: its lead in what tells programs apart, pair by pair where the ledger has pairs.

A lead is an interval of 95 % of one pair of rules. Whoever picks the best of many has to ask for more: `Gain.least` is
the lower end of an interval that is widened for all found rules that were measured on the same texts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from search.evaluator import intervals
from search.ranking.leads import by_alike, lead_of
from search.records import Stage
from search.report.merit import RETRIEVAL, Merit, figure, is_bounded, is_found
from search.workloads import HELD_OUT, SEARCH

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from search.ranking.comparison import Circumstances
    from search.ranking.standing import Standing
    from search.records import Record
    from search.report.material import Place


@dataclass(frozen=True)
class Gain:
    """By how much one is better than another, in the merit's unit; positive is better. `is_paired`: text by text.

    `least`: the lower end once the interval is widened for the `num_chosen_from` rules of which it is the best, and
    on the texts that proposers see for how much their documents are alike.
    """

    value: float
    low: float | None
    high: float | None
    is_paired: bool
    least: float | None = None
    num_chosen_from: int = 1

    @property
    def is_sure(self) -> bool:
        """Whether the widened interval lies above 0."""
        return self.least is not None and self.least > 0

    def __str__(self) -> str:
        return figure(self.value, self.low, self.high) + ("" if self.is_paired else " (not in pairs)")


@dataclass(frozen=True)
class Duel:
    """A found rule against a published one: its lead in what tells programs apart, and in answers; None: unknown."""

    published: Standing
    gain: Gain | None
    answers: Gain | None
    is_held_out: bool = True


@dataclass(frozen=True)
class Chosen:
    """Of how many found rules the best is looked for: of all that were measured, and of those that were confirmed."""

    num_seen: int
    num_confirmed: int

    def on(self, split: str) -> int:
        """Give the number of those that were measured on a split."""
        return max(1, self.num_confirmed if split == HELD_OUT else self.num_seen)


def chosen_of(rows: Iterable[Standing], merit: Merit) -> Chosen:
    """Count the found rules of some rows that have the figure, on either split."""
    found = [s for s in rows if is_found(s)]
    return Chosen(*(sum(merit.value(s, confirmed=split) is not None for s in found) for split in (False, True)))


@dataclass(frozen=True)
class Judges:
    """Where duels are looked up."""

    place: Place
    known: Circumstances
    asks_retrieval: bool
    chosen: Chosen

    def duels(self, found: Standing, rivals: Iterable[Standing], merit: Merit, split: str) -> list[Duel]:
        """Compare a found rule with each rival, the least lead first, unknown ones before all."""
        judged = [
            Duel(each, self._gain(found, each, merit, split), self._gain(found, each, RETRIEVAL, split))
            for each in rivals
        ]
        return sorted(judged, key=_lead_of)

    def duels_held_out(self, found: Standing, rivals: Sequence[Standing], merit: Merit) -> list[Duel]:
        """Compare on held-out data; with rivals not measured there as proposers see them, where that is enough."""
        judged = self.duels(found, rivals, merit, HELD_OUT)
        left = [duel.published for duel in judged if duel.gain is None]
        seen = {duel.published.id: duel for duel in self.duels(found, left, merit, SEARCH)}
        behind = {each: duel for each, duel in seen.items() if duel.gain is not None and duel.gain.is_sure}
        known = (replace(behind[d.published.id], is_held_out=False) if d.published.id in behind else d for d in judged)
        return sorted(known, key=_lead_of)

    def asked(self, duels: Iterable[Duel]) -> list[Duel]:
        """Leave out rules that cannot be brought to the cost ratio at the lengths of questions, so are never asked."""
        return [duel for duel in duels if duel.answers or not self._is_dear(duel.published)]

    def proposer(self, rule: Standing) -> str:
        """Give who proposed a rule."""
        return self.place.seen[rule.id].candidate.proposal.proposer

    def _is_dear(self, rule: Standing) -> bool:
        found = self.place.seen[rule.id].value(Stage.CHECK, "retrieval_cost_ratio", rule.ratio)
        return found is not None and found < rule.ratio

    def _gain(self, found: Standing, other: Standing, merit: Merit, split: str) -> Gain | None:
        return self._paired(found, other, merit, split) or self._apart(found, other, merit, split)

    def _paired(self, found: Standing, other: Standing, merit: Merit, split: str) -> Gain | None:
        theirs, mine = (self._record(each, merit, split) for each in (other, found))
        if theirs is None or mine is None:
            return None
        number = self.chosen.on(split)
        lead = lead_of(mine, theirs, merit.figure, self.known, num_chosen_from=number)
        if lead is None:
            return None
        return Gain(lead.value, lead.low, lead.high, is_paired=True, least=lead.least, num_chosen_from=number)

    def _record(self, standing: Standing, merit: Merit, split: str) -> Record | None:
        record = (self.place.confirming if split == HELD_OUT else self.place.seen).get(standing.id)
        if record is None:
            return None
        mine = (e for e in record.evaluations if e.key.stage is merit.stage and e.ratio == standing.ratio)
        return replace(record, evaluations=tuple(mine))

    def _apart(self, found: Standing, other: Standing, merit: Merit, split: str) -> Gain | None:
        """Compare two figures by their own intervals, which must not touch: wider than in pairs."""
        rules, is_held_out, number = (found, other), split == HELD_OUT, self.chosen.on(split)
        values = [merit.value(each, confirmed=is_held_out) for each in rules]
        if values[0] is None or values[1] is None:
            return None
        sign = 1.0 if merit.is_loss else -1.0
        mine, theirs = (sign * value for value in values if value is not None)
        bounds = [merit.bounds(each, confirmed=is_held_out) for each in rules]
        if not all(map(is_bounded, bounds)):
            return Gain(theirs - mine, None, None, is_paired=False, num_chosen_from=number)
        ordered = (sorted(sign * end for end in each if end is not None) for each in bounds)
        (low, high), (other_low, other_high) = ordered
        more = intervals.widening(number) * by_alike(merit.figure, split)
        least = theirs - (theirs - other_low) * more - (mine + (high - mine) * more)
        ends = other_low - high, other_high - low
        return Gain(theirs - mine, *ends, is_paired=False, least=least, num_chosen_from=number)


def _lead_of(duel: Duel) -> tuple[bool, float, int]:
    return duel.gain is not None, duel.gain.value if duel.gain else 0.0, duel.published.id
