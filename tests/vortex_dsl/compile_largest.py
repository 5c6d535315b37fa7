"""Compile what is emitted for the largest group, head dimension and page, on a machine without a GPU. No test itself.

Usage: compile_largest.py PROGRAM… - run with TRITON_INTERPRET unset. Prints one line per kernel.
"""

import sys
from pathlib import Path

import torch
import triton
from compile_for_cuda import compile_instead

from kernels.decode import PagedCache
from kernels.selection import Pages
from vortex_dsl import Shape, load_program, trace
from vortex_dsl.backends.compiled import Compiled, Step

GROUP, HEAD_DIM, PAGE_SIZE, MAX_PAGES = 128, 576, 128, 2


def compile_emitted(program):
    graph = trace(program.with_values(page_size=PAGE_SIZE), Shape(GROUP, HEAD_DIM))
    compiled = Compiled(graph)
    k, v = torch.zeros(2, MAX_PAGES, 1, PAGE_SIZE, HEAD_DIM, dtype=torch.bfloat16)
    table, seq_lens = torch.zeros(1, MAX_PAGES, dtype=torch.int32), torch.tensor([MAX_PAGES * PAGE_SIZE]).int()
    cache = PagedCache(k, v, table, seq_lens)
    region = torch.zeros(MAX_PAGES, 1, compiled.plan.layout.bytes_per_page, dtype=torch.uint8)
    pages = Pages(seq_lens, 1, MAX_PAGES, PAGE_SIZE, graph.sink, graph.window)
    compiled.summarize(cache, table.flatten(), region)
    compiled.compute(Step(torch.zeros(1, GROUP, HEAD_DIM, dtype=torch.bfloat16), cache, region, pages, 1, 4, 0.1))


if __name__ == "__main__":
    triton.runtime.jit.JITFunction.run = compile_instead
    for path in sys.argv[1:]:
        compile_emitted(load_program(Path(path).read_text()))
