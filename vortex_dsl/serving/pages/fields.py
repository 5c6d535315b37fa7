"""A program's fields in one layer's cache: stored when a page is complete, read or multiplied when pages are scored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vortex_dsl.backends.batched import BLOCK_ELEMENTS, contract

if TYPE_CHECKING:
    from vortex_dsl.analysis.layout import Layout


class Fields:
    """Fields in plain torch, for any device. region: uint8 [num_pages, at least as many bytes as a page's fields]."""

    def __init__(self, region: torch.Tensor, layout: Layout) -> None:
        self.region, self.layout = region[:, : layout.bytes_per_page], layout
        self._by_name = {field.name: field for field in layout.fields}

    def store(self, numbers: torch.Tensor, packed: torch.Tensor) -> None:
        """Store pages' fields. numbers: int64 [num]; packed: uint8 [num, bytes_per_page]."""
        self.region[numbers] = packed

    def load(self, name: str, numbers: torch.Tensor) -> torch.Tensor:
        """Give a field of pages: float32 [*numbers.shape, *axes]."""
        return self._by_name[name].load(self.region, numbers)

    def contract(self, name: str, numbers: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
        """Multiply a field's vectors with queries: float32 [rows, pages, vectors, queries].

        numbers: int64 [rows, pages]; query: float32 [rows, queries, dim].
        """
        field = self._by_name[name]
        size = max(1, BLOCK_ELEMENTS // (numbers.shape[0] * field.num_vectors * field.length))
        return torch.cat([contract(field.load(self.region, some), query) for some in numbers.split(size, 1)], 1)
