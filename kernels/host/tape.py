"""A program's select on a CPU without a line of Python between its operations: a machine that runs a tape.

`vortex_dsl/backends/tape/` writes a program as instructions over one memory of float32, and `run` performs them row by
row, so that no program has to be compiled. Booleans and selections are 0 and 1. An instruction is a line of WIDTH
integers; a number that grows with the pages at hand is two of them, what it is and what each page adds: so are places,
counts and distances from element to element.

Instructions stand in segments. One that works by blocks is performed for some pages at a time, so that what lies
between its operations stays in the cache: all of the row's, or only those that a selection chose. Any other is
performed once, on all of the row's pages. The pages at hand are those of the block, or of the row.
"""

from __future__ import annotations

import numpy as np

from kernels.host.choosing import list_pages, mark_best, mark_nucleus, mark_top
from kernels.host.compiled import compiled, compiled_sums, compiled_within
from kernels.host.elementwise import MAPS, larger, map_elements, smaller
from kernels.host.lines import FN, ONE, OP, OTHER, OTHER_STRIDES, SEED, SIZES, STRIDES, THIRD, TO, at
from kernels.host.moving import copy, cumulate, exchange, pick, shift, smooth
from kernels.host.products import contract_row
from kernels.host.reading import LENGTH, PLACES, VECTORS, gather, gather_raw
from kernels.host.vectors import LANES, largest_of, smallest_of

FAMILIES = (
    "leaf", "load", "contract", "recall", "keep", "fetch", "store", "copy", "pick", "map", "broadcast", "reduce", "dot",
    "top", "shift", "smooth", "cumsum", "best", "nucleus",
)  # fmt: skip
(
    _LEAF, _LOAD, _CONTRACT, _RECALL, _KEEP, _FETCH, _STORE, _COPY, _PICK, _MAP, _BROADCAST, _REDUCE, _DOT,
    _TOP, _SHIFT, _SMOOTH, _CUMSUM, _BEST, _NUCLEUS,
) = range(len(FAMILIES))  # fmt: skip
LEAVES = ("q", "page.index", "page.reserved", "page.count", "page.complete", "kv_head.index", "candidates")
_Q, _INDEX, _RESERVED, _COUNT, _COMPLETE, _KV_HEAD, _CANDIDATES = range(len(LEAVES))
REDUCTIONS = ("sum", "max", "min")
_TOTAL, _MAX, _MIN = range(len(REDUCTIONS))
FUNCTIONS = {"leaf": LEAVES, "map": MAPS, "reduce": REDUCTIONS}  # of the families that have several
SEGMENT = 5  # integers of a segment: its first line, the first one behind it, pages of a block (0: performed once),
_FIRST, _END, _BLOCK, _AMONG = range(4)  # and where the selection lies whose pages alone it works on (-1: on all)


@compiled_sums
def _total(x):
    total = np.float32(0)
    for i in range(x.size):
        total += x[i]
    return total


@compiled_sums
def _product(a, b):
    total = np.float32(0)
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@compiled
def _extremes(x, largest, inner, out):
    whole = inner - inner % LANES if inner >= LANES else 0
    for i in range(out.size):
        start = i * inner
        if whole:
            found = largest_of(x, start, start + whole) if largest else smallest_of(x, start, start + whole)
        else:
            found = x[start]
        for j in range(start + whole, start + inner):
            found = larger(found, x[j]) if largest else smaller(found, x[j])
        out[i] = found


@compiled
def reduce(fn, x, out):
    """Reduce each stretch of x to one number. x: float32 [outer * inner]; out: [outer]. -> whether there is a way to"""
    inner = x.size // max(out.size, 1)
    if fn == _TOTAL:
        for i in range(out.size):
            out[i] = _total(x[i * inner : (i + 1) * inner])
    elif fn in (_MAX, _MIN):
        _extremes(x, fn == _MAX, inner, out)
    else:
        return False
    return True


@compiled
def _dot(scratch, line, n):
    """Sum products along an axis that comes last in both operands, for all elements of four axes."""
    to, one, other, inner = at(line, TO, n), at(line, ONE, n), at(line, OTHER, n), at(line, SIZES + 8, n)
    size, by, its = np.empty(4, np.int64), np.empty(4, np.int64), np.empty(4, np.int64)
    for axis in range(4):
        size[axis], by[axis] = at(line, SIZES + 2 * axis, n), at(line, STRIDES + 2 * axis, n)
        its[axis] = at(line, OTHER_STRIDES + 2 * axis, n)
    for a in range(size[0]):
        for b in range(size[1]):
            for c in range(size[2]):
                x = one + a * by[0] + b * by[1] + c * by[2]
                y = other + a * its[0] + b * its[1] + c * its[2]
                for _ in range(size[3]):
                    scratch[to] = _product(scratch[x : x + inner], scratch[y : y + inner])
                    to, x, y = to + 1, x + by[3], y + its[3]


