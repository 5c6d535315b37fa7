"""Where the best came from: its ancestors, what each changed, and what that brought."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.ranking.comparison import IncomparableError, compare
from search.ranking.leaderboard import NOTHING
from search.records import Stage, Status
from search.report.blocks import Block, Column, Grid, Listing, Part, Words
from search.report.merit import KL, figure
from search.report.wording import cut
from search.telling.rationale import reasons_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from search.ranking.comparison import Circumstances
    from search.ranking.standing import Standing
    from search.records import Record
    from search.report.claim import Claim
    from search.report.material import Place

MAX_ANCESTORS = 32
MAX_BESTS = 6
MAX_CHANGE = 220  # characters


def lineages(claims: Sequence[Claim], place: Place, known: Circumstances) -> list[Block]:
    """Tell the ancestors and the text of what came nearest at each cost ratio, each program once."""
    bests: dict[int, list[Standing]] = {}
    for each in claims:
        if each.found is not None:
            bests.setdefault(each.found.id, []).append(each.found)
    if not bests:
        return [Words("Nothing that was found has a figure, so there is no best to trace.")]
    return [_lineage(standings, place, known) for standings in list(bests.values())[:MAX_BESTS]]


def ancestors(record: Record, by_digest: Mapping[str, Record]) -> list[tuple[int, Record]]:
    """Give a program and whom it comes from with how many steps lie between, nearest first; each of them once."""
    found: dict[str, tuple[int, Record]] = {}
    waiting = [(0, record)]
    for depth, each in waiting:  # grows while it is read
        digest = each.candidate.program_digest
        if digest in found or len(found) == MAX_ANCESTORS:
            continue
        found[digest] = depth, each
        waiting += [(depth + 1, by_digest[p]) for p in each.candidate.proposal.parents if p in by_digest]
    return list(found.values())


def by_digest(place: Place) -> dict[str, Record]:
    """Give the admitted candidates by their programs."""
    admitted = (r for r in place.seen.values() if r.candidate.status is Status.OK and r.candidate.program_digest)
    return {record.candidate.program_digest: record for record in admitted}


def _lineage(standings: Sequence[Standing], place: Place, known: Circumstances) -> Part:
    best = standings[0]
    record = place.seen[best.id]
    people = by_digest(place)
    line = ancestors(record, people)
    ratio = best.ratio
    rows = tuple(_row(depth, each, people, ratio, known) for depth, each in reversed(line))
    lost = sorted({p for _, r in line for p in r.candidate.proposal.parents if p not in people})
    note = f"Recall and KL at {_cost(ratio)}; gain: its parent's KL less its own, text by text, positive is better. "
    note += f"Parents of other campaigns: {', '.join(lost)}." if lost else ""
    headings = (Column("back", True), Column("program"), Column("by"), Column("what changed"), Column("recall", True),
                Column("KL", True), Column("gain on the parent", True))  # fmt: skip
    title = f"{best.name} ({best.id}), nearest at {' and '.join(_cost(s.ratio) for s in standings)}"
    budgets = [f"pages={s.budget:g} at {_cost(s.ratio)}" for s in standings if s.budget is not None]
    values = [f"{name}={value}" for name, value in record.candidate.proposal.values]
    fitted = f"Its text; budget fitted to {', '.join(budgets)}. " if budgets else "Its text. "
    told = fitted + (f"Values that differ from it: {', '.join(values)}." if values else "")
    grid = Grid("From its oldest ancestor", headings, rows, note, strong=(len(rows) - 1,))
    return Part(title, (grid, Words(told), Listing(record.candidate.proposal.text)))


def _cost(ratio: float) -> str:
    return f"a cost ratio of {ratio:g}" if ratio else "its own cost"


def _row(
    depth: int, record: Record, people: Mapping[str, Record], ratio: float, known: Circumstances
) -> tuple[str, ...]:
    candidate, proposal = record.candidate, record.candidate.proposal
    recall = record.value(Stage.RECALL, "recall", ratio)
    taken = record.evaluation(KL.stage, ratio)
    kl = taken.measurement(KL.field) if taken else None
    parents = [people[p] for p in proposal.parents if p in people]
    return (
        str(depth),
        f"{candidate.name} ({candidate.id})",
        f"{proposal.proposer}/{proposal.operator}",
        cut(reasons_in(proposal.rationale), MAX_CHANGE) or NOTHING,
        NOTHING if recall is None else f"{recall:.3f}",
        NOTHING if kl is None else f"{kl.value:.4f}",
        "; ".join(filter(None, (_gain(each, record, ratio, known) for each in parents))) or NOTHING,
    )


def _gain(parent: Record, child: Record, ratio: float, known: Circumstances) -> str:
    """Tell by how much less a child loses than a parent, over the texts that both were given."""
    try:
        differences = compare([parent, child], known)
    except IncomparableError:
        return ""
    fit = (d for d in differences if d.stage is KL.stage and d.figure == KL.figure and not d.part and d.ratio == ratio)
    for each in fit:
        low, high = (None if end is None else -end for end in (each.high, each.low))
        return figure(-each.difference, low, high, "+")
    return ""
