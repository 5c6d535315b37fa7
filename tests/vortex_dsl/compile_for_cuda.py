"""Compile every kernel that some programs launch for an NVIDIA GPU, on a machine without one. Not a test itself.

Usage: compile_for_cuda.py DTYPE PROGRAM… - run with TRITON_INTERPRET unset. Prints one line per kernel.
"""

import sys
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from kernels.decode import PagedCache, Softmax, sparse_decode
from kernels.selection import Listing, Pages, list_pages
from vortex_dsl import Shape, load_program, trace
from vortex_dsl.triton_backend import Compiled, Step

TARGET = GPUTarget("cuda", 90, 32)
TYPES = {
    torch.float32: "*fp32",
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
    torch.float8_e4m3fn: "*fp8e4nv",
    torch.int64: "*i64",
    torch.int32: "*i32",
    torch.int8: "*i8",
    torch.uint8: "*u8",
}
ALIGNED = [["tt.divisibility", 16]]
done = set()


def type_of(value):
    if isinstance(value, torch.Tensor):
        return TYPES[value.dtype]
    if isinstance(value, int) and value == 1:
        return "constexpr"  # as a launch specializes it
    return {int: "i32", float: "fp32"}.get(type(value), "constexpr")


def is_aligned(kind, value):
    """Tell whether a launch says that an argument is a multiple of 16: memory, or a whole number."""
    if kind == "constexpr":
        return False
    return isinstance(value, torch.Tensor) or (isinstance(value, int) and value % 16 == 0)


def compile_instead(self, *args, grid, warmup, **kwargs):
    """Take the place of a launch."""
    known = {param.name for param in self.params}
    options = {name: value for name, value in kwargs.items() if name not in known}
    given = dict(zip(self.arg_names, args, strict=False)) | {n: v for n, v in kwargs.items() if n in known}
    constant = {param.name for param in self.params if param.is_constexpr}
    signature = {n: "constexpr" if n in constant else type_of(given[n]) for n in self.arg_names}
    constants = {(i,): given[n] for i, n in enumerate(self.arg_names) if signature[n] == "constexpr"}
    attrs = {(i,): ALIGNED for i, n in enumerate(self.arg_names) if is_aligned(signature[n], given[n])}
    key = (self.fn, tuple(signature.items()), repr(constants), tuple(attrs))
    if key in done:
        return
    done.add(key)
    source = ASTSource(fn=self, signature=signature, constexprs=constants, attrs=attrs)
    compiled = triton.compile(source, target=TARGET, options=options)
    print(f"{self.fn.__name__}: {len(compiled.asm['cubin'])} bytes, {compiled.metadata.shared} shared", flush=True)


def compile_program(text, dtype, *, batch=2, num_kv_heads=2, group=4, head_dim=128, max_pages=40):
    graph = trace(load_program(text), Shape(group=group, head_dim=head_dim))
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
    step, dense = Step(q, cache, region, pages, 1, 4, 0.1), torch.zeros(batch, dtype=torch.int8)
    listing = Listing(table, dense=dense, tally=torch.zeros(pages.num_rows, 6, dtype=torch.int64))
    chosen, _ = compiled.choose(step)
    list_pages(chosen, pages, Listing(table))
    for cached in (cache, stored_as_float8(cache)):
        sparse_decode(q, cached, compiled.listed(step, listing), Softmax(0.1))
        sparse_decode(q, cached, None, Softmax(0.1, 30.0, 128), tally=listing.tally)


def stored_as_float8(cache):
    k, v = (x.to(torch.float8_e4m3fn) for x in (cache.k, cache.v))
    return PagedCache(k, v, cache.block_table, cache.seq_lens, 0.5, 2.0)


if __name__ == "__main__":
    triton.runtime.jit.JITFunction.run = compile_instead
    for program in sys.argv[2:]:
        compile_program(Path(program).read_text(), getattr(torch, sys.argv[1]))
        compile_program(Path(program).read_text(), torch.float32, num_kv_heads=1, group=5, head_dim=80, max_pages=1)
