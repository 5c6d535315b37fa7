"""Compile every kernel that some programs launch for an NVIDIA GPU, on a machine without one. Not a test itself.

Usage: compile_for_cuda.py DTYPE PROGRAM… - run with TRITON_INTERPRET unset. Prints one line per kernel.
"""

import sys
from pathlib import Path

import torch
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.compiler.compiler import make_backend
from triton.runtime.jit import create_function_from_signature

from kernels import decode
from kernels.decode import PagedCache, Softmax, sparse_decode
from kernels.listing import list_pages
from kernels.selection import Listing, Pages
from kernels.writing import write_tokens
from vortex_dsl import Shape, load_program, trace
from vortex_dsl.backends.compiled import Compiled, Step

TARGET = GPUTarget("cuda", 90, 32)
BACKEND = make_backend(TARGET)
done = set()


def compile_instead(self, *args, grid, warmup, **kwargs):
    """Take the place of a launch: specialize arguments as it would, and compile."""
    bind = create_function_from_signature(self.signature, self.params, BACKEND)
    bound, specialization, options = bind(*args, debug=False, **kwargs)
    key = (self.fn, repr(specialization), repr(options))
    if key in done:
        return
    done.add(key)
    options, signature, constants, attrs = self._pack_args(BACKEND, options, bound, specialization, options)
    source = ASTSource(fn=self, signature=signature, constexprs=constants, attrs=attrs)
    compiled = triton.compile(source, target=TARGET, options=options.__dict__)
    print(f"{self.fn.__name__}: {len(compiled.asm['cubin'])} bytes, {compiled.metadata.shared} shared", flush=True)


def compile_program(text, dtype, *, batch=2, num_kv_heads=2, group=4, head_dim=128, max_pages=40):
    program = load_program(text)
    program = program.with_values(pages=8) if "pages" in program.tunables else program
    graph = trace(program, Shape(group=group, head_dim=head_dim))
    compiled = Compiled(graph)
    size = graph.page_size
    shape = (batch * max_pages, num_kv_heads, size, head_dim)
    table = torch.arange(batch * max_pages, dtype=torch.int32).reshape(batch, max_pages)
    seq_lens = torch.tensor([max_pages * size - 3, 9], dtype=torch.int32)
    cache = PagedCache(torch.zeros(shape, dtype=dtype), torch.zeros(shape, dtype=dtype), table, seq_lens)
    region = torch.zeros(shape[0], num_kv_heads, compiled.plan.layout.bytes_per_page, dtype=torch.uint8)
    pages = Pages(seq_lens, num_kv_heads, max_pages, size, graph.sink, graph.window)
    q = torch.zeros(batch, num_kv_heads * group, head_dim, dtype=dtype)
    compiled.summarize(cache, table.flatten(), region)
    write(compiled, cache, region)
    step, dense = Step(q, cache, region, pages, 1, 4, 0.1), torch.zeros(batch, dtype=torch.int8)
    listing = Listing(table, dense=dense, tally=torch.zeros(pages.num_rows, 6, dtype=torch.int64))
    chosen, _ = compiled.choose(step)
    list_pages(chosen, pages, Listing(table))
    for cached in (cache, stored_as_float8(cache)):
        sparse_decode(q, cached, compiled.listed(step, listing), Softmax(0.1))
        sparse_decode(q, cached, None, Softmax(0.1, 30.0, 128), tally=listing.tally)


def write(compiled, cache, region):
    """Write tokens with their fields, and without any; in float8 too."""
    key = torch.zeros(3, *cache.k.shape[1:4:2], dtype=cache.k.dtype)
    slots, complete = torch.tensor([15, 16, -1]), torch.zeros(cache.k.shape[0], dtype=torch.uint8)
    write_tokens(key, key, slots, cache, complete, compiled.summarizing(cache, region))
    write_tokens(key, key, slots, stored_as_float8(cache), complete)


def stored_as_float8(cache):
    k, v = (x.to(torch.float8_e4m3fn) for x in (cache.k, cache.v))
    return PagedCache(k, v, cache.block_table, cache.seq_lens, 0.5, 2.0)


if __name__ == "__main__":
    decode._operand = lambda cache, q: tl.bfloat16 if cache.itemsize < 4 else tl.float32  # as on CUDA
    triton.runtime.jit.JITFunction.run = compile_instead
    for program in sys.argv[2:]:
        compile_program(Path(program).read_text(), getattr(torch, sys.argv[1]))
        compile_program(Path(program).read_text(), torch.float32, num_kv_heads=1, group=5, head_dim=80, max_pages=1)
