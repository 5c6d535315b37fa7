# ruff: noqa: N803  (constexpr parameters are upper case, as Triton writes them)
# mypy: disallow-incomplete-defs=False
"""The parts of attention put together, in the order of the parts: in a launch of its own, or by who leaves the last.

Where lists come with counters (`kernels.selection.BlockLists.arrived`), the program that leaves the last part of a row
puts the row together. No program waits for another. Why no two launches meet in a counter:

* It is memory of the step's lists, from the allocator of the stream or of the graph that is captured: no other stream
  has it, and each replay finds its own.
* The launch that lists a row's pages sets it to 0, before attention begins: what a launch that was cut off has left is
  gone with the step. Attention that is launched dependently waits for all of that launch (`kernels.dependent`).
* Who arrives last sets it to 0 again, so that several layers may attend to the same lists, one after the other.
* Every program of a row reads the same length, so all agree on how many arrive; those that return early do not count.
* A batch of more rows than there are counters is refused on the host (`kernels.decode.check_rows`).

What the others have stored is seen by who arrives last: all threads of a program pass a barrier before one of them
counts with release, for the whole card, and after it has counted with acquire. Each count reads the one before, so the
last acquires what all have released, and a release covers what a barrier ordered before it, other threads' too. Parts
are read past the first cache (`.cg`). The static gate finds this order in the machine code.

Dense attention has no lists, over latents one program would put together 320 KiB, and float8 leaves its streams no
majority of the loads: all three take the launch.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from kernels.dependent import begin, dependent
from kernels.selection import BlockLists

ALIGNED = 16  # sequences: pointers to what follows them are as aligned, and no kernel is compiled for others
BLOCK_VALUE = 128  # channels of a program
MOST_BYTES = 512 << 20  # that the parts of one launch take, unless a single sequence's take more
PARTS_AT_ONCE = tl.constexpr(8)  # that are read before any is added


@dataclass(frozen=True)
class Scratch:
    """What parts leave, float32: sums [rows, parts, group, value_dim], maxima and weights [rows, parts, group].

    max_tokens: that there is room for, here and in the table of blocks; none behind them is attended to.
    """

    acc: torch.Tensor
    top: torch.Tensor
    weight: torch.Tensor
    max_tokens: int


def make_scratch(rows: int, max_tokens: int, group: int, value_dim: int, part: int, device: torch.device) -> Scratch:
    """Make room for the parts of so many rows of at most so many tokens."""
    lead = (rows, max(triton.cdiv(max_tokens, part), 1), group)
    top, weight = (torch.empty(lead, dtype=torch.float32, device=device) for _ in range(2))
    return Scratch(torch.empty(*lead, value_dim, dtype=torch.float32, device=device), top, weight, max_tokens)


def scratch_bytes(rows: int, max_tokens: int, group: int, value_dim: int, part: int) -> int:
    """Give the bytes of what `make_scratch` makes."""
    return 4 * rows * max(triton.cdiv(max_tokens, part), 1) * group * (value_dim + 2)


def at_once(batch: int, sequence_bytes: int) -> int:
    """Give how many sequences one launch attends for: all, or as many as their parts have room for in `MOST_BYTES`.

    A row may have a part for every part of the longest sequence, and what vLLM leaves beside its cache is not measured
    by a step like that.
    """
    fit = MOST_BYTES // sequence_bytes
    return max(batch, 1) if fit >= batch else fit - fit % ALIGNED or max(fit, 1)


@triton.jit
def parts_of(tokens, PART: tl.constexpr, WINDOW: tl.constexpr):
    """Give the first part that holds something of the window, or of everything where that is 0, and the one behind."""
    first = tl.maximum(tokens - WINDOW, 0) // PART if WINDOW > 0 else 0
    return first, (tokens + PART - 1) // PART


@triton.jit
def blocks_at(table_row, place, tokens, PAGE_SIZE: tl.constexpr):
    """Read in which blocks some tokens of a list are; block 0 for those behind its end."""
    return tl.load(table_row + place // PAGE_SIZE, mask=place < tokens, other=0)


@triton.jit
def blocks_ahead(table_row, place, max_tokens, WINDOW: tl.constexpr, PAGE_SIZE: tl.constexpr):
    """Read the blocks of a part's first tile while the length of its list is awaited; some may be behind its end.

    With a window the parts begin elsewhere, and nothing is read.
    """
    return blocks_at(table_row, place, max_tokens if WINDOW == 0 else 0, PAGE_SIZE)


@triton.jit
def first_blocks(ahead, table_row, place, tokens, WINDOW: tl.constexpr, PAGE_SIZE: tl.constexpr):
    """Give the blocks of a part's first tile, of what was read ahead where there is no window."""
    blocks = tl.where(place < tokens, ahead, 0)
    if WINDOW > 0:
        blocks = blocks_at(table_row, place, tokens, PAGE_SIZE)
    return blocks


