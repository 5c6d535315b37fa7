"""vLLM's CPU platform, which ignores `attention_backend="CUSTOM"`, taught to honour it."""

from __future__ import annotations

import sys
from typing import Any

from vllm.platforms.cpu import CpuPlatform
from vllm.v1.attention.backends.registry import AttentionBackendEnum

from vortex_dsl.serving.config import ServingError, serving_config
from vortex_dsl.serving.plugin import PACKAGE, PluginConflictError, conflict

LLVMLITE = "llvmlite.binding.ffi"
# vLLM's own CPU platform validates nothing, and CUDA's asks the backend: here the same questions have to be asked.
UNSERVED = ("use_sparse", "use_mm_prefix", "use_non_causal", "use_pcp", "use_dcp", "use_rswa")


class _NumbaCpuPlatform(CpuPlatform):
    """The CPU platform in a process that may have loaded Numba before vLLM starts an engine."""

    @classmethod
    def register_triton_kernel_overrides(cls) -> None:
        """Let vLLM put its C++ in the place of Triton kernels.

        It looks for them in all modules (0.32), and breaks at llvmlite's library, an object that has any attribute.
        """
        hidden = sys.modules.pop(LLVMLITE, None)
        try:
            super().register_triton_kernel_overrides()
        finally:
            if hidden is not None:
                sys.modules[LLVMLITE] = hidden


class VortexCpuPlatform(_NumbaCpuPlatform):
    """The CPU platform on which CUSTOM is our backend and everything else is vLLM's own choice."""

    @classmethod
    def get_attn_backend_cls(
        cls, selected_backend: Any, attn_selector_config: Any, num_heads: int | None = None
    ) -> str:
        """Give the class path of the attention backend."""
        if selected_backend != AttentionBackendEnum.CUSTOM:
            return super().get_attn_backend_cls(selected_backend, attn_selector_config, num_heads)
        refused = [name for name in UNSERVED if getattr(attn_selector_config, name)]
        if refused:
            raise ServingError(f"attention_backend='CUSTOM' does not serve {', '.join(refused)} yet")
        return (
            f"{PACKAGE}.backend_mla.VortexMlaBackend"
            if attn_selector_config.use_mla
            else f"{PACKAGE}.backend.VortexBackend"
        )

    @classmethod
    def check_and_update_config(cls, vllm_config: Any) -> None:
        """Let vLLM settle its configuration, then make a block one page of the program."""
        cache, scheduler = vllm_config.cache_config, vllm_config.scheduler_config
        is_ours = vllm_config.attention_config.backend == AttentionBackendEnum.CUSTOM
        is_given = cache.user_specified_block_size
        asked = cache.block_size if is_given else None
        caching, chunked = cache.enable_prefix_caching, scheduler.enable_chunked_prefill
        num_tokens = scheduler.max_num_batched_tokens
        if is_ours:  # vLLM would warn of blocks of 16 tokens, and what is set here below is the same
            cache.user_specified_block_size = False
        super().check_and_update_config(vllm_config)
        cache.user_specified_block_size = is_given
        cls._rotate_rightly(vllm_config)
        if not is_ours:
            return
        page_size = int(serving_config(vllm_config).load().values["page_size"])
        if asked not in (None, page_size):
            raise ServingError(
                f"the program's page_size is {page_size} but block_size={asked} was asked for; "
                f"leave block_size out or set it to {page_size}"
            )
        cache.block_size = page_size
        # vLLM's own backend for latents can do neither on some processors, and vLLM then switches them off for all.
        cache.enable_prefix_caching, scheduler.enable_chunked_prefill = caching, chunked
        scheduler.max_num_batched_tokens = num_tokens

    @classmethod
    def _rotate_rightly(cls, vllm_config: Any) -> None:
        """Keep models with latent attention, dense ones too, from vLLM's rotary kernel for CPUs.

        Where queries have three axes, as theirs do, it takes the stride of a head for that of a token (0.32): what it
        rotates is wrong, and depends on the batch.
        """
        model, custom_ops = vllm_config.model_config, vllm_config.compilation_config.custom_ops
        if model is not None and model.use_mla and "+rotary_embedding" not in custom_ops:
            custom_ops.append("-rotary_embedding")


class AmbiguousCpuPlatform(_NumbaCpuPlatform):
    """Stands in while several plugins are installed and none is named: dense models run, CUSTOM is an error."""

    @classmethod
    def check_and_update_config(cls, vllm_config: Any) -> None:
        """Let vLLM settle its configuration, or raise PluginConflictError before an engine starts for CUSTOM."""
        if vllm_config.attention_config.backend == AttentionBackendEnum.CUSTOM:
            raise PluginConflictError(conflict())
        super().check_and_update_config(vllm_config)

    @classmethod
    def get_attn_backend_cls(
        cls, selected_backend: Any, attn_selector_config: Any, num_heads: int | None = None
    ) -> str:
        """Give vLLM's own choice, or raise PluginConflictError where CUSTOM is asked for."""
        if selected_backend == AttentionBackendEnum.CUSTOM:
            raise PluginConflictError(conflict())
        return super().get_attn_backend_cls(selected_backend, attn_selector_config, num_heads)
