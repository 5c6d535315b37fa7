"""Storage kinds: how a stored vector becomes bytes, and what is left of it. The only place that knows the codes.

A *vector* runs along `dim`, the last axis; a value without `dim` is made of vectors of one element.
Each vector starts at a whole byte.

    bfloat16 float16 float32   as they are, little endian
    fp8_e4m3                   saturated at ±448
    int8                       round(x / scale), scale = max|x| / 127, one float32 per vector
    int4                       round(x / scale), scale = max|x| / 7; element 2i is the low half of byte i,
                               two's complement
    sign                       bit i of byte j is element 8j + i, set for +1; 0 and NaN are +1
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch
    from torch import Tensor, dtype

LARGEST_FP8 = 448.0
SCALE_BYTES = 4


class Width(NamedTuple):
    """Bits of an element; the largest code where a vector has a scale, 0 elsewhere."""

    bits: int
    largest_code: int = 0


KINDS = {
    "bfloat16": Width(16),
    "float16": Width(16),
    "float32": Width(32),
    "fp8_e4m3": Width(8),
    "int8": Width(8, 127),
    "int4": Width(4, 7),
    "sign": Width(1),
}
CODED = ("fp8_e4m3", "int8", "int4", "sign")  # read and written byte by byte, the others as numbers


def vector_bytes(kind: str, length: int) -> int:
    """Bytes of one vector of `length` elements, its scale aside."""
    return (length * KINDS[kind].bits + 7) // 8


def scale_bytes(kind: str) -> int:
    """Bytes of a vector's scale."""
    return SCALE_BYTES if KINDS[kind].largest_code else 0


def elements_per_byte(kind: str) -> int:
    """Elements that share a byte; 1 for all that are no narrower."""
    return max(8 // KINDS[kind].bits, 1)


def is_float(kind: str) -> bool:
    """Whether elements are stored as floating-point numbers, one after the other."""
    return kind not in CODED or kind == "fp8_e4m3"


def float_dtype(kind: str) -> dtype:
    """Give the torch dtype of a floating-point storage kind."""
    import torch

    return getattr(torch, {"fp8_e4m3": "float8_e4m3fn"}.get(kind, kind))


def to_float_kind(x: Tensor, kind: str) -> Tensor:
    """Round float32 to a floating-point storage kind."""
    return (x.clamp(-LARGEST_FP8, LARGEST_FP8) if kind == "fp8_e4m3" else x).to(float_dtype(kind))


def quantize(x: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """Give int8 codes [..., length] and scales [..., 1] of vectors [..., length]. A NaN spoils its vector."""
    largest = KINDS[kind].largest_code
    # By a tensor: on CUDA, torch multiplies by the reciprocal of a number, and a scale that is off by its last bit
    # decides ties otherwise, which are frequent among bfloat16 numbers.
    scale = x.abs().amax(-1, keepdim=True) / x.new_full((), largest)
    codes = (x / scale).nan_to_num_(0.0, 0.0, 0.0).round_().clamp_(-largest, largest)  # by a scale of 0: infinite
    return codes.to(_torch().int8), scale


def round_trip(x: Tensor, kind: str, *, along_dim: bool) -> Tensor:
    """Give what select reads of a value that summarize stored: float32, same shape. x: [..., dim] if along_dim."""
    if is_float(kind):
        return to_float_kind(x, kind).float()
    if kind == "sign":
        return 1.0 - 2.0 * (x < 0).float()
    codes, scale = quantize(x if along_dim else x[..., None], kind)
    return (codes * scale).reshape(x.shape)


def encode(x: Tensor, kind: str) -> Tensor:
    """Give the bytes of vectors [..., length]: uint8 [..., vector_bytes], scales aside for scaled kinds."""
    torch = _torch()
    if is_float(kind):
        return to_float_kind(x, kind).contiguous().view(torch.uint8)
    if kind == "sign":
        weights = torch.tensor([1, 2, 4, 8, 16, 32, 64, 128], dtype=torch.uint8, device=x.device)
        bits = _padded((~(x < 0)).to(torch.uint8), 8)
        return (bits.unflatten(-1, (-1, 8)) * weights).sum(-1, dtype=torch.uint8)
    return bytes_of(quantize(x, kind)[0], kind)


def bytes_of(codes: Tensor, kind: str) -> Tensor:
    """Give the bytes of codes of a scaled kind, int8 [..., length]: uint8 [..., vector_bytes]."""
    unsigned = codes.view(_torch().uint8)
    if kind == "int8":
        return unsigned
    halves = _padded(unsigned & 0xF, 2).unflatten(-1, (-1, 2))
    return halves[..., 0] | (halves[..., 1] << 4)


def decode(raw: Tensor, kind: str, length: int) -> Tensor:
    """Undo `encode` for the kinds that are not floating point: float32 [..., length], not yet scaled."""
    torch = _torch()
    if kind == "int8":
        return raw.view(torch.int8).float()
    if kind == "sign":
        # One look-up per byte: on a CPU ten times as fast as shifting out every bit.
        return torch.nn.functional.embedding(raw.int(), _signs_of_bytes(raw.device)).flatten(-2)[..., :length]
    halves = torch.stack((raw & 0xF, raw >> 4), -1).flatten(-2)[..., :length]
    return ((halves ^ 8).float() - 8.0).contiguous()


@cache
def _signs_of_bytes(device: torch.device) -> Tensor:
    """Give the eight signs that each byte stands for: float32 [256, 8]."""
    torch = _torch()
    places = torch.arange(8, device=device)
    return ((torch.arange(256, device=device)[:, None] >> places) & 1) * 2.0 - 1.0


def _padded(x: Tensor, multiple: int) -> Tensor:
    """Append zeros along the last axis up to a multiple."""
    return _torch().nn.functional.pad(x, (0, -x.shape[-1] % multiple))


def _torch():
    """Give torch, imported only when there are numbers to work on."""
    import torch

    return torch
