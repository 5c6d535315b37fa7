"""Making the picture of what a program attends to: one layer at a time, so that memory is that of one layer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from search.evaluator.recall.figures import Dense, rows
from search.evaluator.recall.parts import pictured
from search.evaluator.recall.picture import (
    MAX_CELLS,
    MAX_DRAWN,
    MAX_DRAWN_HEADS,
    MAX_HEADS,
    MAX_LAYERS,
    MAX_STEPS,
    Drawn,
    Picture,
    Share,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.evaluator.recall.figures import Rows
    from search.evaluator.recall.parts import Part
    from search.evaluator.recall.picture import Counts
    from search.evaluator.recall.recordings import Model, Recordings
    from vortex_dsl.graph.graph import Graph


def picture(graph: Graph, recordings: Recordings, name: str, layers: Sequence[int] = ()) -> Picture:
    """Picture a program after the first text of the longest length; `layers`: to draw page by page, else some.

    Raises LookupError for a choice that no layer makes, and for layers that were not recorded.
    """
    model, part = recordings.model, pictured(recordings, MAX_STEPS)
    drawn = _to_draw(layers, graph, model)
    judged = sorted({*_spread(model.layers, MAX_LAYERS), *drawn})
    places = {layer: model.layers.index(layer) for layer in judged}
    each = {layer: _Layer(graph, model, replace(part, places=(place,))) for layer, place in places.items()}
    first = next(iter(each.values()))
    return Picture(
        name,
        graph.digest,
        part.recording.names[0],
        tuple(first.lengths),
        graph.page_size,
        first.num_pages,
        first.pages_per_cell,
        sum(of.pages_attended for of in each.values()) / len(each),
        model.num_layers,
        part.recording.q.shape[3],
        tuple(range(part.recording.q.shape[3])[:MAX_DRAWN_HEADS]),
        tuple(of.share(layer) for layer, of in each.items()),
        tuple(each[layer].drawn(layer) for layer in drawn),
    )


class _Layer:
    """What a program does in one layer; of dense attention only what a picture shows is kept."""

    def __init__(self, graph: Graph, model: Model, part: Part) -> None:
        dense = Dense(model, part)
        found: Rows = rows(graph, model, dense)
        candidates = dense.best(graph.page_size, graph.sink, graph.window).candidates
        self.lengths = dense.lengths.tolist()
        self._figures = {name: x[0, :, 0] for name, x in found.figures.items()}  # [step, kv_head]
        self._attended = found.attended[0]
        self._oracle = _best(dense.page_mass(graph.page_size)[0], self._attended, candidates)
        self.num_pages = self._attended.shape[-1]
        self.pages_per_cell = -(-self.num_pages // MAX_CELLS)
        self.pages_attended = self._figures["pages_attended"].mean().item()

    def share(self, layer: int) -> Share:
        """Give what is kept, by KV head."""
        kept = (self._figures[name].mean(0)[:MAX_HEADS] for name in ("mass", "oracle_mass", "random_mass"))
        return Share(layer, *(tuple(round(x, 6) for x in each.tolist()) for each in kept))

    def drawn(self, layer: int) -> Drawn:
        """Give what is attended to, page by page."""
        both = self._attended & self._oracle
        return Drawn(layer, *(self._counted(pages) for pages in (self._attended, self._oracle, both)))

    def _counted(self, pages: torch.Tensor) -> Counts:
        """Count the pages of each cell: bool [step, kv_head, page] -> [kv_head, step, cell]."""
        padded = torch.nn.functional.pad(pages, (0, -self.num_pages % self.pages_per_cell))
        counted = padded.unflatten(-1, (-1, self.pages_per_cell)).sum(-1).transpose(0, 1)[:MAX_DRAWN_HEADS]
        return tuple(tuple(tuple(step) for step in head) for head in counted.tolist())


def _best(mass: torch.Tensor, attended: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
    """Choose as many candidates as were chosen, by their mass, beside what was reserved: bool [step, kv_head, page]."""
    number = (attended & candidates).sum(-1, keepdim=True)
    rank = mass.masked_fill(~candidates, -1.0).argsort(dim=-1, descending=True, stable=True).argsort(-1)
    return (rank < number) | (attended & ~candidates)


def _to_draw(layers: Sequence[int], graph: Graph, model: Model) -> tuple[int, ...]:
    """Choose layers to draw: those asked for, else some that are evenly spread over those that choose."""
    lost = [layer for layer in layers if layer not in model.layers]
    if lost:
        raise LookupError(f"layer {lost[0]} is not recorded; there are {model.layers[0]} to {model.layers[-1]}")
    choosing = [layer for layer in model.layers if layer >= graph.dense_layers] or list(model.layers)
    return tuple(dict.fromkeys(layers))[:MAX_DRAWN] or _spread(choosing, MAX_DRAWN)


def _spread(layers: Sequence[int], most: int) -> tuple[int, ...]:
    """Give at most so many, the first and the last among them."""
    number = min(most, len(layers))
    return tuple(layers[i * (len(layers) - 1) // max(number - 1, 1)] for i in range(number))
