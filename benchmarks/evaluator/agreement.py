"""What recall's figures lose where it saves: at the judged steps alone, on keys and values of 16 bits, in the screen.

Over some rules at one budget: how far figures are at most from those at every recorded step, from those on keys and
values rounded to bfloat16, which is eight times coarser than what is kept, and from those of the screen, which judges
a part of the recordings; and whether the rules keep their order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from scipy.stats import spearmanr

from benchmarks.evaluator.correlations import FIGURES
from search.evaluator.recall import figures, parts, recordings
from vortex_dsl import Shape, load_program, trace, zoo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RULES = ("quest", "centroid", "sparq", "step_reuse", "ema", "sign_keys", "two_stage", "shadowkv", "streaming")


@dataclass(frozen=True)
class Agreement:
    """One figure of recall against a more faithful (or a coarser) one, over `num_rules` rules with so many pages."""

    against: str
    figure: str
    num_rules: int
    pages: int
    largest_difference: float
    spearman: float


def agreements(file: Path, pages: int) -> list[Agreement]:
    """Measure the rules on a recording in each way."""
    kept = recordings.load(file)
    coarse = tuple(replace(each, k=each.k.bfloat16(), v=each.v.bfloat16()) for each in kept.by_length)
    others: dict[str, Callable[[], figures.Asking]] = {
        "every step": lambda: figures.Asking(kept.model, parts.whole(kept, judged_every=1)),
        "bfloat16": lambda: figures.Asking(kept.model, parts.whole(replace(kept, by_length=coarse))),
        "the screen": lambda: figures.Asking(kept.model, parts.screened(kept)),
    }
    usual = _figures(figures.Asking(kept.model, parts.whole(kept)), pages)
    found = []
    for against, asking in others.items():
        other = _figures(asking(), pages)
        for name in FIGURES:
            pairs = [(usual[rule][name], other[rule][name]) for rule in RULES]
            largest = max(abs(a - b) for a, b in pairs)
            order = float(spearmanr(*zip(*pairs, strict=True)).statistic)
            found.append(Agreement(against, name, len(pairs), pages, largest, order))
    return found


def _figures(asking: figures.Asking, pages: int) -> dict[str, dict[str, float]]:
    found = {}
    for name in RULES:
        program = load_program(zoo.text(name))
        program = program.with_values(pages=pages) if "pages" in program.values else program
        graph = trace(program, Shape(asking.group, asking.head_dim))
        found[name] = {m.name: m.value for m in figures.measure(graph, asking)}
    return found
