"""Requests recognised from step to step where graphs hold a step: as by `layers.memory.Requests`, but nothing waits."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import torch

from kernels.slots import Book, Places, Sequences, follow
from vortex_dsl.serving.triton.memory import extent


@cache
def say_remembered_bytes(num_bytes: int) -> None:
    """Say what all layers of a worker take for what they remember, once."""
    logging.getLogger("vllm").info("Vortex: what is kept of requests from step to step takes %d bytes", num_bytes)


class DeviceRequests:
    """The requests that one group of layers serves. One that pauses keeps its slot unless others need them all."""

    def __init__(self, vllm_config: Any, layer_names: list[str], dense: torch.Tensor) -> None:
        """`dense`: int8 [most sequences of a step], 1 for those that are pieces of prompts."""
        self._vllm_config, self._layer_names, self._dense = vllm_config, layer_names, dense
        self._places = Places(*(_filled(len(dense), 0, dense.device) for _ in range(3)))
        self._known: tuple[object, int] | None = None  # the rule that they were served by, and the number of blocks
        self._clock = 0

    def follow(self, table: torch.Tensor, lengths: torch.Tensor, num_decodes: int) -> Places:
        """Give the places of a step's decodes. table: [num, max_blocks]; lengths: [num] tokens, decodes first."""
        layer = self._vllm_config.compilation_config.static_forward_context[self._layer_names[0]]
        graph, known = layer.impl.rule.graph, (layer.impl.rule, layer.kv_cache.shape[0])
        if self._known != known:
            self._known, self._book = known, self._begin(graph.page_size, layer.kv_cache.shape[0])
        self._clock += 1
        sequences = Sequences(table, lengths, self._dense, num_decodes)
        follow(sequences, self._book, self._places, self._clock, graph.page_size, graph.refresh_steps)
        some, every = slice(0, num_decodes), self._places
        return Places(every.slots[some], every.held[some], every.scored[some])

    def _begin(self, page_size: int, num_blocks: int) -> Book:
        """Know no request, and make room for what layers remember of any."""
        context, device = self._vllm_config.compilation_config.static_forward_context, self._dense.device
        num_slots = extent(self._vllm_config, page_size).num_slots
        sizes = (num_blocks, num_slots, num_slots, num_slots, num_slots)
        book = Book(*(_filled(num, start, device) for num, start in zip(sizes, (-1, -1, -1, 0, 0), strict=True)))
        taken = sum(context[name].impl.remember(name, device) for name in self._layer_names)
        say_remembered_bytes(taken + 4 * sum(sizes))
        return book


def _filled(num: int, value: int, device: torch.device) -> torch.Tensor:
    return torch.full((num,), value, dtype=torch.int32, device=device)
