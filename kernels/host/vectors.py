"""Products of many short vectors, written in the compiler's own vector code, which Numba's loops cannot express.

Stored vectors are multiplied in the form in which they lie in memory. The sums of a block, sixteen at most, stay in
vector registers until the end, where shuffles add up all of them together: summing each on its own takes longer than
multiplying does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = ("bfloat16", "float16", "float32", "fp8_e4m3", "int8", "int4", "sign")
LANES = 16
SUMS = 16  # of a block
_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_BITS = ir.VectorType(ir.IntType(32), LANES)
_FLAGS = ir.VectorType(ir.IntType(1), LANES)
_HALF_BITS = ir.VectorType(ir.IntType(32), LANES // 2)


def _int(value: int, bits: int = 64) -> Any:
    return ir.Constant(ir.IntType(bits), value)


def _all(value: int, kind: Any = _BITS) -> Any:
    return ir.Constant(kind, [value] * kind.count)


def _load(builder: Any, pointer: Any, kind: Any) -> Any:
    """Load from any byte."""
    loaded = builder.load(builder.bitcast(pointer, kind.as_pointer()))
    loaded.align = 1
    return loaded


def _integers(builder: Any, pointer: Any, bits: int, kind: Any = _BITS) -> Any:
    """Load integers without a sign of so many bits."""
    return builder.zext(_load(builder, pointer, ir.VectorType(ir.IntType(bits), kind.count)), kind)


def _signed(builder: Any, codes: Any, bits: int) -> Any:
    """Give the number that the lowest bits are, in two's complement."""
    unused = _all(32 - bits)
    return builder.sitofp(builder.ashr(builder.shl(codes, unused), unused), _FLOATS)


def _from_float32(builder: Any, pointer: Any) -> Any:
    return _load(builder, pointer, _FLOATS)


def _from_bfloat16(builder: Any, pointer: Any) -> Any:
    return builder.bitcast(builder.shl(_integers(builder, pointer, 16), _all(16)), _FLOATS)


def _from_float16(builder: Any, pointer: Any) -> Any:
    """Read IEEE half precision: the exponent is put right by a product, which subnormal numbers survive."""
    given = _integers(builder, pointer, 16)
    moved = builder.shl(builder.and_(given, _all(0x7FFF)), _all(13))
    value = builder.bitcast(
        builder.fmul(builder.bitcast(moved, _FLOATS), ir.Constant(_FLOATS, [2.0**112] * LANES)), _BITS
    )
    odd = builder.icmp_unsigned(">=", moved, _all(0x0F800000))  # infinite, or no number
    value = builder.select(odd, builder.or_(moved, _all(0x7F800000)), value)
    sign = builder.shl(builder.and_(given, _all(0x8000)), _all(16))
    return builder.bitcast(builder.or_(value, sign), _FLOATS)


def _from_int8(builder: Any, pointer: Any) -> Any:
    return _signed(builder, _integers(builder, pointer, 8), 8)


def _from_int4(builder: Any, pointer: Any) -> Any:
    """Read LANES halves of bytes: first the low ones, then the high ones, which is the order of `unpaired`."""
    both = _integers(builder, pointer, 8, _HALF_BITS)
    high = builder.lshr(both, _all(4, _HALF_BITS))
    return _signed(builder, builder.shuffle_vector(both, high, ir.Constant(_BITS, list(range(LANES)))), 4)


_READ: dict[str, Callable[[Any, Any], Any]] = {
    "bfloat16": _from_bfloat16,
    "float16": _from_float16,
    "float32": _from_float32,
    "int8": _from_int8,
    "int4": _from_int4,
}
_CHUNK_BYTES = {"bfloat16": 32, "float16": 32, "float32": 64, "int8": 16, "int4": 8, "sign": 2}  # of LANES elements
MULTIPLIED = tuple(KINDS.index(kind) for kind in _CHUNK_BYTES)  # what `products` can take as it lies


