"""One program, made ready for one layer's shape, and the proof of what it did there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from vortex_dsl.batched import Batched, Step
from vortex_dsl.decoding import choosing_layer
from vortex_dsl.trace import trace
from vortex_dsl.values import Shape

from .config import ServingError
from .memory import Memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from vortex_dsl.graph import Graph
    from vortex_dsl.layout import Layout
    from vortex_dsl.program import Program

    from .decodes import Decodes
    from .pages import Pages

SUMMARY_ROWS = 4096  # pages summarised at a time: bounds the memory of a long prefill or of a swap


class Rule:
    """A program's graph, as `traced` gives it, and batched backend for one layer."""

    def __init__(
        self, program: Program, group: int, head_dim: int, traced: Callable[[Program, Shape], Graph] = trace
    ) -> None:
        self.program = program
        self.graph = traced(program, Shape(group=group, head_dim=head_dim))
        self.batched = Batched(self.graph)
        self.page_size = self.graph.page_size

    @property
    def field_bytes(self) -> int:
        """Bytes per page and KV head that the fields need."""
        return self.batched.layout.bytes_per_page

    def summarize(self, pages: Pages, numbers: torch.Tensor) -> None:
        """Write the fields of complete pages. numbers: [num_pages] page numbers."""
        if not self.field_bytes or not numbers.numel():
            return
        for some in numbers.split(SUMMARY_ROWS):
            packed = self.batched.summarize(pages.raw_keys(some), pages.raw_values(some))
            pages.fields[some, : self.field_bytes] = packed

    @property
    def remembers(self) -> bool:
        """Whether a choice depends on earlier steps."""
        return self.graph.refresh_steps > 1 or bool(self.graph.states)

    def memory(self, num_kv_heads: int) -> Memory:
        """Make what one choosing layer remembers of its requests."""
        return Memory(self.graph.states, num_kv_heads)

    def leader(self, layer: int) -> int | None:
        """Give the layer whose choice this one uses, None for a layer that attends to everything."""
        return choosing_layer(self.graph, layer)

    def attended(
        self, query: torch.Tensor, pages: Pages, decodes: Decodes, layer: Layer, memory: Memory
    ) -> torch.Tensor | None:
        """Give the attended pages as bool [num_rows, max_pages], None for all. query: [num_rows, group, head_dim].

        The first layer of a group chooses, where its memory holds no choice that is still good; the others follow.
        """
        leader = self.leader(layer.index)
        assert leader is not None, "a dense layer attends to every page and asks no rule"
        if leader == layer.index:
            decodes.choices[leader] = self._choice(query, pages, decodes, layer, memory)
        elif leader not in decodes.choices:
            raise ServingError(
                f"layer {layer.index} uses the choice of layer {leader}, which chooses nothing in this worker: its "
                "window is limited, or another stage of a pipeline runs it; set share_layers=1"
            )
        chosen = decodes.choices[leader]
        return None if chosen is None else chosen | decodes.sets(self.batched).reserved

    def _choice(
        self, query: torch.Tensor, pages: Pages, decodes: Decodes, layer: Layer, memory: Memory
    ) -> torch.Tensor | None:
        """Give the chosen candidates, bool [num_rows, max_pages]: of this step, or of one that is remembered."""
        followed = decodes.followed
        if followed is None and self.batched.covers(decodes.longest):
            return None
        source = CachedPages(self.batched.layout, pages, decodes)
        step = Step(
            q=query.float(),
            sets=decodes.sets(self.batched),
            kv_head=decodes.kv_head,
            layer_index=layer.index,
            layer_count=layer.count,
            scale=layer.scale,
            source=source,
        )
        if followed is None:
            return self.batched.choose(step).pages
        period = decodes.rows.lengths.long() // self.graph.refresh_steps
        renewed = memory.renewed(followed, period).nonzero().flatten()
        if renewed.numel():
            states = memory.read(followed, renewed, decodes.max_pages)
            chosen = self.batched.choose(self._some(replace(step, states=states), source, decodes.rows_of(renewed)))
            memory.write(followed.slots[renewed], period[renewed], chosen.pages, chosen.states)
        return memory.chosen(followed.slots, decodes.max_pages)

    def _some(self, step: Step, source: CachedPages, rows: torch.Tensor) -> Step:
        """Give some rows of a step, whose states are theirs already."""
        if rows.numel() == step.q.shape[0]:
            return step
        sets = self.batched.page_sets(source.decodes.lengths[rows], source.max_pages)
        return replace(step, q=step.q[rows], kv_head=step.kv_head[rows], sets=sets, source=replace(source, rows=rows))


@dataclass(frozen=True)
class CachedPages:
    """Pages of the KV cache (`vortex_dsl.batched.PageSource`), of all rows or of some."""

    layout: Layout
    pages: Pages
    decodes: Decodes
    rows: torch.Tensor | None = None

    @property
    def max_pages(self) -> int:
        """Pages of the longest row."""
        return self.decodes.max_pages

    def fields(self, some: slice) -> dict[str, torch.Tensor]:
        """Gather and decode some pages' fields."""
        return self.layout.load(self.pages.fields, self._numbers(some))

    def raw(self, name: str, some: slice) -> torch.Tensor:
        """Gather some pages' keys or values."""
        numbers = self._numbers(some)
        return (self.pages.raw_keys(numbers) if name == "k" else self.pages.raw_values(numbers)).float()

    def _numbers(self, some: slice) -> torch.Tensor:
        numbers = self.decodes.pages[:, some]
        return numbers if self.rows is None else numbers[self.rows]


@dataclass(frozen=True)
class Layer:
    """Where a rule runs: the layer's number, how many there are, and the softmax scale."""

    index: int
    count: int
    scale: float


def page_table(attended: torch.Tensor, pages: torch.Tensor, lengths: torch.Tensor, page_size: int) -> tuple[Any, Any]:
    """Give a kernel's block table and lengths from the attended pages, in ascending order.

    attended: bool [num_rows, max_pages]; pages: [num_rows, max_pages]; lengths: [num_rows] tokens.
    -> int32 [num_rows, most pages attended], int32 [num_rows] tokens behind them
    """
    counts = attended.sum(1)
    row, page = attended.nonzero(as_tuple=True)
    place = torch.arange(row.numel(), device=row.device) - (counts.cumsum(0) - counts)[row]
    table = torch.zeros((attended.shape[0], int(counts.max())), dtype=torch.int32, device=pages.device)
    table[row, place] = pages[row, page].to(torch.int32)
    missing = -lengths % page_size  # the partial page is always attended, and always last
    return table, (counts * page_size - missing).to(torch.int32)
