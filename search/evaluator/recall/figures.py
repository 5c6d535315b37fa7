"""How much of dense attention a program's choice of pages keeps, on recorded queries, keys and values."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import torch

from search.evaluator import intervals
from search.evaluator.recall.choices import Choices, Opened, Stored
from search.records import Measurement

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from search.evaluator.recall.parts import Part
    from search.evaluator.recall.recordings import Model
    from vortex_dsl.graph.graph import Graph

SHARES = ("mass", "oracle_mass", "random_mass", "recall")  # none exceeds 1
MAX_KEPT = 16  # of what is the same for programs of one page size, or of one sink and window besides
MAX_LAYERS, MAX_HEADS = 64, 16  # of figures by layer and by head: neighbours share one where there are more


class Asking:
    """Parts of recordings with what dense attention makes of them, which is the same for every program."""

    def __init__(self, model: Model, parts: Sequence[Part]) -> None:
        self.model = model
        self.dense = tuple(Dense(model, part) for part in parts)

    @property
    def layers(self) -> tuple[int, ...]:
        """Give the layers that some part judges, in order."""
        return tuple(sorted({layer for dense in self.dense for layer in dense.layers}))

    @property
    def group(self) -> int:
        """Give the query heads of a KV head."""
        return self.dense[0].part.recording.q.shape[4]

    @property
    def head_dim(self) -> int:
        """Give the channels of a key."""
        return self.dense[0].part.recording.q.shape[5]


class Best(NamedTuple):
    """Candidate pages and the mass that can be had of them.

    candidates: bool [step, 1, page]; mass: [layer, step, row, number of pages], of so many best ones.
    """

    candidates: torch.Tensor
    mass: torch.Tensor


class Dense:
    """Dense attention at the judged layers and steps of texts of one length; rows are texts x KV heads.

    weights: [layer, row, step, head, token], 0 beyond the step's length; out: [layer, row, step, head, dim].
    """

    def __init__(self, model: Model, part: Part) -> None:
        self.part, self.names = part, part.recording.names
        self.layers = tuple(model.layers[place] for place in part.places)
        self.lengths = torch.tensor([part.recording.num_tokens + i + 1 for i in part.steps])
        k, v = Opened(part.recording.k), Opened(part.recording.v)
        weights, out = zip(*(self._layer(k, v, place, model.scale) for place in part.places), strict=True)
        self.weights, self.out = torch.stack(weights), torch.stack(out)
        self.stored = Stored()
        self.page_mass = lru_cache(MAX_KEPT)(self._page_mass)
        self.best = lru_cache(MAX_KEPT)(self._best)

    def _layer(self, k: Opened, v: Opened, place: int, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
        q = self.part.recording.q[list(self.part.steps), place].flatten(1, 2).transpose(0, 1)
        scores = (q.flatten(1, 2) @ k.tokens(place).mT * scale).unflatten(1, q.shape[1:3])
        unseen = torch.arange(scores.shape[-1]) >= self.lengths[:, None, None]
        weights = scores.masked_fill(unseen, -float("inf")).softmax(-1)
        return weights, weighed(weights, v.tokens(place))

    def _page_mass(self, page_size: int) -> torch.Tensor:
        """Give each page's share of the weights, mean over query heads: [layer, step, row, page]."""
        mass = self.weights.mean(3).transpose(1, 2)
        mass = torch.nn.functional.pad(mass, (0, -mass.shape[-1] % page_size))
        return mass.unflatten(-1, (-1, page_size)).sum(-1)

    def _best(self, page_size: int, sink: int, window: int) -> Best:
        """Sort the pages that are neither sink nor window nor absent by their mass."""
        mass = self.page_mass(page_size)
        index, count = torch.arange(mass.shape[-1]), -(-self.lengths // page_size)[:, None, None]
        candidates = (index >= sink) & (index < count - window)
        ordered = mass.masked_fill(~candidates, 0.0).sort(-1, descending=True).values
        return Best(candidates, torch.nn.functional.pad(ordered.cumsum(-1), (1, 0)))


def weighed(weights: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Weigh values: [row, step, head, token] and [row, token, dim] -> [row, step, head, dim]."""
    return (weights.flatten(1, 2) @ values).unflatten(1, weights.shape[1:3])


class Rows(NamedTuple):
    """What a program did in texts of one length.

    figures: [layer, step, text, kv_head] each; recall is NaN on rows that do not count, the output error 0 in layers
    that are dense. attended: bool [layer, step, row, page], whole in layers that are dense.
    """

    figures: dict[str, torch.Tensor]
    attended: torch.Tensor


def measure(graph: Graph, asking: Asking) -> list[Measurement]:
    """Compare what the program attends to, as `vortex_dsl.decode` has it, with dense attention.

    A page's mass is its share of the dense attention weights, averaged over the query heads of its KV head. A row is
    one text and KV head at one step in one layer; every layer counts, those of `dense_layers` with all pages. Per row:

    * `mass`: mass of all attended pages, reserved and partial ones included;
    * `oracle_mass`, `random_mass`: the same had the program chosen as many candidate pages by mass, or by lot (the
      expected mass);
    * `recall`: mass of the chosen candidate pages over that of as many best ones; 0 for a row with candidates of
      which none was chosen. Rows without candidates, and dense layers, do not count; it is 1 where no row does;
    * `output_error`: |sparse - dense| / |dense| of the attention output, Euclidean over the heads and channels;
    * `pages_attended`, `pages_dense`: pages read and pages there are.

    `mass_layer_<i>`, `mass_head_<h>` and `mass_<length>` are the mass of some rows, `error_layer_<i>` the root of the
    mean square of their output error; layers and heads are named by the first of neighbours that share a figure. Each
    figure is averaged over the rows of a name of texts first; the interval is Student's over names, cut to what is
    possible. Raises LookupError for a choice that no layer makes.
    """
    return summary([rows(graph, asking.model, dense) for dense in asking.dense], asking)


def summary(found: Sequence[Rows], asking: Asking) -> list[Measurement]:
    """Average the rows of every figure, those of the error by layer, and of the mass by layer, KV head and length."""
    names, each = [dense.names for dense in asking.dense], [of.figures for of in found]
    told = [_over_names(name, [figures[name] for figures in each], names) for name in each[0]]
    masses, squares = [figures["mass"] for figures in each], [figures["output_error"] ** 2 for figures in each]
    told += [*by_layer("mass", masses, asking), *map(_root, by_layer("error", squares, asking))]
    for first, some in _neighbours(masses[0].shape[-1], MAX_HEADS):
        told.append(_over_names(f"mass_head_{first}", [mass[..., some] for mass in masses], names))
    for dense, mass in zip(asking.dense, masses, strict=True):
        told.append(_over_names(f"mass_{dense.part.recording.num_tokens}", [mass], [dense.names]))
    return told


def by_layer(figure: str, rows: Sequence[torch.Tensor], asking: Asking) -> list[Measurement]:
    """Average a figure's rows, of texts of each length, by layer: `<figure>_layer_<i>`, named as `measure` says."""
    return [
        _of_layers(f"{figure}_layer_{asking.layers[first]}", asking, asking.layers[some], rows)
        for first, some in _neighbours(len(asking.layers), MAX_LAYERS)
    ]


def _of_layers(name: str, asking: Asking, layers: Sequence[int], rows: Sequence[torch.Tensor]) -> Measurement:
    """Average the rows of some layers, over the texts after which they are judged."""
    some = [[i for i, layer in enumerate(dense.layers) if layer in layers] for dense in asking.dense]
    taken = [(each[own], dense.names) for each, own, dense in zip(rows, some, asking.dense, strict=True) if own]
    parts, names = zip(*taken, strict=True)
    return _over_names(name, parts, names)


def _root(squares: Measurement) -> Measurement:
    """Give the root of a mean of squares, and of its interval."""
    low, high = (None if end is None else math.sqrt(max(end, 0.0)) for end in (squares.low, squares.high))
    return replace(squares, value=math.sqrt(squares.value), low=low, high=high)


def by_kind(figure: str, rows: Sequence[torch.Tensor], asking: Asking) -> list[Measurement]:
    """Average a figure's rows, of texts of each length, by what texts are called but for their numbers.

    Such as `<figure>_kind_prose`, of the texts "prose 3" and "prose 6".
    """
    kinds = sorted({_kind(name) for dense in asking.dense for name in dense.names})
    found = []
    for kind in kinds:
        some = [[i for i, name in enumerate(dense.names) if _kind(name) == kind] for dense in asking.dense]
        taken = [
            (each[..., own, :], [dense.names[i] for i in own])
            for each, own, dense in zip(rows, some, asking.dense, strict=True)
            if own
        ]
        parts, names = zip(*taken, strict=True)
        found.append(_over_names(f"{figure}_kind_{kind}", parts, names))
    return found


def _kind(name: str) -> str:
    return name.rpartition(" ")[0] or name


def _neighbours(num: int, most: int) -> Iterable[tuple[int, slice]]:
    """Cut 0 ... num - 1 into at most so many runs of neighbours: the first of each, and all."""
    size = -(-num // most)
    return ((first, slice(first, first + size)) for first in range(0, num, size))


def rows(graph: Graph, model: Model, dense: Dense) -> Rows:
    """Run the program on texts of one length, and compare pages row by row."""
    attended = _attended(graph, model, dense)
    mass = dense.page_mass(graph.page_size)
    candidates, best = dense.best(graph.page_size, graph.sink, graph.window)
    chosen = attended & candidates
    num_chosen, num_candidates = chosen.sum(-1), candidates.sum(-1)
    kept, best_kept = (mass * chosen).sum(-1), best.gather(-1, num_chosen[..., None])[..., 0]
    reserved = (mass * (attended & ~candidates)).sum(-1)
    recall = torch.where(num_chosen > 0, kept / best_kept.clamp(min=1e-30), 0.0)
    is_dense = torch.tensor([layer < graph.dense_layers for layer in dense.layers])
    num_pages = -(-dense.lengths // graph.page_size)[:, None].expand_as(kept)
    found = {
        "mass": reserved + kept,
        "oracle_mass": reserved + best_kept,
        "random_mass": reserved + num_chosen / num_candidates.clamp(min=1) * (mass * candidates).sum(-1),
        "recall": recall.masked_fill((num_candidates == 0) | is_dense[:, None, None], float("nan")),
        "pages_attended": attended.sum(-1).float(),
        "pages_dense": num_pages.float(),
        "output_error": _output_errors(graph, dense, attended),
    }
    return Rows({name: x.unflatten(-1, (len(dense.names), -1)) for name, x in found.items()}, attended)


def _attended(graph: Graph, model: Model, dense: Dense) -> torch.Tensor:
    """Give the attended pages: bool [layer, step, row, page]."""
    mass, part = dense.page_mass(graph.page_size), dense.part
    index, count = torch.arange(mass.shape[-1]), -(-dense.lengths // graph.page_size)
    attended = (index < count[:, None, None]).expand(mass.shape).clone()
    for places, pages in Choices(graph, model, part, dense.stored).attended():
        if pages is not None:
            attended[[part.places.index(place) for place in places]] = pages
    return attended


def _output_errors(graph: Graph, dense: Dense, attended: torch.Tensor) -> torch.Tensor:
    """Compare outputs layer by layer: [layer, step, row]."""
    values, error = Opened(dense.part.recording.v), torch.zeros(attended.shape[:3])
    for layer, place in enumerate(dense.part.places):
        if dense.layers[layer] >= graph.dense_layers:
            tokens = attended[layer].transpose(0, 1).repeat_interleave(graph.page_size, 2)
            error[layer] = _output_error(dense, layer, tokens, values.tokens(place)).T
    return error


def _output_error(dense: Dense, layer: int, tokens: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Compare outputs where only some tokens are attended to: bool [row, step, token] -> [row, step]."""
    weights = dense.weights[layer] * tokens[:, :, None, : values.shape[1]]
    sparse = weighed(weights, values) / weights.sum(-1, keepdim=True).clamp(min=1e-30)
    out = dense.out[layer].flatten(2)
    return (sparse.flatten(2) - out).norm(dim=2) / out.norm(dim=2).clamp(min=1e-30)


def _over_names(name: str, rows: Sequence[torch.Tensor], names: Sequence[Sequence[str]]) -> Measurement:
    """Average the rows of each name of texts, then give mean and interval over names.

    rows: [..., text, kv_head] of each length, or without those axes' other ends; names: of the texts of each length.
    """
    texts = [(text, part) for each, group in zip(rows, names, strict=True)
             for text, part in zip(group, each.unbind(-2), strict=True)]  # fmt: skip
    texts.sort(key=lambda text: text[0])
    means = []
    for _, parts in groupby(texts, key=lambda text: text[0]):
        means.append(torch.stack([part.nanmean() for _, part in parts]).nanmean().item())
    known = [mean for mean in means if mean == mean]  # NaN: a text without candidates
    interval = intervals.mean(known or [1.0])
    low, high = interval.low, interval.high
    if low is not None and high is not None:
        low, high = max(low, 0.0), min(high, 1.0) if name.startswith(SHARES) else high
    return Measurement(name, interval.value, low, high, interval.num_samples)
