"""Draw the pictures that explain something, into docs/pictures/: `python docs/drawings.py`.

Needs matplotlib: `pip install -e ".[docs]"`. Text stays text, so that it can be searched and read aloud.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

FOLDER = Path(__file__).with_name("pictures")
BLUE, RED, GREEN, GREY = "#2a6f97", "#e07a5f", "#6a994e", "#8a8f98"
PALE = {BLUE: "#dcebf3", RED: "#fae3dc", GREEN: "#e3efdc", GREY: "#eceef0"}
INK = "#222222"


def split() -> Figure:
    """Draw 16 tokens, and what `split` makes of them: what stands in the cells is what the language computes."""
    tokens, sub = 16, 2
    rows = split_tokens(tokens, sub)
    figure, axes = _canvas(8.2, 2.9, (-2.6, tokens + 0.4), (-3.9, 1.9))
    for token in range(tokens):
        _cell(axes, token, 0.4, str(token), (BLUE, RED)[token // len(rows[0])])
    axes.text(-0.3, 0.9, "token: 16", ha="right", va="center", color=INK)
    axes.text(tokens / 2, -0.35, f'split("token", sub={sub})', ha="center", va="center", color=INK, family="monospace")
    for group, row in enumerate(rows):
        for place, token in enumerate(row):
            _cell(axes, 4 + place, -1.9 - 1.15 * group, str(token), (BLUE, RED)[group])
        axes.text(3.7, -1.4 - 1.15 * group, f"sub {group}", ha="right", va="center", color=INK)
    axes.text(4 + len(rows[0]) / 2, -3.6, f"token: {len(rows[0])}", ha="center", va="center", color=INK)
    axes.text(1.3, -1.97, f"sub: {sub}", ha="right", va="center", color=INK)
    return figure


def split_tokens(tokens: int, sub: int) -> list[list[int]]:
    """Give the tokens of each group, as a program sees them: each key of a page holds its own number."""
    import torch

    from vortex_dsl import Shape, load_program, trace
    from vortex_dsl.backends.reference import summarize

    text = f"""from vortex_dsl import Int, Program, dot, topk


class Split(Program):
    \"\"\"Keep all keys, by groups.\"\"\"

    pages = Int(1, low=1, high=8)

    def summarize(self, k, v):
        return {{"groups": k.split("token", sub={sub}).to("float32")}}

    def select(self, q, page):
        return topk(dot(q, page.groups, "dim").max("token").sum("sub").max("head"), self.pages)
