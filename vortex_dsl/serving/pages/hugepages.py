"""Large memory pages for a cache that is read here and there: most of such reads otherwise wait for an address."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

SIZE = 2 << 20  # bytes of a large page on x86-64, and on Arm with small pages of 4 KiB
_MADV_HUGEPAGE, _MADV_COLLAPSE = 14, 25  # linux/mman.h; Linux collapses at once since 6.1, earlier ones in their time


def advise(tensor: torch.Tensor) -> None:
    """Ask the system to back a tensor with large pages. Where it does not, reading is slower and nothing else."""
    start, end = tensor.data_ptr(), tensor.data_ptr() + tensor.numel() * tensor.element_size()
    first = -(-start // SIZE) * SIZE
    length = end // SIZE * SIZE - first
    if length <= 0 or sys.platform != "linux":
        return
    madvise = ctypes.CDLL(None, use_errno=True).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for advice in (_MADV_HUGEPAGE, _MADV_COLLAPSE):
        if madvise(first, length, advice):
            reason = os.strerror(ctypes.get_errno())
            logging.getLogger("vllm").info("Vortex: the KV cache gets no large memory pages: %s", reason)
            return
