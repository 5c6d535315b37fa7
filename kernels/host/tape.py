"""A program's select on a CPU without a line of Python between its operations: a machine that runs a tape.

`vortex_dsl/backends/tape/tape.py` writes a program as instructions over one memory of float32, and `run` performs
them row by row, so that no program has to be compiled. Booleans and selections are 0 and 1. An instruction is a line
of WIDTH integers; a number that grows with a row's pages is two of them, what it is and what each page adds: so are
places, counts and distances from element to element.
"""

from __future__ import annotations

import numpy as np

from kernels.host.compiled import compiled, compiled_sums
from kernels.host.reading import contract_row, gather, list_pages, mark_best

WIDTH = 36
# where an instruction keeps its operation, what that is told, result, operands, lengths, distances, and a seed
OP, FN, TO, ONE, OTHER, THIRD, SIZES, STRIDES, OTHER_STRIDES, SEED = 0, 1, 2, 4, 6, 8, 10, 18, 26, 34
TAPE_OPS = ("leaf", "load", "contract", "copy", "map", "reduce", "along", "dot", "best")
_LEAF, _LOAD, _CONTRACT, _COPY, _MAP, _REDUCE, _ALONG, _DOT, _BEST = range(len(TAPE_OPS))
LEAVES = ("q", "page.index", "page.reserved", "page.count", "kv_head.index", "candidates")
_Q, _INDEX, _RESERVED, _COUNT, _KV_HEAD, _CANDIDATES = range(len(LEAVES))
MAPS = (
    "add", "sub", "mul", "div", "pow", "neg", "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "invert", "abs", "exp",
    "log", "sqrt", "rsqrt", "square", "sign", "floor", "relu", "sigmoid", "silu", "tanh", "maximum", "minimum", "clip",
    "where", "hash", "mod",
)  # fmt: skip
(
    _ADD, _SUB, _MUL, _DIV, _POW, _NEG, _LT, _LE, _GT, _GE, _EQ, _NE, _AND, _OR, _INVERT, _ABS, _EXP,
    _LOG, _SQRT, _RSQRT, _SQUARE, _SIGN, _FLOOR, _RELU, _SIGMOID, _SILU, _TANH, _MAXIMUM, _MINIMUM, _CLIP,
    _WHERE, _HASH, _MOD,
) = range(len(MAPS))  # fmt: skip
REDUCTIONS = ("sum", "mean", "max", "min", "var", "norm", "logsumexp")
_TOTAL, _MEAN, _MAX, _MIN, _VAR, _NORM, _LOGSUMEXP = range(len(REDUCTIONS))
ALONG = ("softmax", "normalize")
_SOFTMAX, _NORMALIZE = range(len(ALONG))


@compiled
def _larger(a, b):
    return a if a > b or np.isnan(a) else b


@compiled
def _smaller(a, b):
    return a if a < b or np.isnan(a) else b


@compiled
def _logistic(x):
    return np.float32(1) / (np.float32(1) + np.exp(-x))


@compiled
def _modulo(a, b):
    rest = np.fmod(a, b)
    return rest + b if rest != 0 and (rest < 0) != (b < 0) else rest


@compiled
def _mix(h):
    h = np.uint32((h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B))
    h = np.uint32((h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35))
    return np.uint32(h ^ (h >> np.uint32(16)))


@compiled
def _scatter_bits(x, mixed_seed):
    """Do what `hash` of the language does."""
    whole = np.float32(0) if np.isnan(x) else min(max(np.floor(x), np.float32(-(2.0**31))), np.float32(2.0**31 - 128))
    mixed = _mix(np.uint32(np.uint32(np.int64(whole)) + np.uint32(mixed_seed)))
    return np.float32(mixed >> np.uint32(8)) * np.float32(2.0**-24)


@compiled
def _arithmetic(fn, a, b, out):
    """Compute what most programs are made of, a loop for each so that it runs on vector registers. -> whether it did"""
    if fn == _ADD:
        for i in range(out.size):
            out[i] = a[i] + b[i]
    elif fn == _SUB:
        for i in range(out.size):
            out[i] = a[i] - b[i]
    elif fn == _MUL:
        for i in range(out.size):
            out[i] = a[i] * b[i]
    else:
        return _bounded(fn, a, b, out)
    return True


@compiled
def _bounded(fn, a, b, out):
    if fn == _RELU:
        for i in range(out.size):
            out[i] = np.float32(0) if a[i] <= 0 else a[i]
    elif fn == _MAXIMUM:
        for i in range(out.size):
            out[i] = _larger(a[i], b[i])
    elif fn == _MINIMUM:
        for i in range(out.size):
            out[i] = _smaller(a[i], b[i])
    else:
        return False
    return True


@compiled
def _compare(fn, a, b):
    if fn == _LT:
        return a < b
    if fn == _LE:
        return a <= b
    if fn == _GT:
        return a > b
    if fn == _GE:
        return a >= b
    if fn == _EQ:
        return a == b
    if fn == _NE:
        return a != b
    if fn == _AND:
        return a != 0 and b != 0
    if fn == _OR:
        return a != 0 or b != 0
    return a == 0  # invert


