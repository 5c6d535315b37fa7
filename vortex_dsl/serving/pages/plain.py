"""Pages in plain torch, for any device that has no kernel of its own here. Correct and batched, not fast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from vortex_dsl.serving.pages.pages import Pages, Rows, Softmax

if TYPE_CHECKING:
    from collections.abc import Callable


class TorchPages(Pages):
    """Keys and values as [page_size, head_dim] each."""

    def __init__(self, kv_cache: torch.Tensor, head_dim: int) -> None:
        super().__init__(kv_cache, head_dim)
        both = self.flat[:, : 2 * self.split].unflatten(1, (2, self.page_size, head_dim))
        self.keys, self.values = both[:, 0], both[:, 1]

    def write(self, key: torch.Tensor, value: torch.Tensor, slot_mapping: torch.Tensor) -> None:
        """Store new tokens (`Pages.write`)."""
        kept = slot_mapping >= 0
        slots = slot_mapping[kept]
        heads = torch.arange(self.num_kv_heads, device=slots.device)
        pages = (slots // self.page_size)[:, None] * self.num_kv_heads + heads
        offsets = (slots % self.page_size)[:, None].expand_as(pages)
        self.keys[pages, offsets] = key[: kept.shape[0]][kept]
        self.values[pages, offsets] = value[: kept.shape[0]][kept]

    def raw_keys(self, pages: torch.Tensor) -> torch.Tensor:
        """Gather keys (`Pages.raw_keys`)."""
        return self.keys[pages]

    def raw_values(self, pages: torch.Tensor) -> torch.Tensor:
        """Gather values (`Pages.raw_values`)."""
        return self.values[pages]

    def attend_sequences(self, query: torch.Tensor, rows: Rows, softmax: Softmax, output: torch.Tensor) -> None:
        """Attend densely, one sequence after the other (`Pages.attend_sequences`): this is the prefill path."""
        starts = rows.query_start_loc.tolist()
        for row, length in enumerate(rows.lengths.tolist()):
            queries = query[starts[row] : starts[row + 1]].transpose(0, 1)
            keys, values = (self._sequence(raw, rows.table[row], length) for raw in (self.raw_keys, self.raw_values))
            visible = _visible(length, queries.shape[1], softmax.window, query.device)
            keys, values = keys.to(query.dtype), values.to(query.dtype)
            output[starts[row] : starts[row + 1]] = _attend(queries, keys, values, visible, softmax).transpose(0, 1)

    def _sequence(self, raw: Callable[[torch.Tensor], torch.Tensor], table: torch.Tensor, length: int) -> torch.Tensor:
        """Gather a sequence's tokens: [num_kv_heads, length, head_dim]."""
        blocks = table[: -(-length // self.page_size)].long()
        heads = torch.arange(self.num_kv_heads, device=table.device)[:, None]
        return raw(blocks * self.num_kv_heads + heads).flatten(1, 2)[:, :length]

    def attend_pages(self, query: torch.Tensor, rows: Rows, softmax: Softmax, output: torch.Tensor) -> None:
        """Attend to listed pages, all rows at once (`Pages.attend_pages`)."""
        table = rows.table.long()
        keys, values = self.keys[table].flatten(1, 2), self.values[table].flatten(1, 2)
        beyond = torch.arange(keys.shape[1], device=query.device) >= rows.lengths[:, None]
        scores = _capped(torch.einsum("rgd,rtd->rgt", query.float(), keys.float()) * softmax.scale, softmax.cap)
        weights = scores.masked_fill(beyond[:, None], -torch.inf).softmax(-1)
        values = values.float().masked_fill(beyond[..., None], 0.0)
        output.copy_(torch.einsum("rgt,rtd->rgd", weights, values))


def _visible(length: int, num_queries: int, window: int | None, device: torch.device) -> torch.Tensor:
    """Tell which tokens the last queries of a sequence see: bool [num_queries, length]."""
    position = torch.arange(length, device=device)
    last = position[length - num_queries :, None]
    return (position <= last) & (position > last - (length if window is None else window))


def _attend(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, visible: torch.Tensor, softmax: Softmax
) -> torch.Tensor:
    """Attend densely: [num_q_heads, num_queries, head_dim]. keys, values: [num_kv_heads, length, head_dim]."""
    if not softmax.cap:
        return F.scaled_dot_product_attention(
            query, keys, values, attn_mask=visible, scale=softmax.scale, enable_gqa=True
        )
    grouped = query.unflatten(0, (keys.shape[0], -1)).float()
    scores = _capped(grouped @ keys.float().mT[:, None] * softmax.scale, softmax.cap)
    weights = scores.masked_fill(~visible, -torch.inf).softmax(-1)
    return (weights @ values.float()[:, None]).flatten(0, 1).to(query.dtype)


def _capped(scores: torch.Tensor, cap: float) -> torch.Tensor:
    return cap * (scores / cap).tanh() if cap else scores