"""
    graph = trace(load_program(text), Shape(group=1, head_dim=16))
    keys = torch.arange(tokens).float()[:, None].expand(tokens, 16)
    (groups,) = summarize(graph, keys, keys).values()  # [sub, token, dim]
    return [[int(token) for token in row] for row in groups[..., 0].tolist()]


def stages() -> Figure:
    """Draw the stages in order, and what comes back to who proposes."""
    figure, axes = _canvas(9.4, 2.2, (-0.2, 13.4), (-1.7, 1.8))
    names = (
        ("propose", GREY), ("check", BLUE), ("screen", BLUE), ("recall", BLUE),
        ("oracle", RED), ("fidelity", RED), ("retrieval", RED), ("serve", RED), ("ranked", GREEN),
    )  # fmt: skip
    for number, (name, colour) in enumerate(names):
        x = 1.48 * number
        _box(axes, x, 0, 1.18, 0.9, name, colour)
        if number:
            _arrow(axes, (x - 0.3, 0.45), (x, 0.45))
    axes.text(1.48 * 2 + 0.59, 1.35, "no engine: thousands an hour", ha="center", color=BLUE)
    axes.text(1.48 * 5.5 + 0.59, 1.35, "inside vLLM, beside dense attention", ha="center", color=RED)
    _arrow(axes, (1.48 * 8 + 0.6, -0.05), (0.6, -0.05), bend=-0.13)
    axes.text(6.6, -1.55, "what was measured, a few steps later", ha="center", color=INK)
    return figure


def ratio() -> Figure:
    """Draw where the bytes of a step go, by the cost model, for three rules whose budgets are fitted to one ratio."""
    tokens, wanted = 4000, 8.0
    names = ("quest_int4", "centroid", "quest")
    figure = Figure(figsize=(8.2, 2.5), layout="constrained")
    axes = figure.subplots()
    for row, name in enumerate(names):
        pages, fields, attended, dense = step_bytes(name, tokens, wanted)
        axes.barh(row, 100 * fields / dense, color=BLUE, height=0.6, label="" if row else "fields of all pages")
        axes.barh(row, 100 * attended / dense, left=100 * fields / dense, color=RED, height=0.6,
                  label="" if row else "keys and values attended to")  # fmt: skip
        axes.text(100 / wanted + 0.2, row, f"{pages} pages chosen", va="center", color=INK)
    axes.axvline(100 / wanted, color=GREY, linestyle="--")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 16)
    axes.set_xlabel(f"bytes of a decode step after {tokens:,} tokens, % of dense attention's; dashed: a ratio of 8")
    figure.legend(frameon=False, loc="outside upper center", ncols=2)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def step_bytes(name: str, tokens: int, wanted: float) -> tuple[int, float, float, float]:
    """Give a rule's chosen pages at a cost ratio, its bytes for choosing and for attending, and dense attention's."""
    from search.fit import Terms, fit
    from vortex_dsl import Shape, cost, load_program, zoo

    shape = Shape(group=3, head_dim=64)
    values = (("dense_layers", 0),)
    found = fit(zoo.text(name), values, Terms(shape, 30, (tokens,)), wanted)
    program = load_program(zoo.text(name)).with_values(**dict(found.values))
    told = cost(program, shape, tokens=tokens, num_layers=30)
    return int(found.budget or 0), told.bytes - told.attend_bytes, told.attend_bytes, told.dense_bytes


def turns() -> Figure:
    """Draw what is dense and what sparse in two turns of a chat."""
    figure, axes = _canvas(8.2, 2.9, (-2.5, 11.0), (-2.9, 1.6))
    rows = (
        ("first turn", (("prompt, prefilled", 5, BLUE), ("answer, decoded", 3, RED))),
        ("second turn", (("prompt, cached", 5, BLUE), ("answer, cached", 3, RED), ("next question", 2.2, BLUE))),
        ("uncached", (("prompt, prefilled", 5, BLUE), ("answer, prefilled", 3, BLUE), ("next question", 2.2, BLUE))),
    )
    for number, (name, parts) in enumerate(rows):
        x, y = 0.0, -1.35 * number
        axes.text(-0.2, y + 0.4, name, ha="right", va="center", color=INK)
        for label, width, colour in parts:
            _box(axes, x, y, width, 0.8, label, colour)
            x += width + 0.1
    axes.text(0, 1.15, "computed from dense attention", color=BLUE)
    axes.text(5.1, 1.15, "computed from sparse attention", color=RED)
    return figure


def _canvas(width: float, height: float, x: tuple[float, float], y: tuple[float, float]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.set_xlim(*x)
    axes.set_ylim(*y)
    axes.axis("off")
    return figure, axes


def _cell(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    axes.add_patch(Rectangle((x + 0.04, y), 0.92, 1.0, facecolor=PALE[colour], edgecolor=colour))
    axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", color=INK, fontsize=9)


def _box(axes: Axes, x: float, y: float, width: float, height: float, text: str, colour: str) -> None:
    style = "round,pad=0,rounding_size=0.12"
    patch = FancyBboxPatch((x, y), width, height, boxstyle=style, facecolor=PALE[colour], edgecolor=colour)
    axes.add_patch(patch)
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", color=INK, fontsize=9)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], bend: float = 0.0) -> None:
    style = f"arc3,rad={bend}"
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, color=GREY, connectionstyle=style))


DRAWINGS: dict[str, Callable[[], Figure]] = {"split": split, "stages": stages, "ratio": ratio, "turns": turns}


def save(name: str, folder: Path) -> Path:
    """Draw one and give its file: the same bytes at each call, on a page of any colour."""
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"}):
        file = folder / f"{name}.svg"
        DRAWINGS[name]().savefig(file, facecolor="white", metadata={"Date": None})
    return file


if __name__ == "__main__":
    for each in DRAWINGS:
        save(each, FOLDER)
