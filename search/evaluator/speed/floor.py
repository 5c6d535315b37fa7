"""The least time of a step: no device reads the pages that a step attends to faster than its memory gives bytes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from vortex_dsl.analysis.devices import DEVICES

if TYPE_CHECKING:
    from search.evaluator.engine import Engine

# Of one core of a CPU, whose caches may hold all that is read: two loads of 64 bytes in each cycle, at 5 GHz.
CORE_BYTES_PER_S = 640e9
OTHER_MEMORY = ("NVL", "GH200", "PCIE")  # GPUs of a known name with memory of another speed


def floor_s(engine: Engine, num_steps: int) -> float:
    """Give the seconds that a step of an engine's last `num_steps` took at least; 0 where the device is not known.

    From keys and values of the pages that were counted as attended, one page in each choice left out, which may be
    partial. What a GPU's cache may hold from the step before is taken to cost nothing.
    """
    layers = [each for each in engine.counters() if each["sparse_tokens"]]
    config = engine.llm.llm_engine.vllm_config
    num_heads = config.model_config.get_num_kv_heads(config.parallel_config)
    pages = sum(each["pages_attended"] - each["sparse_tokens"] * num_heads for each in layers)
    return least_s(_page_bytes(engine) * max(0, pages) / num_steps, *_device(engine))


def least_s(num_bytes: float, bytes_per_s: float, cached_bytes: float) -> float:
    """Give the least seconds in which so many bytes are read, some of which may lie in a cache."""
    return max(0.0, num_bytes - cached_bytes) / bytes_per_s if bytes_per_s else 0.0


def _page_bytes(engine: Engine) -> int:
    """Give the bytes of one page of one KV head: keys and values, or latents."""
    model: Any = engine.llm.llm_engine.vllm_config.model_config
    vectors = 1 if model.use_mla else 2
    return int(engine.settings.page_size * vectors * model.get_head_size() * model.dtype.itemsize)


def _device(engine: Engine) -> tuple[float, float]:
    """Give the most bytes a second that the engine's device reads, 0 where that is not known, and those it caches."""
    if engine.on_cpu:
        return CORE_BYTES_PER_S * (os.cpu_count() or 1), 0.0
    import torch

    found = torch.cuda.get_device_properties(0)
    return peak_of(found.name), float(found.L2_cache_size)


def peak_of(name: str) -> float:
    """Give the peak of the memory of a GPU by what its driver calls it; 0 where none that is known has this name."""
    words = name.upper().replace("-", " ").split()
    if any(each in words for each in OTHER_MEMORY):
        return 0.0
    return next((device.bytes_per_s for kind, device in DEVICES.items() if kind in words), 0.0)