@compiled
def _function(fn, a):
    if fn == _NEG:
        return -a
    if fn == _ABS:
        return np.abs(a)
    if fn == _EXP:
        return np.exp(a)
    if fn == _LOG:
        return np.log(a)
    if fn == _SQRT:
        return np.sqrt(a)
    if fn == _RSQRT:
        return np.float32(1) / np.sqrt(a)
    if fn == _SQUARE:
        return a * a
    if fn == _SIGN:
        return np.float32(a > 0) - np.float32(a < 0)
    if fn == _FLOOR:
        return np.floor(a)
    if fn == _SIGMOID:
        return _logistic(a)
    if fn == _SILU:
        return a * _logistic(a)
    return np.tanh(a)


@compiled
def _map(fn, a, b, c, seed, out):
    """Compute one elementwise operation. a, b, c, out: float32 [count]; seed: a hash's, mixed."""
    if _arithmetic(fn, a, b, out):
        return
    for i in range(out.size):
        if fn == _DIV:
            out[i] = a[i] / b[i]
        elif fn == _POW:
            out[i] = a[i] ** b[i]
        elif fn == _MOD:
            out[i] = _modulo(a[i], b[i])
        elif fn == _CLIP:
            out[i] = _smaller(_larger(a[i], b[i]), c[i])
        elif fn == _WHERE:
            out[i] = b[i] if a[i] != 0 else c[i]
        elif fn == _HASH:
            out[i] = _scatter_bits(a[i], seed)
        elif _LT <= fn <= _INVERT:
            out[i] = _compare(fn, a[i], b[i])
        else:
            out[i] = _function(fn, a[i])


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
def _largest(x):
    found = np.float32(-np.inf)
    for i in range(x.size):
        found = _larger(found, x[i])
    return found


@compiled_sums
def _squares(x, middle):
    total = np.float32(0)
    for i in range(x.size):
        total += (x[i] - middle) * (x[i] - middle)
    return total


@compiled
def _log_of_sum(x):
    top = _largest(x)
    least = np.float32(0) if np.isinf(top) else top
    total = np.float32(0)
    for i in range(x.size):
        total += np.exp(x[i] - least)
    return np.log(total) + least


@compiled
def _extremes(x, largest, inner, out):
    """Reduce stretches that are few numbers each, such as the heads of a page."""
    for i in range(out.size):
        found = x[i * inner]
        for j in range(i * inner + 1, (i + 1) * inner):
            found = _larger(found, x[j]) if largest else _smaller(found, x[j])
        out[i] = found


@compiled
def _reduce(fn, x, out):
    """Reduce each stretch of x to one number. x: float32 [outer * inner]; out: float32 [outer]."""
    inner = x.size // max(out.size, 1)
    if fn in (_MAX, _MIN):
        _extremes(x, fn == _MAX, inner, out)
        return
    for i in range(out.size):
        part = x[i * inner : (i + 1) * inner]
        if fn == _TOTAL:
            out[i] = _total(part)
        elif fn == _MEAN:
            out[i] = _total(part) / np.float32(inner)
        elif fn == _VAR:
            out[i] = _squares(part, _total(part) / np.float32(inner)) / np.float32(inner)
        elif fn == _NORM:
            out[i] = np.sqrt(_squares(part, np.float32(0)))
        else:
            out[i] = _log_of_sum(part)


@compiled
def _along(fn, x, out, inner):
    """Normalise each stretch of `inner` numbers."""
    for start in range(0, x.size, inner):
        part, into = x[start : start + inner], out[start : start + inner]
        if fn == _NORMALIZE:
            total = _total(part)
            for i in range(inner):
                into[i] = part[i] / total
            continue
        top, total = _largest(part), np.float32(0)
        for i in range(inner):
            into[i] = np.exp(part[i] - top)
            total += into[i]
        for i in range(inner):
            into[i] /= total


@compiled
def _at(line, place, num_pages):
    return line[place] + line[place + 1] * num_pages


@compiled
def _copy(scratch, line, n):
    """Write a value in another order of its axes, or repeated along new ones: four of them."""
    to, source = _at(line, TO, n), _at(line, ONE, n)
    a, b, c, d = _at(line, SIZES, n), _at(line, SIZES + 2, n), _at(line, SIZES + 4, n), _at(line, SIZES + 6, n)
    by_a, by_b, by_c = _at(line, STRIDES, n), _at(line, STRIDES + 2, n), _at(line, STRIDES + 4, n)
    by_d = _at(line, STRIDES + 6, n)
    for i in range(a):
        for j in range(b):
            for k in range(c):
                start = source + i * by_a + j * by_b + k * by_c
                for m in range(d):
                    scratch[to + m] = scratch[start + m * by_d]
                to += d


