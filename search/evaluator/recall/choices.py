"""Which pages a program attends to at recorded steps: those of `vortex_dsl.decode`, over pages summarised once.

What a program without states chooses at a step depends on that step alone, so that steps are rows of one choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import torch

from vortex_dsl.backends.batched import Loaded, ReadBack, Step, contract
from vortex_dsl.backends.contract import Decode
from vortex_dsl.backends.decoding import Run, choosing_layer
from vortex_dsl.backends.torch_backend import Torch

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from search.evaluator.recall.parts import Part
    from search.evaluator.recall.recordings import Model
    from vortex_dsl.backends.contract import Chosen
    from vortex_dsl.graph.graph import Field, Graph


MAX_STORED_BYTES = 64 << 20  # of one part: two fields of a vector a page at all layers of four texts of 4,000 tokens


class Opened:
    """Keys or values of one layer at a time as float32, in the same memory: fetching new costs more than filling.

    kept: [layer, text, kv_head, token, dim].
    """

    def __init__(self, kept: torch.Tensor, page_size: int = 1) -> None:
        self._kept, self._page_size, self._place = kept, page_size, -1
        self.num_pages = -(-kept.shape[3] // page_size)

    @cached_property
    def _pages(self) -> torch.Tensor:
        _, texts, heads, _, dim = self._kept.shape
        return torch.zeros(texts * heads, self.num_pages, self._page_size, dim)

    def pages(self, place: int) -> torch.Tensor:
        """Give a layer's [row, page, token, dim], zeros after the last token, until another layer is asked for."""
        if place != self._place:
            self._pages.flatten(1, 2)[:, : self._kept.shape[3]] = self._kept[place].flatten(0, 1)
            self._place = place
        return self._pages

    def tokens(self, place: int) -> torch.Tensor:
        """Give a layer's [row, token, dim], until another layer is asked for."""
        return self.pages(place).flatten(1, 2)[:, : self._kept.shape[3]]


@dataclass(frozen=True)
class EachStep:
    """The pages of a layer for some steps at a time, rows being steps x rows of the layer (`PageSource`)."""

    source: Loaded
    num_steps: int

    @property
    def max_pages(self) -> int:
        """Pages of the longest row."""
        return self.source.max_pages

    def field(self, name: str, some: slice) -> torch.Tensor:
        """Give a field (`PageSource.field`)."""
        return self._at_each(self.source.field(name, some))

    def contracted(self, name: str, query: torch.Tensor, some: slice) -> torch.Tensor:
        """Multiply a field with the queries of all steps (`PageSource.contracted`)."""
        queries = query.unflatten(0, (self.num_steps, -1)).transpose(0, 1)
        product = contract(self.source.field(name, some), queries.flatten(1, 2))
        return product.unflatten(-1, (self.num_steps, -1)).movedim(-2, 0).flatten(0, 1)

    def raw(self, name: str, some: slice) -> torch.Tensor:
        """Give some raw pages (`PageSource.raw`)."""
        return self._at_each(self.source.raw(name, some))

    def _at_each(self, x: torch.Tensor) -> torch.Tensor:
        return x.expand(self.num_steps, *x.shape).flatten(0, 1)


class SummarizedOnce(Torch):
    """The backend "torch" for steps of one layer whose pages are summarised before the first of them.

    A step sees as complete only the pages that its sequences have completed.
    """

    source: Loaded

    def choose(self, step: Decode, states: tuple[torch.Tensor, ...] | None) -> Chosen:
        """Choose candidates and write states (`contract.Backend.choose`)."""
        return self.choose_among(step, self.source, states)

    def choose_each(self, q: torch.Tensor, lengths: torch.Tensor, layer: int, model: Model) -> torch.Tensor:
        """Choose candidates at several steps: bool [step, row, page]. q: [step, text, kv_head, head, dim]."""
        num_steps, texts, heads = q.shape[:3]
        rows = texts * heads
        step = Step(
            q=q.flatten(0, 2).float(),
            sets=self.batched.page_sets(lengths.repeat_interleave(rows), self.source.max_pages),
            kv_head=torch.arange(num_steps * rows) % heads,
            layer_index=layer,
            layer_count=model.num_layers,
            scale=model.scale,
            source=EachStep(self.source, num_steps),
        )
        return self.batched.choose(step).pages.unflatten(0, (num_steps, rows))


class Stored:
    """Fields of pages as select reads them, of those that were asked for last: half of the time goes to them.

    Programs differ most often in their budget alone, in how they score the same fields, or in one field of several.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, torch.Tensor] = {}

    def field(self, key: Hashable, made: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Give what is kept under a key, or make it; who was not asked for longest goes beyond `MAX_STORED_BYTES`."""
        found = self._kept.pop(key, None)
        self._kept[key] = made() if found is None else found
        while len(self._kept) > 1 and sum(each.nbytes for each in self._kept.values()) > MAX_STORED_BYTES:
            del self._kept[next(iter(self._kept))]
        return self._kept[key]


