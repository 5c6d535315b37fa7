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

    The default is fitted to what an H200 was measured to take: fewer stages leave room for more programs, which hid
    more of the memory's delay than deeper pipelines (64 x 4 tokens: 55.7 us with 2 stages, 62.4 with 3, 68.0 with 5,
    at 32 x 32,768), and tiles of 32 were never slower than of 64. This very cut has not been measured yet.
    """

    tile: int = 32
    tiles: int = 4
    stages: int = 2
    warps: int = 4

    @property
    def part(self) -> int:
        """Tokens that one part covers."""
        return self.tile * self.tiles


DEFAULT = Tiling()
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


def tiling_of(cache: torch.Tensor, q: torch.Tensor, group: int, default: Tiling = DEFAULT) -> Tiling:
    """Give what was measured for this device and shape, the default where nothing was."""
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
    return json.loads(SHIPPED.read_text()) if SHIPPED.is_file() else {}


def keep(device: torch.device, shape: str, tiling: Tiling) -> None:
    """Write a measured choice down, for this and every later process."""
    known = _shipped()
    known.setdefault(_device_name(device), {})[shape] = asdict(tiling)
    SHIPPED.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    _known.cache_clear()


@cache
def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@cache
def num_processors(device: torch.device) -> int:
    """Give the multiprocessors of a device; a few where there are none."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 4
