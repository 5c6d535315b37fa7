"""Which pages a program attends to at recorded steps: the run of `vortex_dsl.decode`, over pages summarised once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vortex_dsl.backends.contract import Decode
from vortex_dsl.backends.decoding import Run, choosing_layer
from vortex_dsl.backends.torch_backend import Torch, paged

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from search.evaluator.recall.recordings import Model, Recording
    from vortex_dsl.backends.batched import Loaded
    from vortex_dsl.backends.contract import Chosen
    from vortex_dsl.graph.graph import Graph


class SummarizedOnce(Torch):
    """The backend "torch" for steps of one layer whose pages are summarised before the first of them.

    A step sees as complete only the pages that its sequences have completed.
    """

    source: Loaded

    def choose(self, step: Decode, states: tuple[torch.Tensor, ...] | None) -> Chosen:
        """Choose candidates and write states (`attention.Backend.choose`)."""
        return self.choose_among(step, self.source, states)


def attended_pages(
    graph: Graph, model: Model, recording: Recording, judged: Sequence[int]
) -> Iterator[tuple[list[int], torch.Tensor | None]]:
    """Give what layers attend to at the judged steps: bool [step, row, page], rows being texts x KV heads.

    Layers, by their place in `model.layers`, stand together where they use one choice, which is None where they attend
    to every page. Steps that are not judged are only run for programs that remember something of them. Raises
    LookupError where layers use the choice of one that has none.
    """
    backend = SummarizedOnce(graph)
    run = Run(graph, backend, model.scale, model.num_layers)
    remembers = graph.refresh_steps > 1 or bool(graph.states)
    steps = range(max(judged) + 1) if remembers else judged
    for leader, places in _groups(graph, model).items():
        if leader is None:
            yield places, None
            continue
        place = model.layers.index(leader)
        k, v = recording.k[place], recording.v[place]
        backend.source = backend.summarized(*(paged(x, graph.page_size) for x in (k, v)))
        found = {}
        for i in steps:
            length = recording.num_tokens + i + 1
            lengths = torch.full((k.shape[0],), length)
            step = Decode(recording.q[i, place], k, v, lengths, model.scale, leader, model.num_layers)
            found[i] = run.attended(step, length)
        yield places, torch.stack([found[i] for i in judged])


def _groups(graph: Graph, model: Model) -> dict[int | None, list[int]]:
    """Put places of layers together by the layer that chooses for them."""
    groups: dict[int | None, list[int]] = {}
    for place, layer in enumerate(model.layers):
        groups.setdefault(choosing_layer(graph, layer), []).append(place)
    lost = [leader for leader in groups if leader is not None and leader not in model.layers]
    if lost:
        raise LookupError(
            f"layers would use the choice of layer {lost[0]}, which chooses nothing: its window is limited; set "
            "share_layers=1"
        )
    return groups
