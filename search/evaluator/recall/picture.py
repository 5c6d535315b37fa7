"""What a program attends to after one recorded text, page by page, beside as many best pages: data for a picture."""

from __future__ import annotations

from dataclasses import dataclass

MAX_STEPS, MAX_DRAWN, MAX_DRAWN_HEADS, MAX_CELLS = 16, 4, 4, 256  # of what is drawn page by page
MAX_LAYERS, MAX_HEADS = 64, 16  # of shares

Counts = tuple[tuple[tuple[int, ...], ...], ...]


@dataclass(frozen=True)
class Share:
    """Mean over the steps, by KV head, of the attention mass that a layer's attended pages keep.

    `oracle_mass`: that of as many pages had the best been chosen; `random_mass`: the one to expect by lot.
    """

    layer: int
    mass: tuple[float, ...]
    oracle_mass: tuple[float, ...]
    random_mass: tuple[float, ...]


@dataclass(frozen=True)
class Drawn:
    """Pages of one layer, counted by [KV head, step, cell]: attended to, of as many best ones, and both at once."""

    layer: int
    attended: Counts
    oracle: Counts
    both: Counts


@dataclass(frozen=True)
class Picture:
    """All of it. `lengths`: of the text, in tokens, at each step; a cell stands for `pages_per_cell` neighbours.

    `pages_attended`: mean over layers, KV heads and steps. `heads`: KV heads that `drawn` shows, of `num_heads`.
    """

    name: str
    digest: str
    text: str
    lengths: tuple[int, ...]
    page_size: int
    num_pages: int
    pages_per_cell: int
    pages_attended: float
    num_layers: int
    num_heads: int
    heads: tuple[int, ...]
    shares: tuple[Share, ...]
    drawn: tuple[Drawn, ...]
