"""Choosing pages on a CPU by a program's tape, over fields that lie in memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from kernels import cpu
from kernels.tape import run

from .pages import Choice, Listed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vortex_dsl.graph import Graph
    from vortex_dsl.tape import Tape


@dataclass(frozen=True, eq=False)
class PagedRows:
    """Rows, each a sequence and a KV head: pages int64 [rows, max_pages], lengths int64 [rows] tokens, int64 [rows]."""

    pages: torch.Tensor
    lengths: torch.Tensor
    kv_head: torch.Tensor

    @cached_property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Give all three to compiled loops."""
        return self.pages.contiguous().numpy(), self.lengths.contiguous().numpy(), self.kv_head.contiguous().numpy()


@dataclass(frozen=True)
class Layer:
    """Where a program runs: the layer's number, how many there are, and the softmax scale."""

    index: int
    count: int
    scale: float


class Machine:
    """A program made ready to choose among pages whose fields lie in `memory`, `stored` by canonical name."""

    def __init__(self, graph: Graph, tape: Tape, memory: cpu.Memory, stored: Mapping[str, cpu.Stored]) -> None:
        self._tape, self._page_size = tape, graph.page_size
        self._reserved = (graph.sink, graph.window)
        codes = [stored[name].code for name in tape.fields]
        self._stored = (np.array(codes, np.int64).reshape(-1, cpu.CODE_LENGTH), memory, cpu.TABLES)
        self._scratch = np.empty(0, np.float32)
        self._numbers: dict[Layer, np.ndarray] = {}

    def choose(self, query: torch.Tensor, rows: PagedRows, layer: Layer) -> Choice:
        """Choose pages. query: [rows, head, dim], any float dtype."""
        pages, lengths, kv_head = rows.arrays
        wanted = self._tape.small + self._tape.columns * pages.shape[1]
        if self._scratch.size < wanted:
            self._scratch = np.empty(wanted, np.float32)
        attended, table = torch.empty(pages.shape, dtype=torch.bool), torch.empty(pages.shape, dtype=torch.int32)
        tokens = torch.empty(lengths.size, dtype=torch.int32)
        step = (query.float().flatten(1).numpy(), pages, lengths, kv_head, self._page_size, self._reserved)
        tape = (self._tape.lines, self._known(layer), self._tape.result)
        lists = (attended.numpy(), table.numpy(), tokens.numpy())
        return Choice(attended, Listed(table, tokens, run(tape, step, self._stored, self._scratch, lists)))

    def _known(self, layer: Layer) -> np.ndarray:
        """Give the tape's numbers, this layer's among them."""
        if layer not in self._numbers:
            numbers = self._tape.numbers.copy()
            given = {"layer.index": layer.index, "layer.count": layer.count, "scale": layer.scale}
            for name, at in self._tape.per_layer.items():
                numbers[at] = given[name]
            self._numbers[layer] = numbers
        return self._numbers[layer]
