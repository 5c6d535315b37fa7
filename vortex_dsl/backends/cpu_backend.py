"""The backend "cpu": what serving on a CPU does, by compiled loops; torch where a program has no tape."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from kernels.host import cpu
from vortex_dsl.backends.contract import Chosen
from vortex_dsl.backends.tape.machine import Layer, Machine, PagedRows, stored_at
from vortex_dsl.backends.tape.tape import tape_of
from vortex_dsl.backends.torch_backend import Torch

if TYPE_CHECKING:
    from vortex_dsl.backends.contract import Decode
    from vortex_dsl.graph.graph import Graph


class Cpu(Torch):
    """Summarizes every page anew at each step, then chooses by the program's tape (`attention.Backend`)."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.tape = tape_of(graph, self.batched.stages)

    def choose(self, step: Decode, states: tuple[torch.Tensor, ...] | None) -> Chosen:
        """Choose candidates (`attention.Backend.choose`)."""
        if not step.q.is_cpu:
            message = f"attend: backend 'cpu' reads memory of the host, and they are on {step.q.device}; use 'torch'"
            raise ValueError(message)
        if self.tape is None:
            return super().choose(step, states)
        k, v = self.paged(step)
        graph, (rows, num_pages) = self.batched.graph, k.shape[:2]
        region = self.batched.summarize(k.flatten(0, 1), v.flatten(0, 1))
        stored = {field.name: stored_at(field, 0, region.shape[1]) for field in self.batched.layout.fields}
        lengths = step.lengths.repeat_interleave(step.k.shape[1])
        where = PagedRows(
            torch.arange(rows * num_pages).reshape(rows, num_pages), lengths, torch.arange(rows) % step.k.shape[1]
        )
        machine = Machine(graph, self.tape, cpu.memory_of(region), stored)
        layer = Layer(step.layer, step.num_layers, step.scale)
        attended = machine.choose(step.q.flatten(0, 1), where, layer).attended
        sets = self.batched.page_sets(lengths, num_pages)
        return Chosen(attended & sets.candidates, sets.reserved, ())
