"""The backend "cpu": what serving on a CPU does, by compiled loops; torch where a program has no tape."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from kernels.host import cpu
from vortex_dsl.backends.contract import Chosen
from vortex_dsl.backends.tape.machine import Layer, Machine, PagedRows, PageMemory, stored_at
from vortex_dsl.backends.tape.tape import tape_of
from vortex_dsl.backends.torch_backend import Torch
from vortex_dsl.ops.op import InTorch

if TYPE_CHECKING:
    from vortex_dsl.backends.contract import Decode
    from vortex_dsl.graph.graph import Graph


class Cpu(Torch):
    """Summarizes every page anew at each step, then chooses by the program's tape (`contract.Backend`)."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.tape = tape_of(graph)

    def choose(self, step: Decode, states: tuple[torch.Tensor, ...] | None) -> Chosen:
        """Choose candidates and write states (`contract.Backend.choose`)."""
        if not step.q.is_cpu:
            message = f"attend: backend 'cpu' reads memory of the host, and they are on {step.q.device}; use 'torch'"
            raise ValueError(message)
        if isinstance(self.tape, InTorch):
            return super().choose(step, states)
        k, v = self.paged(step)
        graph, (rows, num_pages) = self.batched.graph, k.shape[:2]
        lengths = step.lengths.repeat_interleave(step.k.shape[1])
        where = PagedRows(
            torch.arange(rows * num_pages).reshape(rows, num_pages), lengths, torch.arange(rows) % step.k.shape[1]
        )
        machine = Machine(graph, self.tape, self._memory(k.flatten(0, 1), v.flatten(0, 1)))
        layer = Layer(step.layer, step.num_layers, step.scale)
        choice, states = machine.choose_again(step.q.flatten(0, 1), where, layer, states)
        sets = self.batched.page_sets(lengths, num_pages)
        return Chosen(choice.attended & sets.candidates, sets.reserved, states)

    def _memory(self, k: torch.Tensor, v: torch.Tensor) -> PageMemory:
        """Summarize pages, float32 [pages, token, dim], and say where all lies."""
        region = self.batched.summarize(k, v)
        stored = {field.name: stored_at(field, 0, region.shape[1]) for field in self.batched.layout.fields}
        pages = torch.cat([k, v], 1)
        size, order = pages[0].nbytes, torch.arange(k[0].numel())
        raw = {
            name: cpu.Raw.ordered(cpu.Stored("float32", start, size, k.shape[1], k.shape[2], 4 * k.shape[2], 0), order)
            for name, start in (("page.k", 0), ("page.v", size // 2))
        }
        return PageMemory(cpu.memory_of(region), stored, cpu.memory_of(pages.view(torch.uint8)), raw)
