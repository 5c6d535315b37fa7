"""What is lost against dense attention: at one cost ratio over speed, and over the budgets."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.plots.gathering import MODELLED, AtRatio, Gathered, OverAll, OverRatios, of_device
from search.plots.style import (
    FOUND,
    MARKERS,
    PUBLISHED,
    REFERENCE,
    above,
    figure,
    labelled,
    logarithmic,
    name,
    styled,
    titled,
)
from search.ranking.front import sections
from search.ranking.leaderboard import told
from search.report.merit import KL, LEAST_DRAWN, LEAST_SERVED, is_bounded
from search.report.wording import title_case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from search.ranking.standing import Standing
    from search.report.merit import Merit

MAX_NAMES = 14
WIDTH, HEIGHT = 8.0, 5.2  # inches


@dataclass(frozen=True)
class Kind:
    """Rules of one kind, and how they are drawn."""

    title: str
    colour: str
    is_found: bool


KINDS = (Kind("found", FOUND, is_found=True), Kind("published", PUBLISHED, is_found=False))


@dataclass(frozen=True)
class Across:
    """What is drawn from left to right: a field of a standing, its interval where `is_measured`."""

    title: str
    field: str
    is_measured: bool = False
    target: str = ""  # of what is modelled

    @property
    def speed(self) -> str:
        """What rules are gathered by."""
        return of_device(self.target) if self.target else self.field

    def value(self, row: Standing) -> float | None:
        """Give a row's figure."""
        found: float | None = getattr(row, self.field)
        return found

    def bounds(self, row: Standing) -> tuple[float | None, float | None]:
        """Give its interval, where it has one."""
        return (row.speedup_low, row.speedup_high) if self.is_measured else (None, None)


def standings(rows: Iterable[tuple[Standing, bool]], ratio: float | None) -> Figure:
    """Draw the front at a cost ratio, or at the only one that rows have; else the best over all of them.

    `rows`: each with whether it is on the front; however many they are, few are held. Raises PlotError.
    """
    at_all, at_one, ratios = OverAll(), Gathered(AtRatio), set()
    for row, is_on_front in rows:
        ratios.add(row.ratio)
        at_all.add(row)
        if row.ratio == ratio or (ratio is None and len(ratios) == 1):
            at_one.add(row, is_on_front=is_on_front)
    at = next(iter(ratios)) if ratio is None and len(ratios) == 1 else ratio
    return _curve(at_all) if at is None else _front(at_one, at)


def front(rows: Sequence[Standing], ratio: float) -> Figure:
    """Draw losses over speed at a cost ratio, 0 for programs as written: the front is strong and has names.

    Speed is the modelled one, or a page's bytes where none is; where two rules have a measured one, that is drawn
    before. Of rows of several circumstances those of the one with most losses are drawn, and the others counted. Raises
    PlotError.
    """
    found, own = Gathered(AtRatio), [row for row in rows if row.ratio == ratio]
    on_front = {id(row) for section in sections(own) for row in section.front}
    for row in own:
        found.add(row, is_on_front=id(row) in on_front)
    return _front(found, ratio)


def curve(rows: Iterable[Standing]) -> Figure:
    """Draw the best found and the best published rule at each cost ratio, with the others, and the oracles as lines.

    Of rows of several circumstances those of the one with most losses are drawn, and the others counted. Raises
    PlotError.
    """
    found = OverAll()
    for row in rows:
        found.add(row)
    return _curve(found)


def _front(rows: Gathered[AtRatio], ratio: float) -> Figure:
    at = f"at a cost ratio of {ratio:g}" if ratio else "of programs as written"
    group, rules, left_out = rows.fullest(at)
    merit, panels = rules.merit, _panels(rules)
    with styled():
        drawn = figure(WIDTH + 4.0 * (len(panels) - 1), HEIGHT)
        all_axes = drawn.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, across in zip(all_axes, panels, strict=True):
            _scaled(axes, across.title, merit, is_first=across is panels[0])
            for kind in KINDS:
                for strong in (False, True):
                    shown = rules.best(across.speed, found=kind.is_found, on_front=strong)
                    _marks(axes, shown, (across, merit), kind, strong)
            above(axes, ncols=4)
            named = rules.leading(across.speed)[:MAX_NAMES]
            labelled(axes, [(across.value(row), merit.value(row), name(row.name)) for row in named])  # type: ignore[misc]
        notes = [*_missing(rules, panels), left_out, "strong: on the front; bars: 95 %"]
        titled(drawn, f"{title_case(merit.title)} {at}", _below(group.first, notes))
    return drawn


def _curve(rows: OverAll) -> Figure:
    group, rules, left_out = rows.at_ratios.fullest("at any cost ratio")
    merit = rules.merit
    with styled():
        drawn = figure(WIDTH, HEIGHT)
        axes = drawn.subplots()
        _scaled(axes, "cost ratio: bytes that dense attention reads, per byte of the rule", merit)
        points = [point for kind in KINDS for point in _line(axes, rules, kind)]
        _oracles(axes, rows.references(group.first), merit)
        ratios = sorted(rules.ratios)
        axes.set_xscale("log", base=2)
        axes.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios])
        axes.set_xticks([], minor=True)
        titled(drawn, f"{title_case(merit.title)} by cost ratio", _below(group.first, [left_out], is_at_ratio=False))
        above(axes, ncols=2)
        labelled(axes, points)
    return drawn


