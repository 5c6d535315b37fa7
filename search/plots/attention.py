"""The picture of what a rule attends to: its pages beside those of an oracle, and what share of attention it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.plots.style import FOUND, INK, PUBLISHED, REFERENCE, figure, name, styled, titled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    from search.evaluator.recall.picture import Counts, Drawn, Picture, Share

BOTH, ONE, OTHER = FOUND, "#8fb9dd", PUBLISHED  # pages of both, of the rule alone, of the oracle alone
WIDTH = 10.0  # inches
SHARES_HEIGHT, STEP_HEIGHT, GAP = 2.6, 0.035, 0.45


def attention(picture: Picture) -> Figure:
    """Draw, above, the share of attention kept by each layer; below, layer by layer, the pages of rule and oracle.

    A row of pixels is a decode step of a KV head, the first at the top; a column is a page, the oldest at the left.
    """
    heights = [len(picture.heads) * len(picture.lengths) * STEP_HEIGHT + GAP for _ in picture.drawn]
    with styled():
        drawn = figure(WIDTH, SHARES_HEIGHT + sum(heights) + 1.0)
        grid = drawn.add_gridspec(1 + len(heights), 2, height_ratios=[SHARES_HEIGHT, *heights])
        _shares(drawn.add_subplot(grid[0, :]), picture)
        for i, layer in enumerate(picture.drawn, 1):
            left, right = (drawn.add_subplot(grid[i, side]) for side in (0, 1))
            of = next(share for share in picture.shares if share.layer == layer.layer)
            _pages(left, picture, layer.attended, layer.both, ONE)
            _pages(right, picture, layer.oracle, layer.both, OTHER)
            _framed(left, right, layer, of, is_last=i == len(heights))
        titled(drawn, _title(picture), _below(picture))
    return drawn


def mean(shares: tuple[Share, ...], of: str) -> float:
    """Give a share's mean over layers and KV heads."""
    values = [value for share in shares for value in getattr(share, of)]
    return sum(values) / len(values)


def _shares(axes: Axes, picture: Picture) -> None:
    """Draw the shares by layer: each KV head a point, their mean a line."""
    layers = [share.layer for share in picture.shares]
    for title, of, colour, marker, line in (
        ("as many best pages (oracle)", "oracle_mass", PUBLISHED, "s", "--"),
        ("the rule", "mass", FOUND, "o", "-"),
        ("as many pages by lot", "random_mass", REFERENCE, "D", ":"),
    ):
        each = [getattr(share, of) for share in picture.shares]
        axes.plot(layers, [sum(own) / len(own) for own in each], line, color=colour, label=title)
        points = [(share.layer, value) for share, own in zip(picture.shares, each, strict=True) for value in own]
        axes.plot(*zip(*points, strict=True), marker, color=colour, markersize=3, markerfacecolor="none", alpha=0.6)
    axes.set_ylim(0.0, 1.04)
    axes.set_xlim(min(layers) - 0.5, max(layers) + 0.5)
    axes.set_xlabel("layer (points: KV heads)")
    axes.set_ylabel("share of attention kept")
    pages = axes.legend(handles=_legend(), loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, fontsize=9)
    axes.legend(fontsize=8, loc="lower right", ncols=3)
    axes.add_artist(pages)


def _pages(axes: Axes, picture: Picture, own: Counts, both: Counts, alone: str) -> None:
    """Draw pages as pixels: nothing where none is attended to, so that any paper shows through."""
    import numpy as np
    from matplotlib.colors import to_rgb

    counted, shared = (np.array(x, dtype=float).reshape(-1, len(x[0][0])) for x in (own, both))
    agreed = (shared / np.maximum(counted, 1.0))[..., None]
    pixels = np.zeros((*counted.shape, 4))
    pixels[..., :3] = agreed * to_rgb(BOTH) + (1 - agreed) * to_rgb(alone)
    pixels[..., 3] = counted / picture.pages_per_cell
    steps = len(picture.lengths)
    end = counted.shape[1] * picture.pages_per_cell
    axes.imshow(pixels, aspect="auto", interpolation="none", extent=(0, end, counted.shape[0], 0))
    axes.set_yticks([steps * (i + 0.5) for i in range(len(picture.heads))], [f"head {head}" for head in picture.heads])
    axes.tick_params("y", length=0)
    axes.grid(visible=False)
    for i in range(1, len(picture.heads)):
        axes.axhline(steps * i, color=INK, linewidth=0.6)


def _framed(left: Axes, right: Axes, layer: Drawn, of: Share, *, is_last: bool) -> None:
    """Say above both what is drawn, and below the last what columns are."""
    kept, best = (sum(x) / len(x) for x in (of.mass, of.oracle_mass))
    left.set_title(f"layer {layer.layer}: the rule keeps {kept:.3f}")
    right.set_title(f"layer {layer.layer}: as many best pages keep {best:.3f}")
    right.set_yticklabels([])
    for axes in (left, right):
        axes.spines[["right", "top"]].set_visible(True)
        if is_last:
            axes.set_xlabel("page, oldest first")


def _title(picture: Picture) -> str:
    kept, best, lot = (mean(picture.shares, of) for of in ("mass", "oracle_mass", "random_mass"))
    return f"{name(picture.name)} keeps {kept:.3f} of attention; the best pages {best:.3f}, by lot {lot:.3f}"


def _below(picture: Picture) -> str:
    cells = f"; a pixel is {picture.pages_per_cell} pages" if picture.pages_per_cell > 1 else ""
    return (
        f"{picture.pages_attended:.1f} of {picture.num_pages:,} pages of {picture.page_size} tokens, mean over layers, "
        f'KV heads and {len(picture.lengths)} decode steps after {picture.lengths[0] - 1:,} tokens of "'
        f'{name(picture.text)}"{cells}\n'
        f"a row of pixels is a decode step, the first at the top; {len(picture.heads)} of {picture.num_heads} KV "
        f"heads, {len(picture.drawn)} of {picture.num_layers} layers; program {picture.digest}"
    )


def _legend() -> list[Patch]:
    from matplotlib.patches import Patch

    named = ((BOTH, "rule and oracle"), (ONE, "rule alone"), (OTHER, "oracle alone"))
    return [Patch(facecolor=colour, label=title) for colour, title in named]
