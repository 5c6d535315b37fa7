# mypy: disallow-incomplete-defs=False
"""Launches that begin while the one before ends (programmatic dependent launch, from Hopper on): off unless asked for.

Such a launch may begin as soon as every program of the one before has allowed it or has ended. So every program of it
waits first of all until that one has ended and what it wrote can be seen: nothing meets what an earlier launch still
reads or writes, and whoever waits for this one has waited for all before it. What is won is the time between launches.

No card has run it yet, and no interpreter can show a race: what serves launches one after the other until
`benchmarks/drill`, which asks for it in cases of its own, has shown on a card that it is right and faster.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
import triton
import triton.language as tl

from kernels.arithmetic import INTERPRETED

HOPPER = (9, 0)
_asked: list[bool] = [False]


@triton.jit
def begin():
    """Wait for all earlier launches, then let the next one take its place. The first thing in every program.

    Neither does anything where a launch was not asked to depend on the one before.
    """
    if not INTERPRETED and tl.target_info.cuda_capability_geq(9, 0):
        tl.extra.cuda.gdc_wait()
        tl.extra.cuda.gdc_launch_dependents()


@contextmanager
def asked(wanted: bool = True) -> Iterator[None]:
    """Launch so for a while, where the device can: to check it, and to measure it."""
    _asked.append(wanted)
    try:
        yield
    finally:
        _asked.pop()


@cache
def capability(device: torch.device) -> tuple[int, int]:
    """Give what a device can do, as CUDA counts it; nothing where it is no card."""
    return torch.cuda.get_device_capability(device) if device.type == "cuda" else (0, 0)


def dependent(device: torch.device) -> dict[str, bool]:
    """Give the options of a launch of a kernel that begins with `begin`: none unless asked for and known there."""
    return {"launch_pdl": True} if _asked[-1] and capability(device) >= HOPPER else {}
