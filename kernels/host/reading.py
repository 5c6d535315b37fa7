"""Reading what lies in memory as float32: fields as their storage kind says, raw pages in the order of their kernel.

Arrays are NumPy's. A field or a half of raw pages is told by CODE_LENGTH integers: its kind; in bytes where the first
page's first vector begins, how far it is from page to page and from vector to vector, and where the first page's first
scale lies; vectors of a page and elements of a vector. Of raw pages the last one says where in `places` it stands how
they are ordered, -1 for fields: element d of token t is places[t] + places[tokens + d] elements behind the page's
first, and 0 where the place of its channel is negative.
"""

from __future__ import annotations

import numpy as np

from kernels.host.compiled import compiled, compiled_sums
from kernels.host.vectors import KINDS

CODE_LENGTH = 8
KIND, START, STEP, VECTOR_BYTES, SCALES, VECTORS, LENGTH, PLACES = range(CODE_LENGTH)
_BFLOAT16, _FLOAT16, _FLOAT32, _FP8, _INT8, _INT4, _SIGN = range(len(KINDS))


@compiled
def _from_bfloat16(bits):
    return np.uint32(np.uint32(bits) << np.uint32(16)).view(np.float32)


@compiled
def _from_float16(bits):
    """Read IEEE half precision: the exponent is put right by a product, which subnormal numbers survive."""
    magnitude = np.uint32((bits & np.uint32(0x7FFF)) << np.uint32(13))
    value = magnitude.view(np.float32) * np.float32(2.0**112)
    if magnitude >= np.uint32(0x0F800000):  # infinite, or no number
        value = np.uint32(magnitude | np.uint32(0x7F800000)).view(np.float32)
    return -value if bits >> 15 else value


@compiled_sums
def _gather_bfloat16(memory, start, step, pages, out):
    for i in range(pages.shape[0]):
        row = memory[start + pages[i] * step :]
        for j in range(out.shape[1]):
            for d in range(out.shape[2]):
                out[i, j, d] = _from_bfloat16(row[j * out.shape[2] + d])


@compiled_sums
def _gather_float16(memory, start, step, pages, out):
    for i in range(pages.shape[0]):
        row = memory[start + pages[i] * step :]
        for j in range(out.shape[1]):
            for d in range(out.shape[2]):
                out[i, j, d] = _from_float16(row[j * out.shape[2] + d])


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

    memory: by one, two and four bytes; tables: what a byte of int4 and of sign stands for.
    """
    by_1, by_2, by_4 = memory
    kind, start, step, vector_bytes, scales = field[KIND], field[START], field[STEP], field[VECTOR_BYTES], field[SCALES]
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


@compiled
def gather_raw(memory, places, field, pages, out):
    """Read keys or values of pages. pages: int64 [num]; out: float32 [num, token, dim]; memory: as of `gather`."""
    _, by_2, by_4 = memory
    kind, tokens, channels = field[KIND], out.shape[1], out.shape[2]
    size = 4 if kind == _FLOAT32 else 2
    of_token = places[field[PLACES] : field[PLACES] + tokens]
    of_channel = places[field[PLACES] + tokens : field[PLACES] + tokens + channels]
    for i in range(pages.shape[0]):
        first = (field[START] + pages[i] * field[STEP]) // size
        for t in range(tokens):
            for d in range(channels):
                at = first + of_token[t] + of_channel[d]
                if of_channel[d] < 0:
                    out[i, t, d] = 0
                elif kind == _FLOAT32:
                    out[i, t, d] = by_4[at]
                elif kind == _BFLOAT16:
                    out[i, t, d] = _from_bfloat16(by_2[at])
                else:
                    out[i, t, d] = _from_float16(by_2[at])
