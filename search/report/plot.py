"""Plots as SVG trees, small and by hand: points with intervals, lines, and names where there is room for them.

Everything is told twice, by colour and by shape; colours are classes, which `SVG_STYLE` fills for light and for dark.
Texts stay texts, so that they can be selected, searched and read aloud.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from xml.etree.ElementTree import Element, SubElement, tostring

from search.report.axes import Axis, axis, written
from search.report.wording import cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Kind = Literal["found", "published", "reference"]

WIDTH, HEIGHT = 640, 410  # of the drawing, in the units of its texts: 14 high
LEFT, RIGHT, BOTTOM = 62, 16, 50
SIZE = 4.5
LETTER = 7.3  # a letter's width, roughly
LINE = 15
MAX_MARKS = 400  # of a series
MAX_LABELS = 12
MAX_LABEL = 26  # characters
SVG_STYLE = """\
.plot { font: 14px system-ui, sans-serif; }
.plot text { fill: var(--ink, #1d2530); }
.plot .name { fill: var(--ink, #1d2530); font-size: 13px; paint-order: stroke; stroke: var(--paper, #ffffff);
  stroke-width: 3.5px; stroke-linejoin: round; }
.plot .faint { fill: var(--faint, #5c6672); }
.plot .grid { stroke: var(--grid, #dfe3e8); }
.plot .axis { stroke: var(--faint, #5c6672); }
.plot .found { --colour: var(--found, #1f6fb2); }
.plot .published { --colour: var(--published, #c2571a); }
.plot .reference { --colour: var(--reference, #6b7480); }
.plot .mark { fill: var(--colour); stroke: var(--colour); }
.plot .published .mark, .plot .reference .mark { fill: var(--paper, #ffffff); stroke-width: 1.8; }
.plot .behind .mark { opacity: .45; }
.plot .spread { stroke: var(--colour); stroke-width: 1.2; opacity: .55; }
.plot .behind .spread { opacity: .18; }
.plot .line { fill: none; stroke: var(--colour); stroke-width: 2; }
.plot .published .line { stroke-dasharray: 7 4; }
.plot .reference .line { stroke-dasharray: 2 4; }
"""
DARK_STYLE = """\
@media (prefers-color-scheme: dark) {
  .plot { --ink: #e6e9ed; --faint: #a2abb5; --grid: #333b45; --paper: #14181d; --found: #6cb6f5; --published: #f2a065;
    --reference: #9aa4af; background: #14181d; }
}
"""


@dataclass(frozen=True)
class Mark:
    """A point with the ends of its intervals; `label` is written beside it where there is room."""

    x: float
    y: float
    x_ends: tuple[float, float] | None = None
    y_ends: tuple[float, float] | None = None
    label: str = ""


@dataclass(frozen=True)
class Series:
    """Marks of one kind under one name; `is_line` joins them in their order, `is_behind` draws them faintly."""

    name: str
    kind: Kind
    marks: tuple[Mark, ...]
    is_line: bool = False
    is_behind: bool = False

    def __post_init__(self) -> None:
        kept = (m for m in self.marks if math.isfinite(m.x) and math.isfinite(m.y))
        object.__setattr__(self, "marks", tuple(kept)[:MAX_MARKS])


@dataclass(frozen=True)
class Plot:
    """What is drawn on which axes; `x_ticks` replaces the numbers below."""

    x_title: str
    y_title: str
    series: tuple[Series, ...]
    x_log: bool = False
    y_log: bool = False
    x_ticks: tuple[float, ...] = ()

    @property
    def num_marks(self) -> int:
        """How many points there are."""
        return sum(len(each.marks) for each in self.series)


def drawn(plot: Plot, name: str, alt: str) -> str:
    """Draw a plot as an SVG element for a page; `name` makes its ids unique there, `alt` says what it shows."""
    return tostring(_tree(plot, name, alt), encoding="unicode")


def stand_alone(plot: Plot, name: str, alt: str) -> str:
    """Draw a plot as a file of its own, with the style that pages bring otherwise."""
    tree = _tree(plot, name, alt)
    style = Element("style")
    style.text = SVG_STYLE + DARK_STYLE
    tree.insert(2, style)
    return tostring(tree, encoding="unicode") + "\n"


@dataclass(frozen=True)
class _Frame:
    """Where numbers fall on the drawing."""

    x: Axis
    y: Axis
    top: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Give the place of a point, from the upper left corner."""
        across, down = WIDTH - LEFT - RIGHT, HEIGHT - self.top - BOTTOM
        return round(LEFT + across * self.x.place(x), 1), round(self.top + down * (1 - self.y.place(y)), 1)


def _tree(plot: Plot, name: str, alt: str) -> Element:
    size = f"0 0 {WIDTH} {HEIGHT}"
    root = Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "viewBox": size, "class": "plot", "role": "img"})
    root.set("aria-labelledby", f"{name}-title {name}-alt")
    SubElement(root, "title", id=f"{name}-title").text = f"{plot.y_title} over {plot.x_title}"
    SubElement(root, "desc", id=f"{name}-alt").text = alt
    bottom = _legend(root, [each for each in plot.series if each.marks])
    frame = _frame(plot, bottom)
    _grid(root, frame)
    for each in plot.series:
        _series(root, each, frame)
    _labels(root, plot.series, frame)
    return root


def _frame(plot: Plot, top: float) -> _Frame:
    marks = [mark for each in plot.series for mark in each.marks]
    across = [v for m in marks for v in (m.x, *(m.x_ends or ()))]
    up = [v for m in marks for v in (m.y, *(m.y_ends or ()))]
    x = axis(plot.x_title, across, is_log=plot.x_log, ticks=plot.x_ticks)
    return _Frame(x, axis(plot.y_title, up, is_log=plot.y_log), top + 2 * LINE)


def _grid(root: Element, frame: _Frame) -> None:
    for tick in frame.y.ticks:
        _, y = frame.at(frame.x.low, tick)
        _line(root, "grid", (LEFT, y), (WIDTH - RIGHT, y))
        _text(root, written(tick), LEFT - 8, y + 5, "faint", "end")
    for tick in frame.x.ticks:
        x, _ = frame.at(tick, frame.y.low)
        _line(root, "axis", (x, HEIGHT - BOTTOM), (x, HEIGHT - BOTTOM + 5))
        _text(root, written(tick), x, HEIGHT - BOTTOM + 20, "faint", "middle")
    _line(root, "axis", (LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, HEIGHT - BOTTOM))
    _text(root, frame.x.title, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "", "middle")
    _text(root, f"↑ {frame.y.title}", 4, frame.top - LINE + 2, "")


def _legend(root: Element, series: Sequence[Series]) -> float:
    """Name the series in the first lines, each behind its shape; give where they end."""
    x, y = 10.0, 11.0
    for each in series:
        lead = 24 if each.is_line else 12
        name = cut(each.name, MAX_LABEL)
        if x > LEFT and x + lead + LETTER * len(name) > WIDTH:
            x, y = 10.0, y + 1.4 * LINE
        group = SubElement(root, "g", {"class": _classes(each)})
        if each.is_line:
            SubElement(group, "path", {"class": "line", "d": f"M{x - 6:g} {y:g}h24"})
        _shape(group, each.kind, x + 6 if each.is_line else x, y)
        _text(root, name, x + lead, y + 5, "")
        x += lead + LETTER * len(name) + 22
    return y + LINE / 2


def _series(root: Element, series: Series, frame: _Frame) -> None:
    group = SubElement(root, "g", {"class": _classes(series)})
    places = [frame.at(mark.x, mark.y) for mark in series.marks]
    if series.is_line and len(places) > 1:
        SubElement(group, "path", {"class": "line", "d": "M" + "L".join(f"{x} {y}" for x, y in places)})
    for mark, (x, y) in zip(series.marks, places, strict=True):
        if mark.x_ends:
            _line(group, "spread", *((frame.at(end, mark.y)[0], y) for end in mark.x_ends))
        if mark.y_ends:
            _line(group, "spread", *((x, frame.at(mark.x, end)[1]) for end in mark.y_ends))
        _shape(group, series.kind, x, y)


def _classes(series: Series) -> str:
    return f"{series.kind} behind" if series.is_behind else series.kind


def _shape(parent: Element, kind: Kind, x: float, y: float) -> None:
    """Draw a disc for what was found, a square for what was published, a diamond for what is only compared with."""
    if kind == "found":
        SubElement(parent, "circle", {"class": "mark", "cx": f"{x:g}", "cy": f"{y:g}", "r": f"{SIZE}"})
        return
    s = SIZE if kind == "published" else 1.3 * SIZE
    corners = f"M{x - s:g} {y - s:g}h{2 * s:g}v{2 * s:g}h{-2 * s:g}z"
    diamond = f"M{x:g} {y - s:g}L{x + s:g} {y:g}L{x:g} {y + s:g}L{x - s:g} {y:g}z"
    SubElement(parent, "path", {"class": "mark", "d": corners if kind == "published" else diamond})


def _labels(root: Element, series: Iterable[Series], frame: _Frame) -> None:
    """Write names beside their points, each at the first place around it where no other name nor point is."""
    points = [frame.at(mark.x, mark.y) for each in series for mark in each.marks]
    taken: list[tuple[float, float, float, float]] = [(x - SIZE, y - SIZE, x + SIZE, y + SIZE) for x, y in points]
    named = [mark for each in series for mark in each.marks if mark.label]
    for mark in named[:MAX_LABELS]:
        text = cut(mark.label, MAX_LABEL)
        for box, anchor in _around(*frame.at(mark.x, mark.y), LETTER * len(text)):
            if _is_inside(box, frame) and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                _text(root, text, box[0] if anchor == "start" else box[2], box[3] - 4, "name", anchor)
                break


def _around(x: float, y: float, width: float) -> Iterator[tuple[tuple[float, float, float, float], str]]:
    """Give the boxes in which a point's name may stand, the nearest first."""
    for lift in (0, -LINE, LINE, -2 * LINE, 2 * LINE):
        top = y - LINE / 2 + lift
        gap = SIZE + 4
        yield (x + gap, top, x + gap + width, top + LINE), "start"
        yield (x - gap - width, top, x - gap, top + LINE), "end"


def _is_inside(box: tuple[float, float, float, float], frame: _Frame) -> bool:
    return box[0] >= LEFT and box[2] <= WIDTH and box[1] >= frame.top and box[3] <= HEIGHT - BOTTOM


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _line(parent: Element, kind: str, start: tuple[float, float], end: tuple[float, float]) -> None:
    (x1, y1), (x2, y2) = start, end
    ends = {"x1": f"{x1:g}", "y1": f"{y1:g}", "x2": f"{x2:g}", "y2": f"{y2:g}"}
    SubElement(parent, "line", {"class": kind, **ends})


def _text(parent: Element, text: str, x: float, y: float, kind: str, anchor: str = "start") -> None:
    style = {"class": kind} if kind else {}
    place = {"x": f"{x:g}", "y": f"{y:g}", "text-anchor": anchor}
    SubElement(parent, "text", {**style, **place}).text = text
