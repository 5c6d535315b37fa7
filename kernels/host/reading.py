"""Loops that serving runs on a CPU: read fields, contract them, choose the best pages, list pages.

Arrays are NumPy's; a *row* is one sequence and one KV head.
"""

from __future__ import annotations

import numpy as np

from kernels.host.compiled import compiled, compiled_sums
from kernels.host.vectors import LANES, SUMS, products_of_1, products_of_4

KINDS = ("bfloat16", "float16", "float32", "fp8_e4m3", "int8", "int4", "sign")
_BFLOAT16, _FLOAT16, _FLOAT32, _FP8, _INT8, _INT4, _SIGN = range(len(KINDS))
_RADIX = 256
_TILE_ELEMENTS = 4096  # decoded at a time


@compiled_sums
def _gather_bfloat16(memory, start, step, pages, out):
    for i in range(pages.shape[0]):
        row = memory[start + pages[i] * step :]
        for j in range(out.shape[1]):
            for d in range(out.shape[2]):
                out[i, j, d] = np.uint32(np.uint32(row[j * out.shape[2] + d]) << np.uint32(16)).view(np.float32)


@compiled_sums
def _gather_float16(memory, start, step, pages, out):
    """Read IEEE half precision: the exponent is put right by a product, which subnormal numbers survive."""
    for i in range(pages.shape[0]):
        row = memory[start + pages[i] * step :]
        for j in range(out.shape[1]):
            for d in range(out.shape[2]):
                bits = row[j * out.shape[2] + d]
                magnitude = np.uint32((bits & np.uint32(0x7FFF)) << np.uint32(13))
                value = magnitude.view(np.float32) * np.float32(2.0**112)
                if magnitude >= np.uint32(0x0F800000):  # infinite, or no number
                    value = np.uint32(magnitude | np.uint32(0x7F800000)).view(np.float32)
                out[i, j, d] = -value if bits >> 15 else value


@compiled_sums
def _gather_float32(memory, start, step, pages, out):
    for i in range(pages.shape[0]):
        row = memory[start + pages[i] * step :]
        for j in range(out.shape[1]):
            for d in range(out.shape[2]):
                out[i, j, d] = row[j * out.shape[2] + d]


@compiled_sums
def _gather_fp8(memory, start, step, pages, out):
    """Read e4m3; the only code that is no number has all bits set. Nothing on the way is subnormal: that is slow."""
    for i in range(pages.shape[0]):
        row = memory[start + pages[i] * step :]
        for j in range(out.shape[1]):
            for d in range(out.shape[2]):
                bits = np.uint32(row[j * out.shape[2] + d])
                magnitude = np.uint32(bits & np.uint32(0x7F))
                value = np.uint32((magnitude << np.uint32(20)) + np.uint32(120 << 23)).view(np.float32)
                if magnitude < np.uint32(8):
                    value = np.float32(np.int32(magnitude)) * np.float32(2.0**-9)
                if magnitude == np.uint32(0x7F):
                    value = np.float32(np.nan)
                out[i, j, d] = -value if bits > np.uint32(0x7F) else value


@compiled_sums
def _gather_int8(memory, start, step, pages, out):
    for i in range(pages.shape[0]):
        row = memory[start + pages[i] * step :]
        for j in range(out.shape[1]):
            for d in range(out.shape[2]):
                code = np.int32(row[j * out.shape[2] + d])
                out[i, j, d] = np.float32((code ^ np.int32(128)) - np.int32(128))


@compiled_sums
def _gather_parts(memory, start, step, vector_bytes, table, pages, out):
    """Read codes of which a byte holds several. table: float32 [256, elements of a byte]."""
    each = table.shape[1]
    whole = out.shape[2] // each
    for i in range(pages.shape[0]):
        row = memory[start + pages[i] * step :]
        for j in range(out.shape[1]):
            for d in range(whole):
                code = row[j * vector_bytes + d]
                for k in range(each):
                    out[i, j, d * each + k] = table[code, k]
            for k in range(out.shape[2] - whole * each):
                out[i, j, whole * each + k] = table[row[j * vector_bytes + whole], k]


