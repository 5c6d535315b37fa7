"""What a layer did, counted on the device: nothing on the step path waits for it, and CUDA graphs count too."""

from __future__ import annotations

import torch

from kernels.selection import NUM_TALLIES
from vortex_dsl.serving.metrics import Counters, Meter


class DeviceMeter:
    """One layer's counters. Rows count for themselves on the device; asked for, they are read and added up."""

    def __init__(self, num_kv_heads: int, *, windowed: bool) -> None:
        self._meter, self._layer = Meter(), ""
        self._num_kv_heads, self._windowed = num_kv_heads, windowed
        self._tally: torch.Tensor | None = None
        self._copied = self._taken = torch.zeros(NUM_TALLIES, dtype=torch.int64, device="cpu")
        self._arrival: torch.cuda.Event | None = None  # of what is being copied

    def room(self, layer: str, max_rows: int, device: torch.device) -> torch.Tensor:
        """Give the rows' counters, int64 [max_rows, NUM_TALLIES], always the same memory."""
        if self._tally is None:
            self._layer = layer
            self._tally = torch.zeros(max_rows, NUM_TALLIES, dtype=torch.int64, device=device)
        return self._tally

    def follow(self, layer: str, tally: torch.Tensor) -> None:
        """Count what another layer counts, whose choice this one uses."""
        if self._tally is not tally:
            self.settle()
            self._layer, self._tally = layer, tally

    def settle(self) -> None:
        """Take all that was counted, and count in other memory from now on. Waits for the device."""
        _ = self.counters
        self._tally, self._copied = None, torch.zeros(NUM_TALLIES, dtype=torch.int64, device="cpu")
        self._taken = self._copied

    def add(self, layer: str, counted: Counters) -> None:
        """Count what the host knows of a step (`Meter.add`)."""
        self._meter.add(layer, counted)

    def report(self) -> None:
        """Take what was copied when last asked to, and begin to copy what is counted now, without waiting.

        Where the copy has not arrived yet, the next report takes it.
        """
        if self._tally is None or not (self._arrival is None or self._arrival.query()):
            return
        self._take(self._copied)
        self._copied = self._room_on_host(self._tally).copy_(self._tally.sum(0), non_blocking=True)
        if self._tally.is_cuda:
            self._arrival = torch.cuda.Event()
            self._arrival.record()

    @property
    def counters(self) -> Counters:
        """Give the counters since the last reset. Waits for the device."""
        if self._tally is not None:
            self._copied, self._arrival = self._tally.sum(0).cpu(), None
            self._take(self._copied)
        return self._meter.counters

    @counters.setter
    def counters(self, counters: Counters) -> None:
        _ = self.counters
        self._meter.counters = counters

    @staticmethod
    def _room_on_host(tally: torch.Tensor) -> torch.Tensor:
        return torch.empty(NUM_TALLIES, dtype=torch.int64, device="cpu", pin_memory=tally.is_cuda)

    def _take(self, counted: torch.Tensor) -> None:
        """Add what came since the last time. A sequence has a row per KV head."""
        sparse, covered, attended, pages, dense, marked = (counted - self._taken).tolist()
        self._taken = counted.clone()
        dense_tokens = dense // self._num_kv_heads
        told = Counters(
            sparse_tokens=sparse // self._num_kv_heads,
            covered_tokens=covered // self._num_kv_heads,
            dense_tokens=0 if self._windowed else dense_tokens,
            window_tokens=dense_tokens if self._windowed else 0,
            prefill_tokens=marked // self._num_kv_heads,
            pages_attended=attended,
            pages_dense=pages,
        )
        self._meter.add(self._layer, told)
