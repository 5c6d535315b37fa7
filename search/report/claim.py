"""Whether something found beats every published rule at equal cost on held-out data: pure functions of what is known.

It does if, at one cost ratio and under one circumstance, its lead over each published rule has an interval above 0 on
texts that nobody learned from, in pairs where the ledger holds them, and it answers no fewer questions than any of them
beyond the interval. A published rule that was not measured there counts as beaten where the lead is as sure on texts
that proposers see, which is told; of a rule that a race stopped, by how many times more it loses in those few. As it
must beat every one of them, no interval is widened for their number (Berger's intersection-union test, Technometrics
24, 1982).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from search.archive.racing import more_lost, text_losses
from search.ranking.comparison import ComparisonError, compare
from search.ranking.front import is_faster
from search.ranking.leaderboard import named, speedup
from search.records import Stage, Status
from search.report.material import HELD_OUT, SEARCH
from search.report.merit import KL, RACED, RETRIEVAL, Merit, figure, is_found, is_published, merit_of
from search.report.wording import title_case

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from search.ranking.comparison import Circumstances
    from search.ranking.front import Section
    from search.ranking.standing import Standing
    from search.records import Record
    from search.report.material import Place

MAX_WEIGHED = 12  # found rules that are looked at besides the confirmed ones: best first, so the nearest is among them
MAX_NAMED = 3


@dataclass(frozen=True)
class Gain:
    """By how much one is better than another, in the merit's unit; positive is better. `is_paired`: text by text."""

    value: float
    low: float | None
    high: float | None
    is_paired: bool

    @property
    def is_sure(self) -> bool:
        """Whether the interval lies above 0."""
        return self.low is not None and self.low > 0

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
class Claim:
    """The answer at one cost ratio, 0 for programs as written.

    `found`: who holds the claim, or came nearest, None where nothing found has a figure; `duels`: its leads, the least
    first, on the split `split`; `shortfalls`: why it does not count, none where it does; `caveats`: what has to be
    known of it in any case.
    """

    ratio: float
    merit: Merit | None
    found: Standing | None
    duels: tuple[Duel, ...] = ()
    split: str = SEARCH
    shortfalls: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether what was found beats every published rule."""
        return self.found is not None and bool(self.duels) and not self.shortfalls


def claim(section: Section, place: Place, known: Circumstances, *, asks_retrieval: bool) -> Claim:
    """Say of a section whether something found beats every published rule in it, or what came nearest."""
    ratio, merit = section.rows[0].ratio, merit_of(section.rows)
    rivals = [s for s in section.rows if is_published(s)]
    if merit is None:
        return Claim(ratio, None, None)
    ranked = merit.ranked(s for s in section.rows if is_found(s) and s.status == Status.OK)
    confirmed = [s for s in ranked if s.confirmed]
    weighed = [*confirmed, *[s for s in ranked if not s.confirmed][:MAX_WEIGHED]]
    found = [_weighed(s, rivals, merit, _Judges(place, known, asks_retrieval)) for s in weighed]
    nearest = min(found, key=_nearness, default=Claim(ratio, merit, None, caveats=_left_out(rivals, merit)))
    chosen = (f"it is the best of {len(confirmed)} that were confirmed",) if len(confirmed) > 1 else ()
    return replace(nearest, caveats=(*chosen, *nearest.caveats) if nearest.split == HELD_OUT else nearest.caveats)


def headline(claims: Sequence[Claim]) -> str:
    """Answer in one sentence for all cost ratios."""
    judged = [each for each in claims if each.merit is not None]
    if not judged:
        return "Nothing that tells programs apart has been measured yet, so nothing is claimed."
    holding = [_at(each.ratio) for each in judged if each.holds]
    rest = [_at(each.ratio) for each in judged if not each.holds]
    if not holding:
        return f"Nothing found is shown to beat every published rule on held-out data at equal cost ({_all(rest)})."
    duels = [duel for each in judged if each.holds for duel in each.duels]
    where = "on held-out data" if all(duel.is_held_out for duel in duels) else "the best of them on held-out data"
    comma = "" if where.startswith("on") else ","
    sure = f"{title_case(_all(holding))}, a found rule beats every published rule{comma} {where}, intervals apart"
    return f"{sure}; {_all(rest)}, none does." if rest else f"{sure}."


def sentence(each: Claim) -> str:
    """Say who it is and by how much it leads; why that does not count is in `each.shortfalls`."""
    at = title_case(_at(each.ratio))
    if each.merit is None:
        return f"{at}: nothing that tells programs apart has been measured."
    if each.found is None:
        return f"{at}: no. Nothing that was found has a figure to rank it by."
    if not each.duels:
        return f"{at}: no. {_who(each)}; no published rule has a figure to compare it with."
    if each.holds:
        number = "the one published rule" if len(each.duels) == 1 else f"each of {len(each.duels)} published rules"
        return f"{at}: yes. {_who(each)}, beats {number}. {_lead(each)}"
    return f"{at}: no. Nearest is {_who(each)}. {_lead(each)}"


def _who(each: Claim) -> str:
    assert each.found is not None
    assert each.merit is not None
    told = each.merit.told(each.found, confirmed=each.split == HELD_OUT)
    where = "on held-out data" if each.split == HELD_OUT else "on the texts that proposers see"
    return f"{named(each.found)}, {each.merit.title} {told} {where}"


def _lead(each: Claim) -> str:
    """Tell the least of its leads: over the published rule that comes closest to it or before it."""
    assert each.merit is not None
    duel = next((duel for duel in each.duels if duel.gain), None)
    if duel is None:
        return "It was compared with no published rule there."
    theirs = each.merit.told(duel.published, confirmed=each.split == HELD_OUT)
    return f"Its least lead, over {named(duel.published)} at {theirs}, is {duel.gain} {each.merit.unit}."


@dataclass(frozen=True)
class _Judges:
    """Where duels are looked up."""

    place: Place
    known: Circumstances
    asks_retrieval: bool

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

    def _is_dear(self, rule: Standing) -> bool:
        found = self.place.seen[rule.id].value(Stage.CHECK, "retrieval_cost_ratio", rule.ratio)
        return found is not None and found < rule.ratio

    def is_raced(self, rule: Standing) -> bool:
        """Say whether a rule ran a race, so that leads over it are known on those texts if on no others."""
        return self.place.seen[rule.id].value(Stage.RACE, "kl", rule.ratio) is not None

    def _gain(self, found: Standing, other: Standing, merit: Merit, split: str) -> Gain | None:
        gain = self._paired(found, other, merit, split) or _apart(found, other, merit, confirmed=split == HELD_OUT)
        return self._raced(found, other) if gain is None and merit is KL and split == SEARCH else gain

    def _raced(self, found: Standing, other: Standing) -> Gain | None:
        """Compare in the texts of their race as a race does: a rule that is no good loses many times more in a few."""
        if self._paired(found, other, RACED, SEARCH) is None:
            return None
        mine, theirs = (text_losses(self.place.seen[each.id], each.ratio) for each in (found, other))
        more = more_lost(theirs, mine)
        if more is None or more.low is None or more.high is None:
            return None
        lost = sum(mine) / len(mine)
        value, low, high = (lost * math.expm1(each) for each in (more.value, more.low, more.high))
        return Gain(value, low, high, is_paired=True)

    def _paired(self, found: Standing, other: Standing, merit: Merit, split: str) -> Gain | None:
        theirs, mine = (self._record(each, merit, split) for each in (other, found))
        if theirs is None or mine is None:
            return None
        try:
            differences = compare([theirs, mine], self.known)
        except ComparisonError:
            return None
        fit = (d for d in differences if d.figure == merit.figure and not d.part and d.low is not None)
        for each in fit:
            if merit in (KL, RACED):
                return Gain(-each.difference, _negative(each.high), _negative(each.low), is_paired=True)
            return Gain(each.difference, each.low, each.high, is_paired=True)
        return None

    def _record(self, standing: Standing, merit: Merit, split: str) -> Record | None:
        record = (self.place.confirming if split == HELD_OUT else self.place.seen).get(standing.id)
        if record is None:
            return None
        mine = (e for e in record.evaluations if e.key.stage is merit.stage and e.ratio == standing.ratio)
        return replace(record, evaluations=tuple(mine))


def _apart(found: Standing, other: Standing, merit: Merit, *, confirmed: bool) -> Gain | None:
    """Compare two figures by their own intervals, which must not touch: wider than in pairs."""
    mine, theirs = (merit.value(each, confirmed=confirmed) for each in (found, other))
    if mine is None or theirs is None:
        return None
    (low, high), (other_low, other_high) = (merit.bounds(each, confirmed=confirmed) for each in (found, other))
    sign = 1.0 if merit.is_loss else -1.0
    edges = [_difference(other_low, high), _difference(other_high, low)]
    least, most = (None, None) if None in edges else sorted(sign * each for each in edges if each is not None)
    return Gain(sign * (theirs - mine), least, most, is_paired=False)


def _weighed(found: Standing, published: Sequence[Standing], merit: Merit, judges: _Judges) -> Claim:
    split = HELD_OUT if merit.value(found, confirmed=True) is not None else SEARCH
    rivals = [
        s
        for s in published
        if merit.value(s) is not None
        or merit.value(s, confirmed=True) is not None
        or (merit is KL and judges.is_raced(s))
    ]
    is_held_out = split == HELD_OUT
    duels = judges.duels_held_out(found, rivals, merit) if is_held_out else judges.duels(found, rivals, merit, split)
    shortfalls = [
        "programs as written do not cost the same" if not found.ratio else "",
        "" if is_held_out else "it was not measured on held-out data",
        _unmeasured([d.published for d in duels if d.gain is None], "were not measured on held-out data"),
        _unmeasured(
            [s for s in published if s not in rivals and not _is_out_of_reach(s)], "have no figure at this cost"
        ),
        *_doubts(duels, merit),
        *(_answers_lost(judges.asked(duels)) if judges.asks_retrieval and merit is not RETRIEVAL else ()),
        f"it is slower than dense attention, {speedup(found)}" if _is_slow(found) else "",
    ]
    caveats = (*_seen_only(duels), *_speed(found), *_retrieval(judges, duels, merit), *_left_out(published, merit))
    return Claim(found.ratio, merit, found, tuple(duels), split, tuple(filter(None, shortfalls)), caveats)


def _lead_of(duel: Duel) -> tuple[bool, float, int]:
    return duel.gain is not None, duel.gain.value if duel.gain else 0.0, duel.published.id


def _seen_only(duels: Iterable[Duel]) -> tuple[str, ...]:
    number = sum(not duel.is_held_out for duel in duels)
    told = "one published rule is" if number == 1 else f"{number} published rules are"
    again = "was not measured again" if number == 1 else "were not measured again"
    return (f"{told} behind it on the texts that proposers see, and {again}",) if number else ()


def _nearness(each: Claim) -> tuple[object, ...]:
    """Order claims: what holds, then what was confirmed, then who leads by most, or trails by least."""
    assert each.found is not None
    gains = [duel.gain.value for duel in each.duels if duel.gain]
    return not each.holds, each.split != HELD_OUT, -min(gains, default=0.0), each.found.id


def _doubts(duels: Sequence[Duel], merit: Merit) -> list[str]:
    known = [duel for duel in duels if duel.gain is not None]
    behind = [d.published for d in known if d.gain and d.gain.value <= 0]
    unsure = [d.published for d in known if d.gain and d.gain.value > 0 and not d.gain.is_sure]
    word = "loses at least as much as" if merit.is_loss else "reaches no more than"
    return [
        f"it {word} {_names(behind)}" if behind else "",
        f"the interval of its lead over {_names(unsure)} holds 0" if unsure else "",
    ]


def _answers_lost(duels: Sequence[Duel]) -> list[str]:
    known = [duel for duel in duels if duel.gain is not None]
    lost = [d.published for d in known if d.answers and d.answers.high is not None and d.answers.high < 0]
    unknown = [d.published for d in known if d.answers is None]
    return [
        f"in retrieval it answers fewer questions than {_names(lost)}" if lost else "",
        f"in retrieval it was not compared with {_names(unknown)}" if unknown else "",
    ]


def _unmeasured(rules: Sequence[Standing], what: str) -> str:
    noun = "a published rule" if len(rules) == 1 else f"{len(rules)} published rules"
    was = what.replace("were", "was").replace("have", "has") if len(rules) == 1 else what
    return f"{noun} {was}: {_names(rules)}" if rules else ""


def _left_out(published: Iterable[Standing], merit: Merit) -> tuple[str, ...]:
    stopped = [s for s in published if merit.value(s) is None and _is_out_of_reach(s)]
    return (f"{_names(stopped)} cannot be brought to this cost or served",) if stopped else ()


def _is_out_of_reach(rule: Standing) -> bool:
    """Say whether a rule without a figure cannot have one: it failed, or no budget makes it so cheap."""
    return rule.status != Status.OK or (rule.cost_ratio is not None and rule.cost_ratio < rule.ratio)


def _speed(found: Standing) -> tuple[str, ...]:
    if found.speedup is None:
        return ("its speed was not measured",)
    told = f"served at {speedup(found)} dense attention's speed"
    return (told if is_faster(found) or _is_slow(found) else f"{told}, not told apart from it",)


def _retrieval(judges: _Judges, duels: Sequence[Duel], merit: Merit) -> tuple[str, ...]:
    if merit is RETRIEVAL:
        return ()
    if not judges.asks_retrieval:
        return ("the campaign asks no questions about long texts",)
    dear = len(duels) - len(judges.asked(duels))
    return (f"{dear} of these rules cannot be asked questions at this cost",) if dear else ()


def _is_slow(found: Standing) -> bool:
    return found.speedup_high is not None and found.speedup_high < 1


def _names(rules: Sequence[Standing]) -> str:
    told = [named(each) for each in rules[:MAX_NAMED]]
    more = len(rules) - len(told)
    return ", ".join(told) + (f" and {more} more" if more else "")


def _at(ratio: float) -> str:
    return f"at a cost ratio of {ratio:g}" if ratio else "as written"


def _all(places: Sequence[str]) -> str:
    """Name several cost ratios in one breath: at cost ratios of 4, 8 and 16."""
    numbers = [each.rpartition(" ")[2] for each in places if each.startswith("at ")]
    told = []
    if len(numbers) == 1:
        told.append(f"at a cost ratio of {numbers[0]}")
    elif numbers:
        told.append(f"at cost ratios of {', '.join(numbers[:-1])} and {numbers[-1]}")
    return " and ".join([*told, *(each for each in places if not each.startswith("at "))])


def _negative(value: float | None) -> float | None:
    return None if value is None else -value


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b
