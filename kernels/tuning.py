"""How the decode kernel's work is cut: measured once per device and shape, kept in a JSON file, the same in every run.

The cut decides in which order sums are taken, so it may depend on the shape of a model and on the device, and never
on a batch or on a length. `benchmarks/kernels.py --tune` measures and writes; nothing is measured while serving.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import torch

SHIPPED = Path(__file__).with_name("tuned.json")  # {device: {shape: tiling}}, only what was measured


@dataclass(frozen=True)
class Tiling:
    """Tokens per tile, tiles per part, loads in flight, and warps.

    The default asks for a whole part at once, 64 KiB, and lets a processor hold three programs. It is chosen by the
    machine code: a part takes 9.0 thousand cycles where tiles of 32 and 2 stages take 13.1, and no card has run it.
    What an H200 was measured to take were older kernels (32 x 32,768; 64 x 4 tokens: 55.7 us with 2 stages, 62.4 with
    3, 68.0 with 5; tiles of 32 were never slower than of 64): `benchmarks/drill` measures both again.
    """

    tile: int = 64
    tiles: int = 2
    stages: int = 3
    warps: int = 4

    @property
    def part(self) -> int:
        """Tokens that one part covers."""
        return self.tile * self.tiles


DEFAULT = Tiling()
NARROW = Tiling(tile=32, tiles=4, stages=2)  # of a float8 cache, whose numbers are widened: tiles of 64 spill
_trial: list[Tiling] = []
CANDIDATES = tuple(
    Tiling(tile, part // tile, stages, warps)
    for tile in (32, 64, 128)
    for part in (128, 256, 512)
    for stages in (2, 3, 4)
    for warps in (2, 4, 8)
)


def shape_key(cache: torch.Tensor, q: torch.Tensor, group: int) -> str:
    """Name a shape: cache [num_blocks, num_kv_heads, page_size, head_dim]; q [batch, num_q_heads, head_dim]."""
    kinds = "-".join(str(x.dtype).removeprefix("torch.") for x in (q, cache))
    return f"{kinds} page {cache.shape[2]} dim {cache.shape[3]} group {group}"


def tiling_of(cache: torch.Tensor, q: torch.Tensor, group: int, default: Tiling | None = None) -> Tiling:
    """Give what was measured for this device and shape, the default where nothing was."""
    default = default or (NARROW if cache.itemsize == 1 else DEFAULT)
    return _trial[-1] if _trial else _known(_device_name(q.device), shape_key(cache, q, group)) or default


@contextmanager
def trial(tiling: Tiling) -> Iterator[None]:
    """Cut by this for a while, whatever is known: to measure it."""
    _trial.append(tiling)
    try:
        yield
    finally:
        _trial.pop()


@cache
def _known(device: str, shape: str) -> Tiling | None:
    found = _shipped().get(device, {}).get(shape)
    return Tiling(**found) if found else None


@cache
def _shipped() -> dict[str, dict[str, dict[str, int]]]:
    return json.loads(SHIPPED.read_text("utf-8")) if SHIPPED.is_file() else {}


def keep(device: torch.device, shape: str, tiling: Tiling) -> None:
    """Write a measured choice down, for this and every later process."""
    known = _shipped()
    known.setdefault(_device_name(device), {})[shape] = asdict(tiling)
    SHIPPED.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", "utf-8")
    _known.cache_clear()


@cache
def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@cache
def num_processors(device: torch.device) -> int:
    """Give the multiprocessors of a device; a few where there are none."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 4


@cache
def shared_bytes(device: torch.device) -> int:
    """Give the shared memory that one program may have; as much as a Hopper card gives where there is none."""
    if device.type != "cuda":
        return 227 * 1024
    return torch.cuda.get_device_properties(device).shared_memory_per_block_optin  # type: ignore[attr-defined, no-any-return]