@compiled
def _dot(scratch, line, n):
    """Sum products along an axis that comes last in both operands, for all elements of three axes."""
    to, one, other, inner = _at(line, TO, n), _at(line, ONE, n), _at(line, OTHER, n), _at(line, SIZES + 6, n)
    by_a, by_b, by_c = _at(line, STRIDES, n), _at(line, STRIDES + 2, n), _at(line, STRIDES + 4, n)
    with_a, with_b, with_c = (
        _at(line, OTHER_STRIDES, n), _at(line, OTHER_STRIDES + 2, n), _at(line, OTHER_STRIDES + 4, n)
    )  # fmt: skip
    for i in range(_at(line, SIZES, n)):
        for j in range(_at(line, SIZES + 2, n)):
            for k in range(_at(line, SIZES + 4, n)):
                x, y = one + i * by_a + j * by_b + k * by_c, other + i * with_a + j * with_b + k * with_c
                scratch[to] = _product(scratch[x : x + inner], scratch[y : y + inner])
                to += 1


@compiled
def _leaf(kind, out, query, row, reserved):
    """Write one of select's small inputs. row: the row's pages in all and its KV head; reserved: sink and window."""
    pages, kv_head = row
    if kind == _Q:
        out[:] = query
    elif kind == _COUNT:
        out[0] = pages
    elif kind == _KV_HEAD:
        out[0] = kv_head
    else:
        sink, window = reserved
        for i in range(out.size):
            is_reserved = i < sink or i >= pages - window
            out[i] = i if kind == _INDEX else np.float32(is_reserved == (kind == _RESERVED))


@compiled
def _read(line, scratch, n, stored, pages):
    """Load a field of all pages, or contract it with queries."""
    fields, memory, tables = stored
    field, to = fields[line[FN]], _at(line, TO, n)
    vectors, length = field[5], field[6]
    if line[OP] == _LOAD:
        gather(memory, tables, field, pages, scratch[to : to + n * vectors * length].reshape(n, vectors, length))
        return
    queries, one = line[SIZES], _at(line, ONE, n)
    query = scratch[one : one + queries * length].reshape(queries, length)
    out = scratch[to : to + n * vectors * queries].reshape(n, vectors, queries)
    contract_row(memory, tables, field, pages, query, out)


@compiled
def _compute(line, scratch, n, room):
    """Perform an instruction on values without gaps."""
    op, fn, to, count = line[OP], line[FN], _at(line, TO, n), _at(line, SIZES, n)
    one, other, third, inner = _at(line, ONE, n), _at(line, OTHER, n), _at(line, THIRD, n), _at(line, SIZES + 2, n)
    x, y, z, out = (
        scratch[one : one + count], scratch[other : other + count], scratch[third : third + count],
        scratch[to : to + count],
    )  # fmt: skip
    if op == _MAP:
        _map(fn, x, y, z, line[SEED], out)
    elif op == _REDUCE:
        _reduce(fn, scratch[one : one + count * inner], out)
    elif op == _ALONG:
        _along(fn, x, out, inner)
    else:
        mark_best(x, y, scratch[third], room, out)


@compiled
def _perform(line, scratch, n, stored, row, room):
    """Perform one instruction for a row with n complete pages. row: as in `run`, of this row alone."""
    query, pages, count, kv_head, reserved = row
    if line[OP] == _LEAF:
        to = _at(line, TO, n)
        _leaf(line[FN], scratch[to : to + _at(line, SIZES, n)], query, (count, kv_head), reserved)
    elif line[OP] == _LOAD or line[OP] == _CONTRACT:
        _read(line, scratch, n, stored, pages)
    elif line[OP] == _COPY:
        _copy(scratch, line, n)
    elif line[OP] == _DOT:
        _dot(scratch, line, n)
    else:
        _compute(line, scratch, n, room)


@compiled
def run(tape, step, stored, scratch, lists):
    """Choose the pages of every row, reserved ones among them, and list them. -> how many all rows attend to

    tape: instructions int64 [num, WIDTH], known numbers float32 [num], which begin the scratch, and the place of the
    result; step: query float32 [row, query * dim], pages int64 [row, max_pages], lengths int64 [row] tokens, KV heads
    int64 [row], page size, and (sink, window); stored: fields int64 [num, 7], memory and tables as in `gather`;
    scratch: float32, as long as the tape says for max_pages; lists, written here: attended bool [row, max_pages], and
    what `list_pages` writes.
    """
    lines, numbers, result = tape
    query, pages, lengths, kv_heads, page_size, reserved = step
    attended, table, tokens = lists
    scratch[: numbers.size] = numbers
    room = np.empty(2 * pages.shape[1] + 1, np.uint32)
    for i in range(lengths.size):
        n, count = lengths[i] // page_size, -(-lengths[i] // page_size)
        row = query[i], pages[i, :n], count, kv_heads[i], reserved
        for k in range(lines.shape[0] if n else 0):
            _perform(lines[k], scratch, n, stored, row, room)
        chosen = result[0] + result[1] * n
        for j in range(pages.shape[1]):
            is_reserved = j < count and (j < reserved[0] or j >= count - reserved[1])
            attended[i, j] = is_reserved or (j < n and scratch[chosen + j] != 0)
    return list_pages(attended, pages, lengths, page_size, table, tokens)
