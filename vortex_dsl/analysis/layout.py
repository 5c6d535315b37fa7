"""How one page's fields lie in bytes, per KV head: packed by summarize, viewed and gathered by select."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING

from vortex_dsl import storage
from vortex_dsl.values import DIM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from vortex_dsl.graph.graph import Field, Graph

ALIGNMENT = 16


def _aligned(num_bytes: int, alignment: int = ALIGNMENT) -> int:
    return -(-num_bytes // alignment) * alignment


def alignment_of(num_bytes: int) -> int:
    """Give what a field's offset is a multiple of: 16 bytes, or the power of two that a smaller field fits into."""
    return 1 << (min(num_bytes, ALIGNMENT) - 1).bit_length()


def room_of(num_bytes: int) -> int:
    """Give the bytes that a field takes beside others of its size."""
    return _aligned(num_bytes, alignment_of(num_bytes))


@dataclass(frozen=True)
class FieldLayout:
    """Where a field lies in a page's bytes: at `offset` vectors one after the other, then their scales.

    Its `num_vectors` vectors hold `length` elements each; `axes` are the lengths of its axes.
    """

    field: Field
    offset: int

    @property
    def name(self) -> str:
        """Give the field's canonical name."""
        return self.field.name

    @property
    def kind(self) -> str:
        """Give the storage kind."""
        return self.field.storage

    @cached_property
    def axes(self) -> tuple[int, ...]:
        """Give the lengths of the field's axes in canonical order."""
        return tuple(self.field.type.length(name) for name in self.field.type.names)

    @cached_property
    def length(self) -> int:
        """Give the elements of one stored vector."""
        return self.axes[-1] if DIM in self.field.type.names else 1

    @cached_property
    def num_vectors(self) -> int:
        """Give the stored vectors of one page."""
        return prod(self.axes) // self.length

    @cached_property
    def vector_bytes(self) -> int:
        """Bytes from one vector to the next."""
        return storage.vector_bytes(self.kind, self.length)

    @cached_property
    def scales_offset(self) -> int:
        """Bytes from the field's start to its scales."""
        return _aligned(self.num_vectors * self.vector_bytes, storage.SCALE_BYTES)

    @cached_property
    def num_bytes(self) -> int:
        """Bytes of the field, without padding up to the next one."""
        if not storage.scale_bytes(self.kind):
            return self.num_vectors * self.vector_bytes
        return self.scales_offset + self.num_vectors * storage.scale_bytes(self.kind)

    def pack(self, x: Tensor, into: Tensor) -> None:
        """Store float32 [rows, *axes] in uint8 [rows, bytes_per_page]."""
        import torch

        vectors = x.reshape(x.shape[0], self.num_vectors, self.length)
        end = self.offset + self.num_vectors * self.vector_bytes
        if not storage.scale_bytes(self.kind):
            into[:, self.offset : end] = storage.encode(vectors, self.kind).flatten(1)
            return
        codes, scales = storage.quantize(vectors, self.kind)
        into[:, self.offset : end] = storage.bytes_of(codes, self.kind).flatten(1)
        start = self.offset + self.scales_offset
        into[:, start : self.offset + self.num_bytes] = scales.contiguous().flatten(1).view(torch.uint8)

    def load(self, region: Tensor, rows: Tensor) -> Tensor:
        """Gather rows, integers of any shape, of uint8 [num_rows, >= bytes_per_page], and decode them.

        Rows of the region may lie far apart, each at a multiple of 16 bytes. -> float32 [*rows.shape, *axes]
        """
        raw = region[:, self.offset : self.offset + self.num_bytes].index_select(0, rows.flatten())
        if storage.is_float(self.kind):
            return raw.view(storage.float_dtype(self.kind)).float().reshape(*rows.shape, *self.axes)
        return self._decoded(raw).reshape(*rows.shape, *self.axes)

    def _decoded(self, raw: Tensor) -> Tensor:
        """Decode raw bytes [num, num_bytes] to float32 [num, num_vectors, length]."""
        import torch

        codes = raw[:, : self.num_vectors * self.vector_bytes].unflatten(1, (self.num_vectors, self.vector_bytes))
        decoded = storage.decode(codes.contiguous(), self.kind, self.length)
        if not storage.scale_bytes(self.kind):
            return decoded
        return decoded * raw[:, self.scales_offset :].contiguous().view(torch.float32)[..., None]


class Layout:
    """The bytes of one page's fields for one KV head, a multiple of 16; `fields` are in canonical order.

    Fields of 16 bytes and more come first, each at a multiple of 16 bytes; smaller ones share what is left.
    """

    def __init__(self, graph: Graph) -> None:
        unplaced = [FieldLayout(field, 0) for field in graph.fields]
        placed: dict[str, FieldLayout] = {}
        offset = 0
        for each in sorted(unplaced, key=lambda each: alignment_of(each.num_bytes), reverse=True):
            offset = _aligned(offset, alignment_of(each.num_bytes))
            placed[each.name] = replace(each, offset=offset)
            offset += each.num_bytes
        self.fields = tuple(placed[each.name] for each in unplaced)
        self.bytes_per_page = _aligned(offset)

    def pack(self, fields: Mapping[str, Tensor]) -> Tensor:
        """Store fields, float32 [rows, *axes] by canonical name, as uint8 [rows, bytes_per_page]."""
        import torch

        like = next(iter(fields.values()))
        packed = torch.zeros((like.shape[0], self.bytes_per_page), dtype=torch.uint8, device=like.device)
        for field in self.fields:
            field.pack(fields[field.name], packed)
        return packed

    def load(self, region: Tensor, rows: Tensor) -> dict[str, Tensor]:
        """Gather and decode every field (`FieldLayout.load`): float32 [*rows.shape, *axes] by name."""
        return {field.name: field.load(region, rows) for field in self.fields}
