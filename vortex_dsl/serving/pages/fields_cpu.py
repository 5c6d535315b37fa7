"""A program's fields on a CPU: read and multiplied by compiled loops, decoded where needed and nowhere kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kernels.host import cpu
from vortex_dsl import storage
from vortex_dsl.backends.tape.machine import stored_at
from vortex_dsl.serving.pages.fields import Fields

if TYPE_CHECKING:
    import torch

    from vortex_dsl.analysis.layout import FieldLayout, Layout


class CpuFields(Fields):
    """Each field in a stretch of its own, page after page without gaps: to score, one field is read at a time.

    region: uint8 [num_pages, at least `layout.bytes_per_page`], without gaps.
    """

    def __init__(self, region: torch.Tensor, layout: Layout) -> None:
        super().__init__(region, layout)
        self.memory = cpu.memory_of(region)
        self.stored: dict[str, cpu.Stored] = {}
        self._stretches: dict[str, torch.Tensor] = {}
        num_pages, room, start = region.shape[0], region.view(-1), 0
        for field in sorted(layout.fields, key=_itemsize, reverse=True):  # so that all begin at whole elements
            end = start + num_pages * field.num_bytes
            self._stretches[field.name] = room[start:end].view(num_pages, field.num_bytes)
            self.stored[field.name] = stored_at(replace(field, offset=0), start, field.num_bytes)
            start = end

    def store(self, numbers: torch.Tensor, packed: torch.Tensor) -> None:
        """Store pages' fields (`Fields.store`)."""
        for field in self.layout.fields:
            self._stretches[field.name][numbers] = packed[:, field.offset : field.offset + field.num_bytes]

    def load(self, name: str, numbers: torch.Tensor) -> torch.Tensor:
        """Give a field of pages (`Fields.load`)."""
        return cpu.gather(self.memory, self.stored[name], numbers).view(*numbers.shape, *self._by_name[name].axes)

    def contract(self, name: str, numbers: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
        """Multiply a field's vectors (`Fields.contract`)."""
        return cpu.contract(self.memory, self.stored[name], numbers, query)


def _itemsize(field: FieldLayout) -> int:
    """Give the bytes of a field's largest elements, scales included."""
    if storage.scale_bytes(field.kind):
        return storage.SCALE_BYTES
    return storage.vector_bytes(field.kind, 1)
