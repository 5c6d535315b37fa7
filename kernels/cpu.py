"""What serving does on a CPU beside vLLM's own attention kernel: read fields, contract them, choose, list pages.

Compiled by Numba on first use and kept in its cache on disk. A *row* is one sequence and one KV head. Fields lie in a
region of bytes, one stretch per page; a stored vector becomes float32 in the processor's registers and is never written
out unless it is asked for. What a storage kind's codes mean is said in `vortex_dsl.storage`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = ("bfloat16", "float16", "float32", "fp8_e4m3", "int8", "int4", "sign")
_BFLOAT16, _FLOAT16, _FLOAT32, _FP8, _INT8, _INT4, _SIGN = range(len(KINDS))
_SUMS = {"reassoc", "contract", "nsz"}  # what lets sums be split over vector registers; NaN and infinity keep their say
_RADIX = 256
_TILE_ELEMENTS = 4096  # decoded at a time
_NOTHING = (np.zeros((0, 0), np.uint16), np.zeros((0, 0), np.float32))


def _compiled(function: Callable[..., Any], **how: Any) -> Callable[..., Any]:
    """Compile at the first call, and keep the code on disk where there is a place that may be written to."""
    how |= {"nogil": True, "error_model": "numpy"}
    try:
        return njit(cache=True, **how)(function)
    except RuntimeError:  # how Numba says that there is none
        return njit(**how)(function)


_compiled_sums = partial(_compiled, fastmath=_SUMS)


@dataclass(frozen=True)
class Stored:
    """Where a field lies in a page's bytes: `num_vectors` of `length` elements from `offset`, scales behind them.

    `vector_bytes`: from one vector to the next; `scales`: bytes from the start of the page to the first scale.
    """

    kind: str
    offset: int
    num_vectors: int
    length: int
    vector_bytes: int
    scales: int

    @property
    def code(self) -> tuple[int, ...]:
        """Give it as the compiled functions take it."""
        return (KINDS.index(self.kind), self.offset, self.vector_bytes, self.scales)


@_compiled_sums
def _gather_bfloat16(memory, offset, pages, out):
    for i in range(pages.shape[0]):
        row = memory[pages[i], offset:]
        for j in range(out.shape[1]):
            for d in range(out.shape[2]):
                out[i, j, d] = np.uint32(np.uint32(row[j * out.shape[2] + d]) << np.uint32(16)).view(np.float32)


@_compiled_sums
def _gather_float16(memory, offset, pages, out):
    """Read IEEE half precision: the exponent is put right by a product, which subnormal numbers survive."""
    for i in range(pages.shape[0]):
        row = memory[pages[i], offset:]
        for j in range(out.shape[1]):
            for d in range(out.shape[2]):
                bits = row[j * out.shape[2] + d]
                magnitude = np.uint32((bits & np.uint32(0x7FFF)) << np.uint32(13))
                value = magnitude.view(np.float32) * np.float32(2.0**112)
                if magnitude >= np.uint32(0x0F800000):  # infinite, or no number
                    value = np.uint32(magnitude | np.uint32(0x7F800000)).view(np.float32)
                out[i, j, d] = -value if bits >> 15 else value


@_compiled_sums
def _gather_float32(memory, offset, pages, out):
    for i in range(pages.shape[0]):
        row = memory[pages[i], offset:]
        for j in range(out.shape[1]):
            for d in range(out.shape[2]):
                out[i, j, d] = row[j * out.shape[2] + d]


@_compiled_sums
def _gather_fp8(memory, offset, pages, out):
    """Read e4m3; the only code that is no number has all bits set. Nothing on the way is subnormal: that is slow."""
    for i in range(pages.shape[0]):
        row = memory[pages[i], offset:]
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


@_compiled_sums
def _gather_int8(memory, offset, pages, out):
    for i in range(pages.shape[0]):
        row = memory[pages[i], offset:]
        for j in range(out.shape[1]):
            for d in range(out.shape[2]):
                code = np.int32(row[j * out.shape[2] + d])
                out[i, j, d] = np.float32((code ^ np.int32(128)) - np.int32(128))


@_compiled_sums
def _gather_parts(memory, offset, vector_bytes, table, pages, out):
    """Read codes of which a byte holds several. table: float32 [256, elements of a byte]."""
    each = table.shape[1]
    whole = out.shape[2] // each
    for i in range(pages.shape[0]):
        row = memory[pages[i], offset:]
        for j in range(out.shape[1]):
            for d in range(whole):
                code = row[j * vector_bytes + d]
                for k in range(each):
                    out[i, j, d * each + k] = table[code, k]
            for k in range(out.shape[2] - whole * each):
                out[i, j, whole * each + k] = table[row[j * vector_bytes + whole], k]


@_compiled_sums
def _scale(memory, scales, pages, out):
    for i in range(pages.shape[0]):
        for j in range(out.shape[1]):
            scale = memory[pages[i], scales + j]
            for d in range(out.shape[2]):
                out[i, j, d] *= scale


@_compiled_sums
def _gather(memory, table, code, pages, out):
    """Decode the field of pages. pages: int64 [num]; out: float32 [num, vector, length]."""
    by_1, by_2, by_4 = memory
    kind, offset, vector_bytes, scales = code
    if kind == _BFLOAT16:
        _gather_bfloat16(by_2, offset // 2, pages, out)
    elif kind == _FLOAT16:
        _gather_float16(by_2, offset // 2, pages, out)
    elif kind == _FLOAT32:
        _gather_float32(by_4, offset // 4, pages, out)
    elif kind == _FP8:
        _gather_fp8(by_1, offset, pages, out)
    elif kind == _INT8:
        _gather_int8(by_1, offset, pages, out)
    else:
        _gather_parts(by_1, offset, vector_bytes, table, pages, out)
    if kind in (_INT8, _INT4):
        _scale(by_4, scales // 4, pages, out)


@_compiled_sums
def _multiply(vectors, query, out):
    """Give the products of vectors [page, vector, length] and queries [query, length]: [page, vector, query].

    Four queries at a time read each vector once.
    """
    fours = query.shape[0] // 4 * 4
    for i in range(vectors.shape[0]):
        for j in range(vectors.shape[1]):
            for k in range(0, fours, 4):
                a, b, c, d = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
                for e in range(query.shape[1]):
                    x = vectors[i, j, e]
                    a += query[k, e] * x
                    b += query[k + 1, e] * x
                    c += query[k + 2, e] * x
                    d += query[k + 3, e] * x
                out[i, j, k], out[i, j, k + 1], out[i, j, k + 2], out[i, j, k + 3] = a, b, c, d
            for k in range(fours, query.shape[0]):
                a = np.float32(0)
                for e in range(query.shape[1]):
                    a += query[k, e] * vectors[i, j, e]
                out[i, j, k] = a


@_compiled_sums
def _contract(memory, table, code, pages, query, out):
    """Multiply stored vectors with queries, some pages at a time, which stay in the first cache.

    pages: int64 [row, page]; query: float32 [row, query, length]; out: float32 [row, page, vector, query].
    """
    num_vectors, length = out.shape[2], query.shape[2]
    size = max(1, min(pages.shape[1], _TILE_ELEMENTS // (num_vectors * length)))
    vectors = np.empty((size, num_vectors, length), np.float32)
    for row in range(pages.shape[0]):
        for start in range(0, pages.shape[1], size):
            end = min(start + size, pages.shape[1])
            _gather(memory, table, code, pages[row, start:end], vectors[: end - start])
            _multiply(vectors[: end - start], query[row], out[row, start:end])


@_compiled
def _order_keys(score, keys):
    """Give unsigned integers in the order of the scores: NaN as -inf, both zeros equal."""
    for i in range(score.shape[0]):
        x = np.float32(-np.inf) if np.isnan(score[i]) else score[i] + np.float32(0)
        bits = np.float32(x).view(np.uint32)
        keys[i] = bits ^ (np.uint32(0xFFFFFFFF) if bits >> np.uint32(31) else np.uint32(0x80000000))


@_compiled
def _last_taken(keys, allowed, room):
    """Give the key of the last page that is taken, and how many pages of just that key are: radix select."""
    count = np.zeros(_RADIX, np.int64)
    prefix = np.uint32(0)
    for step in range(4):
        shift = np.uint32(24 - 8 * step)
        count[:] = 0
        for i in range(keys.shape[0]):
            if allowed[i] and (step == 0 or keys[i] >> np.uint32(shift + np.uint32(8)) == prefix):
                count[(keys[i] >> shift) & np.uint32(0xFF)] += 1
        digit = _RADIX - 1
        while count[digit] < room:
            room -= count[digit]
            digit -= 1
        prefix = np.uint32((prefix << np.uint32(8)) | np.uint32(digit))
    return prefix, room


@_compiled
def _best(score, allowed, num, out):
    """Mark the `num` allowed pages of highest score, ties to the lower index. All [row, page], num: [row]."""
    keys = np.empty(score.shape[1], np.uint32)
    for row in range(score.shape[0]):
        most = allowed[row].sum()
        wanted = np.int64(0) if np.isnan(num[row]) else np.int64(max(min(np.floor(num[row]), np.float32(most)), 0))
        if wanted == most:
            out[row] = allowed[row]
            continue
        out[row] = False
        if wanted == 0:
            continue
        _order_keys(score[row], keys)
        last, ties = _last_taken(keys, allowed[row], wanted)
        for i in range(keys.shape[0]):
            if allowed[row, i] and keys[i] >= last:
                out[row, i] = keys[i] > last or ties > 0
                ties -= keys[i] == last


@_compiled
def _list(attended, pages, lengths, page_size, table, tokens):
    """Write the numbers of attended pages in ascending order. -> how many all rows attend to"""
    total = 0
    for row in range(attended.shape[0]):
        listed = 0
        for i in range(attended.shape[1]):
            if attended[row, i]:
                table[row, listed] = pages[row, i]
                listed += 1
        tokens[row] = listed * page_size - (-lengths[row]) % page_size
        total += listed
    return total


def _views(region: torch.Tensor, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """View the pages of a region, bytes one, two and four at a time, where the kind has elements of such a size."""
    rows = region.numpy()
    by_2 = rows.view(np.uint16) if kind in ("bfloat16", "float16") else _NOTHING[0]
    by_4 = rows.view(np.float32) if kind in ("float32", "int8", "int4") else _NOTHING[1]
    return rows, by_2, by_4


@cache
def _table(kind: str) -> np.ndarray:
    """Give what a byte that holds several codes stands for, scales aside: float32 [256, elements]."""
    codes = np.arange(256)[:, None]
    if kind == "int4":
        return ((np.hstack((codes & 15, codes >> 4)) ^ 8) - 8).astype(np.float32)
    return ((codes >> np.arange(8) & 1) * 2 - 1).astype(np.float32)


def gather(region: torch.Tensor, field: Stored, pages: torch.Tensor) -> torch.Tensor:
    """Decode a field of some pages: float32 [*pages.shape, num_vectors, length].

    region: uint8 [num_pages, bytes per page], without gaps; pages: int64 of any shape.
    """
    out = torch.empty((*pages.shape, field.num_vectors, field.length))
    flat = out.view(-1, field.num_vectors, field.length).numpy()
    _gather(_views(region, field.kind), _table(field.kind), field.code, pages.reshape(-1).numpy(), flat)
    return out


def contract(region: torch.Tensor, field: Stored, pages: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """Multiply the stored vectors of each row's pages with the row's queries, summed over their elements.

    region: as in `gather`; pages: int64 [rows, pages]; query: float32 [rows, queries, length].
    -> float32 [rows, pages, num_vectors, queries]
    """
    out = torch.empty((*pages.shape, field.num_vectors, query.shape[1]))
    numbers, given = pages.contiguous().numpy(), query.contiguous().numpy()
    _contract(_views(region, field.kind), _table(field.kind), field.code, numbers, given, out.numpy())
    return out


def best(score: torch.Tensor, allowed: torch.Tensor, num: torch.Tensor) -> torch.Tensor:
    """Choose the `num` allowed pages of highest score: bool [rows, pages].

    score: float32, allowed: bool, both [rows or 1, pages]; num: float32 [rows or 1], floored and clamped, NaN is none.
    Ties go to the lower index; a NaN score counts as -inf.
    """
    out = torch.empty(allowed.shape, dtype=torch.bool)
    rows = allowed.shape[:1]
    given = score.expand(allowed.shape).contiguous(), allowed.contiguous(), num.expand(rows).contiguous()
    _best(*(x.numpy() for x in given), out.numpy())
    return out


def list_pages(
    attended: torch.Tensor, pages: torch.Tensor, lengths: torch.Tensor, page_size: int
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """List each row's attended pages in ascending order: int32 [rows, max_pages], of which the first are used.

    attended: bool [rows, max_pages]; pages: int64 [rows, max_pages]; lengths: int64 [rows] tokens.
    -> the lists, int32 [rows] the tokens behind them, and how many pages all rows attend to
    """
    table = torch.zeros(attended.shape, dtype=torch.int32)
    tokens = torch.empty(attended.shape[0], dtype=torch.int32)
    given = (x.contiguous().numpy() for x in (attended, pages, lengths))
    return table, tokens, _list(*given, page_size, table.numpy(), tokens.numpy())
