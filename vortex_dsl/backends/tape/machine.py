"""Choosing pages on a CPU by a program's tape, over fields that lie in memory."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from kernels.host import cpu
from kernels.host.tape import WIDTH, run
from vortex_dsl.backends.tape.tape import tape_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vortex_dsl.analysis.layout import FieldLayout
    from vortex_dsl.backends.batched import Batched
    from vortex_dsl.backends.tape.tape import Tape
    from vortex_dsl.graph.graph import Graph


@dataclass(frozen=True, eq=False)
class PagedRows:
    """Rows, each a sequence and a KV head: pages int64 [rows, max_pages], lengths int64 [rows] tokens, int64 [rows]."""

    pages: torch.Tensor
    lengths: torch.Tensor
    kv_head: torch.Tensor

    def of(self, some: torch.Tensor) -> PagedRows:
        """Give some of the rows."""
        return PagedRows(self.pages[some], self.lengths[some], self.kv_head[some])

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


_NOTHING = np.empty(0, np.float32)
_own = threading.local()


def _scratch(size: int) -> np.ndarray:
    """Give room for so many float32, the same for all machines of a thread: layers run one after the other."""
    if getattr(_own, "scratch", _NOTHING).size < size:
        _own.scratch = np.empty(size, np.float32)
    return _own.scratch


@cache
def get_ready() -> None:
    """Compile the loops now, which takes half a minute the first time on a machine, and not at the first choice."""
    start = time.monotonic()
    one, few = np.ones((1, 1), np.int64), np.zeros(4, np.float32)
    tape = (np.zeros((0, WIDTH), np.int64), few[:0], np.zeros(2, np.int64))
    step = (np.zeros((1, 1), np.float32), one, one[0], one[0], 2, (1, 1))
    stored = (np.zeros((0, cpu.CODE_LENGTH), np.int64), cpu.memory_of(torch.zeros(4, dtype=torch.uint8)), cpu.TABLES)
    run(tape, step, stored, few, (one > 0, np.zeros((1, 1), np.int32), np.zeros(1, np.int32)))
    logging.getLogger("vllm").info("Vortex: the loops for this CPU are ready after %.0f s", time.monotonic() - start)


def machine_for(batched: Batched, memory: cpu.Memory, stored: Mapping[str, cpu.Stored]) -> Machine | None:
    """Make a program ready to choose; None where it has no tape."""
    tape = tape_of(batched.graph, batched.stages)
    return None if tape is None else Machine(batched.graph, tape, memory, stored)


class Machine:
    """A program made ready to choose among pages whose fields lie in `memory`, `stored` by canonical name."""

    def __init__(self, graph: Graph, tape: Tape, memory: cpu.Memory, stored: Mapping[str, cpu.Stored]) -> None:
        self._tape, self._page_size = tape, graph.page_size
        self._reserved = (graph.sink, graph.window)
        codes = [stored[name].code for name in tape.fields]
        self._stored = (np.array(codes, np.int64).reshape(-1, cpu.CODE_LENGTH), memory, cpu.TABLES)
        self._numbers: dict[Layer, np.ndarray] = {}

    def choose(self, query: torch.Tensor, rows: PagedRows, layer: Layer) -> Choice:
        """Choose pages. query: [rows, head, dim], any float dtype."""
        pages, lengths, kv_head = rows.arrays
        scratch = _scratch(self._tape.small + self._tape.columns * pages.shape[1])
        attended, table = torch.empty(pages.shape, dtype=torch.bool), torch.empty(pages.shape, dtype=torch.int32)
        tokens = torch.empty(lengths.size, dtype=torch.int32)
        step = (query.float().flatten(1).numpy(), pages, lengths, kv_head, self._page_size, self._reserved)
        tape = (self._tape.lines, self._known(layer), self._tape.result)
        lists = (attended.numpy(), table.numpy(), tokens.numpy())
        return Choice(attended, Listed(table, tokens, run(tape, step, self._stored, scratch, lists)))

    def _known(self, layer: Layer) -> np.ndarray:
        """Give the tape's numbers, this layer's among them."""
        if layer not in self._numbers:
            numbers = self._tape.numbers.copy()
            given = {"layer.index": layer.index, "layer.count": layer.count, "scale": layer.scale}
            for name, at in self._tape.per_layer.items():
                numbers[at] = given[name]
            self._numbers[layer] = numbers
        return self._numbers[layer]


def stored_at(field: FieldLayout, start: int, page_bytes: int) -> cpu.Stored:
    """Say where a field lies among pages of so many bytes, whose fields begin at `start` in the first one."""
    start += field.offset
    shape = (field.num_vectors, field.length, field.vector_bytes)
    return cpu.Stored(field.kind, start, page_bytes, *shape, start + field.scales_offset)


class Listed(NamedTuple):
    """Pages to attend to: int32 [num_rows, most of a row], int32 [num_rows] tokens behind them, and their number."""

    table: torch.Tensor
    lengths: torch.Tensor
    num_pages: int


class Choice(NamedTuple):
    """The attended pages, reserved ones among them, bool [num_rows, max_pages], and their list."""

    attended: torch.Tensor
    listed: Listed