@compiled_sums
def _scale(memory, start, step, pages, out):
    for i in range(pages.shape[0]):
        scales = memory[start + pages[i] * step :]
        for j in range(out.shape[1]):
            scale = scales[j]
            for d in range(out.shape[2]):
                out[i, j, d] *= scale


@compiled_sums
def gather(memory, tables, field, pages, out):
    """Decode a field of pages. pages: int64 [num]; out: float32 [num, vector, length].

    memory: the region of all fields, by one, two and four bytes; tables: what a byte of int4 and of sign stands for;
    field: int64, as `kernels.cpu.Stored.code` gives it.
    """
    by_1, by_2, by_4 = memory
    kind, start, step, vector_bytes, scales = field[0], field[1], field[2], field[3], field[4]
    if kind == _BFLOAT16:
        _gather_bfloat16(by_2, start // 2, step // 2, pages, out)
    elif kind == _FLOAT16:
        _gather_float16(by_2, start // 2, step // 2, pages, out)
    elif kind == _FLOAT32:
        _gather_float32(by_4, start // 4, step // 4, pages, out)
    elif kind == _FP8:
        _gather_fp8(by_1, start, step, pages, out)
    elif kind == _INT8:
        _gather_int8(by_1, start, step, pages, out)
    else:
        _gather_parts(by_1, start, step, vector_bytes, tables[kind - _INT4], pages, out)
    if kind in (_INT8, _INT4):
        _scale(by_4, scales // 4, step // 4, pages, out)


@compiled_sums
def _multiply(vectors, query, out):
    """Give the products of vectors [page, vector, length] and queries [query, length]: [page, vector, query]."""
    for i in range(vectors.shape[0]):
        for j in range(vectors.shape[1]):
            for k in range(query.shape[0]):
                total = np.float32(0)
                for e in range(query.shape[1]):
                    total += query[k, e] * vectors[i, j, e]
                out[i, j, k] = total


@compiled
def _multiply_blocks(memory, starts, query, length, out, place):
    """Do what `_multiply` does with one or four queries, for vectors that begin anywhere, in blocks of sums.

    starts: int64 [vector], with room for SUMS more; query: float32 [query * length]; out: float32 [vector * all
    queries]; place: of the first of these queries among all, and how many all are.
    """
    num_queries = query.size // length
    size, (column, width) = SUMS // num_queries, place
    num_vectors, sums = out.size // width, np.empty(SUMS, np.float32)
    starts[num_vectors : num_vectors + size] = starts[0]  # the last block may go beyond
    for first in range(0, num_vectors, size):
        at_once = width == num_queries and first + size <= num_vectors
        into, to = (out, first * width) if at_once else (sums, 0)
        if num_queries == 4:
            products_of_4(memory, starts, first, query, length, into, to)
        else:
            products_of_1(memory, starts, first, query, length, into, to)
        for i in range(0 if at_once else min(size, num_vectors - first)):
            for j in range(num_queries):
                out[(first + i) * width + column + j] = sums[i * num_queries + j]


@compiled
def _multiply_all(memory, starts, query, out):
    """Multiply with any number of queries, [query, length], four and then one at a time."""
    num_queries, length = query.shape
    flat, k = query.reshape(-1), 0
    while k < num_queries:
        step = 4 if k + 4 <= num_queries else 1
        _multiply_blocks(memory, starts, flat[k * length : (k + step) * length], length, out, (k, num_queries))
        k += step


@compiled
def contract_row(memory, tables, field, pages, query, out):
    """Multiply one row's stored vectors with its queries, some pages at a time, which stay in the first cache.

    pages: int64 [page]; query: float32 [query, length]; out: float32 [page, vector, query].
    """
    num_vectors, length = out.shape[1], query.shape[1]
    direct, in_blocks = field[0] == _BFLOAT16 and length % LANES == 0, length % LANES == 0
    size = max(1, min(pages.shape[0], _TILE_ELEMENTS // (num_vectors * length)))
    vectors = np.empty((0 if direct else size, num_vectors, length), np.float32)
    starts = np.empty(size * num_vectors + SUMS, np.int64)
    for start in range(0, pages.shape[0], size):
        some, into = pages[start : start + size], out[start : start + size]
        tile, used = vectors[: some.size], some.size * num_vectors
        if direct:
            for i in range(some.size):
                for j in range(num_vectors):
                    starts[i * num_vectors + j] = (field[1] + some[i] * field[2]) // 2 + j * length
            _multiply_all(memory[1], starts, query, into.reshape(-1))
            continue
        gather(memory, tables, field, some, tile)
        if in_blocks:
            for i in range(used):
                starts[i] = i * length
            _multiply_all(tile.reshape(-1), starts, query, into.reshape(-1))
        else:
            _multiply(tile, query, into)


@compiled
def contract(memory, tables, field, pages, query, out):
    """Multiply stored vectors with queries.

    pages: int64 [row, page]; query: float32 [row, query, length]; out: float32 [row, page, vector, query].
    """
    for row in range(pages.shape[0]):
        contract_row(memory, tables, field, pages[row], query[row], out[row])


@compiled
def _order_keys(score, keys):
    """Give unsigned integers in the order of the scores: NaN as -inf, both zeros equal."""
    for i in range(score.shape[0]):
        x = np.float32(-np.inf) if np.isnan(score[i]) else score[i] + np.float32(0)
        bits = np.float32(x).view(np.uint32)
        keys[i] = bits ^ (np.uint32(0xFFFFFFFF) if bits >> np.uint32(31) else np.uint32(0x80000000))


@compiled
def _last_taken(left, wanted):
    """Give the key of the last page that is taken, and how many pages of just that key are: radix select.

    left: keys to choose from, of which each step keeps those that begin like the last one taken.
    """
    count = np.zeros(_RADIX, np.int64)
    last = np.uint32(0)
    for step in range(4):
        shift = np.uint32(24 - 8 * step)
        count[:] = 0
        for i in range(left.size):
            count[(left[i] >> shift) & np.uint32(0xFF)] += 1
        digit = _RADIX - 1
        while count[digit] < wanted:
            wanted -= count[digit]
            digit -= 1
        last |= np.uint32(np.uint32(digit) << shift)
        kept = 0
        for i in range(left.size):
            left[kept] = left[i]
            kept += ((left[i] >> shift) & np.uint32(0xFF)) == np.uint32(digit)
        left = left[:kept]
    return last, wanted


@compiled
def mark_best(score, allowed, num, room, out):
    """Mark the `num` allowed pages of highest score, ties to the lower index. All but num: [page], room twice that."""
    size = score.shape[0]
    keys, left = room[:size], room[size:]
    _order_keys(score, keys)
    most = 0
    for i in range(size):
        left[most] = keys[i]
        most += allowed[i] != 0
    wanted = np.int64(0) if np.isnan(num) else np.int64(max(min(np.floor(num), np.float32(most)), np.float32(0)))
    if wanted == most or wanted == 0:
        for i in range(size):
            out[i] = allowed[i] != 0 and wanted > 0
        return
    last, ties = _last_taken(left[:most], wanted)
    for i in range(size):
        taken = allowed[i] != 0 and keys[i] >= last
        if taken and keys[i] == last:
            taken = ties > 0
            ties -= 1
        out[i] = taken


@compiled
def best(score, allowed, num, out):
    """Mark the best pages of every row. score, allowed, out: [row, page]; num: [row]."""
    room = np.empty(2 * score.shape[1] + 1, np.uint32)
    for row in range(score.shape[0]):
        mark_best(score[row], allowed[row], num[row], room, out[row])


@compiled
def list_pages(attended, pages, lengths, page_size, table, tokens):
    """Write the numbers of attended pages in ascending order, 0 behind them. -> how many all rows attend to"""
    total = 0
    for row in range(attended.shape[0]):
        listed = 0
        for i in range(attended.shape[1]):
            if attended[row, i]:
                table[row, listed] = pages[row, i]
                listed += 1
        table[row, listed:] = 0
        tokens[row] = listed * page_size - (-lengths[row]) % page_size
        total += listed
    return total
