"""What a layer serves over its pages is what `attend` says: odd shapes, scattered blocks, and garbage around them."""

from dataclasses import dataclass, replace

import pytest
import torch

from vortex_dsl import attend, load_program, zoo
from vortex_dsl.backends.tape.machine import Layer
from vortex_dsl.serving.config import ServingError
from vortex_dsl.serving.layers.decodes import Decodes, Heads, pages_of
from vortex_dsl.serving.layers.rule import Rule
from vortex_dsl.serving.pages.pages import Rows, Softmax

pytestmark = pytest.mark.vllm

SCALE = 0.1
PAGE_SIZES = (16, 32, 64, 128)
TOLERANCE = {torch.float32: 1e-3, torch.float16: 1e-2, torch.bfloat16: 6e-2}
MIXED = ("quest", "two_stage", "narrow_int8", "quest_int4", "sign_keys", "mass_lse", "twilight", "ball")


@dataclass(frozen=True)
class Shape:
    """What a layer looks like. `value_dim` is that of latents, and 0 where keys and values are kept apart."""

    group: int
    num_kv_heads: int
    head_dim: int
    page_size: int
    dtype: torch.dtype = torch.float32
    value_dim: int = 0


@dataclass(frozen=True)
class Seen:
    """What a layer and `attend` came to: pages bool [rows, pages], outputs [rows, group, channels]."""

    attended: torch.Tensor
    wanted: torch.Tensor
    output: torch.Tensor
    wanted_output: torch.Tensor

    @property
    def other_rows(self):
        """Count the rows that attended to other pages."""
        return int((self.attended != self.wanted).any(-1).sum())

    @property
    def off(self):
        """Give the largest distance between outputs; NaN if there is one."""
        return float((self.output.float() - self.wanted_output).abs().max())


def lengths_for(page_size):
    """Give one token, whole pages, and partial ones."""
    return [1, page_size, 4 * page_size + 3, 7 * page_size, 9 * page_size - 1]


def small(name, page_size):
    """Give a program of the zoo with a budget of three pages."""
    program = load_program(zoo.text(name))
    few = {"pages": 3} if "pages" in program.values else {}
    return program.with_values(page_size=page_size, dense_layers=0, **few)


