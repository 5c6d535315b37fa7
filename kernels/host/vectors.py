"""Products of many short vectors, written in the compiler's own vector code, which Numba's loops cannot express.

The sixteen sums of a block stay in vector registers until the end, where shuffles add up all of them together: summing
each on its own takes longer than multiplying does.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
SUMS = 16  # of a block
_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_BITS = ir.VectorType(ir.IntType(32), LANES)
_HALVES = ir.VectorType(ir.IntType(16), LANES)


def _int(value: int, bits: int = 64) -> Any:
    return ir.Constant(ir.IntType(bits), value)


def _load(builder: Any, pointer: Any, kind: Any, alignment: int) -> Any:
    loaded = builder.load(builder.bitcast(pointer, kind.as_pointer()))
    loaded.align = alignment
    return loaded


def _floats(builder: Any, pointer: Any, dtype: Any) -> Any:
    """Load LANES numbers as float32: float32 as they are, 16 bits as bfloat16."""
    if dtype is types.float32:
        return _load(builder, pointer, _FLOATS, 4)
    wide = builder.zext(_load(builder, pointer, _HALVES, 2), _BITS)
    return builder.bitcast(builder.shl(wide, ir.Constant(_BITS, [16] * LANES)), _FLOATS)


def _summed(builder: Any, vectors: list[Any]) -> Any:
    """Add up the lanes of SUMS vectors: lane i of the result is the sum of vector i."""
    even, odd = (ir.Constant(_BITS, list(range(first, 2 * LANES, 2))) for first in (0, 1))
    while len(vectors) > 1:
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [
            builder.fadd(builder.shuffle_vector(a, b, even), builder.shuffle_vector(a, b, odd)) for a, b in pairs
        ]
    return vectors[0]


def _products(num_queries: int) -> Any:
    @intrinsic
    def products(
        _context: Any, memory: Any, at: Any, _block: Any, query: Any, _length: Any, sums: Any, _to: Any
    ) -> Any:
        """Multiply SUMS / num_queries vectors with `num_queries` queries.

        memory: float32 or bfloat16 as uint16, of which the vectors begin at int64 `at[_block:]`; query: float32, one
        after the other; _length: elements of a vector, a multiple of LANES; sums: float32, [vector, query] from `_to`.
        """

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            values, at, given, sums = (
                context.make_array(signature.args[i])(context, builder, args[i]).data for i in (0, 1, 3, 5)
            )
            block, count, to = args[2], args[4], args[6]
            starts = [
                builder.gep(values, [builder.load(builder.gep(at, [builder.add(block, _int(i))]))])
                for i in range(SUMS // num_queries)
            ]
            queries = [builder.gep(given, [builder.mul(count, _int(i))]) for i in range(num_queries)]
            totals = [cgutils.alloca_once_value(builder, ir.Constant(_FLOATS, [0.0] * LANES)) for _ in range(SUMS)]
            fused = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
            multiply_add = cgutils.get_or_insert_function(builder.module, fused, f"llvm.fma.v{LANES}f32")
            with cgutils.for_range(builder, builder.udiv(count, _int(LANES))) as loop:
                place = builder.mul(loop.index, _int(LANES))
                factors = [_floats(builder, builder.gep(query, [place]), types.float32) for query in queries]
                for i, start in enumerate(starts):
                    x = _floats(builder, builder.gep(start, [place]), signature.args[0].dtype)
                    for j, factor in enumerate(factors):
                        total = totals[i * num_queries + j]
                        builder.store(builder.call(multiply_add, [x, factor, builder.load(total)]), total)
            found = _summed(builder, [builder.load(total) for total in totals])
            builder.store(found, builder.bitcast(builder.gep(sums, [to]), _FLOATS.as_pointer())).align = 4
            return context.get_dummy_value()

        return types.void(memory, at, types.int64, query, types.int64, sums, types.int64), generate

    return products


products_of_1, products_of_4 = _products(1), _products(4)
