# mypy: disallow-incomplete-defs=False
"""What generated kernels call where Triton's own operation differs from IEEE, from torch, or between its backends."""

from typing import Any

import triton
import triton.language as tl

INTERPRETED = tl.constexpr(not isinstance(tl.sum, triton.JITFunction))  # which multiplies no bfloat16


@triton.jit
def both(a, b):
    """Give the conjunction, where one may be a scalar: as integers, since the interpreter spreads no booleans."""
    return (a.to(tl.int32) & b.to(tl.int32)) != 0


@triton.jit
def either(a, b):
    """Give the disjunction, where one may be a scalar."""
    return (a.to(tl.int32) | b.to(tl.int32)) != 0


@triton.jit
def modulo(a, b):
    """Give the remainder with the sign of the divisor."""
    rest = a % b
    return tl.where((rest != 0.0) & ((rest < 0.0) != (b < 0.0)), rest + b, rest)


@triton.jit
def power(a, b):
    """Raise to a power: by exp2 and log2, with the sign of an odd whole power; NaN for other powers below 0."""
    size = tl.exp2(b * tl.log2(tl.abs(a)))
    size = tl.where(b == 0.0, 1.0, tl.where(tl.abs(a) == 1.0, 1.0, size))
    whole = tl.floor(b) == b
    odd = whole & (tl.floor(b * 0.5) * 2.0 != b)
    return tl.where(a < 0.0, tl.where(whole, tl.where(odd, -size, size), float("nan")), size)


@triton.jit
def larger(a, b):
    """Give the larger of two; NaN if either is."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def smaller(a, b):
    """Give the smaller of two; NaN if either is."""
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def sign(x):
    """Give -1, 0 or 1; 0 for NaN, as torch does."""
    return tl.where(x > 0.0, 1.0, tl.where(x < 0.0, -1.0, 0.0))


@triton.jit
def sigmoid(x):
    """Give 1 / (1 + exp(-x))."""
    return tl.div_rn(1.0, 1.0 + tl.exp(-x))


@triton.jit
def tanh(x):
    """Give the hyperbolic tangent, without overflow."""
    small = tl.exp(-2.0 * tl.abs(x))
    size = tl.div_rn(1.0 - small, 1.0 + small)
    return tl.where(x < 0.0, -size, size)


@triton.jit
def largest(x, axis: tl.constexpr):
    """Reduce to the largest along an axis; NaN if any element is."""
    any_nan = tl.max((x != x).to(tl.int32), axis) > 0
    return tl.where(any_nan, float("nan"), tl.max(x, axis))


@triton.jit
def smallest(x, axis: tl.constexpr):
    """Reduce to the smallest along an axis; NaN if any element is."""
    any_nan = tl.max((x != x).to(tl.int32), axis) > 0
    return tl.where(any_nan, float("nan"), tl.min(x, axis))


@triton.jit
def scatter_bits(x, mixed_seed):
    """Mix a whole number with a mixed seed (MurmurHash3's finalizer) to a number in [0, 1)."""
    whole = tl.floor(tl.where(x == x, x, 0.0))
    whole = tl.minimum(tl.maximum(whole, -2147483648.0), 2147483520.0).to(tl.int32)
    h = whole.to(tl.uint32, bitcast=True).to(tl.uint64) + mixed_seed
    h = h & 0xFFFFFFFF
    h = ((h ^ (h >> 16)) * 0x85EBCA6B) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 0xC2B2AE35) & 0xFFFFFFFF
    h = h ^ (h >> 16)
    return (h >> 8).to(tl.int32).to(tl.float32) * 5.9604644775390625e-08


@triton.jit
def nearest(x):
    """Round to the nearest whole number, halves to the even one; for numbers far below 2**23."""
    above = tl.floor(x + 0.5)
    odd = tl.floor(above * 0.5) * 2.0 != above
    return tl.where((above - x == 0.5) & odd, above - 1.0, above)


