"""Who stands on the front at each cost ratio, and how losses grow with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.ranking.front import has_figure, has_loss
from search.ranking.leaderboard import (
    COLUMNS,
    NOTHING,
    UNDECIDED,
    cells_of,
    columns_of,
    named,
    targets_of,
    told,
    verdict,
)
from search.report.blocks import Block, Column, Grid, Part, Picture, Words
from search.report.merit import LEAST_SERVED, Merit, is_found, is_published, merit_of
from search.report.wording import title_case

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.ranking.front import Section
    from search.ranking.standing import Standing
    from search.report.material import Place

MAX_FRONT, MAX_BEHIND, MAX_REFERENCES, MAX_RECALL = 24, 6, 8, 8


def fronts(place: Place) -> list[Block]:
    """Tell the front at each cost ratio, as a table and as a plot."""
    return [_front(place.at[ratio], place) for ratio in place.ratios if _rules(place.at[ratio])]


def curves(place: Place) -> list[Block]:
    """Tell the best found and the best published rule at each cost ratio, with what they are compared with."""
    ratios = [ratio for ratio in place.ratios if ratio and merit_of(place.at[ratio].rows)]
    if not ratios:
        return [Words("No loss is known at any cost ratio.")]
    merit = merit_of(place.at[ratios[0]].rows)
    assert merit is not None
    bests = [(ratio, *_bests(place.at[ratio], merit)) for ratio in ratios]
    headings = (Column("cost ratio", True), Column("best found"), Column(merit.title, True),
                Column("best published"), Column(merit.title, True))  # fmt: skip
    rows = tuple((f"{ratio:g}", *_cells(found, merit), *_cells(published, merit)) for ratio, found, published in bests)
    grid = Grid("Best by cost ratio", headings, rows, f"In {merit.unit}; on the texts that proposers see; 95 %.")
    rules = (s for ratio in ratios for s in _rules(place.at[ratio]))
    drawn = [_curve(place, merit, ratios)] if any(s.status == "ok" and merit.is_drawable(s) for s in rules) else []
    return [*drawn, grid, *_references(place, merit)]


def _rules(section: Section) -> list[Standing]:
    return [s for s in section.rows if not s.reference]


def _front(section: Section, place: Place) -> Part:
    ratio = section.rows[0].ratio
    title = f"Cost ratio {ratio:g}" if ratio else "Programs as written"
    said = verdict(section.front)
    blocks: list[Block] = [Words(said.partition(": ")[2] + ".")] if said else []
    if not any(map(has_loss, _rules(section))):
        blocks.append(_by_recall(section))
    else:
        blocks += [*_picture(section, f"front-{_slug(place, ratio)}"), _table(section)]
    blocks.append(Words("; ".join(told(section.rows[0]).splitlines()) + ".", is_quiet=True))
    return Part(title, tuple(blocks))


def _slug(place: Place, ratio: float) -> str:
    return f"{place.slug}-{f'{ratio:g}'.replace('.', '-') if ratio else 'written'}"


def _table(section: Section) -> Grid:
    merit = merit_of(section.rows)
    behind = merit.ranked(filter(is_published, section.folded)) if merit else []
    also = [s for s in section.folded if s.confirmed and not is_published(s)]
    references = [s for s in section.references if has_figure(s)][:MAX_REFERENCES]
    shown = [*section.front[:MAX_FRONT], *behind[:MAX_BEHIND], *also[:MAX_BEHIND], *references]
    names = columns_of(shown)
    on_front = {id(s) for s in section.front}
    cells = [cells_of(s, is_on_front=id(s) in on_front, targets=targets_of(shown)) for s in shown]
    sides = dict(COLUMNS)
    num_rules = len(section.front) + len(section.folded)
    note = f"* on the front; {UNDECIDED} not told apart from dense attention. "
    note += f"{len(section.unranked):,} more have no figure to rank them by." if section.unranked else ""
    return Grid(
        "The front, and the best published rules behind it",
        tuple(Column(name, sides[name] == "right") for name in names),
        tuple(tuple(each[name] for name in names) for each in cells),
        note,
        num_more=num_rules + len(references) - len(shown),
        strong=tuple(i for i, s in enumerate(shown) if id(s) in on_front),
    )


def _by_recall(section: Section) -> Grid:
    known = sorted((s for s in _rules(section) if s.recall is not None), key=lambda s: (-(s.recall or 0.0), s.id))
    shown = known[:MAX_RECALL]
    return Grid(
        "Best by recall: no loss is known yet",
        (Column("id", True), Column("name"), Column("recall", True), Column("origin")),
        tuple((str(s.id), s.name, f"{s.recall:.3f}", s.origin) for s in shown),
        num_more=len(known) - len(shown),
        empty="Nothing has a figure here.",
    )


def _picture(section: Section, name: str) -> list[Block]:
    """Draw losses over speeds, where two rules have a loss."""
    merit = merit_of(section.rows)
    shown = [s for s in merit.ranked(_rules(section)) if s.status == "ok" and merit.is_drawable(s)] if merit else []
    if merit is None or len(shown) < LEAST_SERVED:
        return []
    front = ", ".join(f"{s.name} at {_figure(merit.value(s))}" for s in section.front[:4])
    alt = f"{len(shown)} rules by {merit.title} and speed. On the front by {merit.title}: {front}."
    caption = f"{title_case(merit.title)} over speed; strong: on the front; bars: 95 %."
    return [Picture(name, section.rows, section.rows[0].ratio, alt, caption)]


def _bests(section: Section, merit: Merit) -> tuple[Standing | None, Standing | None]:
    ranked = [s for s in merit.ranked(_rules(section)) if s.status == "ok"]
    return next(filter(is_found, ranked), None), next(filter(is_published, ranked), None)


def _cells(s: Standing | None, merit: Merit) -> tuple[str, str]:
    return (NOTHING, NOTHING) if s is None else (named(s), merit.told(s))


def _curve(place: Place, merit: Merit, ratios: Sequence[float]) -> Picture:
    alt = "; ".join(
        f"at a cost ratio of {ratio:g} best found {_best_figure(place, merit, ratio, 0)}, "
        f"best published {_best_figure(place, merit, ratio, 1)}"
        for ratio in ratios
    )
    caption = f"{title_case(merit.title)} by cost ratio: bytes that dense attention reads per byte of the rule."
    rows = tuple(s for ratio in place.ratios for s in place.at[ratio].rows)
    return Picture(f"curve-{place.slug}", rows, None, f"{alt}.", caption)


def _best_figure(place: Place, merit: Merit, ratio: float, which: int) -> str:
    best = _bests(place.at[ratio], merit)[which]
    return _figure(None if best is None else merit.value(best))


def _figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"


def _shares(place: Place) -> list[tuple[Standing, float]]:
    """Give references with how many times fewer pages than dense attention they attend to."""
    rows = place.at[0.0].references if 0.0 in place.at else ()
    dense = max((s.pages_attended for s in rows if s.pages_attended), default=0.0)
    return [(s, dense / s.pages_attended) for s in rows if s.pages_attended]


def _references(place: Place, merit: Merit) -> list[Block]:
    shares = _shares(place)[:MAX_REFERENCES]
    if not shares:
        return []
    names = ("pages attended", "fewer than dense", merit.title)
    headings = (Column("reference"), *(Column(name, True) for name in names))
    rows = tuple((named(s), f"{s.pages_attended:.1f}", f"{share:.2f}x", merit.told(s)) for s, share in shares)
    note = "Only to compare with: oracles read every key to choose, so their choosing is not paid for here."
    return [Grid("References", headings, rows, note)]
