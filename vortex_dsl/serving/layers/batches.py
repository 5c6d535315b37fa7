"""vLLM's batch of a step, read once for all layers: decodes as rows of pages, prefills, pages that become complete."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from vllm.v1.attention.backends.utils import split_decodes_and_prefills

from vortex_dsl.serving.layers.decodes import Decodes, Heads, pages_of
from vortex_dsl.serving.layers.memory import Requests
from vortex_dsl.serving.pages.pages import Rows

if TYPE_CHECKING:
    from vllm.v1.attention.backend import CommonAttentionMetadata

    from kernels.selection import BlockLists
    from kernels.slots import Places


@dataclass(frozen=True)
class Batch:
    """One step's batch, decodes first. `completed`: page numbers whose last token is written in this step.

    `begun`: blocks whose first token is, and not the last, and how many tokens each then holds.
    """

    num_decodes: int
    decodes: Decodes | None
    prefills: Rows | None
    completed: torch.Tensor
    begun: tuple[tuple[int, int], ...] = ()


class BatchReader:
    """Mixed into the metadata builders of our backends, of which vLLM makes one per group of layers."""

    page_size: int
    heads: Heads
    layer_names: list[str]
    vllm_config: Any
    device: torch.device
    _requests: Requests | None = None

    def read(self, batch: CommonAttentionMetadata, counts: tuple[int, int, int]) -> Batch:
        """Read a batch. counts: as `split` or vLLM itself gives them."""
        num_decodes, num_prefills, num_decode_tokens = counts
        starts, lengths, table = batch.query_start_loc, batch.seq_lens, batch.block_table_tensor
        prefills = None
        if num_prefills:
            prefills = Rows(table[num_decodes:], lengths[num_decodes:], starts[num_decodes:] - num_decode_tokens)
        decodes = None
        if num_decodes:
            rows = Rows(table[:num_decodes], lengths[:num_decodes], starts[: num_decodes + 1])
            decodes = Decodes(rows, self.page_size, self.heads)
        self._follow(decodes, prefills)
        ended = ended_blocks(batch.slot_mapping[: batch.num_actual_tokens], self.page_size)
        completed = pages_of(ended, self.heads.count).flatten() if ended.numel() else ended
        begun = begun_blocks(batch, self.page_size) if table.is_cpu else ()
        return Batch(num_decodes, decodes, prefills, completed, begun)

    def _follow(self, decodes: Decodes | None, prefills: Rows | None) -> None:
        """Recognise the requests, if a layer of this group remembers anything of them."""
        context = self.vllm_config.compilation_config.static_forward_context
        layers = [context[name] for name in self.layer_names]
        if not any(layer.impl.rule.remembers for layer in layers):
            self._requests = None
            return
        if self._requests is None:
            num_blocks, max_requests = layers[0].kv_cache.shape[0], self.vllm_config.scheduler_config.max_num_seqs
            self._requests = Requests(num_blocks, max_requests, self.page_size, self.device)
        if prefills is not None:
            self._requests.forget(prefills.table, prefills.lengths)
        if decodes is not None:
            decodes.followed = self._requests.follow(decodes.rows.table, decodes.rows.lengths.long())


def split(batch: CommonAttentionMetadata) -> tuple[int, int, int]:
    """Count decodes, prefills, and tokens of decodes.

    A chunk of a prompt is a prefill, be it one token: answers must not depend on what is in the prefix cache. Rows of
    which vLLM does not say whether they are in a prompt, as those that it has cut for chunked local attention, are
    prefills too: they attend to all that they are given.
    """
    prefilling = batch.is_prefilling
    if prefilling is None:
        return 0, batch.num_reqs, 0
    if batch.max_query_len == 1 and not prefilling.numpy().any():  # vLLM's way takes ten times as long
        return batch.num_reqs, 0, batch.num_actual_tokens
    num_decodes, num_prefills, num_decode_tokens, _ = split_decodes_and_prefills(
        batch, treat_short_extends_as_decodes=False
    )
    return num_decodes, num_prefills, num_decode_tokens


def begun_blocks(batch: CommonAttentionMetadata, page_size: int) -> tuple[tuple[int, int], ...]:
    """Give each block whose first token this step writes, and not its last, with the tokens that it then holds."""
    lengths, written = batch.seq_lens[: batch.num_reqs].numpy(), np.diff(batch.query_start_loc_cpu.numpy())
    held = lengths % page_size
    rows = np.flatnonzero((held > 0) & (held <= written))
    blocks = batch.block_table_tensor.numpy()[rows, lengths[rows] // page_size]
    return tuple(zip(blocks.tolist(), held[rows].tolist(), strict=True))


def ended_blocks(slots: torch.Tensor, page_size: int) -> torch.Tensor:
    """Give the blocks whose last token stands in one of these slots; -1 is none."""
    if slots.is_cpu:  # numbers this few take NumPy a tenth of the time
        given = slots.numpy()
        return torch.from_numpy(given[(given >= 0) & (given % page_size == page_size - 1)] // page_size)
    last = slots[slots % page_size == page_size - 1]  # -1 has this remainder too
    return last[last >= 0] // page_size


@dataclass(frozen=True)
class Prefills:
    """The prompts' tokens of a step, `first` the place of the first among all tokens, and what bounds them."""

    rows: Rows
    first: int
    num_tokens: int
    max_query: int
    max_length: int


@dataclass
class DeviceBatch:
    """One step's batch: rows of one token first, decodes or the ends of prompts, then longer pieces of prompts.

    dense: int8 [num_decodes], 1 for the ends of prompts, which attend to everything. max_pages bounds every sequence.
    `places` say where decodes go on from, None if no layer wants to know. Layers fill in `choices`: what is attended
    to, by the layer that chose it.
    """

    num_decodes: int
    decodes: Rows | None
    dense: torch.Tensor
    max_pages: int
    prefills: Prefills | None
    places: Places | None = None
    choices: dict[int, Shared] = field(default_factory=dict)


@dataclass(frozen=True)
class Shared:
    """What a layer chose for itself and others, and where its rows count, which counts for the others too."""

    lists: BlockLists
    tally: torch.Tensor
