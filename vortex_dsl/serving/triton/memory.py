"""What a choosing layer keeps of requests where graphs hold a step: like `layers.memory.Memory`, in memory of one size.

Requests are recognised before a graph is replayed (`DeviceRequests`). Their choices and states are found and stored
by kernels within it: what is launched does not depend on who goes on and who chooses anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from kernels.listing import list_pages
from kernels.remembering import Kept, keep, recall, settle

if TYPE_CHECKING:
    from kernels.selection import BlockLists, Listing
    from kernels.slots import Places
    from vortex_dsl.backends.compiled import Compiled, Step
    from vortex_dsl.graph.graph import Graph, State


@dataclass(frozen=True)
class Extent:
    """Most of what there is to remember: requests that have slots, and pages of a sequence."""

    num_slots: int
    max_pages: int


def extent(vllm_config: Any, page_size: int) -> Extent:
    """Bound what is remembered. Some slots are for requests that a step leaves out, while others take their place."""
    most = vllm_config.scheduler_config.max_num_seqs
    return Extent(most + max(most // 8, 8), -(-vllm_config.model_config.max_model_len // page_size))


class DeviceMemory:
    """One choosing layer's choices and states, by slot and KV head; what slots held before is never read."""

    def __init__(self, graph: Graph, num_kv_heads: int, most: Extent, device: torch.device) -> None:
        lead = (most.num_slots, num_kv_heads)
        self._states = tuple(_kept(state, lead, most.max_pages, device) for state in graph.states)
        self._chosen = None
        if graph.refresh_steps > 1:
            self._chosen = torch.empty(*lead, most.max_pages, dtype=torch.int8, device=device)

    @property
    def num_bytes(self) -> int:
        """Bytes of device memory."""
        every = [kept.values for kept in self._states] + ([] if self._chosen is None else [self._chosen])
        return sum(x.nbytes for x in every)

    def listed(self, compiled: Compiled, step: Step, listing: Listing, at: Places) -> BlockLists:
        """List what each row attends to: what it chooses now, or what it chose before, and the reserved pages.

        Rows that choose nothing now are not scored, for they are given no length.
        """
        chosen, states = compiled.choose(self._scored(compiled, step, at))
        for kept, state in zip(self._states, states, strict=True):
            keep(kept, state, at, step.pages)
        if self._chosen is not None:
            settle(chosen, self._chosen, at, step.pages)
        return list_pages(chosen, step.pages, listing)

    def _scored(self, compiled: Compiled, step: Step, at: Places) -> Step:
        """Give the step as rows that choose now see it, with what they remember."""
        return replace(
            step,
            cache=replace(step.cache, seq_lens=at.scored),
            pages=replace(step.pages, seq_lens=at.scored),
            states=tuple(recall(kept, at, step.pages) for kept in self._states),
            covered=max(compiled.plan.covered, -step.pages.sink - step.pages.window),  # of no page: what has no length
        )


def step_bytes(graph: Graph, rows: int, most: int) -> int:
    """Give the bytes that a step takes beside those of `Plan.num_bytes`: flags, and states before they are written."""
    states = sum(state.fresh(rows, most, torch.device("meta")).nbytes for state in graph.states)
    return states + rows * most


def _kept(state: State, lead: tuple[int, int], max_pages: int, device: torch.device) -> Kept:
    axes = state.fresh(1, max_pages, torch.device("meta")).shape[1:]
    return Kept(torch.empty(*lead, *axes, device=device), state.paged, state.init)
