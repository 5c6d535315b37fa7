"""Multiplying stored vectors with queries: in the form in which they lie in memory wherever the loops can.

Arrays are NumPy's; fields and raw pages are told as `kernels.host.reading` says.
"""

from __future__ import annotations

import numpy as np

from kernels.host.compiled import compiled, compiled_sums, compiled_within
from kernels.host.reading import KIND, LENGTH, PLACES, START, STEP, VECTOR_BYTES, VECTORS, gather, gather_raw
from kernels.host.vectors import (
    COLUMNS,
    KINDS,
    LANES,
    MULTIPLIED,
    PERMUTES,
    SUMS,
    WORD_HALVES,
    columns_of_1,
    columns_of_4,
    looked_up_of_1,
    looked_up_of_4,
    products_of_1,
    products_of_3,
    products_of_4,
)

_FLOAT32, _INT8, _INT4, _SIGN = (KINDS.index(kind) for kind in ("float32", "int8", "int4", "sign"))
_HALF_BITS = 4
_WORD_SIGNS = WORD_HALVES * _HALF_BITS
_SIGNS = ((np.arange(LANES) >> np.arange(_HALF_BITS)[:, None] & 1) * 2 - 1).astype(np.float32)  # of each half of a byte
_TILE_ELEMENTS = 4096  # decoded at a time
_AT_ONCE = 4  # queries with which a vector is multiplied once it is read


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
def _three_or_four(num_left):
    """Give how many of the queries that are left are multiplied next: four or three at a time, or one."""
    if num_left >= 3 and num_left % _AT_ONCE >= 2:
        return 3
    return _AT_ONCE if num_left >= _AT_ONCE else 1


@compiled
def _four(num_left):
    """Give the same where three take a fourth one with them, which is 0."""
    return _AT_ONCE if num_left >= _AT_ONCE - 1 else 1


@compiled
def _with_a_fourth(query):
    """Give queries one after the other, and zeros behind them for what `_four` takes beyond the last."""
    out = np.zeros(query.size + query.shape[1], np.float32)
    out[: query.size] = query.reshape(-1)
    return out


@compiled
def _unpaired(query, out):
    """Put elements into the order in which `products` reads int4: of each LANES, every other one first."""
    half = LANES // 2
    for first in range(0, query.size, LANES):
        for i in range(half):
            out[first + i] = query[first + 2 * i]
            out[first + half + i] = query[first + 2 * i + 1]


@compiled
def _multiply_blocks(kind, memory, starts, query, out, place):
    """Multiply with one, three or four queries vectors that begin anywhere, in blocks of sums.

    starts: int64 [vector], with room for SUMS more; query: float32, of all these queries; out: float32 [vector * all
    queries]; place: how many queries these are, of the first of them among all, and how many all are.
    """
    num_queries, column, width = place
    size, num_vectors, sums = SUMS // num_queries, out.size // width, np.empty(SUMS, np.float32)
    starts[num_vectors : num_vectors + size] = starts[0]  # the last block may go beyond
    for first in range(0, num_vectors, size):
        at_once = width == num_queries and first * width + SUMS <= out.size  # SUMS are written, the next on those left
        into, to = (out, first * width) if at_once else (sums, 0)
        if num_queries == _AT_ONCE:
            products_of_4(kind, memory, starts, first, query, into, to)
        elif num_queries == 3:
            products_of_3(kind, memory, starts, first, query, into, to)
        else:
            products_of_1(kind, memory, starts, first, query, into, to)
        for i in range(0 if at_once else min(size, num_vectors - first)):
            for j in range(num_queries):
                out[(first + i) * width + column + j] = sums[i * num_queries + j]


@compiled
def _sign_tables(query, first, tables):
    """Sum up what each half of a byte of signs stands for.

    query: [query * length], of which those from element `first` on are taken; tables: [half, query, LANES].
    """
    length = tables.shape[0] * _HALF_BITS
    for half in range(tables.shape[0]):
        for k in range(tables.shape[1]):
            some = query[first + k * length + 4 * half :]
            a, b, c, d = some[0], some[1], some[2], some[3]
            for code in range(LANES):
                total = a * _SIGNS[0, code] + b * _SIGNS[1, code]
                tables[half, k, code] = total + (c * _SIGNS[2, code] + d * _SIGNS[3, code])


