"""A layer's decode step as it is served: keys, values and fields side by side in each page, pages in any order.

Memory is laid out as `vortex_dsl/serving/pages/` lays vLLM's cache out, [block, KV head, keys | values | fields], and
the step is launched as `vortex_dsl/serving/triton/layer.py` launches it. vLLM itself is not needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from kernels.decode import PagedCache, Softmax, sparse_decode
from kernels.dependent import asked
from kernels.latent import latent_decode
from kernels.selection import NUM_TALLIES, Listing, Pages
from kernels.writing import write_tokens
from vortex_dsl import Shape, load_program, trace, zoo
from vortex_dsl.backends.compiled import Compiled, Step
from vortex_dsl.serving.triton.latents import latent_graph

if TYPE_CHECKING:
    from kernels.selection import BlockLists
    from vortex_dsl.frontend.program import Program
    from vortex_dsl.graph.graph import Graph

LAYER, NUM_LAYERS = 1, 28
IMAGINED_BLOCKS = 8  # of a case that is compiled and never launched
FILLED_AT_ONCE = 4096  # rows

# What no published rule does and a program may: refine flags, whose pages are listed by a kernel of its own.
REFINED_UNION = '''
from vortex_dsl import Int, Program, dot, refine, topk, union

class RefinedUnion(Program):
    """Rank pages by their mean keys, then the best and the worst of them by every token's key."""

    pages = Int(64, low=1, high=1024, log=True)

    def summarize(self, k, v):
        return {"center": k.mean("token"), "keys": k.to("int4")}

    def select(self, q, page):
        coarse = dot(q, page.center, "dim").max("head")
        fine = dot(q, page.keys, "dim").max("head", "token")
        return refine(union(topk(coarse, 2 * self.pages), topk(-coarse, self.pages)), fine, self.pages)
