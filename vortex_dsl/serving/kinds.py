"""Which kernels an engine's layers run on: settled once, before the first layer is made."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from vortex_dsl.trace import trace
from vortex_dsl.values import Shape

from .config import ServingError, serving_config

if TYPE_CHECKING:
    from .config import ServingConfig


def kernels_of(vllm_config: Any) -> str:
    """Give `cpp`, `triton` or `torch`. Raises ServingError where the program and the engine do not go together."""
    config, model = serving_config(vllm_config), vllm_config.model_config
    kernels = config.kernels_on(vllm_config.device_config.device_type)
    if config.kernels != "auto" or kernels != "triton" or not remembers(config, model.get_head_size()):
        return kernels
    if not model.enforce_eager:
        raise ServingError(
            "the program keeps a choice or states over steps, which the Triton kernels do not serve yet; start vLLM "
            "with enforce_eager=True to serve it in plain torch, which is slower"
        )
    return _torch_instead(config)


@lru_cache(maxsize=8)
def remembers(config: ServingConfig, head_dim: int) -> bool:
    """Tell whether a program's choice depends on earlier steps."""
    graph = trace(config.load(), Shape(group=1, head_dim=head_dim))
    return graph.refresh_steps > 1 or bool(graph.states)


@lru_cache(maxsize=8)
def _torch_instead(_config: ServingConfig) -> str:
    """Say once that a program is served more slowly than others."""
    logging.getLogger("vllm").warning(
        "Vortex: the program keeps a choice or states over steps and so is served in plain torch, which is slow"
    )
    return "torch"