@compiled
def _look_up(memory, starts, tables, out, place):
    """Multiply one page's vectors of signs, LANES at a time: arguments as of `_multiply_blocks`.

    What is beyond the last of all queries is dropped.
    """
    num_queries, column, width = place
    num_vectors, sums = out.shape[0], np.empty(_AT_ONCE * LANES, np.float32)
    flat, known = out.reshape(-1), tables.reshape(-1)
    for first in range(0, num_vectors, LANES):
        at_once = width == num_queries and first + LANES <= num_vectors
        into, to = (flat, first * width) if at_once else (sums, 0)
        if num_queries == _AT_ONCE:
            looked_up_of_4(memory, starts, first, known, into, to)
        else:
            looked_up_of_1(memory, starts, first, known, into, to)
        for i in range(0 if at_once else min(LANES, num_vectors - first)):
            for j in range(min(num_queries, width - column)):
                out[first + i, column + j] = sums[i * num_queries + j]


@compiled
def _contract_signs(memory, field, pages, query, out):
    """Multiply signs by tables of what halves of their bytes stand for: arguments as of `contract_row`."""
    num_vectors, (each, num_queries, length), k = out.shape[1], query.shape, 0
    starts = np.empty(num_vectors + LANES, np.int64)
    while k < num_queries:
        step = _four(num_queries - k)
        tables = np.empty((length // _HALF_BITS, step, LANES), np.float32)
        for i in range(pages.size):
            if i < each:  # one for all pages, or one for each
                _sign_tables(_with_a_fourth(query[i]), k * length, tables)
            first = field[START] + pages[i] * field[STEP]
            for j in range(starts.size):  # the last block may go beyond
                starts[j] = first + (j if j < num_vectors else 0) * field[VECTOR_BYTES]
            _look_up(memory, starts, tables, out[i], (step, k, num_queries))
        k += step


@compiled
def _multiply_all(kind, memory, starts, query, out):
    """Multiply with any number of queries, [query, length], a few at a time."""
    num_queries, length = query.shape
    flat, k = query.reshape(-1), 0
    if kind == _INT4:
        flat = np.empty(flat.size, np.float32)
        _unpaired(query.reshape(-1), flat)
    while k < num_queries:
        step = _three_or_four(num_queries - k)
        _multiply_blocks(kind, memory, starts, flat[k * length : (k + step) * length], out, (step, k, num_queries))
        k += step


@compiled
def _multiply_tile(tile, starts, query, out):
    """Multiply decoded vectors, float32 [page, vector, length]."""
    length = query.shape[1]
    if length % LANES:
        _multiply(tile, query, out)
        return
    for i in range(tile.size // length):
        starts[i] = 4 * i * length
    _multiply_all(_FLOAT32, tile.reshape(-1).view(np.uint8), starts, query, out.reshape(-1))


@compiled
def _scaled(memory, field, pages, out):
    for i in range(pages.size):
        scales = memory[(field[4] + pages[i] * field[STEP]) // 4 :]
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                out[i, j, k] *= scales[j]


@compiled_within
def _contract_tile(memory, tables, field, pages, query, out):
    """Multiply the vectors of a few pages: [page], [query, length] -> [page, vector, query]."""
    num_vectors, length = out.shape[1], query.shape[1]
    starts = np.empty(pages.size * num_vectors + SUMS, np.int64)
    if length % LANES or field[KIND] not in MULTIPLIED:
        tile = np.empty((pages.size, num_vectors, length), np.float32)
        gather(memory, tables, field, pages, tile)
        _multiply_tile(tile, starts, query, out)
        return
    for i in range(pages.size):
        for j in range(num_vectors):
            starts[i * num_vectors + j] = field[START] + pages[i] * field[STEP] + j * field[VECTOR_BYTES]
    _multiply_all(field[KIND], memory[0], starts, query, out.reshape(-1))
    if field[KIND] in (_INT8, _INT4):
        _scaled(memory[2], field, pages, out)


@compiled
def _side_by_side(field, of_token):
    """Tell whether LANES tokens at a time stand side by side, an element of all of them and then the next one."""
    aligned = field[KIND] in COLUMNS and of_token.size % LANES == 0
    for t in range(of_token.size):
        aligned = aligned and of_token[t] == of_token[t - t % LANES] + t % LANES
    return aligned


@compiled
def _contract_columns(memory, field, own, pages, query, out):
    """Multiply raw pages in which tokens stand side by side. own: int64, the places of tokens and then of channels."""
    tokens, (num_queries, length) = out.shape[1], query.shape
    size = 4 if field[KIND] == _FLOAT32 else 2
    of_channel, flat, sums = own[tokens:] * size, _with_a_fourth(query), np.empty(_AT_ONCE * LANES, np.float32)
    whole = out.reshape(-1)
    for i in range(pages.size):
        first = field[START] + pages[i] * field[STEP]
        for t in range(0, tokens, LANES):
            k = 0
            while k < num_queries:
                step = _four(num_queries - k)
                into, to = (whole, (i * tokens + t) * step) if step == num_queries else (sums, 0)
                some, at = flat[k * length : (k + step) * length], first + own[t] * size
                if step == _AT_ONCE:
                    columns_of_4(field[KIND], memory, at, of_channel, some, into, to)
                else:
                    columns_of_1(field[KIND], memory, at, of_channel, some, into, to)
                for lane in range(0 if step == num_queries else LANES):
                    for j in range(min(step, num_queries - k)):
                        out[i, t + lane, k + j] = sums[lane * step + j]
                k += step


@compiled_within
def _contract_raw(memory, places, field, pages, query, out):
    """Multiply the keys (or values) of a few raw pages in any order."""
    tile = np.empty((pages.size, out.shape[1], query.shape[1]), np.float32)
    gather_raw(memory, places, field, pages, tile)
    _multiply_tile(tile, np.empty(pages.size * out.shape[1] + SUMS, np.int64), query, out)


@compiled
def contract_row(memory, tables, field, pages, query, out):
    """Multiply one row's stored vectors with its queries, some pages at a time, which stay in the first cache.

    pages: int64 [page]; query: float32 [page or 1, query, length]; tables: what a byte of int4 and of sign stands for,
    and the places of raw pages; out: float32 [page, vector, query].
    """
    if field[KIND] == _SIGN and PERMUTES and field[LENGTH] % _WORD_SIGNS == 0 and field[VECTORS] >= LANES:
        _contract_signs(memory[0], field, pages, query, out)
        return
    each, by_column = query.shape[0] > 1, False
    is_decoded = field[PLACES] >= 0 or field[KIND] not in MULTIPLIED or field[LENGTH] % LANES != 0
    size = max(1, _TILE_ELEMENTS // (field[VECTORS] * (field[LENGTH] if is_decoded else 1)))
    size = 1 if each else size
    own = tables[2][:0]
    if field[PLACES] >= 0:
        own = tables[2][field[PLACES] : field[PLACES] + field[VECTORS] + field[LENGTH]]
        by_column = _side_by_side(field, own[: field[VECTORS]]) and own[field[VECTORS] :].min() >= 0
        size = pages.size if by_column and not each else size
    for start in range(0, pages.shape[0], size):
        some, into, asked = pages[start : start + size], out[start : start + size], query[start if each else 0]
        if by_column:
            _contract_columns(memory[0], field, own, some, asked, into)
        elif field[PLACES] >= 0:
            _contract_raw(memory, tables[2], field, some, asked, into)
        else:
            _contract_tile(memory, tables[:2], field, some, asked, into)


@compiled
def contract(memory, tables, field, pages, query, out):
    """Multiply stored vectors with queries.

    pages: int64 [row, page]; query: float32 [row, query, length]; out: float32 [row, page, vector, query].
    """
    for row in range(pages.shape[0]):
        contract_row(memory, tables, field, pages[row], query[row : row + 1], out[row])
