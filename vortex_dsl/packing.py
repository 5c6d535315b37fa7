"""What summarize stores of a field: the pieces of a page's bytes as expressions (see storage.py for the codes)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vortex_dsl.expression import Expr, Loop
from vortex_dsl.lower import ELEMENTS_PER_BYTE, LARGEST_CODE, TYPED_KINDS
from vortex_dsl.storage import scale_bytes, vector_bytes
from vortex_dsl.values import DIM

if TYPE_CHECKING:
    from vortex_dsl.lower import Lowering
    from vortex_dsl.plan import Summary

_CONVERSIONS = {
    "bfloat16": "round_bfloat16({0})",
    "float16": "({0}).to(tl.float16)",
    "float32": "{0}",
}
_TO_BYTES = {
    "fp8_e4m3": "encode_fp8({0})",
    "int8": "({0}).to(tl.int8)",
    "int4": "({0}).to(tl.uint8)",
    "sign": "({0}).to(tl.uint8)",
}


@dataclass(frozen=True)
class Store:
    """One piece of a field: its value, where its elements go, row by row, and how they become what is stored.

    `kind` is "field", "codes" or "scales", as of the Source that reads it.
    """

    kind: str
    field: int
    value: Expr
    indices: tuple[Expr, ...]
    lengths: tuple[int, ...]
    conversion: str


def stores(lowering: Lowering, summary: Summary) -> list[Store]:
    """Give the pieces of one field."""
    return _Packing(lowering, summary).stores()


class _Packing:
    def __init__(self, lowering: Lowering, summary: Summary) -> None:
        self._lowering, self._pool = lowering, lowering.pool
        self._node, self._layout = summary.node, summary.layout
        self._kind = summary.layout.kind
        self._loops = {axis.name: Loop(axis.name, axis.length) for axis in summary.node.type.axes}

    def stores(self) -> list[Store]:
        """Give the pieces."""
        at = {name: self._pool.loop(loop) for name, loop in self._loops.items()}
        if self._kind in TYPED_KINDS:
            return [self._store("field", self._value(at), at, _CONVERSIONS[self._kind])]
        vector = {name: index for name, index in at.items() if name != DIM}
        scales = [self._store("scales", self._scale(vector), vector, "{0}")] if scale_bytes(self._kind) else []
        return [self._codes(vector), *scales]

    def _value(self, at: dict[str, Expr]) -> Expr:
        return self._lowering.scalar(self._pool.numeric(self._lowering.at(self._node, at)))

    def _store(self, kind: str, value: Expr, at: dict[str, Expr], conversion: str) -> Store:
        lengths = tuple(self._loops[name].length or 0 for name in at)
        return Store(kind, self._layout.field.index, value, tuple(at.values()), lengths, conversion)

    def _scale(self, vector: dict[str, Expr]) -> Expr:
        return self._lowering.scale(self._node, vector, LARGEST_CODE[self._kind])

    def _codes(self, vector: dict[str, Expr]) -> Store:
        conversion = _TO_BYTES[self._kind]
        if DIM not in self._loops:
            code = self._packed([self._element(vector)])
            return self._stored_codes(vector, self._pool.integer(0), code, conversion)
        byte = self._pool.loop(Loop(DIM, vector_bytes(self._kind, self._layout.length), serial=1))
        per_byte = ELEMENTS_PER_BYTE[self._kind]
        first = self._pool.index_mul(byte, per_byte)
        elements = [self._pool.index_add(first, self._pool.integer(i)) for i in range(per_byte)]
        codes = [self._within({**vector, DIM: element}, element) for element in elements]
        return self._stored_codes(vector, byte, self._packed(codes), conversion)

    def _packed(self, codes: list[Expr]) -> Expr:
        """Put the codes of one byte together."""
        bits = 8 // ELEMENTS_PER_BYTE[self._kind]
        return codes[0] if bits == 8 else self._pool.make("pack", codes, (bits,), kind="int")

    def _stored_codes(self, vector: dict[str, Expr], byte: Expr, value: Expr, conversion: str) -> Store:
        num_bytes = vector_bytes(self._kind, self._layout.length)
        lengths = (*(self._loops[name].length or 0 for name in vector), num_bytes)
        return Store("codes", self._layout.field.index, value, (*vector.values(), byte), lengths, conversion)

    def _within(self, at: dict[str, Expr], element: Expr) -> Expr:
        """Give the code of one element, 0 beyond the end of the vector."""
        code, length = self._element(at), self._layout.length
        if length % ELEMENTS_PER_BYTE[self._kind] == 0:
            return code
        inside = self._pool.make("index_lt", (element, self._pool.integer(length)), kind="bool")
        return self._pool.make("where", (inside, code, self._pool.number(0.0)))

    def _element(self, at: dict[str, Expr]) -> Expr:
        x = self._value(at)
        if self._kind == "fp8_e4m3":
            return x
        if self._kind == "sign":
            negative = self._pool.make("lt", (x, self._pool.number(0.0)), kind="bool")
            return self._pool.numeric(self._pool.make("invert", (negative,), kind="bool"))
        scale = self._scale({name: index for name, index in at.items() if name != DIM})
        return self._pool.make("code", (x, scale), (LARGEST_CODE[self._kind],))