@compiled
def _side(scratch, start, step, into):
    """Give an operand's numbers along the last axis, repeated where there is but one."""
    if step:
        return scratch[start : start + into.size]
    into[:] = scratch[start]
    return into


@compiled
def _broadcast(scratch, line, n):
    """Compute an elementwise operation of two operands that lack axes, along the last axis at a time."""
    to, one, other, inner = at(line, TO, n), at(line, ONE, n), at(line, OTHER, n), at(line, SIZES + 8, n)
    size, by, its = np.empty(5, np.int64), np.empty(5, np.int64), np.empty(5, np.int64)
    for axis in range(5):
        size[axis], by[axis] = at(line, SIZES + 2 * axis, n), at(line, STRIDES + 2 * axis, n)
        its[axis] = at(line, OTHER_STRIDES + 2 * axis, n)
    first, second, known = np.empty(inner, np.float32), np.empty(inner, np.float32), True
    for a in range(size[0]):
        for b in range(size[1]):
            for c in range(size[2]):
                for d in range(size[3]):
                    x = _side(scratch, one + a * by[0] + b * by[1] + c * by[2] + d * by[3], by[4], first)
                    y = _side(scratch, other + a * its[0] + b * its[1] + c * its[2] + d * its[3], its[4], second)
                    known &= map_elements(line[FN], x, y, x, 0, scratch[to : to + inner])
                    to += inner
    return known


@compiled
def _leaf(kind, out, row, some):
    """Write one of select's small inputs, of some pages those of pages."""
    query, pages, complete, kv_head, reserved = row
    if kind == _Q:
        out[:] = query
    elif kind == _COUNT:
        out[0] = pages
    elif kind == _COMPLETE:
        out[0] = complete
    elif kind == _KV_HEAD:
        out[0] = kv_head
    elif kind == _INDEX:
        for i in range(out.size):
            out[i] = some[i]
    elif kind in (_RESERVED, _CANDIDATES):
        for i in range(out.size):
            is_reserved = some[i] < reserved[0] or some[i] >= pages - reserved[1]
            out[i] = is_reserved == (kind == _RESERVED)
    else:
        return False
    return True


@compiled_within
def _read(line, scratch, n, stored, numbers):
    """Load a field (or raw pages), or contract it with queries, which may be each page's own."""
    fields, memory, raw_memory, tables = stored
    field, to = fields[line[FN]], at(line, TO, n)
    vectors, length = field[VECTORS], field[LENGTH]
    if line[OP] == _CONTRACT:
        queries, one, own = line[SIZES], at(line, ONE, n), n if line[SIZES + 1] else 1
        query = scratch[one : one + own * queries * length].reshape(own, queries, length)
        out = scratch[to : to + n * vectors * queries].reshape(n, vectors, queries)
        contract_row(memory if field[PLACES] < 0 else raw_memory, tables, field, numbers, query, out)
        return
    out = scratch[to : to + n * vectors * length].reshape(n, vectors, length)
    if field[PLACES] < 0:
        gather(memory, tables[:2], field, numbers, out)
    else:
        gather_raw(raw_memory, tables[2], field, numbers, out)


@compiled_within
def _compute(line, scratch, n, room):
    """Perform an instruction on values without gaps. -> whether there is such a one"""
    op, fn, to, count = line[OP], line[FN], at(line, TO, n), at(line, SIZES, n)
    one, other, third, inner = at(line, ONE, n), at(line, OTHER, n), at(line, THIRD, n), at(line, SIZES + 2, n)
    x, y, z, out = (
        scratch[one : one + count], scratch[other : other + count], scratch[third : third + count],
        scratch[to : to + count],
    )  # fmt: skip
    if op == _MAP:
        return map_elements(fn, x, y, z, line[SEED], out)
    if op == _REDUCE:
        return reduce(fn, scratch[one : one + count * inner], out)
    if op == _TOP:
        mark_top(x, np.float32(fn), inner, out)
    elif op == _SHIFT:
        shift(x, fn * inner, scratch[other], out)
    elif op == _SMOOTH:
        smooth(x, scratch[other : other + fn], inner, out)
    elif op == _CUMSUM:
        cumulate(x, inner, out)
    elif op == _BEST:
        mark_best(x, y, scratch[third], room, out)
    elif op == _NUCLEUS:
        mark_nucleus(x, y, scratch[third], scratch[third + 1], out)
    else:
        return False
    return True


