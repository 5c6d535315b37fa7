"""`decode`: several layers over several decode steps, with what a request remembers from one to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vortex_dsl.backends.contract import Decode

if TYPE_CHECKING:
    import torch

    from vortex_dsl.backends.contract import Backend
    from vortex_dsl.graph.graph import Graph


@dataclass
class Remembered:
    """What all rows of one choosing layer keep: the chosen candidates, bool [rows, max_pages], and the states.

    `period` is floor(L / refresh_steps) at the last choice, L the length with the current token.
    """

    period: int | None = None
    chosen: torch.Tensor | None = None
    states: tuple[torch.Tensor, ...] | None = None


def choosing_layer(graph: Graph, layer: int) -> int | None:
    """Give the layer whose choice this one uses: the first of its group. None for a dense layer."""
    if layer < graph.dense_layers:
        return None
    return layer - (layer - graph.dense_layers) % graph.share_layers


class Run:
    """One batch from its first decode step on; all sequences have one length."""

    def __init__(self, graph: Graph, backend: Backend, scale: float, num_layers: int) -> None:
        self._graph, self._backend, self._scale, self._num_layers = graph, backend, scale, num_layers
        self._memory: dict[int, Remembered] = {}

    def step(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, layer: int, length: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Give out [batch, num_q_heads, head_dim] and attended [batch, num_kv_heads, max_pages] of one layer."""
        grouped = q.unflatten(1, (k.shape[1], -1))
        lengths = q.new_full((q.shape[0],), length).long()
        step = Decode(grouped, k, v, lengths, self._scale, layer, self._num_layers)
        attended = self.attended(step, length)
        out = self._backend.attend(step, attended)
        return out.flatten(1, 2), attended.unflatten(0, k.shape[:2])

    def attended(self, step: Decode, length: int) -> torch.Tensor:
        """Choose or remember what one layer attends to, its group's first layer before it: bool [rows, max_pages]."""
        leader = choosing_layer(self._graph, step.layer)
        reserved = self._reserved(step, length)
        if leader is None:
            return reserved | True
        memory = self._memory.setdefault(leader, Remembered())
        period = length // self._graph.refresh_steps
        if step.layer == leader and period != memory.period:
            chosen = self._backend.choose(step, memory.states)
            memory.period, memory.chosen, memory.states = period, chosen.pages, chosen.states
        assert memory.chosen is not None, "a layer's choice is made by the first of its group, which comes before it"
        return memory.chosen | reserved

    def _reserved(self, step: Decode, length: int) -> torch.Tensor:
        """Give the pages that are always attended at this length: bool [rows, max_pages]."""
        graph, index = self._graph, step.lengths.new_tensor(range(step.max_pages(self._graph.page_size)))
        num_pages = -(-length // graph.page_size)
        reserved = (index < num_pages) & graph.is_reserved(index, num_pages)
        return reserved.expand(step.num_rows, -1)
