"""`decode`: several layers over several decode steps, with what a request remembers from one to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vortex_dsl.attention import BackendName, Decode, backend_of, checked_scale
from vortex_dsl.values import Shape

if TYPE_CHECKING:
    import torch

    from vortex_dsl.attention import Backend
    from vortex_dsl.graph import Graph
    from vortex_dsl.program import Program


@dataclass
class Memory:
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


def decode(
    program: Program,
    qs: torch.Tensor,
    ks: torch.Tensor,
    vs: torch.Tensor,
    prompt_tokens: int,
    scale: float | None = None,
    backend: BackendName = "reference",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Decode several steps of all layers after a prefill of `prompt_tokens` tokens.

    qs: [steps, layers, batch, num_q_heads, head_dim]; ks, vs: [layers, batch, num_kv_heads,
    prompt_tokens + steps, head_dim], keys after rotary embedding. Step i attends to the first
    prompt_tokens + i + 1 tokens, the current one included. scale: 1 / sqrt(head_dim) by default.

    -> outs [steps, layers, batch, num_q_heads, head_dim] in qs' dtype, and the attended pages,
    bool [steps, layers, batch, num_kv_heads, ceil((prompt_tokens + steps) / page_size)].
    Raises ValueError for shapes that do not fit.
    """
    import torch

    from vortex_dsl.trace import trace

    _check(qs, ks, vs, prompt_tokens)
    graph = trace(program, Shape(group=qs.shape[3] // ks.shape[2], head_dim=qs.shape[4]))
    run = _Run(graph, backend_of(backend)(graph), checked_scale(scale, qs.shape[4]), qs.shape[1])
    done = [
        run.step(q, k, v, layer, prompt_tokens + i + 1)
        for i in range(qs.shape[0])
        for layer, (q, k, v) in enumerate(zip(qs[i], ks, vs, strict=True))
    ]
    outs, attended = (torch.stack(parts).unflatten(0, qs.shape[:2]) for parts in zip(*done, strict=True))
    return outs.to(qs), attended.to(qs.device)


def _check(qs: torch.Tensor, ks: torch.Tensor, vs: torch.Tensor, prompt_tokens: int) -> None:
    """Refuse shapes that do not fit each other."""
    fits = qs.dim() == 5 and ks.dim() == 5 and ks.shape == vs.shape and qs.shape[0] >= 1
    fits = fits and prompt_tokens >= 0 and ks.shape[3] == prompt_tokens + qs.shape[0]
    if not fits or qs.shape[1:3] != ks.shape[:2] or qs.shape[4] != ks.shape[4] or qs.shape[3] % ks.shape[2]:
        message = (
            f"decode: qs {list(qs.shape)}, ks {list(ks.shape)}, vs {list(vs.shape)} with prompt_tokens={prompt_tokens} "
            "do not fit; give qs [steps, layers, batch, num_q_heads, head_dim] and ks, vs [layers, batch, "
            "num_kv_heads, prompt_tokens + steps, head_dim], num_q_heads a multiple of num_kv_heads"
        )
        raise ValueError(message)


class _Run:
    """One batch from its first decode step on; all sequences have one length."""

    def __init__(self, graph: Graph, backend: Backend, scale: float, num_layers: int) -> None:
        self._graph, self._backend, self._scale, self._num_layers = graph, backend, scale, num_layers
        self._memory: dict[int, Memory] = {}

    def step(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, layer: int, length: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Give out [batch, num_q_heads, head_dim] and attended [batch, num_kv_heads, max_pages] of one layer."""
        grouped = q.unflatten(1, (k.shape[1], -1))
        lengths = q.new_full((q.shape[0],), length).long()
        step = Decode(grouped, k, v, lengths, self._scale, layer, self._num_layers)
        attended = self._attended(step, length)
        out = self._backend.attend(step, attended)
        return out.flatten(1, 2), attended.unflatten(0, k.shape[:2])

    def _attended(self, step: Decode, length: int) -> torch.Tensor:
        leader = choosing_layer(self._graph, step.layer)
        reserved = self._reserved(step, length)
        if leader is None:
            return reserved | True
        memory = self._memory.setdefault(leader, Memory())
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
        reserved = (index < num_pages) & ((index < graph.sink) | (index >= num_pages - graph.window))
        return reserved.expand(step.num_rows, -1)
