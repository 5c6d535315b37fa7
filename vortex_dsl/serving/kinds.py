"""Which kernels an engine's layers run on: settled once, before the first layer is made."""

from __future__ import annotations

from typing import Any

from .config import serving_config


def kernels_of(vllm_config: Any) -> str:
    """Give `cpp`, `triton` or `torch`. Raises ServingError where those asked for are not for the engine's device."""
    return serving_config(vllm_config).kernels_on(vllm_config.device_config.device_type)
