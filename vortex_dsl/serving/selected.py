"""The class that CUSTOM means where vLLM looks up a class by name without saying what kind of attention it is for."""

from __future__ import annotations

from typing import Any

from vortex_dsl.serving.plugin import PluginConflictError, conflict, role


def __getattr__(name: str) -> Any:
    """Give `Backend`: the one for latent attention where the model being loaded has it.

    Raises PluginConflictError where several plugins are installed and none is named: on a GPU nothing else says so.
    """
    if name != "Backend":
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    if role() == "guard":
        raise PluginConflictError(conflict())
    from vllm.config import get_current_vllm_config

    model = get_current_vllm_config().model_config
    if model is not None and model.use_mla:
        from vortex_dsl.serving.backend_mla import VortexMlaBackend

        return VortexMlaBackend
    from vortex_dsl.serving.backend import VortexBackend

    return VortexBackend