class Choices:
    """What one program attends to in a part of a recording. stored: of this part, and of no other."""

    def __init__(self, graph: Graph, model: Model, part: Part, stored: Stored | None = None) -> None:
        self._stored = Stored() if stored is None else stored
        self._k, self._v = (Opened(x, graph.page_size) for x in (part.recording.k, part.recording.v))
        self._graph, self._model, self._part, self._recording = graph, model, part, part.recording
        self._backend = SummarizedOnce(graph)
        self._readers: dict[str, ReadBack] = {}

    def attended(self) -> Iterator[tuple[list[int], torch.Tensor | None]]:
        """Give what layers attend to at the judged steps: bool [step, row, page], rows being texts x KV heads.

        Layers, by their place, stand together where they use one choice, which is None where they attend to every
        page. Steps that are not judged are only run for programs with states. Raises LookupError where layers use the
        choice of one that has none.
        """
        attended = self._with_states if self._graph.states else self._without_states
        for leader, places in self._groups().items():
            if leader is None:
                yield places, None
                continue
            place = self._model.layers.index(leader)
            self._backend.source = self._loaded(place)
            yield places, attended(leader, place)

    def _loaded(self, place: int) -> Loaded:
        """Give a layer's pages, whose fields are those of any program that stores the same."""
        graph = self._graph
        given = {
            each.name: self._stored.field((place, graph.page_size, each.leaf.digest), partial(self._made, each, place))
            for each in graph.fields
        }
        k, v = (
            x.pages(place) if f"page.{name}" in graph.inputs else None for name, x in (("k", self._k), ("v", self._v))
        )
        return Loaded(self._k.num_pages, given, k, v)

    def _made(self, field: Field, place: int) -> torch.Tensor:
        k = self._k.pages(place)
        v = self._v.pages(place) if self._stores_values else k  # which nobody looks at
        if field.name not in self._readers:
            self._readers[field.name] = ReadBack(field)
        return self._readers[field.name](k.flatten(0, 1), v.flatten(0, 1)).unflatten(0, k.shape[:2])

    @cached_property
    def _stores_values(self) -> bool:
        return "v" in {node.attr("name") for node in self._graph.summary_nodes if node.op == "input"}

    def _without_states(self, leader: int, place: int) -> torch.Tensor:
        """Choose at the steps whose choices are those of the judged ones."""
        chosen_at = [self._chosen_at(step) for step in self._part.steps]
        steps = sorted(set(chosen_at))
        q, lengths = self._recording.q[steps, place], self._lengths(steps)
        chosen = self._backend.choose_each(q, lengths, leader, self._model)
        return chosen[[steps.index(step) for step in chosen_at]] | self._reserved()

    def _chosen_at(self, step: int) -> int:
        """Give the step whose choice is used: the first of its period, or of all (`Run.attended`)."""
        refresh = self._graph.refresh_steps
        begin = (self._recording.num_tokens + step + 1) // refresh * refresh
        return max(begin - self._recording.num_tokens - 1, 0)

    def _reserved(self) -> torch.Tensor:
        """Give the reserved pages of the judged steps: bool [step, 1, page]."""
        sets = self._backend.batched.page_sets(self._lengths(self._part.steps), self._backend.source.max_pages)
        return sets.reserved[:, None]

    def _with_states(self, leader: int, place: int) -> torch.Tensor:
        """Run every step up to the last judged one."""
        k, v = self._recording.k[place], self._recording.v[place]
        run = Run(self._graph, self._backend, self._model.scale, self._model.num_layers)
        found = []
        for step in range(max(self._part.steps) + 1):
            length = self._recording.num_tokens + step + 1
            lengths = torch.full((k.shape[0],), length)
            q = self._recording.q[step, place]
            found.append(
                run.attended(Decode(q, k, v, lengths, self._model.scale, leader, self._model.num_layers), length)
            )
        return torch.stack([found[step] for step in self._part.steps])

    def _lengths(self, steps: Sequence[int]) -> torch.Tensor:
        return self._recording.num_tokens + 1 + torch.tensor(steps)

    def _groups(self) -> dict[int | None, list[int]]:
        """Put places of judged layers together by the layer that chooses for them."""
        groups: dict[int | None, list[int]] = {}
        for place in self._part.places:
            groups.setdefault(choosing_layer(self._graph, self._model.layers[place]), []).append(place)
        lost = [leader for leader in groups if leader is not None and leader not in self._model.layers]
        if lost:
            raise LookupError(
                f"layers would use the choice of layer {lost[0]}, which chooses nothing: its window is limited; set "
                "share_layers=1"
            )
        return groups
