"""What a device can do at most, and the least time that bytes and arithmetic take on it: its roofline."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vortex_dsl.analysis.cost import Cost, Layers

REACHED = 0.88  # of the peaks below, by good kernels over long rows
LAUNCH_S = 2e-6  # of one kernel within a CUDA graph, beside its work

_COPIED_BYTES = 2**26
_MATRIX = 768
_TRIES = 3


@dataclass(frozen=True)
class Device:
    """Peaks of one device: memory, products of bfloat16 matrices without sparsity, float32 arithmetic."""

    name: str
    bytes_per_s: float
    matrix_flops_per_s: float
    flops_per_s: float

    def time_s(self, num_bytes: float, flops: float, *, matrix: bool = False) -> float:
        """Give the least seconds that a piece of work takes: that of its bytes, or of its arithmetic."""
        return max(num_bytes / self.bytes_per_s, flops / (self.matrix_flops_per_s if matrix else self.flops_per_s))


@dataclass(frozen=True)
class Roofline:
    """Seconds that a decode step takes at least, per sequence, KV head and layer; launches are not counted.

    `stages_s`: of a sparse layer, by stage in the cost's order; `dense_s`: of a dense one. Scoring is float32
    arithmetic, attention products of bfloat16.
    """

    device: Device
    stages_s: tuple[float, ...]
    dense_s: float
    layers: Layers

    @property
    def sparse_s(self) -> float:
        """Seconds of all stages of a sparse layer, one after the other."""
        return sum(self.stages_s)

    @property
    def speedup(self) -> float:
        """How many times as long dense attention takes over all layers."""
        return self.layers.times(self.dense_s, self.sparse_s)


def roofline(cost: Cost, device: Device) -> Roofline:
    """Give the least time of a cost on a device."""
    stages = (device.time_s(each.bytes, each.flops, matrix=each.kind == "attend") for each in cost.stages)
    dense_s = device.time_s(cost.dense_bytes, cost.dense_flops, matrix=True)
    return Roofline(device, tuple(stages), dense_s, cost.layers)


def modelled_s(cost: Cost, device: Device, rows: int, num_launches: int) -> tuple[float, float]:
    """Model one sparse layer's decode step over so many rows (sequences x KV heads): seconds, sparse and dense.

    By bytes at the rate that kernels reach, and by launches within a graph, one after the other; dense attention is one
    launch. A model, no measurement: it knows nothing of latencies within a kernel.
    """
    roof, sparse, dense = roofline(cost, device), num_launches * LAUNCH_S, LAUNCH_S
    return sparse + rows * roof.sparse_s / REACHED, dense + rows * roof.dense_s / REACHED


# NVIDIA's data sheets: H100 SXM5, H200 SXM and one GPU of an HGX B200, their figures with sparsity halved.
DEVICES: Mapping[str, Device] = MappingProxyType(
    {
        device.name: device
        for device in (
            Device("H100", 3.35e12, 989e12, 67e12),
            Device("H200", 4.8e12, 989e12, 67e12),
            Device("B200", 8.0e12, 2250e12, 80e12),
        )
    }
)
CPU = "cpu"
NAMES = (*DEVICES, CPU)


def device(name: str) -> Device:
    """Give a device by name; the CPU is measured anew. Raises LookupError for an unknown name."""
    if name == CPU:
        return measured_cpu()
    if name not in DEVICES:
        raise LookupError(f"no device '{name}'; its peaks are known for {', '.join(NAMES)}")
    return DEVICES[name]


def measured_cpu() -> Device:
    """Measure this CPU, in a fraction of a second: the best of a few large copies and of a few matrix products.

    A copy by one thread, so an estimate from below; products are of float32, in as many threads as NumPy takes.
    """
    import numpy as np

    source = np.ones(_COPIED_BYTES, dtype=np.uint8)
    target, matrix = np.empty_like(source), np.ones((_MATRIX, _MATRIX), dtype=np.float32)
    bytes_per_s = 2 * _COPIED_BYTES / _best_s(lambda: np.copyto(target, source))
    flops_per_s = 2 * _MATRIX**3 / _best_s(lambda: matrix @ matrix)
    return Device(CPU, bytes_per_s, flops_per_s, flops_per_s)


def _best_s(work: Callable[[], object]) -> float:
    """Give the seconds of the fastest of a few runs, after one to warm up."""
    work()
    times = []
    for _ in range(_TRIES):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