def _panels(rules: AtRatio) -> list[Across]:
    measured = Across("measured speed-up over dense attention", "speedup", is_measured=True)
    served = [measured] if rules.numbers["speedup"] >= LEAST_SERVED else []
    modelled = Across(f"modelled speed-up on {rules.target}", MODELLED, target=rules.target)
    return [*served, modelled if rules.target else Across("bytes of a page's summary", "bytes_per_page")]


def _missing(rules: AtRatio, panels: Sequence[Across]) -> list[str]:
    """Say how many rules each panel leaves out for want of a figure."""
    counted = ((rules.num_rules - rules.numbers[across.speed], across.title) for across in panels)
    return [f"{number:,} of {rules.num_rules:,} have no {title}" for number, title in counted if number]


def _scaled(axes: Axes, across: str, merit: Merit, *, is_first: bool = True) -> None:
    axes.set_xlabel(across)
    if is_first:
        axes.set_ylabel(f"{merit.title}, {merit.unit} ({'less' if merit.is_loss else 'more'} is better)")
    if merit is KL:
        logarithmic(axes)


def _marks(axes: Axes, rows: Sequence[Standing], by: tuple[Across, Merit], kind: Kind, strong: bool) -> None:
    across, merit = by
    if not rows:
        return
    x, y = [across.value(row) for row in rows], [merit.value(row) for row in rows]
    for ends, value, is_upright in ((across.bounds, across.value, False), (merit.bounds, merit.value, True)):
        known = [row for row in rows if is_bounded(ends(row))]
        if known:
            at = [across.value(row) for row in known], [merit.value(row) for row in known]
            axes.errorbar(*at, **{"yerr" if is_upright else "xerr": _errors(known, value, ends)}, fmt="none",
                          ecolor=kind.colour, elinewidth=1, alpha=0.6 if strong else 0.15)  # fmt: skip
    filled = kind.colour if strong else "none"
    axes.plot(x, y, MARKERS[kind.colour], color=kind.colour, markerfacecolor=filled, markersize=6 if strong else 5,
              alpha=1.0 if strong else 0.45, label=kind.title if strong else f"{kind.title}, behind")  # fmt: skip


def _errors(
    rows: Sequence[Standing],
    value: Callable[[Standing], float | None],
    ends: Callable[[Standing], tuple[float | None, float | None]],
) -> tuple[list[float], list[float]]:
    """Give how far intervals reach down and up from figures."""
    spread = [(value(row), *ends(row)) for row in rows]
    return [max(x - low, 0.0) for x, low, _ in spread], [max(high - x, 0.0) for x, _, high in spread]  # type: ignore[operator]


def _line(axes: Axes, rules: OverRatios, kind: Kind) -> list[tuple[float, float, str]]:
    """Join the best of a kind, the others faint and a little aside; give the best with their names."""
    merit, shift = rules.merit, 0.98 if kind.colour == FOUND else 1.02
    bests, others = rules.bests(found=kind.is_found), rules.others(found=kind.is_found)
    if not bests:
        return []
    marker = MARKERS[kind.colour]
    axes.plot([row.ratio * shift for row in others], [merit.value(row) for row in others], marker, color=kind.colour,
              markerfacecolor="none", markersize=4, alpha=0.35)  # fmt: skip
    x, y = [row.ratio for row in bests], [merit.value(row) for row in bests]
    axes.plot(x, y, marker, linestyle="-" if kind.colour == FOUND else "--", color=kind.colour,
              label=f"best {kind.title}")  # fmt: skip
    known = [row for row in bests if is_bounded(merit.bounds(row))]
    if known:
        axes.errorbar([row.ratio for row in known], [merit.value(row) for row in known],
                      yerr=_errors(known, merit.value, merit.bounds), fmt="none", ecolor=kind.colour)  # fmt: skip
    return [(row.ratio, merit.value(row), name(row.name)) for row in bests]  # type: ignore[misc]


def _oracles(axes: Axes, references: Sequence[Standing], merit: Merit) -> None:
    """Draw each oracle over what its pages would cost if choosing them cost nothing."""
    references = [row for row in references if row.pages_attended]
    dense = max((row.pages_attended or 0.0 for row in references), default=0.0)
    points: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in references:
        share, value = dense / (row.pages_attended or 1.0), merit.value(row) if merit.is_drawable(row) else None
        if value is not None and (not merit.is_loss or value >= LEAST_DRAWN) and share > 1.01:
            points[row.name].append((share, value))
    for title, own in sorted(points.items()):
        axes.plot(*zip(*sorted(own), strict=True), MARKERS[REFERENCE], linestyle=":", color=REFERENCE,
                  label=f"{name(title)} (its choosing not paid for)")  # fmt: skip


def _below(row: Standing, notes: Iterable[str], *, is_at_ratio: bool = True) -> str:
    """Say where the figures come from, and what is not drawn."""
    lines = told(row).splitlines()
    first = lines[0] if is_at_ratio else lines[0].partition("; ")[2]
    return "\n".join(filter(None, (f"{first}; {lines[1]}", *lines[2:], "; ".join(filter(None, notes)))))
