"""How figures look: colours that the colour-blind tell apart, each with a second one for dark screens, and shapes."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING, Any

from search.report.wording import cut

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

INK, FAINT, GRID, PAPER = "#1d2530", "#5c6672", "#dfe3e8", "#ffffff"
FOUND, PUBLISHED, REFERENCE = "#1f6fb2", "#c2571a", "#6b7480"
# No two lie so close that one would be taken for the other; what stands for nothing is no key.
DARK = {
    INK: "#e6e9ed",
    FAINT: "#a2abb5",
    GRID: "#333b45",
    PAPER: "#14181d",
    FOUND: "#6cb6f5",
    PUBLISHED: "#f2a065",
    REFERENCE: "#9aa4af",
}
MARKERS = {FOUND: "o", PUBLISHED: "s", REFERENCE: "D"}
# Where a name may stand beside its point, in points of print: the nearest places first.
AROUND = ((8, 0), (-8, 0), (8, 10), (8, -10), (-8, 10), (-8, -10), (0, 12), (0, -12), (8, 20), (-8, -20), (8, -20))
MAX_NAME = 32  # characters
SETTINGS = {
    "axes.edgecolor": FAINT,
    "axes.facecolor": PAPER,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.facecolor": PAPER,
    "font.family": ["DejaVu Sans"],  # matplotlib's own: figures are the same on every machine
    "font.size": 10,
    "grid.color": GRID,
    "legend.frameon": False,
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "vortex",  # and the same rows are the same bytes
    "text.color": INK,
    "text.parse_math": False,  # names are others': a dollar is a dollar
    "xtick.color": FAINT,
    "ytick.color": FAINT,
}
_drawing = RLock()


@contextmanager
def styled() -> Iterator[None]:
    """Draw in our style, one thread at a time: matplotlib keeps its settings in one place for all."""
    import matplotlib

    with _drawing, matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)  # in SVG browsers have it
        yield


def figure(width: float, height: float) -> Figure:
    """Give an empty figure, in inches, that no window and no global list knows of."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def name(text: str) -> str:
    """Give a name as it is written in a figure."""
    return cut(text, MAX_NAME)


def titled(drawn: Figure, title: str, below: str) -> None:
    """Write a title, and in small letters what has to be known of all that is drawn."""
    drawn.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    drawn.supxlabel(below, x=0.01, ha="left", fontsize=8, color=FAINT)


def above(axes: Axes, **of: Any) -> None:
    """Put the legend of axes in a line above them, where it hides nothing."""
    if axes.get_legend_handles_labels()[0]:  # of nothing it would be an empty box, and a warning
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.2, fontsize=9, **of)


def logarithmic(axes: Axes) -> None:
    """Count upwards in factors, and write numbers as people do."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def labelled(axes: Axes, points: list[tuple[float, float, str]]) -> None:
    """Write names beside their points, each at the first place around it where there is room; else none."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    drawn = axes.get_figure(root=True)
    assert drawn is not None
    canvas = FigureCanvasAgg(drawn)
    drawn.draw_without_rendering()  # now it is known where everything falls
    renderer, within, taken = canvas.get_renderer(), axes.get_window_extent(), _taken(axes)
    for x, y, text in points:
        for across, up in AROUND:
            side = "left" if across > 0 else "right" if across < 0 else "center"
            note = axes.annotate(text, (x, y), (across, up), textcoords="offset points", ha=side, va="center",
                                 fontsize=8)  # fmt: skip
            note.set_in_layout(False)
            box = note.get_window_extent(renderer)
            if within.contains(box.x0, box.y0) and within.contains(box.x1, box.y1) and not box.count_overlaps(taken):
                taken.append(box)
                break
            note.remove()


def _taken(axes: Axes) -> list[Bbox]:
    """Give the boxes, in pixels, in which points, lines and intervals lie."""
    from matplotlib.transforms import Bbox

    bars = [axes.transData.transform(ends) for each in axes.collections for ends in each.get_segments()]
    spots = [
        axes.transData.transform(path.interpolated(1 if line.get_linestyle() == "None" else 24).vertices)
        for line in axes.lines
        for path in (line.get_path(),)
    ]
    around = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for some in spots for x, y in some]
    return around + [Bbox([ends.min(0) - 1, ends.max(0) + 1]) for ends in bars]