@compiled_within
def _perform(line, scratch, at_hand, stored, row, states):
    """Perform one instruction. at_hand: index of each page at hand in its row, their numbers, room for as many keys.

    row: as `_leaf` takes it; states: the row's before and after, and the most pages of a row. -> whether there is one
    """
    some, numbers, room = at_hand
    n, complete, op = some.size, row[2], line[OP]
    if op == _LEAF:
        to = at(line, TO, n)
        return _leaf(line[FN], scratch[to : to + at(line, SIZES, n)], row, some)
    if op in (_LOAD, _CONTRACT):
        _read(line, scratch, n, stored, numbers)
    elif op == _FETCH:
        exchange(scratch, at(line, ONE, complete), scratch, at(line, TO, n), some, line[SIZES], False)
    elif op == _STORE:
        exchange(scratch, at(line, TO, complete), scratch, at(line, ONE, n), some, line[SIZES], True)
    elif op in (_RECALL, _KEEP):
        before, after, most = states
        kept, whole = at(line, OTHER, most), some if line[FN] else some[:1]
        if op == _RECALL:
            exchange(before, kept, scratch, at(line, TO, n), whole, line[SIZES], False)
        else:
            exchange(after, kept, scratch, at(line, ONE, n), whole, line[SIZES], True)
    elif op == _COPY:
        copy(scratch, line, n)
    elif op == _PICK:
        pick(scratch, line, n)
    elif op == _DOT:
        _dot(scratch, line, n)
    elif op == _BROADCAST:
        return _broadcast(scratch, line, n)
    else:
        return _compute(line, scratch, n, room)
    return True


@compiled
def _listed(chosen, every, into):
    """Give the indices of the pages that are marked. into: int64 [page + 1]"""
    most = 0
    for i in range(chosen.size):
        into[most] = every[i]
        most += chosen[i] != 0
    return into[:most]


@compiled_within
def _run_row(lines, segments, scratch, stored, row, states, pages):
    """Run all segments for a row. pages: int64, the numbers of its complete ones. -> whether all of it is known"""
    complete, known = row[2], True
    every, marked = np.arange(complete), np.empty(complete + 1, np.int64)
    numbers, room = np.empty(complete, np.int64), np.empty(2 * complete + 1, np.uint32)
    for s in range(segments.shape[0]):
        segment, working = segments[s], every
        if segment[_AMONG] >= 0:
            chosen = segment[_AMONG] + segment[_AMONG + 1] * complete
            working = _listed(scratch[chosen : chosen + complete], every, marked)
        block = segment[_BLOCK] or complete
        for first in range(0, working.size, block):
            some = working[first : first + block]
            for i in range(some.size):
                numbers[i] = pages[some[i]]
            at_hand = some, numbers[: some.size], room
            for k in range(segment[_FIRST], segment[_END]):
                known &= _perform(lines[k], scratch, at_hand, stored, row, states)
    return known


@compiled
def run(tape, step, stored, states, scratch, lists):
    """Choose the pages of every row, reserved ones among them, and list them.

    tape: instructions int64 [num, WIDTH], segments int64 [num, SEGMENT], known numbers float32 [num], which begin the
    scratch, and the place of the result; step: query float32 [row, query * dim], pages int64 [row, max_pages], lengths
    int64 [row] tokens, KV heads int64 [row], page size, and (sink, window); stored: fields int64 [num, CODE_LENGTH],
    memory of fields and of raw pages as in `gather`, and tables as in `contract_row`; states: those before and after
    the choice, float32 [row, any]; scratch: float32, as long as the tape says for max_pages; lists, written here:
    attended bool [row, max_pages], and what `list_pages` writes.

    -> how many pages all rows attend to, -1 where the tape holds an instruction that this machine has not
    """
    lines, segments, numbers, result = tape
    query, pages, lengths, kv_heads, page_size, reserved = step
    attended, table, tokens = lists
    scratch[: numbers.size] = numbers
    for i in range(lengths.size):
        n, count = lengths[i] // page_size, -(-lengths[i] // page_size)
        row = query[i], count, n, kv_heads[i], reserved
        kept = states[0][i], states[1][i], pages.shape[1]
        if n and not _run_row(lines, segments, scratch, stored, row, kept, pages[i]):
            return -1
        chosen = result[0] + result[1] * n
        for j in range(pages.shape[1]):
            is_reserved = j < count and (j < reserved[0] or j >= count - reserved[1])
            attended[i, j] = is_reserved or (j < n and scratch[chosen + j] != 0)
    return list_pages(attended, pages, lengths, page_size, table, tokens)