def _multiply_add(builder: Any) -> Callable[[Any, Any, Any], Any]:
    fused = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
    function = cgutils.get_or_insert_function(builder.module, fused, f"llvm.fma.v{LANES}f32")
    return lambda a, b, c: builder.call(function, [a, b, c])


def _term(builder: Any, kind: str, chunk: Any) -> Callable[[Any, Any], Any]:
    """Give what adds the products of a chunk of a stored vector to sums: (factor, total) -> total."""
    if kind == "sign":  # a bit says whether the factor counts for or against
        flags = builder.bitcast(_load(builder, chunk, ir.IntType(LANES)), _FLAGS)
        return lambda factor, total: builder.fadd(total, builder.select(flags, factor, builder.fneg(factor)))
    fused, x = _multiply_add(builder), _READ[kind](builder, chunk)
    return lambda factor, total: fused(x, factor, total)


def _summed(builder: Any, vectors: list[Any]) -> Any:
    """Add up the lanes of SUMS vectors: lane i of the result is the sum of vector i."""
    even, odd = (ir.Constant(_BITS, list(range(first, 2 * LANES, 2))) for first in (0, 1))
    while len(vectors) > 1:
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [
            builder.fadd(builder.shuffle_vector(a, b, even), builder.shuffle_vector(a, b, odd)) for a, b in pairs
        ]
    return vectors[0]


def _arrays(context: Any, builder: Any, signature: Any, args: Any, which: tuple[int, ...]) -> list[Any]:
    return [context.make_array(signature.args[i])(context, builder, args[i]).data for i in which]


