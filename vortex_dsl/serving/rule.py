"""One program, made ready for one layer's shape, and the proof of what it did there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from vortex_dsl.batched import Batched, Step
from vortex_dsl.decoding import choosing_layer
from vortex_dsl.trace import trace
from vortex_dsl.values import Shape

from .config import ServingError
from .memory import Memory

if TYPE_CHECKING:
    from vortex_dsl.batched import Chosen, PageSets
    from vortex_dsl.layout import Layout
    from vortex_dsl.program import Program

    from .memory import Followed
    from .pages import Pages, Rows

SUMMARY_ROWS = 4096  # pages summarised at a time: bounds the memory of a long prefill or of a swap


@dataclass
class Counters:
    """What a layer did since the last reset. A page here is one page of one KV head.

    `sparse_tokens`: decode tokens whose pages the program chose; `dense_tokens`: decode tokens of a layer below
    `dense_layers`; `pages_attended` and `pages_dense`: pages read for the sparse tokens, and pages that dense
    attention would have read for them.
    """

    sparse_tokens: int = 0
    dense_tokens: int = 0
    prefill_tokens: int = 0
    pages_attended: int = 0
    pages_dense: int = 0


@dataclass
class Decodes:
    """The decode queries of one step, shared by all layers.

    `pages`: [num_rows, max_pages] page numbers; `lengths`: [num_rows] tokens; `kv_head`: [num_rows];
    rows are sequences times KV heads. `rows` is the same batch with one row per sequence. `followed` says which
    requests they are, None if no layer wants to know. Layers fill in `choices`, by the layer that made them, and
    `sets`, which pages are complete and which reserved.
    """

    pages: torch.Tensor
    lengths: torch.Tensor
    kv_head: torch.Tensor
    rows: Rows
    followed: Followed | None = None
    choices: dict[int, torch.Tensor] = field(default_factory=dict)
    sets: PageSets | None = None

    def rows_of(self, sequences: torch.Tensor) -> torch.Tensor:
        """Give the rows of some sequences."""
        num_kv_heads = self.lengths.shape[0] // self.rows.lengths.shape[0]
        return (sequences[:, None] * num_kv_heads + torch.arange(num_kv_heads, device=sequences.device)).flatten()

    def only(self, sequences: torch.Tensor) -> Decodes:
        """Give the same batch with some of its sequences."""
        rows = self.rows_of(sequences)
        return replace(self, pages=self.pages[rows], lengths=self.lengths[rows], kv_head=self.kv_head[rows], sets=None)


class Rule:
    """A program's graph and batched backend for one layer."""

    def __init__(self, program: Program, group: int, head_dim: int) -> None:
        self.program = program
        self.graph = trace(program, Shape(group=group, head_dim=head_dim))
        self.batched = Batched(self.graph)
        self.page_size = self.graph.page_size

    @property
    def field_bytes(self) -> int:
        """Bytes per page and KV head that the fields need."""
        return self.batched.layout.bytes_per_page

    def summarize(self, pages: Pages, numbers: torch.Tensor) -> None:
        """Write the fields of complete pages. numbers: [num_pages] page numbers."""
        if not self.field_bytes:
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
    ) -> torch.Tensor:
        """Give the attended pages as bool [num_rows, max_pages]. query: [num_rows, group, head_dim].

        The first layer of a group chooses, where its memory holds no choice that is still good; the others follow.
        """
        leader = self.leader(layer.index)
        assert leader is not None, "a dense layer attends to every page and asks no rule"
        if leader == layer.index:
            decodes.choices[leader] = self._choice(query, pages, decodes, layer, memory)
        elif leader not in decodes.choices:
            raise ServingError(
                f"layer {layer.index} uses the choice of layer {leader}, which this worker does not run; set "
                "share_layers=1, or serve without pipeline parallelism"
            )
        return decodes.choices[leader] | self._sets(decodes).reserved

    def _choice(
        self, query: torch.Tensor, pages: Pages, decodes: Decodes, layer: Layer, memory: Memory
    ) -> torch.Tensor:
        """Give the chosen candidates, bool [num_rows, max_pages]: of this step, or of one that is remembered."""
        if decodes.followed is None:
            return self._choose(query, pages, decodes, layer, None).pages
        followed, max_pages = decodes.followed, decodes.pages.shape[1]
        period = decodes.rows.lengths.long() // self.graph.refresh_steps
        renewed = memory.renewed(followed, period).nonzero().flatten()
        if renewed.numel():
            states = memory.read(followed, renewed, max_pages)
            some = decodes.only(renewed)
            chosen = self._choose(query[decodes.rows_of(renewed)], pages, some, layer, states)
            memory.write(followed.slots[renewed], period[renewed], chosen.pages, chosen.states)
        return memory.chosen(followed.slots, max_pages)

    def _choose(
        self,
        query: torch.Tensor,
        pages: Pages,
        decodes: Decodes,
        layer: Layer,
        states: tuple[torch.Tensor, ...] | None,
    ) -> Chosen:
        """Run the program on these rows."""
        return self.batched.choose(
            Step(
                q=query.float(),
                sets=self._sets(decodes),
                kv_head=decodes.kv_head,
                layer_index=layer.index,
                layer_count=layer.count,
                scale=layer.scale,
                source=CachedPages(self.batched.layout, pages, decodes.pages),
                states=states,
            )
        )

    def _sets(self, decodes: Decodes) -> PageSets:
        """Sort the pages, once per step: every layer runs the same program."""
        if decodes.sets is None:
            decodes.sets = self.batched.page_sets(decodes.lengths, decodes.pages.shape[1])
        return decodes.sets


@dataclass(frozen=True)
class CachedPages:
    """Rows of pages of the KV cache (`vortex_dsl.batched.PageSource`). numbers: [num_rows, max_pages]."""

    layout: Layout
    pages: Pages
    numbers: torch.Tensor

    @property
    def max_pages(self) -> int:
        """Pages of the longest row."""
        return self.numbers.shape[1]

    def fields(self, some: slice) -> dict[str, torch.Tensor]:
        """Gather and decode some pages' fields."""
        return self.layout.load(self.pages.fields, self.numbers[:, some])

    def raw(self, name: str, some: slice) -> torch.Tensor:
        """Gather some pages' keys or values."""
        numbers = self.numbers[:, some]
        return (self.pages.raw_keys(numbers) if name == "k" else self.pages.raw_values(numbers)).float()


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
