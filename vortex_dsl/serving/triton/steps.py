"""One engine step as the Triton path sees it: read on the host, but nothing of it waits for the device.

With full CUDA graphs only what is on the device counts: a graph captured once is replayed with other lengths, tables
and slots. A row that is one token of a prompt must then be told from a decode on the device too: `dense`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vortex_dsl.serving.layers.batches import DeviceBatch, Prefills
from vortex_dsl.serving.pages.pages import Rows

if TYPE_CHECKING:
    from vllm.v1.attention.backend import CommonAttentionMetadata

    from kernels.slots import Places
    from vortex_dsl.serving.triton.requests import DeviceRequests

REPORT_STEPS = 256
WHOLE_PAGES = 64  # bounds of steps are multiples: Triton compiles anew for an argument that is none of 16
SPECIAL = 16


class StepReader:
    """Reads batches for one group of layers. What graphs read of a step stands in the same memory at every step."""

    def __init__(self, page_size: int, vllm_config: Any, layer_names: list[str], device: torch.device) -> None:
        self._page_size, self._vllm_config, self._layer_names = page_size, vllm_config, layer_names
        self._dense = torch.zeros(max_rows(vllm_config), dtype=torch.int8, device=device)
        self._any_dense = False
        self._requests: DeviceRequests | None = None
        self._steps = 0

    def read(self, batch: CommonAttentionMetadata) -> DeviceBatch:
        """Read a batch; its lengths, table and slots stay on the device."""
        self._report()
        num, starts = batch.num_reqs, batch.query_start_loc_cpu.numpy()[: batch.num_reqs + 1]
        num_decodes, prefills = pieces(batch, starts)
        self._mark(batch.is_prefilling, num)
        at = self._follow(batch, num_decodes)
        rows = Rows(batch.block_table_tensor[:num_decodes], batch.seq_lens[:num_decodes], batch.query_start_loc)
        max_pages = bound_of(-(-batch.max_seq_len // self._page_size), batch.block_table_tensor.shape[1])
        decodes = rows if num_decodes else None
        return DeviceBatch(num_decodes, decodes, self._dense[:num_decodes], max_pages, prefills, at)

    def _mark(self, is_prefilling: torch.Tensor | None, num: int) -> None:
        """Say which rows are of prompts. Nothing is copied while none is and none was."""
        marks = np.zeros(len(self._dense), dtype=np.int8)
        if is_prefilling is not None:
            given = is_prefilling.numpy()[:num]
            marks[: len(given)] = given
        some = 1 in marks
        if some or self._any_dense:
            self._dense.copy_(torch.from_numpy(marks), non_blocking=True)
        self._any_dense = some

    def _follow(self, batch: CommonAttentionMetadata, num_decodes: int) -> Places | None:
        """Recognise the requests, if the layers of this group remember anything of them."""
        context = self._vllm_config.compilation_config.static_forward_context
        if not self._layer_names or not context[self._layer_names[0]].impl.rule.remembers:
            return None
        if self._requests is None:
            from vortex_dsl.serving.triton.requests import DeviceRequests

            self._requests = DeviceRequests(self._vllm_config, self._layer_names, self._dense)
        return self._requests.follow(batch.block_table_tensor, batch.seq_lens[: batch.num_reqs], num_decodes)

    def _report(self) -> None:
        """Let the layers say what they counted, now and then."""
        self._steps += 1
        if self._steps % REPORT_STEPS == 0:
            context = self._vllm_config.compilation_config.static_forward_context
            for name in self._layer_names:
                context[name].impl.meter.report()


def bound_of(num_pages: int, width: int) -> int:
    """Give the pages that a step's kernels are told of: at least those of its longest sequence, at most the table's.

    A table whose width is no multiple of 16 (`max_model_len` 10,000 has 632 pages of 16) is told whole at every step:
    graphs are captured with it, so that no other kernel is ever asked for, which would be compiled while serving.
    """
    return max(min(-(-num_pages // WHOLE_PAGES) * WHOLE_PAGES, width) if width % SPECIAL == 0 else width, 1)


def pieces(batch: CommonAttentionMetadata, starts: np.ndarray) -> tuple[int, Prefills | None]:
    """Split a batch: the number of leading rows with at most one token, and the rest. starts: [num_reqs + 1]."""
    lengths = np.diff(starts)
    long = np.flatnonzero(lengths > 1)
    if not len(long):
        return batch.num_reqs, None
    split, first, end = int(long[0]), int(starts[long[0]]), int(starts[-1])
    rows = Rows(batch.block_table_tensor[split:], batch.seq_lens[split:], batch.query_start_loc[split:] - first)
    return split, Prefills(rows, first, end - first, int(lengths[split:].max()), batch.max_seq_len)


def max_rows(vllm_config: Any) -> int:
    """Give the most sequences that a step can have, those that only fill up a captured graph included."""
    sizes = vllm_config.compilation_config.cudagraph_capture_sizes or []
    return max([vllm_config.scheduler_config.max_num_seqs, *sizes])
