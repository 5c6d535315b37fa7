"""Moving numbers within the machine's memory: other orders of axes, other pages, and what is kept of a request."""

from __future__ import annotations

import numpy as np

from kernels.host.compiled import compiled
from kernels.host.lines import AXES, FN, ONE, SIZES, STRIDES, THIRD, TO, at


@compiled
def copy(scratch, line, n):
    """Write a value in another order of its axes, or repeated along new ones: AXES of them."""
    to, source = at(line, TO, n), at(line, ONE, n)
    size, by = np.empty(AXES, np.int64), np.empty(AXES, np.int64)
    for axis in range(AXES):
        size[axis], by[axis] = at(line, SIZES + 2 * axis, n), at(line, STRIDES + 2 * axis, n)
    inner, step = size[4], by[4]
    for a in range(size[0]):
        for b in range(size[1]):
            for c in range(size[2]):
                for d in range(size[3]):
                    start = source + a * by[0] + b * by[1] + c * by[2] + d * by[3]
                    if step == 1:
                        for m in range(inner):
                            scratch[to + m] = scratch[start + m]
                    elif step == 0:
                        scratch[to : to + inner] = scratch[start]
                    else:
                        for m in range(inner):
                            scratch[to + m] = scratch[start + m * step]
                    to += inner


@compiled
def pick(scratch, line, n):
    """Write FN elements of each page (or of a value without any) where a table says, from where it says too.

    SIZES: how many pages, and how far it is from page to page in the operand and in the result.
    """
    outer, step, into, num = at(line, SIZES, n), line[SIZES + 2], line[SIZES + 4], line[FN]
    to, source, table = at(line, TO, n), at(line, ONE, n), at(line, THIRD, n)
    for i in range(outer):
        for j in range(num):
            place, its = np.int64(scratch[table + num + j]), np.int64(scratch[table + j])
            scratch[to + i * into + place] = scratch[source + i * step + its]


@compiled
def exchange(whole, begin, part, to, some, inner, is_stored):
    """Read `inner` numbers of each of some pages out of a value of all pages, or write them there."""
    for i in range(some.size):
        start, own = begin + some[i] * inner, to + i * inner
        for j in range(inner):
            if is_stored:
                whole[start + j] = part[own + j]
            else:
                part[own + j] = whole[start + j]


@compiled
def shift(x, distance, fill, out):
    """Move numbers along a value of all pages."""
    for i in range(out.size):
        out[i] = x[i - distance] if 0 <= i - distance < out.size else fill


@compiled
def smooth(x, weights, inner, out):
    """Sum each page's neighbours, weighed, in the order in which the meaning of `smooth` does."""
    for j in range(weights.size):
        distance = (weights.size // 2 - j) * inner
        for i in range(out.size):
            term = (x[i - distance] if 0 <= i - distance < out.size else np.float32(0)) * weights[j]
            out[i] = out[i] + term if j else term


@compiled
def cumulate(x, inner, out):
    """Sum along pages, in double precision as torch does."""
    for j in range(inner):
        total = 0.0
        for i in range(j, x.size, inner):
            total += np.float64(x[i])
            out[i] = total
