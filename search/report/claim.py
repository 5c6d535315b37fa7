"""Whether something found beats every published rule at equal cost on held-out data: pure functions of what is known.

It does if, at one cost ratio and under one circumstance, its lead over each published rule has an interval above 0 on
texts that nobody learned from, in pairs where the ledger holds them, and it answers no fewer questions than any of them
beyond the interval. A published rule that was not measured there counts as beaten where the lead is as sure on texts
that proposers see, which is told. As it must beat every one of them, no interval is widened for their number (Berger's
intersection-union test, Technometrics 24, 1982). But it was chosen as the best of many, and the best of many was lucky:
a lead is sure where its interval lies above 0 once it is widened for all found rules that were measured on the same
texts (Bonferroni).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from search.dispatch import UNFINISHED
from search.parents import GIVEN
from search.ranking.front import is_faster
from search.ranking.leaderboard import named, speedup
from search.records import Status
from search.report.duels import Chosen, Duel, Judges, chosen_of
from search.report.merit import RETRIEVAL, Merit, is_found, is_published, merit_of
from search.report.wording import title_case
from search.workloads import HELD_OUT, SEARCH

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from search.ranking.comparison import Circumstances
    from search.ranking.front import Section
    from search.ranking.standing import Standing
    from search.report.material import Place

MAX_WEIGHED = 12  # found rules that are looked at besides the confirmed ones: best first, so the nearest is among them
MAX_NAMED = 3


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


def claim(
    section: Section, place: Place, known: Circumstances, *, asks_retrieval: bool, chosen: Chosen | None = None
) -> Claim:
    """Say of a section whether something found beats every published rule in it, or what came nearest.

    `chosen`: of how many found rules the section is a part, where it is not whole.
    """
    ratio, merit = section.rows[0].ratio, merit_of(section.rows)
    rivals = [s for s in section.rows if is_published(s)]
    if merit is None:
        return Claim(ratio, None, None)
    ranked = merit.ranked(s for s in section.rows if is_found(s) and s.status == Status.OK)
    confirmed = [s for s in ranked if s.confirmed]
    weighed = [*confirmed, *[s for s in ranked if not s.confirmed][:MAX_WEIGHED]]
    judges = Judges(place, known, asks_retrieval, chosen or chosen_of(section.rows, merit))
    found = [_weighed(s, rivals, merit, judges) for s in weighed]
    nearest = min(found, key=_nearness, default=Claim(ratio, merit, None, caveats=_left_out(rivals, merit)))
    number = judges.chosen.num_confirmed if nearest.split == HELD_OUT else 0
    told = f"it is the best of {number} that were confirmed" + (", and its leads are sure even so" * nearest.holds)
    return replace(nearest, caveats=(*([told] if number > 1 else ()), *nearest.caveats))


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


def _weighed(found: Standing, published: Sequence[Standing], merit: Merit, judges: Judges) -> Claim:
    split = HELD_OUT if merit.value(found, confirmed=True) is not None else SEARCH
    rivals = [s for s in published if merit.value(s) is not None or merit.value(s, confirmed=True) is not None]
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
    caveats = (
        *_seen_only(duels), *_given(found, judges), *_speed(found), *_retrieval(judges, duels, merit),
        *_left_out(published, merit),
    )  # fmt: skip
    return Claim(found.ratio, merit, found, tuple(duels), split, tuple(filter(None, shortfalls)), caveats)


def _seen_only(duels: Iterable[Duel]) -> tuple[str, ...]:
    number = sum(not duel.is_held_out for duel in duels)
    told = "one published rule is" if number == 1 else f"{number} published rules are"
    again = "was not measured again" if number == 1 else "were not measured again"
    return (f"{told} behind it on the texts that proposers see, and {again}",) if number else ()


def _given(found: Standing, judges: Judges) -> tuple[str, ...]:
    """Tell that a rule was not found here: who gave it may have chosen it by the same texts."""
    is_given = judges.proposer(found) == GIVEN
    return ("a person gave it, and may have chosen it by these very texts: --text judges on others",) * is_given


def _nearness(each: Claim) -> tuple[object, ...]:
    """Order claims: what holds, then what was confirmed, then who leads by most, or trails by least."""
    assert each.found is not None
    gains = [duel.gain.value for duel in each.duels if duel.gain]
    return not each.holds, each.split != HELD_OUT, -min(gains, default=0.0), each.found.id


def _doubts(duels: Sequence[Duel], merit: Merit) -> list[str]:
    known = [duel for duel in duels if duel.gain is not None]
    behind = [d.published for d in known if d.gain and d.gain.value <= 0]
    ahead = [d for d in known if d.gain and d.gain.value > 0 and not d.gain.is_sure]
    lucky = [d for d in ahead if d.gain and d.gain.low is not None and d.gain.low > 0]
    unsure = [d.published for d in ahead if d not in lucky]
    number = max((d.gain.num_chosen_from for d in lucky if d.gain), default=0)
    word = "loses at least as much as" if merit.is_loss else "reaches no more than"
    return [
        f"it {word} {_names(behind)}" if behind else "",
        f"the interval of its lead over {_names(unsure)} holds 0" if unsure else "",
        f"the interval of its lead over {_names([d.published for d in lucky])} holds 0 once it is widened for the "
        f"{number} found rules of which it is the best"
        if lucky
        else "",
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
    """Say whether a rule without a figure cannot have one: it failed, or no budget makes it so cheap.

    What nobody could measure by our own fault, or may once it is forgiven, might have one yet.
    """
    has_ended = rule.status not in (Status.OK, *UNFINISHED, Status.QUARANTINED)
    return has_ended or (rule.cost_ratio is not None and rule.cost_ratio < rule.ratio)


def _speed(found: Standing) -> tuple[str, ...]:
    if found.speedup is None:
        return ("its speed was not measured",)
    told = f"served at {speedup(found)} dense attention's speed"
    return (told if is_faster(found) or _is_slow(found) else f"{told}, not told apart from it",)


def _retrieval(judges: Judges, duels: Sequence[Duel], merit: Merit) -> tuple[str, ...]:
    if merit is RETRIEVAL:
        return ()
    if not judges.asks_retrieval:
        return ("the campaign asks no questions about long texts",)
    asked = judges.asked(duels)
    dear = len(duels) - len(asked)
    told = (f"{dear} of these rules cannot be asked questions at this cost",) if dear else ()
    return (*told, *_answers_open(asked))


def _answers_open(duels: Iterable[Duel]) -> tuple[str, ...]:
    """Tell how many answers fewer it may give: that none are shown to be lost does not show that none are."""
    ends = [(d.answers.low, d.published) for d in duels if d.answers and d.answers.low is not None]
    low, rule = min(ends, key=lambda each: each[0], default=(0.0, None))
    told = "the interval does not exclude that in retrieval it gives"
    return (f"{told} {-low:.2f} of the answers less than {named(rule)}",) if rule is not None and low < 0 else ()


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
