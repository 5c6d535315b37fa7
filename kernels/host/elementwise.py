"""The elementwise operations of the machine: a loop for each, so that those of vector registers run on them.

MAPS names them in the order of their codes; one that has no branch below is told by `map_elements`.
"""

from __future__ import annotations

import numpy as np

from kernels.host.compiled import compiled

MAPS = (
    "add", "sub", "mul", "div", "pow", "neg", "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "invert", "abs", "exp",
    "log", "sqrt", "sign", "floor", "tanh", "maximum", "minimum", "where", "hash", "mod",
)  # fmt: skip
(
    _ADD, _SUB, _MUL, _DIV, _POW, _NEG, _LT, _LE, _GT, _GE, _EQ, _NE, _AND, _OR, _INVERT, _ABS, _EXP,
    _LOG, _SQRT, _SIGN, _FLOOR, _TANH, _MAXIMUM, _MINIMUM, _WHERE, _HASH, _MOD,
) = range(len(MAPS))  # fmt: skip


@compiled
def larger(a, b):
    """Give the larger of two, or what is no number."""
    return a if a > b or np.isnan(a) else b


@compiled
def smaller(a, b):
    """Give the smaller of two, or what is no number."""
    return a if a < b or np.isnan(a) else b


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
def _power(x):
    """Give e to the power of x, within two units in the last place; a loop of it runs on vector registers.

    x = n * log 2 + rest; the polynomial is that of the Cephes library. What is below 2**-126 becomes 0.
    """
    bounded = min(max(x, np.float32(-88)), np.float32(88.72283))
    n = np.floor(bounded * np.float32(1.44269504) + np.float32(0.5))
    rest = bounded - n * np.float32(0.693359375) + n * np.float32(2.12194440e-4)
    total = np.float32(1.9875691500e-4) * rest + np.float32(1.3981999507e-3)
    total = total * rest + np.float32(8.3334519073e-3)
    total = total * rest + np.float32(4.1665795894e-2)
    total = total * rest + np.float32(1.6666665459e-1)
    total = total * rest + np.float32(5.0000001201e-1)
    total = total * rest * rest + rest + np.float32(1)
    half = np.int32(n) >> np.int32(1)  # 2**128 is no number, so twice half of it
    first = np.int32((half + np.int32(127)) << np.int32(23)).view(np.float32)
    second = np.int32((np.int32(n) - half + np.int32(127)) << np.int32(23)).view(np.float32)
    value = total * first * second
    value = np.float32(np.inf) if x > np.float32(88.72283) else value
    value = np.float32(0) if x < np.float32(-87.33654) else value
    return x if x != x else value


@compiled
def map_elements(fn, a, b, c, seed, out):
    """Compute one elementwise operation. a, b, c, out: float32 [count]; seed: a hash's, mixed. -> whether it exists"""
    return (
        _arithmetic(fn, a, b, out)
        or _bounded(fn, a, b, out)
        or _compared(fn, a, b, out)
        or _combined(fn, a, b, out)
        or _transformed(fn, a, out)
        or _rarer(fn, a, b, c, seed, out)
    )


@compiled
def _arithmetic(fn, a, b, out):
    if fn == _ADD:
        for i in range(out.size):
            out[i] = a[i] + b[i]
    elif fn == _SUB:
        for i in range(out.size):
            out[i] = a[i] - b[i]
    elif fn == _MUL:
        for i in range(out.size):
            out[i] = a[i] * b[i]
    elif fn == _DIV:
        for i in range(out.size):
            out[i] = a[i] / b[i]
    elif fn == _NEG:
        for i in range(out.size):
            out[i] = -a[i]
    else:
        return False
    return True


@compiled
def _bounded(fn, a, b, out):
    if fn == _MAXIMUM:
        for i in range(out.size):
            out[i] = larger(a[i], b[i])
    elif fn == _MINIMUM:
        for i in range(out.size):
            out[i] = smaller(a[i], b[i])
    elif fn == _ABS:
        for i in range(out.size):
            out[i] = np.abs(a[i])
    elif fn == _SQRT:
        for i in range(out.size):
            out[i] = np.sqrt(a[i])
    elif fn == _FLOOR:
        for i in range(out.size):
            out[i] = np.floor(a[i])
    else:
        return False
    return True


@compiled
def _compared(fn, a, b, out):
    if fn == _LT:
        for i in range(out.size):
            out[i] = a[i] < b[i]
    elif fn == _LE:
        for i in range(out.size):
            out[i] = a[i] <= b[i]
    elif fn == _GT:
        for i in range(out.size):
            out[i] = a[i] > b[i]
    elif fn == _GE:
        for i in range(out.size):
            out[i] = a[i] >= b[i]
    elif fn == _EQ:
        for i in range(out.size):
            out[i] = a[i] == b[i]
    else:
        return False
    return True


@compiled
def _combined(fn, a, b, out):
    if fn == _NE:
        for i in range(out.size):
            out[i] = a[i] != b[i]
    elif fn == _AND:
        for i in range(out.size):
            out[i] = a[i] != 0 and b[i] != 0
    elif fn == _OR:
        for i in range(out.size):
            out[i] = a[i] != 0 or b[i] != 0
    elif fn == _INVERT:
        for i in range(out.size):
            out[i] = a[i] == 0
    else:
        return False
    return True


@compiled
def _transformed(fn, a, out):
    if fn == _EXP:
        for i in range(out.size):
            out[i] = _power(a[i])
    elif fn == _LOG:
        for i in range(out.size):
            out[i] = np.log(a[i])
    elif fn == _TANH:
        for i in range(out.size):
            out[i] = np.tanh(a[i])
    elif fn == _SIGN:
        for i in range(out.size):
            out[i] = np.float32(a[i] > 0) - np.float32(a[i] < 0)
    else:
        return False
    return True


@compiled
def _rarer(fn, a, b, c, seed, out):
    if fn == _POW:
        for i in range(out.size):
            out[i] = a[i] ** b[i]
    elif fn == _MOD:
        for i in range(out.size):
            out[i] = _modulo(a[i], b[i])
    elif fn == _WHERE:
        for i in range(out.size):
            out[i] = b[i] if a[i] != 0 else c[i]
    elif fn == _HASH:
        for i in range(out.size):
            out[i] = _scatter_bits(a[i], seed)
    else:
        return False
    return True