class Filled:
    """A cache of garbage, but for some sequences in it; `over` makes pages of it, as `pages_over` does."""

    def __init__(self, over, shape, field_bytes, garbage=77.0, seed=0):
        self.shape, self.lengths = shape, torch.tensor(lengths_for(shape.page_size), dtype=torch.int32)
        generator = torch.Generator().manual_seed(seed)
        batch, heads, dim, page_size = len(self.lengths), shape.num_kv_heads, shape.head_dim, shape.page_size
        num_pages = -(-self.lengths // page_size)
        num_blocks = int(num_pages.sum()) + 3
        stored = (1 if shape.value_dim else 2) * dim
        content = stored + -(-field_bytes // (page_size * shape.dtype.itemsize))
        cache = torch.full((num_blocks, heads, page_size, content), garbage, dtype=shape.dtype)
        self.pages = over(cache[:, 0] if shape.value_dim else cache)
        order = torch.randperm(num_blocks - 1, generator=generator)
        self.table = torch.full((batch, int(num_pages.max()) + 2), num_blocks - 1, dtype=torch.int32)
        self.k, self.v = (self._drawn(batch, heads, dim, generator) for _ in range(2))
        self.q = torch.randn(batch, heads * shape.group, dim, generator=generator).to(shape.dtype) * 0.3
        for row, blocks in enumerate(order[: num_pages.sum()].split(num_pages.tolist())):
            self.table[row, : len(blocks)] = blocks
            self._write(row)
        held = (self.lengths % page_size).tolist()
        last = self.table[torch.arange(batch), self.lengths.long() // page_size].tolist()
        partial = [(block, num) for block, num in zip(last, held, strict=True) if num]
        self.pages.clear_rest(partial)

    def _drawn(self, batch, heads, dim, generator):
        return torch.randn(batch, heads, int(self.lengths.max()), dim, generator=generator).to(self.shape.dtype)

    def _write(self, row):
        length, page_size, split = int(self.lengths[row]), self.shape.page_size, self.shape.value_dim
        token = torch.arange(length)
        slots = self.table[row].long()[token // page_size] * page_size + token % page_size
        key, value = (x[row, :, :length].transpose(0, 1) for x in (self.k, self.v))
        if split:
            key, value = key[:, 0, split:], key[:, 0, :split]
        self.pages.write(key, value, slots)

    @property
    def decodes(self):
        """Give one decode step of all sequences."""
        starts = torch.arange(len(self.lengths) + 1, dtype=torch.int32)
        return Decodes(Rows(self.table, self.lengths, starts), self.shape.page_size, Heads(self.shape.num_kv_heads))

    def complete(self):
        """Give the numbers of complete pages."""
        blocks = [row[:num] for row, num in zip(self.table, self.lengths // self.shape.page_size, strict=True)]
        return pages_of(torch.cat(blocks), self.shape.num_kv_heads).flatten()

    @property
    def seen_values(self):
        """Give the values as programs see them: of latents, their value part."""
        if not self.shape.value_dim:
            return self.v.float()
        values = self.k.float().clone()
        values[..., self.shape.value_dim :] = 0
        return values


def run(name, over, shape, garbage=77.0, backend="torch", seed=0):
    """Serve a program of the zoo over pages, and compare with `attend`."""
    program = small(name, shape.page_size)
    rule = Rule(program, shape.group, shape.head_dim)
    filled = Filled(over, shape, rule.field_bytes, garbage, seed)
    pages, decodes, rows = filled.pages, filled.decodes, filled.q.unflatten(1, (shape.num_kv_heads, -1)).flatten(0, 1)
    out_dim = shape.value_dim or shape.head_dim
    output = torch.full((*rows.shape[:2], out_dim), torch.nan, dtype=shape.dtype)
    with torch.inference_mode():
        rule.summarize(pages, filled.complete())
        chosen = rule.choice(rows, pages, decodes, Layer(0, 1, SCALE), rule.memory(shape.num_kv_heads))
        pages.attend_pages(
            rows, Rows(chosen.listed.table, chosen.listed.lengths, decodes.starts), Softmax(SCALE), output
        )
        given = (filled.q.float(), filled.k.float(), filled.seen_values, filled.lengths)
        wanted_output, wanted = attend(program, *given, scale=SCALE, backend=backend)
    wanted = wanted.flatten(0, 1)[:, : chosen.attended.shape[1]]
    by_row = wanted_output.unflatten(1, (shape.num_kv_heads, -1)).flatten(0, 1)[..., :out_dim]
    return Seen(chosen.attended, wanted, output, by_row)


def over_cpp(shape):
    """Give what makes the pages that are served by vLLM's C++ kernels."""
    from vortex_dsl.serving.pages.cpu import CpuPages
    from vortex_dsl.serving.pages.over import latents_over

    if shape.value_dim:
        return lambda cache: latents_over(cache, shape.head_dim, shape.value_dim)
    return lambda cache: CpuPages(cache, shape.head_dim)


def over_torch(shape):
    """Give what makes the pages that are served by plain torch."""
    from vortex_dsl.serving.pages.latent import LatentPages
    from vortex_dsl.serving.pages.plain import TorchPages

    if shape.value_dim:
        return lambda cache: LatentPages(cache, shape.head_dim, shape.value_dim)
    return lambda cache: TorchPages(cache, shape.head_dim)


def agree(name, over, shape, **settings):
    """Serve it, and ask for the same pages and outputs."""
    seen = run(name, over(shape), shape, **settings)
    assert seen.other_rows == 0, (name, shape)
    assert seen.off < TOLERANCE[shape.dtype], (name, shape)


@pytest.mark.parametrize("name", zoo.names())
def test_every_program_over_latents_of_every_page_size_and_type(name):
    """By vLLM's C++ kernel (576/512) and, for other widths, in torch; in bfloat16 too, whatever room fields take."""
    for page_size in PAGE_SIZES:
        for dtype in (torch.float32, torch.bfloat16):
            agree(name, over_cpp, Shape(5, 1, 576, page_size, dtype, 512), garbage=torch.nan)
    agree(name, over_cpp, Shape(20, 1, 288, PAGE_SIZES[len(name) % 4], torch.bfloat16, 256), garbage=torch.nan)


@pytest.mark.parametrize("over", [over_cpp, over_torch])
@pytest.mark.parametrize("num_kv_heads", [1, 3])
@pytest.mark.parametrize("group", [1, 3, 7, 71])
def test_odd_groups_and_heads(group, num_kv_heads, over):
    """Of every page size and type of cache, among finite garbage."""
    turn = group + num_kv_heads
    for page_size in PAGE_SIZES:
        for dtype, dim in ((torch.float32, 80), (torch.bfloat16, 48), (torch.float16, 96)):
            turn += 1
            agree(MIXED[turn % len(MIXED)], over, Shape(group, num_kv_heads, dim, page_size, dtype))


@pytest.mark.parametrize("over", [over_cpp, over_torch])
@pytest.mark.parametrize("garbage", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("value_dim", [0, 512])
def test_what_others_left_behind_spoils_nothing(value_dim, garbage, over):
    """Neither in blocks of others nor beyond the last token of one's own."""
    for page_size in (16, 32, 128):
        for dtype in TOLERANCE:
            shape = Shape(3, 1, 576, page_size, dtype, 512) if value_dim else Shape(3, 3, 80, page_size, dtype)
            agree("quest", over, shape, garbage=garbage)


@pytest.mark.parametrize("name", MIXED)
@pytest.mark.parametrize(("group", "num_kv_heads", "dim"), [(3, 1, 32), (1, 3, 48)])
def test_the_reference_says_the_same(group, num_kv_heads, dim, name):
    """The meaning of each operation, one by one, and not only the batched code that serving shares."""
    for over in (over_cpp, over_torch):
        agree(name, over, Shape(group, num_kv_heads, dim, 16), garbage=torch.inf, backend="reference")


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("how", ["beyond a line", "head by head", "in wider rows"])
def test_queries_over_latents_may_lie_anywhere(how, dtype):
    """vLLM's C++ kernel reads them from the start of a line and without gaps, and says nothing where they are not."""
    shape = Shape(5, 1, 576, 32, dtype, 512)
    filled = Filled(over_cpp(shape), shape, 64)
    query = {
        "beyond a line": lambda q: torch.cat([q.new_zeros(9), q.flatten()])[9:].view_as(q),
        "head by head": lambda q: q.transpose(0, 1).contiguous().transpose(0, 1),
        "in wider rows": lambda q: torch.cat([q, q], -1)[..., :576],
    }[how](filled.q)
    assert torch.equal(query, filled.q)
    assert query.data_ptr() % 64 or not query.is_contiguous()
    outputs = [torch.empty(5, 5, 512, dtype=dtype) for _ in range(2)]
    for given, output in zip((query, filled.q), outputs, strict=True):
        filled.pages.attend_sequences(given, replace(filled.decodes.rows, kept={}), Softmax(SCALE), output)
    assert torch.equal(*outputs)


@pytest.mark.parametrize(("extra", "offset"), [(1, 0), (3, 0), (0, 16), (2, 8)])
def test_latents_that_the_kernel_would_die_of_are_refused(extra, offset):
    """Pages that are no whole lines, and a cache that begins inside of one. Torch takes both."""
    from vortex_dsl.serving.pages.latent import CpuLatentPages, LatentPages

    cache = torch.zeros(4 * 16 * (576 + extra) + offset, dtype=torch.bfloat16)[offset:].view(4, 16, -1)
    words = f"pages of {32 * (576 + extra)} bytes and begins {2 * offset} bytes beyond a multiple of 64"
    with pytest.raises(ServingError, match=words):
        CpuLatentPages(cache, 576, 512)
    assert LatentPages(cache, 576, 512).page_size == 16


def test_a_cache_of_latents_beyond_the_kernels_reach_is_refused():
    """It counts numbers in 32 bits, and dies where there are more."""
    from vortex_dsl.serving.pages.latent import CpuLatentPages

    cache = torch.empty((1 << 15, 128, 576), dtype=torch.bfloat16, device="meta")
    with pytest.raises(ServingError, match=r"reaches no more than 2147483648.*kv_cache_memory_bytes"):
        CpuLatentPages(cache, 576, 512)


@pytest.mark.parametrize("name", zoo.names())
def test_fields_take_whole_lines(name):
    """So that whoever puts them behind aligned tokens has aligned pages."""
    rule = Rule(small(name, 16), 20, 576)
    assert rule.field_bytes % 64 == 0
    assert 0 <= rule.field_bytes - rule.batched.layout.bytes_per_page < 64
