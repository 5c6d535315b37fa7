"""What summarize stores of a field: the pieces of a page's bytes as expressions (see storage.py for the codes)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vortex_dsl.ops.codes import code_of, scale_of, value_of
from vortex_dsl.ops.expression import Expr, Loop
from vortex_dsl.storage import CODED, elements_per_byte, scale_bytes, vector_bytes
from vortex_dsl.values import DIM

if TYPE_CHECKING:
    from collections.abc import Callable

    from vortex_dsl.analysis.layout import FieldLayout
    from vortex_dsl.codegen.lower import GraphLowering

_CONVERSIONS = {
    "bfloat16": "round_bfloat16({0})",
    "float16": "({0}).to(tl.float16)",
    "float32": "{0}",
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


def stores(lowering: GraphLowering, layout: FieldLayout) -> list[Store]:
    """Give the pieces of one field."""
    return _Packing(lowering, layout).stores()


class _Packing:
    def __init__(self, lowering: GraphLowering, layout: FieldLayout) -> None:
        self._lower, self._pool = lowering, lowering.pool
        self._node, self._layout, self._kind = layout.field.node, layout, layout.kind
        self._loops = {axis.name: Loop(axis.name, axis.length) for axis in self._node.type.axes}

    def stores(self) -> list[Store]:
        """Give the pieces."""
        at = {name: self._pool.loop(loop) for name, loop in self._loops.items()}
        if self._kind not in CODED:
            return [self._store("field", self._piece(value_of, at), at, _CONVERSIONS[self._kind])]
        vector = {name: index for name, index in at.items() if name != DIM}
        codes = self._codes(vector)
        if not scale_bytes(self._kind):
            return [codes]
        return [codes, self._store("scales", self._piece(scale_of, vector, self._kind), vector, "{0}")]

    def _piece(self, make: Callable[..., Expr], *given: object) -> Expr:
        return self._lower.run(lambda: make(self._lower, self._node, *given))

    def _store(self, kind: str, value: Expr, at: dict[str, Expr], conversion: str) -> Store:
        lengths = tuple(self._loops[name].length or 0 for name in at)
        return Store(kind, self._layout.field.index, value, tuple(at.values()), lengths, conversion)

    def _codes(self, vector: dict[str, Expr]) -> Store:
        num_bytes, per_byte = vector_bytes(self._kind, self._layout.length), elements_per_byte(self._kind)
        lengths = (*(self._loops[name].length or 0 for name in vector), num_bytes)
        byte = self._pool.integer(0)
        elements: list[Expr | None] = [None]
        if DIM in self._loops:
            byte = self._pool.loop(Loop(DIM, num_bytes, serial=1))
            first = self._pool.index_mul(byte, per_byte)
            elements = [self._pool.index_add(first, self._pool.integer(i)) for i in range(per_byte)]
        value = self._packed([self._code(vector, element) for element in elements])
        index = self._layout.field.index
        return Store("codes", index, value, (*vector.values(), byte), lengths, _CONVERSIONS[self._kind])

    def _packed(self, codes: list[Expr]) -> Expr:
        """Put the codes of one byte together."""
        bits = 8 // elements_per_byte(self._kind)
        return codes[0] if bits == 8 else self._pool.make("pack", codes, (bits,), kind="int")

    def _code(self, vector: dict[str, Expr], element: Expr | None) -> Expr:
        """Give the code of one element, 0 beyond the end of the vector."""
        at = vector if element is None else {**vector, DIM: element}
        code = self._piece(code_of, at, self._kind)
        length = self._layout.length
        if element is None or length % elements_per_byte(self._kind) == 0:
            return code
        inside = self._pool.boolean("index_lt", element, self._pool.integer(length))
        return self._pool.make("where", (inside, code, self._pool.number(0.0)))
