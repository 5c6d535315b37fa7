"""One program, made ready for one layer's shape, and the proof of what it did there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from vortex_dsl.batched import Batched, Step
from vortex_dsl.trace import trace
from vortex_dsl.values import Shape

from .config import ServingError

if TYPE_CHECKING:
    from vortex_dsl.program import Program

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


@dataclass(frozen=True)
class Decodes:
    """The decode queries of one step, shared by all layers.

    `pages`: [num_rows, max_pages] page numbers; `lengths`: [num_rows] tokens; `kv_head`: [num_rows];
    rows are sequences times KV heads. `rows` is the same batch with one row per sequence.
    """

    pages: torch.Tensor
    lengths: torch.Tensor
    kv_head: torch.Tensor
    rows: Rows


class Rule:
    """A program's graph and batched backend for one layer."""

    def __init__(self, program: Program, group: int, head_dim: int) -> None:
        unserved = [n for n in ("share_layers", "refresh_steps") if program.values[n] != 1]
        if unserved:
            raise ServingError(f"{program.name}: {unserved[0]} other than 1 is not served yet; set it to 1")
        self.program = program
        self.graph = trace(program, Shape(group=group, head_dim=head_dim))
        self.batched = Batched(self.graph)
        self.dense_layers = int(program.values["dense_layers"])
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

    def attended(self, query: torch.Tensor, pages: Pages, decodes: Decodes, layer: Layer) -> torch.Tensor:
        """Give the attended pages as bool [num_rows, max_pages]. query: [num_rows, group, head_dim]."""
        raw = self.batched.reads_raw_pages
        layout = self.batched.layout
        step = Step(
            q=query.float(),
            fields=layout.load(layout.views(pages.fields), decodes.pages) if self.field_bytes else {},
            lengths=decodes.lengths,
            kv_head=decodes.kv_head,
            layer_index=layer.index,
            layer_count=layer.count,
            scale=layer.scale,
            max_pages=decodes.pages.shape[1],
            k=pages.raw_keys(decodes.pages).float() if raw else None,
            v=pages.raw_values(decodes.pages).float() if raw else None,
        )
        return self.batched.select(step)


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