@triton.jit
def leave(acc, top, weight, acc_ptr, max_ptr, sum_ptr, left, value, value_dim, in_group, is_first):
    """Store a part's sums of some heads, [heads, values], and, by the first of a part's programs, what they weigh."""
    mask = in_group[:, None] & (value < value_dim)[None, :]
    tl.store(acc_ptr + left[:, None] * value_dim + value[None, :], acc, mask=mask)
    tl.store(max_ptr + left, top, mask=in_group & is_first)
    tl.store(sum_ptr + left, weight, mask=in_group & is_first)


@triton.jit
def write_out(acc, weight, place, mask, v_scale):
    """Write weighted means, zeros where nothing is attended to. acc: a tile; weight: of its shape, or to be spread.

    A weight that is NaN, as of a key or query that is, gives NaN: zeros would hide what broke it.
    """
    out = tl.where(weight == 0.0, 0.0, acc / tl.where(weight == 0.0, 1.0, weight)) * v_scale
    tl.store(place, out, mask=mask)


@triton.jit
def _read(acc_row, max_row, sum_row, start, last, group, value_dim, mask):
    """Read what some parts have left, from `start` on and none behind `last`. The pointers are those of part 0.

    None is masked that need not be: each is asked for before one is waited for, as far as registers go.
    """
    tops, weights, sums = (), (), ()  # Triton unpacks no tuples
    acc_row += (tl.zeros((), tl.int64) + start) * group * value_dim
    max_row, sum_row = max_row + start * group, sum_row + start * group
    for i in tl.static_range(PARTS_AT_ONCE):
        place = tl.minimum(i, last - start) * group
        top = tl.load(max_row + place, cache_modifier=".cg")
        weight = tl.load(sum_row + place, cache_modifier=".cg")
        acc = tl.load(acc_row + place * value_dim, mask=mask, cache_modifier=".cg")
        tops = tops + (top,)  # type: ignore[assignment]  # noqa: RUF005
        weights = weights + (weight,)  # type: ignore[assignment]  # noqa: RUF005
        sums = sums + (acc,)  # type: ignore[assignment]  # noqa: RUF005
    return tops, weights, sums


@triton.jit
def _add(acc, top, weight, parts, start, end):
    """Add parts that were read to sums, their maximum and their weight; those at or behind `end` may be anything.

    Element by element and in their order, so that no sum depends on how a tile is spread over threads; products are
    fused into sums by name, so that none depends on which kernel adds.
    """
    tops, weights, sums = parts
    new_top = top
    for i in tl.static_range(PARTS_AT_ONCE):
        new_top = tl.maximum(new_top, tl.where(start + i < end, tops[i], float("-inf")))
    safe_top = tl.where(new_top == float("-inf"), 0.0, new_top)
    shrink = tl.exp2(top - safe_top)
    acc, weight = acc * shrink, weight * shrink
    for i in tl.static_range(PARTS_AT_ONCE):
        share = tl.where(start + i < end, tl.exp2(tops[i] - safe_top), 0.0)
        weight = tl.fma(tl.where(start + i < end, weights[i], 0.0), share, weight)
        acc = tl.fma(tl.where(start + i < end, sums[i], 0.0), share, acc)
    return acc, new_top, weight


@triton.jit
def is_last(counter_ptr, expected):
    """Tell whether this is the last of the programs that count at a counter; it sees all that the others stored."""
    tl.debug_barrier()  # all threads have stored before the one that counts says so
    last = tl.atomic_add(counter_ptr, 1, sem="acq_rel", scope="gpu") == expected - 1
    if last:
        tl.store(counter_ptr, 0)  # for the next layer that attends to the same lists
    return last


