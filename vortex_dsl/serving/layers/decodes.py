"""The decode queries of one engine step, and what the layers find out about them on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from vortex_dsl.backends.tape.machine import PagedRows

if TYPE_CHECKING:
    from vortex_dsl.backends.batched import Batched, PageSets
    from vortex_dsl.backends.tape.machine import Attended
    from vortex_dsl.serving.layers.memory import Followed
    from vortex_dsl.serving.pages.pages import Rows


@dataclass(frozen=True)
class Heads:
    """The KV heads of this worker: how many, and the number of the first among all workers'."""

    count: int
    first: int = 0


@dataclass
class Decodes:
    """Sequences that decode one token each, shared by all layers of a step.

    Below, a row is one sequence and one KV head. `rows` is the same batch with one row per sequence, its table of
    blocks. `followed` says which requests they are, None if no layer wants to know. Layers fill in `choices`, by the
    layer that chose.
    """

    rows: Rows
    page_size: int
    heads: Heads
    followed: Followed | None = None
    choices: dict[int, Attended] = field(default_factory=dict)

    @property
    def num_sequences(self) -> int:
        """Give the number of sequences."""
        return self.rows.lengths.shape[0]

    @cached_property
    def lengths(self) -> torch.Tensor:
        """Give the tokens of each row, with the current one: int64 [num_rows]."""
        return self.rows.lengths.long().repeat_interleave(self.heads.count)

    @cached_property
    def kv_head(self) -> torch.Tensor:
        """Give the KV head of each row, numbered over all workers: int64 [num_rows]."""
        heads = torch.arange(self.heads.count, device=self.rows.lengths.device)
        return (heads + self.heads.first).repeat(self.num_sequences)

    @cached_property
    def _num_pages(self) -> torch.Tensor:
        return (self.rows.lengths.long() + self.page_size - 1) // self.page_size

    @cached_property
    def longest(self) -> int:
        """Give the tokens of the longest sequence."""
        return int(self.rows.lengths.max())

    @cached_property
    def starts(self) -> torch.Tensor:
        """Give the first query of each row, and their number: int32 [num_rows + 1]."""
        num_rows = self.num_sequences * self.heads.count
        return torch.arange(num_rows + 1, dtype=torch.int32, device=self.rows.lengths.device)

    @property
    def max_pages(self) -> int:
        """Give the pages of the longest sequence."""
        return -(-self.longest // self.page_size)

    @cached_property
    def total_pages(self) -> int:
        """Give the pages that dense attention reads, over all rows."""
        return int(self._num_pages.sum()) * self.heads.count

    @cached_property
    def pages(self) -> torch.Tensor:
        """Give the page numbers: int64 [num_rows, max_pages]."""
        table = self.rows.table[:, : self.max_pages]
        within = torch.arange(self.max_pages, device=table.device) < self._num_pages[:, None]
        blocks = table * within  # entries beyond the length are arbitrary: read block 0 there
        return pages_of(blocks, self.heads.count).transpose(1, 2).flatten(0, 1).contiguous()

    @cached_property
    def paged(self) -> PagedRows:
        """Give what compiled loops read of all this."""
        return PagedRows(self.pages, self.lengths, self.kv_head)

    @cached_property
    def _sets(self) -> dict[tuple[int, int], PageSets]:
        return {}

    def sets(self, batched: Batched) -> PageSets:
        """Sort the pages of every row, once for all layers that reserve alike."""
        key = (batched.graph.sink, batched.graph.window)
        if key not in self._sets:
            self._sets[key] = batched.page_sets(self.lengths, self.max_pages)
        return self._sets[key]

    def rows_of(self, sequences: torch.Tensor) -> torch.Tensor:
        """Give the rows of some sequences."""
        heads = torch.arange(self.heads.count, device=sequences.device)
        return (sequences[:, None] * self.heads.count + heads).flatten()


def pages_of(blocks: torch.Tensor, num_kv_heads: int) -> torch.Tensor:
    """Give the page numbers of blocks: [...] -> int64 [..., num_kv_heads]."""
    return blocks.long()[..., None] * num_kv_heads + torch.arange(num_kv_heads, device=blocks.device)


def first_kv_head(total: int, rank: int, num_ranks: int) -> int:
    """Give the global number of a rank's first KV head: heads are split over the ranks, or repeated where too few."""
    return total * rank // num_ranks
