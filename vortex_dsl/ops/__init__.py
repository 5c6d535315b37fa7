"""THE operation table: type rule, meaning, cost and documentation, one entry per operation.

To add an operation, add one entry to the family it belongs to.
"""

from __future__ import annotations

from types import MappingProxyType

from vortex_dsl.ops import assembling, codes, elementwise, hashing, rearranging, reductions, selection
from vortex_dsl.ops.op import Op, OpKind

_FAMILIES = (
    elementwise.ENTRIES,
    hashing.ENTRIES,
    reductions.ENTRIES,
    rearranging.ENTRIES,
    assembling.ENTRIES,
    selection.ENTRIES,
)

OPS = MappingProxyType({op.name: op for family in _FAMILIES for op in family})  # what a program can write
ENTRIES = MappingProxyType({**OPS, **{op.name: op for op in codes.ENTRIES}})  # what a node can be, leaves aside
# Which operand is the score: of each selection by one, and of those that only see its order.
SCORED = MappingProxyType({op.name: op.score for op in OPS.values() if op.score is not None})
RANKED = MappingProxyType({name: place for name, place in SCORED.items() if OPS[name].by_rank})

__all__ = ["ENTRIES", "OPS", "RANKED", "SCORED", "Op", "OpKind"]
