"""The pages of a cache, with the kernels of the device that it is on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vortex_dsl.serving.pages.latent import KERNEL_SHAPE, KERNEL_TOKENS, CpuLatentPages, LatentPages

if TYPE_CHECKING:
    import torch

    from vortex_dsl.serving.pages.pages import Pages


def pages_over(kv_cache: torch.Tensor, head_dim: int) -> Pages:
    """Give the pages of a cache with the kernels of the device that it is on."""
    if kv_cache.device.type == "cpu":
        from vortex_dsl.serving.pages.cpu import CpuPages

        return CpuPages(kv_cache, head_dim)
    from vortex_dsl.serving.pages.plain import TorchPages

    return TorchPages(kv_cache, head_dim)


def latents_over(kv_cache: torch.Tensor, latent_dim: int, value_dim: int) -> LatentPages:
    """Give the pages of a layer's cache, [num_blocks, page_size, content], for the device that it is on."""
    fits = (latent_dim, value_dim) == KERNEL_SHAPE and kv_cache.shape[1] % KERNEL_TOKENS == 0
    if kv_cache.device.type == "cpu" and fits:
        return CpuLatentPages(kv_cache, latent_dim, value_dim)
    return LatentPages(kv_cache, latent_dim, value_dim)