'''
OWN = {"refined_union": REFINED_UNION}


@dataclass(frozen=True)
class Case:
    """A decode step of one layer, by a published rule or by one of `OWN`.

    latents: channels of a latent that are its value, 0 where keys and values are apart; lengths: of the sequences, all
    `tokens` where it is empty; attended: tokens of a program's budget of pages, where it has one, reserved pages
    included; dependent: each launch begins while the one before ends (`kernels.dependent`).
    """

    program: str
    batch: int
    tokens: int
    heads: int
    kv_heads: int
    dim: int = 128
    latents: int = 0
    float8: bool = False
    lengths: tuple[int, ...] = ()
    page_size: int = 16
    attended: int = 1024
    dependent: bool = False

    def __str__(self) -> str:
        kind = "latents" if self.latents else "fp8" if self.float8 else "bf16"
        how = ", dependent" if self.dependent else ""
        return f"{self.batch} x {self.tokens}, {self.heads}/{self.kv_heads} heads, {kind}{how}"

    @property
    def max_pages(self) -> int:
        return -(-self.tokens // self.page_size)

    @property
    def dtype(self) -> torch.dtype:
        return torch.float8_e4m3fn if self.float8 else torch.bfloat16

    @property
    def token_bytes(self) -> int:
        """What attention reads of a token for one KV head."""
        return self.dim * self.dtype.itemsize * (1 if self.latents else 2)


def program_of(case: Case) -> Program:
    program = load_program(OWN.get(case.program) or zoo.text(case.program)).with_values(page_size=case.page_size)
    if "pages" not in program.tunables:
        return program
    reserved = int(program.values["sink"]) + int(program.values["window"])
    return program.with_values(pages=case.attended // case.page_size - reserved)


def graph_of(case: Case) -> Graph:
    program, shape = program_of(case), Shape(case.heads // case.kv_heads, case.dim)
    return latent_graph(program, shape, case.latents) if case.latents else trace(program, shape)


class Served:
    """One layer with its cache, and the parts of a step over it. imagined: made to be compiled, never launched."""

    def __init__(self, case: Case, device: str, imagined: bool = False) -> None:
        self.case, self.device = case, device
        self.compiled, self.softmax = Compiled(graph_of(case)), Softmax(case.dim**-0.5)
        self.field_bytes = self.compiled.plan.layout.bytes_per_page
        blocks = IMAGINED_BLOCKS if imagined else case.batch * case.max_pages
        self.lengths = torch.tensor(case.lengths or (case.tokens,) * case.batch, dtype=torch.int32, device=device)
        k, v, self.region = self._memory(blocks, filled=not imagined)
        order = torch.arange(case.batch * case.max_pages) % blocks if imagined else torch.randperm(blocks)
        table = order.view(case.batch, -1).to(device=device, dtype=torch.int32)
        self.cache = PagedCache(k, v, table, self.lengths)
        self.q = torch.randn(case.batch, case.heads, case.dim, device=device).bfloat16()
        self.out = torch.zeros(case.batch, case.heads, case.latents or case.dim, device=device).bfloat16()
        self.complete = torch.zeros(blocks, dtype=torch.uint8, device=device)
        self.compiled.summarize(self.cache, table.flatten(), self.region)

    def _memory(self, blocks: int, filled: bool) -> tuple[torch.Tensor, ...]:
        """Give keys, values and the room of the fields, all views of one stretch a page, with random tokens."""
        case, parts = self.case, 1 if self.case.latents else 2
        tokens = parts * case.page_size * case.dim
        token_numbers = case.page_size * case.dtype.itemsize  # fields take whole numbers of every token of a page
        whole = tokens + case.page_size * -(-self.field_bytes // token_numbers)
        flat = torch.zeros(blocks * case.kv_heads, whole, dtype=case.dtype, device=self.device)
        for some in flat.split(FILLED_AT_ONCE) if filled else ():
            some.copy_(torch.randn(some.shape, dtype=torch.bfloat16, device=self.device))
        lead = (blocks, case.kv_heads)
        both = flat[:, :tokens].unflatten(1, (parts, case.page_size, case.dim)).unflatten(0, lead)
        k = both[:, :, 0]
        v = k[..., : case.latents] if case.latents else both[:, :, 1]
        return k, v, flat[:, tokens:].view(torch.uint8).unflatten(0, lead)

    @cached_property
    def step(self) -> Step:
        case, graph = self.case, self.compiled.graph
        pages = Pages(self.lengths, case.kv_heads, case.max_pages, case.page_size, graph.sink, graph.window)
        return Step(self.q, self.cache, self.region, pages, LAYER, NUM_LAYERS, self.softmax.scale)

    @cached_property
    def listing(self) -> Listing:
        dense = torch.zeros(self.case.batch, dtype=torch.int8, device=self.device)
        tally = torch.zeros(self.step.pages.num_rows, NUM_TALLIES, dtype=torch.int64, device=self.device)
        return Listing(self.cache.block_table, dense=dense, tally=tally)

    @cached_property
    def newest(self) -> tuple[torch.Tensor, torch.Tensor]:
        """A token of each sequence: its key and its value, or the rotated and the value part of its latent."""
        case = self.case
        dims = (case.dim - case.latents, case.latents) if case.latents else (case.dim, case.dim)
        key, value = (torch.randn(case.batch, case.kv_heads, dim, device=self.device).bfloat16() for dim in dims)
        return key, value

    @cached_property
    def slots(self) -> torch.Tensor:
        """Where the newest tokens go: the last place of each sequence, none of an empty one."""
        size, last = self.case.page_size, self.lengths.long() - 1
        blocks = self.cache.block_table.long().gather(1, (last.clamp(min=0) // size)[:, None])[:, 0]
        return torch.where(last < 0, -1, blocks * size + last % size)

    @cached_property
    def parts(self) -> PagedCache:
        """The cache as tokens are written to it: the rotated part of a latent is its key."""
        k = self.cache.k[..., self.case.latents :] if self.case.latents else self.cache.k
        return PagedCache(k, self.cache.v, self.cache.block_table[:0], self.lengths[:0])

    def write(self) -> None:
        how = self.compiled.summarizing(self.cache, self.region)
        with asked(self.case.dependent):
            write_tokens(*self.newest, self.slots, self.parts, self.complete, how)

    def index(self) -> BlockLists:
        with asked(self.case.dependent):
            return self.compiled.listed(self.step, self.listing)

    def attend(self, lists: BlockLists | None) -> torch.Tensor:
        """Attend to what is listed, or by the same kernel to everything."""
        decode = latent_decode if self.case.latents else sparse_decode
        with asked(self.case.dependent):
            return decode(self.q, self.cache, lists, self.softmax, self.out)

    def whole(self) -> BlockLists:
        """Do all of a step, and give its lists."""
        self.write()
        lists = self.index()
        self.attend(lists)
        return lists
