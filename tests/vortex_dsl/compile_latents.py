"""Compile for an NVIDIA GPU, on a machine without one, what programs over latents of 512 + 64 launch. No test itself.

Usage: compile_latents.py PROGRAM… - run with TRITON_INTERPRET unset. Prints one line per kernel.
"""

import sys
from pathlib import Path

import torch
import triton
import triton.language as tl
from compile_for_cuda import compile_instead

from kernels import latent
from kernels.decode import PagedCache, Softmax
from kernels.selection import Listing, Pages
from vortex_dsl import Shape, load_program
from vortex_dsl.backends.compiled import Compiled, Step
from vortex_dsl.serving.triton.latents import latent_graph

BATCH, HEADS, PAGES, LATENT, VALUE = 2, 20, 40, 576, 512  # GLM-4.7-Flash has 20 heads


def compile_program(text, dtype):
    compiled = Compiled(latent_graph(load_program(text), Shape(HEADS, LATENT), VALUE))
    size, num_bytes = compiled.graph.page_size, compiled.plan.layout.bytes_per_page
    whole = torch.zeros(BATCH * PAGES, size * LATENT + 64, dtype=torch.bfloat16)
    k = whole[:, : size * LATENT].unflatten(1, (1, size, LATENT)).to(dtype)
    table = torch.arange(BATCH * PAGES, dtype=torch.int32).reshape(BATCH, PAGES)
    lengths = torch.tensor([PAGES * size - 3, 9], dtype=torch.int32)
    cache = PagedCache(k, k[..., :VALUE], table, lengths)
    region = torch.zeros(BATCH * PAGES, 1, num_bytes, dtype=torch.uint8)
    compiled.summarize(cache, table.flatten(), region)
    pages = Pages(lengths, 1, PAGES, size, compiled.graph.sink, compiled.graph.window)
    q, tally = torch.zeros(BATCH, HEADS, LATENT, dtype=torch.bfloat16), torch.zeros(BATCH, 6, dtype=torch.int64)
    listing = Listing(table, dense=torch.zeros(BATCH, dtype=torch.int8), tally=tally)
    lists = compiled.listed(Step(q, cache, region, pages, 1, 4, 0.1), listing)
    latent.latent_decode(q, cache, lists, Softmax(0.1))
    latent.latent_decode(q, cache, None, Softmax(0.1), tally=tally)


if __name__ == "__main__":
    latent._operand = lambda *_: tl.bfloat16  # as on CUDA
    triton.runtime.jit.JITFunction.run = compile_instead
    for program in sys.argv[1:]:
        for dtype in (torch.bfloat16, torch.float8_e4m3fn):
            compile_program(Path(program).read_text(), dtype)
