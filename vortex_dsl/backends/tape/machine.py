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
from kernels.host.elementwise import MAPS, map_elements
from kernels.host.lines import WIDTH
from kernels.host.tape import REDUCTIONS, SEGMENT, reduce, run
from vortex_dsl.backends.tape.tape import tape_of
from vortex_dsl.ops.op import InTorch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vortex_dsl.analysis.layout import FieldLayout
    from vortex_dsl.backends.batched import Batched
    from vortex_dsl.backends.tape.tape import Tape
    from vortex_dsl.graph.graph import Graph

    States = tuple[torch.Tensor, ...]


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
    """Compile the loops now, which takes a minute the first time on a machine, and not at the first choice."""
    start, log = time.monotonic(), logging.getLogger("vllm")
    log.info("Vortex: getting the loops for this CPU ready, which takes about a minute the first time")
    one, few = np.ones((1, 1), np.int64), np.zeros(4, np.float32)
    tape = (np.zeros((0, WIDTH), np.int64), np.zeros((0, SEGMENT), np.int64), few[:0], np.zeros(2, np.int64))
    step = (np.zeros((1, 1), np.float32), one, one[0], one[0], 2, (1, 1))
    memory = cpu.memory_of(torch.zeros(4, dtype=torch.uint8))
    stored = (np.zeros((0, cpu.CODE_LENGTH), np.int64), memory, memory, (*cpu.TABLES, one[0]))
    states = np.zeros((1, 0), np.float32), np.zeros((1, 0), np.float32)
    run(tape, step, stored, states, few, (one > 0, np.zeros((1, 1), np.int32), np.zeros(1, np.int32)))
    check_machine()
    log.info("Vortex: the loops for this CPU are ready after %.0f s", time.monotonic() - start)


def check_machine() -> None:
    """Refuse to run where a name of the machine has no branch in its loops. Raises LookupError."""
    x, out = np.ones(1, np.float32), np.ones(1, np.float32)
    missing = [name for i, name in enumerate(MAPS) if not map_elements(i, x, x, x, 0, out)]
    missing += [name for i, name in enumerate(REDUCTIONS) if not reduce(i, x, out)]
    if missing:
        raise LookupError(f"the machine of the CPU names {', '.join(missing)}, but its loops have no branch for that")


@dataclass(frozen=True)
class PageMemory:
    """Where pages lie: the memory of fields, `stored` by canonical name, and that of raw pages, `raw` by theirs."""

    fields: cpu.Views
    stored: Mapping[str, cpu.Stored]
    pages: cpu.Views
    raw: Mapping[str, cpu.Raw]


def machine_for(batched: Batched, memory: PageMemory) -> Machine | None:
    """Make a program ready to choose; None where it has no tape, which is logged with the reason."""
    tape = tape_of(batched.graph)
    if isinstance(tape, InTorch):
        logging.getLogger("vllm").info("Vortex: the program chooses in torch, which is slower: %s", tape.reason)
        return None
    return Machine(batched.graph, tape, memory)


class Machine:
    """A program made ready to choose among the pages of a memory."""

    def __init__(self, graph: Graph, tape: Tape, memory: PageMemory) -> None:
        self._tape, self._page_size = tape, graph.page_size
        self._reserved, self._states = (graph.sink, graph.window), graph.states
        self._numbers: dict[Layer, np.ndarray] = {}
        codes, places, begin = [], [np.zeros(0, np.int64)], 0
        for name in tape.fields:
            if name in memory.stored:
                codes.append(memory.stored[name].code)
                continue
            raw = memory.raw[name]
            codes.append(raw.stored.coded(begin))
            places += [raw.tokens, raw.channels]
            begin += raw.tokens.size + raw.channels.size
        fields = np.array(codes, np.int64).reshape(-1, cpu.CODE_LENGTH)
        self._stored = (fields, memory.fields, memory.pages, (*cpu.TABLES, np.concatenate(places)))

    def choose(self, query: torch.Tensor, rows: PagedRows, layer: Layer) -> Attended:
        """Choose pages, where nothing is remembered. query: [rows, head, dim], any float dtype."""
        return self.choose_again(query, rows, layer, None)[0]

    def choose_again(
        self, query: torch.Tensor, rows: PagedRows, layer: Layer, states: States | None
    ) -> tuple[Attended, States]:
        """Choose pages, and write the states: float32 [rows, *axes] each, None for those of a first choice."""
        pages, lengths, kv_head = rows.arrays
        num_rows, max_pages = pages.shape
        scratch = _scratch(self._tape.num_numbers(max_pages))
        given = [state.fresh(num_rows, max_pages, query.device) for state in self._states] if states is None else states
        before = _together(given, num_rows)
        after = before.clone()
        attended, table = torch.empty(pages.shape, dtype=torch.bool), torch.empty(pages.shape, dtype=torch.int32)
        tokens = torch.empty(lengths.size, dtype=torch.int32)
        step = (query.float().flatten(1).numpy(), pages, lengths, kv_head, self._page_size, self._reserved)
        tape = (self._tape.lines, self._tape.segments, self._known(layer), self._tape.result)
        lists = (attended.numpy(), table.numpy(), tokens.numpy())
        num_pages = run(tape, step, self._stored, (before.numpy(), after.numpy()), scratch, lists)
        if num_pages < 0:
            raise LookupError("the tape holds an instruction that the machine has not")
        parts = after.split([x[0].numel() for x in given], 1) if given else ()
        written = tuple(part.reshape(x.shape) for part, x in zip(parts, given, strict=True))
        return Attended(attended, Listed(table, tokens, num_pages)), written

    def _known(self, layer: Layer) -> np.ndarray:
        """Give the tape's numbers, this layer's among them."""
        if layer not in self._numbers:
            numbers = self._tape.numbers.copy()
            given = {"layer.index": layer.index, "layer.count": layer.count, "scale": layer.scale}
            for name, at in self._tape.per_layer.items():
                numbers[at] = given[name]
            self._numbers[layer] = numbers
        return self._numbers[layer]


def _together(states: Sequence[torch.Tensor], num_rows: int) -> torch.Tensor:
    """Give all states of each row one after the other: float32 [num_rows, any]."""
    return torch.cat([x.reshape(num_rows, -1) for x in states], 1) if states else torch.empty((num_rows, 0))


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


class Attended(NamedTuple):
    """The attended pages, reserved ones among them, bool [num_rows, max_pages], and their list."""

    attended: torch.Tensor
    listed: Listed
