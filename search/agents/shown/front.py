"""The best programs so far at each cost ratio, one line for each idea, and a few texts that differ most."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.agents.breed import baked
from search.agents.shown.figures import at, figures, idea
from search.agents.shown.section import Section, fenced
from search.archive.families import ancestor, by_digest
from search.archive.speeds import cost_ratio
from search.behaviour import likeness
from search.parents import breeders, has_failed, is_sparse, loss
from search.records import Record, Stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from search.records import Context, Evaluation

NUM_IDEAS = 8  # at each cost ratio
NUM_POOL = 12  # ideas among which inspirations are chosen
NUM_INSPIRATIONS = 3
LEADERS, INSPIRATIONS = "The best programs so far", "A program of another idea"
LEADERS_PRIORITY, FIRST_INSPIRATION = 1, 4
NONE_YET = "Nothing has been measured yet."
READING = (
    "Sparse programs only, the best of each idea, that with the least loss first. KL is from dense attention, 0 for "
    "dense itself; of what was in no engine it is foretold from the output error by layer. Mass is the share of its "
    "weights on the pages attended to, the oracle's what as many of the best pages hold."
)


@dataclass(frozen=True)
class Idea:
    """The best program of a family at a cost ratio, and how many others of it are worth breeding."""

    record: Record
    num_others: int


def ranked(context: Context, ratio: float) -> list[Idea]:
    """Give the best of each family at a cost ratio, the least loss first; never a yardstick, nor what has failed.

    By the loss that was measured in an engine, or is foretold of who was in none (`search.parents.breeders`): at one
    cost ratio all read as much. As written, who is beaten in both loss and bytes is left out. Speed has no say.
    """
    members: dict[int, list[Record]] = {}
    known = by_digest(context.records)
    for record in _candidates(context, ratio):
        members.setdefault(ancestor(record, known).candidate.step, []).append(record)
    return [Idea(each[0], len(each) - 1) for each in members.values()]


def _candidates(context: Context, ratio: float) -> list[Record]:
    known = [record for record in breeders(context, ratio) if is_sparse(record, ratio) and not has_failed(record)]
    if ratio:
        return known
    steps = {record.candidate.step for record in known}
    known += [context.records[each.step] for each in context.archive.fronts.get(ratio, ()) if each.step not in steps]
    return _unbeaten(known, ratio)


def _unbeaten(records: Iterable[Record], ratio: float) -> list[Record]:
    """Give the Pareto front of loss and bytes read, the least loss first; who was in no engine is not on it."""
    lost = ((loss(record, ratio), cost_ratio(record, ratio) or 0.0, record) for record in records)
    known = [(each, -reads, record.candidate.step, record) for each, reads, record in lost if each is not None]
    kept, most = [], -math.inf
    for _, negated, _, record in sorted(known, key=lambda each: each[:3]):
        if -negated > most:
            kept.append(record)
            most = -negated
    return kept


def leaders(context: Context) -> Section:
    """List the best at each cost ratio with what they lose and read."""
    parts = []
    for ratio in context.ratios or context.archive.ratios:
        best = ranked(context, ratio)[:NUM_IDEAS]
        if best:
            parts.append(f"## {at(ratio).capitalize()}\n\n{_table(best, ratio, context)}")
    return Section(LEADERS, "\n\n".join((READING, *parts)) if parts else NONE_YET, LEADERS_PRIORITY)


def _table(best: Sequence[Idea], ratio: float, context: Context) -> str:
    told = [figures(each.record, ratio, context.archive) for each in best]
    columns = list(dict.fromkeys(name for row in told for name in row))
    rows = [
        f"| {_named(each)} | " + " | ".join(row.get(name, "-") for name in columns) + " |"
        for each, row in zip(best, told, strict=True)
    ]
    return "\n".join((f"| program | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|", *rows))


def _named(each: Idea) -> str:
    others = f" ({each.num_others} more like it)" if each.num_others else ""
    return f"{each.record.candidate.name}: {idea(each.record)}{others}".replace("|", "/")


def inspirations(context: Context, beside: Sequence[Record] = ()) -> list[Section]:
    """Give the texts of a few good programs of other ideas: the best, then each that is least like those before it.

    How alike two are is told by what they attended to on the screen's queries (`search.behaviour`), where there is a
    screen; families differ in any case. `beside`: the parents, which are shown already.
    """
    ratios = context.ratios or context.archive.ratios
    if not ratios:
        return []
    ratio = ratios[context.step % len(ratios)]
    known = by_digest(context.records)
    shown, ideas = list(beside), {ancestor(record, known).candidate.step for record in beside}
    pool = [each.record for each in ranked(context, ratio)[:NUM_POOL]]
    pool = [record for record in pool if ancestor(record, known).candidate.step not in ideas]
    chosen: list[Record] = []
    while pool and len(chosen) < NUM_INSPIRATIONS:
        best = min(pool, key=lambda record: _nearness(record, shown, ratio)) if chosen else pool[0]
        pool.remove(best)
        shown.append(best)
        chosen.append(best)
    return [_inspiration(record, place, ratio, context) for place, record in enumerate(chosen)]


def _nearness(record: Record, shown: Sequence[Record], ratio: float) -> float:
    """Give how alike a candidate is to the most like it of those shown."""
    return max(alike(record, each, ratio) for each in shown)


def alike(one: Record, other: Record, ratio: float) -> float:
    """Estimate the overlap of what two candidates of two families attend to; 0 where it was not measured."""
    screens = [record.evaluation(Stage.SCREEN, ratio) for record in (one, other)]
    signatures = [each.answers for each in screens if each is not None and each.answers]
    return likeness(*signatures) if len(signatures) == 2 and _are_comparable(*screens) else 0.0


def _are_comparable(*screens: Evaluation | None) -> bool:
    return len({(each.key.workload_digest, each.key.model_digest, each.key.seed) for each in screens if each}) == 1


def _inspiration(record: Record, place: int, ratio: float, context: Context) -> Section:
    told = ", ".join(f"{name}: {value}" for name, value in figures(record, ratio, context.archive).items())
    title = f"{INSPIRATIONS}: {record.candidate.name}"
    return Section(
        title, f"{at(ratio).capitalize()} {told}.\n\n{program(record, context)}", FIRST_INSPIRATION + 2 * place
    )


def program(record: Record, context: Context) -> str:
    """Give a candidate's text with its values made the defaults, as a block of code."""
    return fenced(baked(record, context.head_dim).text())