@triton.jit
def merge_head(acc_ptr, max_ptr, sum_ptr, row, num_parts, first, end, head, group, value, value_dim, out_row, out_dim,
               v_scale, EVEN: tl.constexpr, BLOCK_VALUE: tl.constexpr):  # fmt: skip
    """Combine the parts of one query head of a row, some of its values. out_row: where those of the head go."""
    left = row * num_parts * group + head
    acc_row, max_row, sum_row = acc_ptr + left * value_dim + value, max_ptr + left, sum_ptr + left
    acc = tl.zeros((BLOCK_VALUE,), tl.float32)
    top = tl.full((), float("-inf"), tl.float32)
    weight = tl.zeros((), tl.float32)
    for start in tl.range(first, end, PARTS_AT_ONCE, num_stages=1):
        parts = _read(acc_row, max_row, sum_row, start, end - 1, group, value_dim, None if EVEN else value < value_dim)
        acc, top, weight = _add(acc, top, weight, parts, start, end)
    write_out(acc, weight, out_row + value * out_dim, value < value_dim, v_scale)


@triton.jit
def merge_if_last(counter_ptr, acc_ptr, max_ptr, sum_ptr, row, num_parts, first, end, group, value_dim, out_row,
                  out_head, out_dim, v_scale, EVEN: tl.constexpr, BLOCK_VALUE: tl.constexpr):  # fmt: skip
    """Combine the parts of all heads of a row, if this is its last program. out_row: where those of its first head go.

    A head after the other: two at once spill on sm_100. The only part was written out at once.
    """
    if end - first > 1:  # noqa: SIM102  (the count is taken only then)
        if is_last(counter_ptr, tl.minimum(end - first, tl.num_programs(1)) * tl.num_programs(2)):
            for head in tl.range(0, group, num_stages=1):
                for start in tl.range(0, value_dim, BLOCK_VALUE, num_stages=1):
                    value = start + tl.arange(0, BLOCK_VALUE)
                    merge_head(acc_ptr, max_ptr, sum_ptr, row, num_parts, first, end, head, group, value, value_dim,
                               out_row + head * out_head, out_dim, v_scale, EVEN, BLOCK_VALUE)  # fmt: skip


@triton.jit(do_not_specialize=["num_parts", "max_tokens"])
def _merge(acc_ptr, max_ptr, sum_ptr, tokens_ptr, out_ptr, out_batch, out_head, out_dim, num_kv_heads, num_parts,
           max_tokens, value_dim, v_scale, PART: tl.constexpr, WINDOW: tl.constexpr, PER_ROW: tl.constexpr,
           EVEN: tl.constexpr, BLOCK_VALUE: tl.constexpr):  # fmt: skip
    """Combine the parts of one query head of a row. Where there is only one, it was written out at once."""
    begin()
    row, head, group = tl.program_id(0), tl.program_id(1), tl.num_programs(1)
    sequence = row // num_kv_heads
    tokens = tl.minimum(tl.load(tokens_ptr + (row if PER_ROW else sequence)).to(tl.int32), max_tokens)
    value = tl.program_id(2) * BLOCK_VALUE + tl.arange(0, BLOCK_VALUE)
    place = out_ptr + sequence.to(tl.int64) * out_batch + ((row % num_kv_heads) * group + head) * out_head
    first, end = parts_of(tokens, PART, WINDOW)
    if end - first == 1:
        return
    merge_head(acc_ptr, max_ptr, sum_ptr, row.to(tl.int64), num_parts, first, end, head, group, value, value_dim, place,
               out_dim, v_scale, EVEN, BLOCK_VALUE)  # fmt: skip


def merge(
    scratch: Scratch, tokens: torch.Tensor, out: torch.Tensor, part: int, lists: BlockLists | None, window: int,
    v_scale: float,
) -> None:  # fmt: skip
    """Combine what parts of so many tokens have left, of all rows that have more than one.

    tokens: integers [rows], or [batch] where there are no lists; out: [batch, num_q_heads, value_dim].
    """
    rows, num_parts, group, value_dim = scratch.acc.shape
    block_value = min(triton.next_power_of_2(value_dim), BLOCK_VALUE)
    _merge[(rows, group, triton.cdiv(value_dim, block_value))](
        scratch.acc, scratch.top, scratch.weight, tokens, out, *out.stride(), rows // out.shape[0], num_parts,
        scratch.max_tokens, value_dim, v_scale, PART=part, WINDOW=window, PER_ROW=lists is not None,
        EVEN=value_dim % block_value == 0, BLOCK_VALUE=block_value, num_warps=4, num_stages=1,
        enable_fp_fusion=False,  # one sum of weights in all threads
        **dependent(out.device),
    )  # fmt: skip
