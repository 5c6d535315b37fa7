"""Both ways of reading the paged cache say the same, and neither looks beyond a row's length."""

import numpy as np
import pytest
import torch

from kernels.host import cpu
from kernels.host.reading import gather_raw
from vortex_dsl import attend, load_program, zoo
from vortex_dsl.backends.tape.machine import Layer
from vortex_dsl.serving.config import ServingError
from vortex_dsl.serving.layers.decodes import Decodes, Heads
from vortex_dsl.serving.layers.rule import Rule
from vortex_dsl.serving.pages.pages import Rows, Softmax

pytestmark = pytest.mark.vllm


def filled(kind, page_size, dtype, dim=64, seed=0):
    """Write 3 ragged sequences into a cache full of garbage; gives pages, tables, lengths and keys.

    Garbage is finite: vLLM's C++ kernel multiplies the unused values of a partial page by zero, and nobody calls
    `clear_rest` here.
    """
    generator = torch.Generator().manual_seed(seed)
    heads, lengths = 2, [1, 2 * page_size, 3 * page_size + 5]
    cache = torch.full((32, heads, page_size, 2 * dim + 8), 1e4, dtype=dtype)
    pages = kind(cache, dim)
    table = torch.randperm(32, generator=generator)[:12].view(3, 4).to(torch.int32)
    slots = torch.cat(
        [
            table[i, torch.arange(n) // page_size].long() * page_size + torch.arange(n) % page_size
            for i, n in enumerate(lengths)
        ]
    )
    key = torch.randn(len(slots), heads, dim, generator=generator).to(dtype)
    value = torch.randn(len(slots), heads, dim, generator=generator).to(dtype)
    pages.write(key, value, slots)
    return pages, table, torch.tensor(lengths, dtype=torch.int32), key


RAW_RULE = """from vortex_dsl import *


class Raw(Program):
    \"\"\"Read raw pages, all of them and then those that were chosen.\"\"\"

    def select(self, q, page):
        coarse = dot(q, page.v, "dim").mean("token", "head") + page.v.norm("dim").max("token")
        return refine(topk(coarse, 6), dot(q, page.k, "dim").logsumexp("token").max("head"), 2)
"""


@pytest.mark.parametrize(
    "text", [zoo.text("oracle_max"), zoo.text("oracle_mass"), RAW_RULE], ids=["max", "mass", "both"]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("page_size", "dim"), [(16, 64), (32, 64), (64, 80), (128, 64)])
def test_the_tape_reads_raw_pages_as_the_kernel_stores_them(page_size, dim, dtype, text):
    """What the machine chooses over vLLM's cache is what the reference chooses of the keys that were written."""
    from vortex_dsl.serving.pages.cpu import CpuPages

    program = load_program(text).with_values(page_size=page_size, dense_layers=0)
    program = program.with_values(pages=2) if "pages" in program.tunables else program
    heads, count, generator = 2, 12, torch.Generator().manual_seed(page_size)
    rule = Rule(program, 4, dim)
    content = 2 * dim + -(-rule.field_bytes // (page_size * dtype.itemsize))  # what needs no query is kept in a field
    pages = CpuPages(torch.zeros(2 * count, heads, page_size, content, dtype=dtype), dim)
    blocks = torch.randperm(2 * count, generator=generator)[:count]
    slots = (blocks[:, None] * page_size + torch.arange(page_size)).flatten()[:-3]
    key, value = (torch.randn(len(slots), heads, dim, generator=generator).to(dtype) for _ in range(2))
    pages.write(key, value, slots)
    rule.summarize(pages, (blocks[:-1, None] * heads + torch.arange(heads)).flatten())
    query = torch.randn(heads, 4, dim, generator=generator).to(dtype)
    lengths = torch.tensor([len(slots)], dtype=torch.int32)
    assert pages.machine_of(rule.batched) is not None
    decodes = Decodes(Rows(blocks[None].int(), lengths, torch.tensor([0, 1])), page_size, Heads(heads))
    found = rule.choice(query, pages, decodes, Layer(0, 1, dim**-0.5), rule.memory(heads)).attended
    k, v = (x.transpose(0, 1)[None].float() for x in (key, value))
    expected = attend(program, query.float().flatten(0, 1)[None], k, v, backend="reference")[1][0]
    assert torch.equal(found, expected)


@pytest.mark.parametrize(("isa", "page_size"), [("vec16", 16), ("vec", 32), ("vec", 128), ("amx", 32), ("amx", 128)])
def test_compiled_loops_follow_the_order_of_every_kernel(isa, page_size):
    """Keys and values that a kernel's variant stores, this machine's own or not, are read back token by token."""
    from vllm import _custom_ops as ops

    from vortex_dsl.serving.pages.cpu import stored_order

    shape, dtype = (page_size, 1, 64), torch.bfloat16
    key, value = torch.randn(2, *shape).to(dtype)
    page = torch.zeros((1, 1, 2 * page_size, 64), dtype=dtype)
    ops.cpu_attn_reshape_and_cache(key, value, *page.chunk(2, dim=2), torch.arange(page_size), isa)
    for start, given, order in zip(
        (0, page_size * 128), (key, value), stored_order(isa, page_size, 64, dtype), strict=True
    ):
        stored = cpu.Stored("bfloat16", start, page.nbytes, page_size, 64, 128, 0)
        raw, out = cpu.Raw.ordered(stored, order), torch.empty(1, page_size, 64)
        places = np.concatenate([raw.tokens, raw.channels])
        memory = cpu.memory_of(page.view(torch.uint8))
        gather_raw(memory, places, stored.coded(0), np.zeros(1, np.int64), out.numpy())
        assert torch.equal(out[0], given[:, 0].float())


@pytest.fixture(params=["cpu", "torch"])
def kind(request):
    from vortex_dsl.serving.pages.cpu import CpuPages
    from vortex_dsl.serving.pages.plain import TorchPages

    return {"cpu": CpuPages, "torch": TorchPages}[request.param]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("page_size", "dim"), [(16, 64), (32, 64), (64, 128), (128, 64), (32, 80)])
def test_raw_keys_are_what_was_written(kind, page_size, dim, dtype):
    """A gathered page holds its keys in token order, fields lie behind it untouched."""
    pages, table, _, key = filled(kind, page_size, dtype, dim)
    got = pages.raw_keys(table[1].long() * 2 + 1)[:2].flatten(0, 1)
    assert torch.equal(got, key[1 : 1 + 2 * page_size, 1])
    assert pages.fields.shape == (64, page_size * 8 * dtype.itemsize)
    assert torch.equal(pages.fields.view(dtype), torch.full((64, page_size * 8), 1e4, dtype=dtype))


TAKEN = (32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)  # by vLLM's C++ kernel


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("page_size", [16, 32, 64, 128])
@pytest.mark.parametrize("dim", TAKEN)
def test_pages_of_every_size_are_read_as_they_were_written(dim, page_size, dtype):
    """Number by number, keys and values of each head, from whole pages in scattered blocks."""
    from vortex_dsl.serving.pages.cpu import CpuPages

    blocks, generator = torch.tensor([2, 0]), torch.Generator().manual_seed(0)
    pages = CpuPages(torch.full((3, 2, page_size, 2 * dim), torch.nan, dtype=dtype), dim)
    slots = (blocks[:, None] * page_size + torch.arange(page_size)).flatten()
    given = [torch.randn(len(slots), 2, dim, generator=generator).to(dtype) for _ in range(2)]
    pages.write(*given, slots)
    for head in range(2):
        for gather, written in zip((pages.raw_keys, pages.raw_values), given, strict=True):
            assert torch.equal(gather(blocks * 2 + head).flatten(0, 1), written[:, head])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("page_size", [16, 32, 64, 128])
def test_widths_that_the_kernel_does_not_take_are_refused_in_a_sentence(page_size, dtype):
    """Before there is a cache, with all that matters in it, and what to do; all others are served."""
    from vortex_dsl.serving.pages.cpu import refuse_unserved

    for dim in range(8, 577, 8):
        if dim in TAKEN:
            refuse_unserved(page_size, dim, dtype)
            continue
        words = rf"no head_dim of {dim} in {dtype} with pages of {page_size} tokens here \(.*'kernels': 'torch'"
        with pytest.raises(ServingError, match=words):
            refuse_unserved(page_size, dim, dtype)


def test_a_kernel_that_loses_numbers_is_not_served(monkeypatch):
    """The order is read off what it stores, and no order is better than a wrong one."""
    from vortex_dsl.serving.pages import cpu as pages_cpu

    def store(page, _isa):
        return page.flatten().clamp(max=100).expand(2, -1)

    monkeypatch.setattr(pages_cpu, "_stored", store)
    with pytest.raises(ServingError, match="does not keep every number of a page"):
        pages_cpu.stored_order.__wrapped__("vec", 16, 64, torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("page_size", "dim"), [(16, 64), (32, 80), (128, 256)])
def test_only_values_beyond_the_last_token_are_cleared(page_size, dim, dtype):
    """Of every KV head of the block, and of no other block."""
    from vortex_dsl.serving.pages.cpu import CpuPages

    pages = CpuPages(torch.zeros(3, 2, page_size, 2 * dim, dtype=dtype), dim)
    ones = torch.ones(3 * page_size, 2, dim, dtype=dtype)
    pages.write(ones, ones, torch.arange(3 * page_size))
    pages.clear_rest([(1, 5)])
    values = pages.raw_values(torch.arange(6))
    assert values[[0, 1, 4, 5]].eq(1).all()
    assert values[2:4, :5].eq(1).all()
    assert values[2:4, 5:].eq(0).all()
    assert pages.raw_keys(torch.arange(6)).eq(1).all()


def test_views_are_over_one_cache_only(kind):
    """A cache of another size at the same address is another cache."""
    cache = torch.zeros(8, 2, 16, 136)
    pages = kind(cache[:4], 64)
    assert pages.is_over(cache[:4])
    assert not pages.is_over(cache)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2), (torch.float16, 4e-3)])