@triton.jit
def code(x, scale, most):
    """Give the int8 or int4 code of an element of a scaled vector: a whole number from -most to most."""
    quotient = tl.div_rn(x, tl.where(scale > 0.0, scale, 1.0))
    quotient = tl.where(quotient == quotient, quotient, 0.0)
    quotient = tl.where(scale > 0.0, quotient, 0.0)
    return tl.minimum(tl.maximum(nearest(tl.minimum(tl.maximum(quotient, -most), most)), -most), most)


@triton.jit
def round_bfloat16(x):
    """Round to bfloat16, to nearest even: Triton's interpreter by itself cuts the bits off."""
    bits = x.to(tl.uint32, bitcast=True)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return tl.where(x == x, rounded.to(tl.float32, bitcast=True), x).to(tl.bfloat16)


@triton.jit
def encode_fp8(x):
    """Give the byte of a number as float8 e4m3, saturated at ±448, to nearest even, by arithmetic on any device."""
    size = tl.minimum(tl.abs(x), 448.0)
    exponent = tl.maximum((size.to(tl.int32, bitcast=True) >> 23) - 127, -6)
    step = ((exponent - 3 + 127) << 23).to(tl.float32, bitcast=True)
    rounded = nearest(tl.div_rn(size, step)) * step
    bits = rounded.to(tl.int32, bitcast=True)
    normal = ((bits >> 23) - 120) * 8 + ((bits >> 20) & 7)
    byte = tl.where(rounded < 0.015625, (rounded * 512.0).to(tl.int32), normal)
    byte = byte + tl.where(x.to(tl.int32, bitcast=True) < 0, 128, 0)
    return tl.where(x == x, byte, 127).to(tl.uint8)


@triton.jit
def decode_fp8(byte):
    """Give the number that a float8 e4m3 byte stands for."""
    exponent = (byte >> 3) & 15
    fraction = (byte & 7).to(tl.float32)
    power_of_two = ((exponent + 120) << 23).to(tl.float32, bitcast=True)
    size = tl.where(exponent == 0, fraction * 0.001953125, (1.0 + fraction * 0.125) * power_of_two)
    size = tl.where((byte & 127) == 127, float("nan"), size)
    return tl.where(byte >= 128, -size, size)


@triton.jit
def nibble(x):
    """Give the number, -8 to 7, in the lowest four bits of an int32: put into the last bits of a float32's fraction."""
    return ((x & 15) ^ 0x4B000008).to(tl.float32, bitcast=True) - 8388616.0


@triton.jit
def signed_bit(x):
    """Give 1 where the lowest bit of an int32 is set and -1 where it is not: 1.0 with another sign bit."""
    return ((((x & 1) ^ 1) << 31) | 0x3F800000).to(tl.float32, bitcast=True)


@triton.jit
def slot_of(slots):
    """Give a program's slot as int64: that with its number among many, or the one that is given."""
    slot = tl.load(slots + tl.program_id(0)) if slots.dtype.is_ptr() else slots
    return slot.to(tl.int64)


@triton.constexpr_function
def _operand(*kinds: Any) -> tl.dtype:
    """Give the type in which operands are multiplied: their 16-bit type, or float32 where they differ or are wider.

    None and 8-bit types stand for numbers that are exact in either 16-bit type.
    """
    wide = {kind for kind in kinds if kind is not None and kind.primitive_bitwidth > 8}
    if not wide:
        return tl.bfloat16
    kind = wide.pop()
    return kind if kind.primitive_bitwidth == 16 and not wide else tl.float32


@triton.jit
def product(a, b, total, a_stored, b_stored):
    """Add the product of matrices [m, k] and [k, n] of float32 to `total`: on tensor cores, exact but for the sums.

    a_stored, b_stored: pointers to what the operands' numbers were read from, None for small whole numbers.
    """
    A: tl.constexpr = None if a_stored is None else a_stored.dtype.element_ty
    B: tl.constexpr = None if b_stored is None else b_stored.dtype.element_ty
    KIND: tl.constexpr = _operand(A, B)
    if INTERPRETED or tl.float32 == KIND:
        total = tl.dot(a, b, total, input_precision="tf32x3")
    else:
        total = tl.dot(a.to(KIND), b.to(KIND), total)
    return total