def _products(num_queries: int) -> Any:
    @intrinsic
    def products(_context: Any, _kind: Any, memory: Any, at: Any, _block: Any, query: Any, sums: Any, _to: Any) -> Any:
        """Multiply SUMS // num_queries vectors with `num_queries` queries.

        _kind: one of MULTIPLIED; memory: uint8, in which the vectors begin at int64 `at[_block:]`; query: float32, one
        after the other, each of a multiple of LANES elements, as `unpaired` orders them for int4; sums: float32,
        [vector, query] from `_to`, and zeros behind them until there are SUMS.
        """

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            values, at, given, sums = _arrays(context, builder, signature, args, (1, 2, 4, 5))
            size = context.make_array(signature.args[4])(context, builder, args[4]).nitems
            length = builder.udiv(size, _int(num_queries))
            starts = [
                builder.gep(values, [builder.load(builder.gep(at, [builder.add(args[3], _int(i))]))])
                for i in range(SUMS // num_queries)
            ]
            queries = [builder.gep(given, [builder.mul(length, _int(i))]) for i in range(num_queries)]
            nothing = ir.Constant(_FLOATS, [0.0] * LANES)
            totals = [cgutils.alloca_once(builder, _FLOATS) for _ in range(len(starts) * num_queries)]
            for total in totals:
                builder.store(nothing, total)
            for name, chunk_bytes in _CHUNK_BYTES.items():
                with (
                    builder.if_then(builder.icmp_signed("==", args[0], _int(KINDS.index(name)))),
                    cgutils.for_range(builder, builder.udiv(length, _int(LANES))) as loop,
                ):
                    place = builder.mul(loop.index, _int(LANES))
                    factors = [_from_float32(builder, builder.gep(query, [place])) for query in queries]
                    for i, start in enumerate(starts):
                        chunk = builder.gep(start, [builder.mul(loop.index, _int(chunk_bytes))])
                        add = _term(builder, name, chunk)
                        for j, factor in enumerate(factors):
                            total = totals[i * num_queries + j]
                            builder.store(add(factor, builder.load(total)), total)
            unused = [nothing] * (SUMS - len(totals))
            found = _summed(builder, [*(builder.load(total) for total in totals), *unused])
            builder.store(found, builder.bitcast(builder.gep(sums, [args[6]]), _FLOATS.as_pointer())).align = 4
            return context.get_dummy_value()

        return types.void(types.int64, memory, at, types.int64, query, sums, types.int64), generate

    return products


products_of_1, products_of_3, products_of_4 = _products(1), _products(3), _products(4)

_IN_COLUMNS = ("bfloat16", "float16", "float32")
COLUMNS = tuple(KINDS.index(kind) for kind in _IN_COLUMNS)  # what `columns` can take


def _columns(num_queries: int) -> Any:
    @intrinsic
    def columns(_context: Any, _kind: Any, memory: Any, _start: Any, at: Any, query: Any, sums: Any, _to: Any) -> Any:
        """Multiply LANES vectors that stand side by side with `num_queries` queries: all of them at once.

        _kind: one of COLUMNS; memory: uint8; element i of all vectors begins int64 `at[i]` bytes behind `_start`;
        query: float32, one after the other, each as long as `at`; sums: float32, [vector, query] from `_to`.
        """

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            values, places, given, sums = _arrays(context, builder, signature, args, (1, 3, 4, 5))
            length = context.make_array(signature.args[3])(context, builder, args[3]).nitems
            fused, start = _multiply_add(builder), builder.gep(values, [args[2]])
            totals = [cgutils.alloca_once(builder, _FLOATS) for _ in range(num_queries)]
            for total in totals:
                builder.store(ir.Constant(_FLOATS, [0.0] * LANES), total)
            for name in _IN_COLUMNS:
                with (
                    builder.if_then(builder.icmp_signed("==", args[0], _int(KINDS.index(name)))),
                    cgutils.for_range(builder, length) as loop,
                ):
                    place = builder.load(builder.gep(places, [loop.index]))
                    x = _READ[name](builder, builder.gep(start, [place]))
                    for i, total in enumerate(totals):
                        factor = builder.gep(given, [builder.add(builder.mul(length, _int(i)), loop.index)])
                        lanes = _repeated(builder, builder.load(factor))
                        builder.store(fused(x, lanes, builder.load(total)), total)
            _store_by_vector(builder, totals, builder.gep(sums, [args[6]]))
            return context.get_dummy_value()

        return types.void(types.int64, memory, types.int64, at, query, sums, types.int64), generate

    return columns


def _store_by_vector(builder: Any, totals: list[Any], to: Any) -> None:
    """Store sums of one or four queries, each of which has a lane for each vector: [vector, query]."""
    loaded = [builder.load(total) for total in totals]
    if len(loaded) == 4:
        both = [_interleaved(builder, loaded[i], loaded[i + 2]) for i in (0, 1)]
        loaded = [part for pair in zip(*both, strict=True) for part in _interleaved(builder, *pair)]
    for i, part in enumerate(loaded):
        place = builder.bitcast(builder.gep(to, [_int(i * LANES)]), _FLOATS.as_pointer())
        builder.store(part, place).align = 4


def _interleaved(builder: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """Take lanes of two vectors in turn."""
    orders = ([lane for i in range(first, first + LANES // 2) for lane in (i, i + LANES)] for first in (0, LANES // 2))
    low, high = (builder.shuffle_vector(a, b, ir.Constant(_BITS, order)) for order in orders)
    return low, high


def _repeated(builder: Any, number: Any) -> Any:
    lanes = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), number, _int(0, 32))
    return builder.shuffle_vector(lanes, lanes, ir.Constant(_BITS, [0] * LANES))


columns_of_1, columns_of_4 = _columns(1), _columns(4)


def _extreme(*, largest: bool) -> Any:
    @intrinsic
    def extreme(_context: Any, x: Any, _start: Any, _end: Any) -> Any:
        """Give the largest (or smallest) of float32 `x[_start:_end]`, whose length is a multiple of LANES.

        It is no number where one of them is none.
        """

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            (values,) = _arrays(context, builder, signature, args, (0,))
            found, odd = cgutils.alloca_once(builder, _FLOATS), cgutils.alloca_once(builder, _FLAGS)
            least = ir.Constant(_FLOATS, [float("-inf") if largest else float("inf")] * LANES)
            builder.store(least, found)
            builder.store(_all(0, _FLAGS), odd)
            with cgutils.for_range(builder, builder.udiv(builder.sub(args[2], args[1]), _int(LANES))) as loop:
                place = builder.add(args[1], builder.mul(loop.index, _int(LANES)))
                some, before = _from_float32(builder, builder.gep(values, [place])), builder.load(found)
                better = builder.fcmp_ordered(">" if largest else "<", some, before)
                builder.store(builder.select(better, some, before), found)
                builder.store(builder.or_(builder.load(odd), builder.fcmp_unordered("uno", some, some)), odd)
            best, width = builder.load(found), LANES
            while width > 1:  # the upper half against the lower one
                width //= 2
                other = builder.shuffle_vector(best, best, _turned(width))
                better = builder.fcmp_ordered(">" if largest else "<", other, best)
                best = builder.select(better, other, best)
            any_odd = builder.icmp_unsigned("!=", builder.bitcast(builder.load(odd), ir.IntType(LANES)), _int(0, LANES))
            nothing = ir.Constant(ir.FloatType(), float("nan"))
            return builder.select(any_odd, nothing, builder.extract_element(best, _int(0, 32)))

        return types.float32(x, types.int64, types.int64), generate

    return extreme


def _turned(by: int) -> Any:
    return ir.Constant(_BITS, [(lane + by) % LANES for lane in range(LANES)])


largest_of, smallest_of = _extreme(largest=True), _extreme(largest=False)

_WORD = ir.IntType(32).as_pointer()
WORD_HALVES = 8  # halves of bytes that are read at once
PERMUTES = bool(binding.get_host_cpu_features().get("avx512f"))  # whether LANES numbers can be looked up at once


def _looked_up(num_queries: int) -> Any:
    @intrinsic
    def looked_up(_context: Any, memory: Any, at: Any, _block: Any, tables: Any, sums: Any, _to: Any) -> Any:
        """Sum what the halves of bytes of LANES vectors stand for, by tables of LANES numbers. Only where PERMUTES.

        memory: uint8, in which the vectors begin at int64 `at[_block:]`; tables: float32 [half, query, LANES], of a
        multiple of WORD_HALVES; sums: float32, [vector, query] from `_to`.
        """

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            if not PERMUTES:
                return context.get_dummy_value()
            values, at, known, sums = _arrays(context, builder, signature, args, (0, 1, 3, 4))
            size = context.make_array(signature.args[3])(context, builder, args[3]).nitems
            kind = ir.FunctionType(_FLOATS, [_FLOATS, _BITS])
            permute = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.permvar.sf.512")
            starts = [
                builder.gep(values, [builder.load(builder.gep(at, [builder.add(args[2], _int(i))]))])
                for i in range(LANES)
            ]
            totals = [cgutils.alloca_once(builder, _FLOATS) for _ in range(num_queries)]
            for total in totals:
                builder.store(ir.Constant(_FLOATS, [0.0] * LANES), total)
            with cgutils.for_range(builder, builder.udiv(size, _int(WORD_HALVES * num_queries * LANES))) as loop:
                codes = ir.Constant(_BITS, [0] * LANES)
                for i, start in enumerate(starts):
                    word = builder.load(builder.bitcast(builder.gep(start, [builder.mul(loop.index, _int(4))]), _WORD))
                    word.align = 1
                    codes = builder.insert_element(codes, word, _int(i, 32))
                for half in range(WORD_HALVES):
                    code = builder.lshr(codes, _all(4 * half)) if half else codes
                    for i, total in enumerate(totals):
                        row = builder.mul(loop.index, _int(WORD_HALVES * num_queries * LANES))
                        table = builder.gep(known, [builder.add(row, _int((half * num_queries + i) * LANES))])
                        part = builder.call(permute, [_from_float32(builder, table), code])
                        builder.store(builder.fadd(builder.load(total), part), total)
            _store_by_vector(builder, totals, builder.gep(sums, [args[5]]))
            return context.get_dummy_value()

        return types.void(memory, at, types.int64, tables, sums, types.int64), generate

    return looked_up


looked_up_of_1, looked_up_of_4 = _looked_up(1), _looked_up(4)