@pytest.mark.parametrize(("page_size", "dim"), [(16, 64), (32, 64), (128, 128), (32, 80)])
@pytest.mark.parametrize("softmax", [Softmax(0.125), Softmax(0.125, cap=2.0), Softmax(0.125, window=20)], ids=str)
def test_torch_and_cpp_agree(page_size, dim, dtype, tolerance, softmax):
    """Dense and page-wise attention agree between vLLM's C++ kernel and torch; listed pages know no window."""
    from vortex_dsl.serving.pages.cpu import CpuPages
    from vortex_dsl.serving.pages.plain import TorchPages

    query = torch.randn(3, 8, dim, generator=torch.Generator().manual_seed(1)).to(dtype)
    starts = torch.arange(4, dtype=torch.int32)
    outputs = []
    for kind in (CpuPages, TorchPages):
        pages, table, lengths, _ = filled(kind, page_size, dtype, dim)
        whole, listed = torch.empty_like(query), torch.empty(6, 4, dim, dtype=dtype)
        pages.attend_sequences(query, Rows(table, lengths, starts), softmax, whole)
        by_head = (table.long()[:, None] * 2 + torch.arange(2)[:, None]).flatten(0, 1).to(torch.int32)
        rows = Rows(by_head, lengths.repeat_interleave(2), torch.arange(7, dtype=torch.int32))
        pages.attend_pages(query.view(6, 4, dim), rows, softmax, listed)
        if softmax.window is None:
            torch.testing.assert_close(whole.view(6, 4, dim), listed, atol=tolerance, rtol=tolerance)
        outputs.append((whole, listed))
    for one, other in zip(*outputs, strict=True):
        torch.testing.assert_close(one, other, atol=tolerance, rtol=tolerance)
