"""What is kept of a request between decode steps: its stored choice and its states, each request in a slot.

vLLM's metadata names no requests. But the block that holds a sequence's latest token is never shared, so the block
of the token before last tells which slot a decode goes on from, if that slot's length is one less than the
sequence's now. Every prefill wipes the mark of the block it ends in, so whatever is decoded after one starts afresh.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from vortex_dsl.graph.graph import State

STALE_STEPS = 64  # a slot that no step used for so long is taken first, the lowest number first


@dataclass(frozen=True)
class Followed:
    """The slots of a step's decodes. slots: int64 [num_sequences]; goes_on: bool, false where a request starts.

    `num_slots`: one more than the highest slot.
    """

    slots: torch.Tensor
    goes_on: torch.Tensor
    num_slots: int


class Requests:
    """Recognises requests from step to step. A request that pauses keeps its slot unless others need it."""

    def __init__(self, num_blocks: int, max_requests: int, page_size: int, device: torch.device) -> None:
        self._page_size = page_size
        self._slot_of_block = torch.full((num_blocks,), -1, device=device)
        self._block, self._length, self._used = (torch.full((2 * max_requests,), -1, device=device) for _ in range(3))
        self._clock = STALE_STEPS

    def forget(self, table: torch.Tensor, lengths: torch.Tensor) -> None:
        """Let what is decoded after these prefills start afresh. table: [num, max_blocks]; lengths: [num] tokens."""
        self._slot_of_block[self._block_of(table, lengths - 1)] = -1

    def follow(self, table: torch.Tensor, lengths: torch.Tensor) -> Followed:
        """Give the slots of sequences that decode one token, lengths with that token: arguments as of `forget`."""
        before = self._block_of(table, lengths - 2)
        known = self._slot_of_block[before]
        goes_on = (known >= 0) & (self._block[known] == before) & (self._length[known] == lengths - 1)
        slots = known.where(goes_on, self._free(known, goes_on))
        last = self._block_of(table, lengths - 1)
        self._clock += 1
        self._slot_of_block[last] = slots
        self._block[slots], self._length[slots], self._used[slots] = last, lengths, self._clock
        return Followed(slots, goes_on, int(slots.max()) + 1)

    def _free(self, known: torch.Tensor, goes_on: torch.Tensor) -> torch.Tensor:
        """Give a slot for each sequence, in turn for those that start: stale ones first, then the least recent."""
        age = self._used.where(self._clock - self._used < STALE_STEPS, -1)
        kept = goes_on.long() * (self._clock + 2) - 1  # later than all others, or no later than any
        age = age.scatter_reduce(0, known.clamp(min=0), kept, "amax")
        turn = (~goes_on).cumsum(0) - 1
        return age.argsort(stable=True)[turn.clamp(min=0)]

    def _block_of(self, table: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        """Give the block of a token. position: int [num], taken as 0 where negative."""
        return table.gather(1, (position.long().clamp(min=0) // self._page_size)[:, None])[:, 0].long()


class Memory:
    """One choosing layer's choices and states, by slot and KV head."""

    def __init__(self, states: tuple[State, ...], num_kv_heads: int) -> None:
        self._kinds, self._num_kv_heads = states, num_kv_heads
        self._period = torch.zeros(0, dtype=torch.int64)
        self._chosen = torch.zeros((0, 0), dtype=torch.bool)
        self._states: tuple[torch.Tensor, ...] = ()

    def renewed(self, followed: Followed, period: torch.Tensor) -> torch.Tensor:
        """Tell which sequences choose now, period being floor(length / refresh_steps): bool [num_sequences]."""
        self._grow(followed.num_slots, 0, period.device)
        return ~followed.goes_on | (self._period[followed.slots] != period)

    def read(self, followed: Followed, sequences: torch.Tensor, max_pages: int) -> tuple[torch.Tensor, ...]:
        """Give the states of some sequences: float32 [num rows, *axes], fresh where a request starts."""
        self._grow(followed.num_slots, max_pages, followed.slots.device)
        rows, fresh = self._rows(followed.slots[sequences]), ~self._each_head(followed.goes_on[sequences])
        states = []
        for kind, kept in zip(self._kinds, self._states, strict=True):
            kept[rows[fresh]] = kind.init
            states.append(kept[rows][:, :max_pages] if kind.paged else kept[rows])
        return tuple(states)

    def write(
        self, slots: torch.Tensor, period: torch.Tensor, chosen: torch.Tensor, states: tuple[torch.Tensor, ...]
    ) -> None:
        """Store what some sequences chose: chosen bool [num rows, max_pages], and their states."""
        rows = self._rows(slots)
        self._period[slots] = period
        self._chosen[rows] = False
        self._chosen[rows, : chosen.shape[1]] = chosen
        for kind, kept, state in zip(self._kinds, self._states, states, strict=True):
            if kind.paged:
                kept[rows, : state.shape[1]] = state
            else:
                kept[rows] = state

    def chosen(self, slots: torch.Tensor, max_pages: int) -> torch.Tensor:
        """Give the stored choices: bool [num rows, max_pages], false for pages that came after them."""
        self._grow(0, max_pages, slots.device)
        return self._chosen[self._rows(slots), :max_pages]

    def _rows(self, slots: torch.Tensor) -> torch.Tensor:
        heads = torch.arange(self._num_kv_heads, device=slots.device)
        return (slots[:, None] * self._num_kv_heads + heads).flatten()

    def _each_head(self, x: torch.Tensor) -> torch.Tensor:
        return x.repeat_interleave(self._num_kv_heads)

    def _grow(self, num_slots: int, max_pages: int, device: torch.device) -> None:
        """Make room, at least doubling; new slots hold no choice."""
        rows, pages = self._chosen.shape
        if num_slots * self._num_kv_heads <= rows and max_pages <= pages:
            return
        num_slots = max(num_slots, rows // self._num_kv_heads)
        num_slots = 1 << max(num_slots - 1, 0).bit_length()
        pages = max(pages, 1 << max(max_pages - 1, 0).bit_length())
        rows = num_slots * self._num_kv_heads
        old = (self._period, self._chosen, *self._states)
        self._period = torch.full((num_slots,), -1, dtype=torch.int64, device=device)
        self._chosen = torch.zeros((rows, pages), dtype=torch.bool, device=device)
        self._states = tuple(kind.fresh(rows, pages, device) for kind in self._kinds)
        for new, kept in zip((self._period, self._chosen, *self._states), old, strict=False):
            new[tuple(slice(length) for length in kept.shape)] = kept
