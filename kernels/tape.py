"""A program's select on a CPU without a line of Python between its operations: a machine that runs a tape.

`vortex_dsl.tape` writes a program as instructions over one memory of float32, and `run` performs them row by row, so
that no program has to be compiled. Booleans and selections are 0 and 1. An instruction is a line of WIDTH integers; a
number that grows with a row's pages is two of them, what it is and what each page adds: so are places, counts and
distances from element to element.
"""

from __future__ import annotations

import numpy as np

from kernels.compiled import compiled, compiled_sums
from kernels.loops import contract_row, gather, list_pages, mark_best

WIDTH = 40
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
    elif fn == _RELU:
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
def _map(fn, a, b, c, number, out):
    """Compute one elementwise operation. a, b, c, out: float32 [count]; number: the mixed seed of a hash."""
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
            out[i] = _scatter_bits(a[i], number)
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
    if fn == _MAX or fn == _MIN:
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
    to, source = _at(line, 2, n), _at(line, 4, n)
    a, b, c, d = _at(line, 10, n), _at(line, 12, n), _at(line, 14, n), _at(line, 16, n)
    by_a, by_b, by_c, by_d = _at(line, 18, n), _at(line, 20, n), _at(line, 22, n), _at(line, 24, n)
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
    to, one, other, inner = _at(line, 2, n), _at(line, 4, n), _at(line, 6, n), _at(line, 16, n)
    for i in range(_at(line, 10, n)):
        for j in range(_at(line, 12, n)):
            for k in range(_at(line, 14, n)):
                x = one + i * _at(line, 18, n) + j * _at(line, 20, n) + k * _at(line, 22, n)
                y = other + i * _at(line, 26, n) + j * _at(line, 28, n) + k * _at(line, 30, n)
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
def _perform(line, scratch, n, fields, memory, tables, pages, room):
    """Perform one instruction, leaves aside. n: the row's complete pages; pages: their numbers, int64 [n]."""
    op, fn, to = line[0], line[1], _at(line, 2, n)
    if op == _COPY:
        _copy(scratch, line, n)
    elif op == _DOT:
        _dot(scratch, line, n)
    elif op == _LOAD or op == _CONTRACT:
        field = fields[fn]
        vectors, length, a = field[5], field[6], _at(line, 4, n)
        if op == _LOAD:
            gather(memory, tables, field, pages, scratch[to : to + n * vectors * length].reshape(n, vectors, length))
        else:
            queries = line[10]
            query = scratch[a : a + queries * length].reshape(queries, length)
            out = scratch[to : to + n * vectors * queries].reshape(n, vectors, queries)
            contract_row(memory, tables, field, pages, query, out)
    else:
        a, b, c, count, inner = _at(line, 4, n), _at(line, 6, n), _at(line, 8, n), _at(line, 10, n), _at(line, 12, n)
        out = scratch[to : to + count]
        if op == _MAP:
            _map(fn, scratch[a : a + count], scratch[b : b + count], scratch[c : c + count], line[34], out)
        elif op == _REDUCE:
            _reduce(fn, scratch[a : a + count * inner], out)
        elif op == _ALONG:
            _along(fn, scratch[a : a + count], out, inner)
        else:
            mark_best(scratch[a : a + count], scratch[b : b + count], scratch[c], room, out)


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
    query, pages, lengths, kv_heads, page_size, (sink, window) = step
    fields, memory, tables = stored
    attended, table, tokens = lists
    scratch[: numbers.size] = numbers
    room = np.empty(2 * pages.shape[1] + 1, np.uint32)
    for row in range(lengths.size):
        n, count = lengths[row] // page_size, -(-lengths[row] // page_size)
        for i in range(lines.shape[0] if n else 0):
            line = lines[i]
            if line[0] == _LEAF:
                to = _at(line, 2, n)
                out = scratch[to : to + _at(line, 10, n)]
                _leaf(line[1], out, query[row], (count, kv_heads[row]), (sink, window))
            else:
                _perform(line, scratch, n, fields, memory, tables, pages[row, :n], room)
        chosen = result[0] + result[1] * n
        for i in range(pages.shape[1]):
            reserved = i < count and (i < sink or i >= count - window)
            attended[row, i] = reserved or (i < n and scratch[chosen + i] != 0)
    return list_pages(attended, pages, lengths, page_size, table, tokens)
