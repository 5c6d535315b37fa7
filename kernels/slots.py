# ruff: noqa: N803  (constexpr parameters are upper case, as Triton writes them)
# mypy: disallow-incomplete-defs=False
"""Requests recognised from step to step without the host: each has a slot while it decodes.

A server's batch names no requests. But the block of a sequence's latest token is never shared, so the block of the
token before last tells which slot a decode goes on from, if that slot's length is one less than the sequence's now.
What computes a prompt wipes the mark of the block that it ends in, so whatever is decoded after it starts afresh, in
the slot that was used the longest ago.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

BLOCK_SLOTS = 1024  # rows or slots that one tile covers


@dataclass(frozen=True)
class Book:
    """Who was where at the latest step, int32 all, and all -1 at first but `used`, which is 0.

    slot_of_block: [num_blocks], the slot of the sequence whose latest token stood in a block. block, length, used,
    chosen: [num_slots], the sequence's last block and tokens, the step that it was in, its tokens at its last choice.
    """

    slot_of_block: torch.Tensor
    block: torch.Tensor
    length: torch.Tensor
    used: torch.Tensor
    chosen: torch.Tensor


@dataclass(frozen=True)
class Sequences:
    """A step's sequences, decodes of one token and pieces of prompts.

    block_table: [num, max_blocks] integers; lengths: integers [num], tokens with the current ones, 0 where there is
    no sequence; prompt: int8 [num], 1 for pieces of prompts, as are all from the `num_decodes`-th on.
    """

    block_table: torch.Tensor
    lengths: torch.Tensor
    prompt: torch.Tensor
    num_decodes: int


@dataclass(frozen=True)
class Places:
    """Where sequences go on from, int32 [num]: the same memory at every step, for graphs to read.

    slots: the number of slots where a sequence has none, being no decode. held: tokens at its last choice, 0 at its
    first. scored: its tokens where it chooses now, 0 where its last choice stands or where there is nothing to choose.
    """

    slots: torch.Tensor
    held: torch.Tensor
    scored: torch.Tensor


@triton.jit
def _block_of(table_ptr, table_stride, row, position, here, PAGE_SIZE: tl.constexpr):
    """Give the block of each row's token; -1 where there is no token or no row."""
    inside = here & (position >= 0)
    place = row.to(tl.int64) * table_stride + tl.maximum(position, 0) // PAGE_SIZE
    return tl.load(table_ptr + place, mask=inside, other=-1).to(tl.int32)


@triton.jit(do_not_specialize=["num", "num_decodes", "clock"])
def _recognise(table_ptr, table_stride, lengths_ptr, prompt_ptr, num, num_decodes, clock, refresh_steps, num_slots,
               slot_of_block_ptr, block_ptr, length_ptr, used_ptr, chosen_ptr, slots_ptr, held_ptr, scored_ptr,
               PAGE_SIZE: tl.constexpr, BLOCK_SLOTS: tl.constexpr):  # fmt: skip
    """Find the slots of a tile of decodes that go on, -1 for those that start; a program a tile."""
    row = tl.program_id(0) * BLOCK_SLOTS + tl.arange(0, BLOCK_SLOTS)
    length = tl.load(lengths_ptr + row, mask=row < num, other=0).to(tl.int32)
    prompt = tl.load(prompt_ptr + row, mask=row < num, other=0)
    decodes = (row < num_decodes) & (length > 0) & (prompt == 0)
    before = _block_of(table_ptr, table_stride, row, length - 2, decodes, PAGE_SIZE)
    slot = tl.load(slot_of_block_ptr + before, mask=before >= 0, other=-1)
    same = tl.load(block_ptr + slot, mask=slot >= 0, other=-1) == before
    goes_on = same & (slot >= 0) & (tl.load(length_ptr + slot, mask=slot >= 0, other=-1) == length - 1)
    held = tl.load(chosen_ptr + slot, mask=goes_on, other=0)
    renewed = decodes & ((goes_on == 0) | (held // refresh_steps != length // refresh_steps))
    tl.store(used_ptr + slot, clock, mask=goes_on)
    tl.store(slots_ptr + row, tl.where(decodes, tl.where(goes_on, slot, -1), num_slots), mask=row < num)
    tl.store(held_ptr + row, held, mask=row < num)
    tl.store(scored_ptr + row, tl.where(renewed, length, 0), mask=row < num)


@triton.jit(do_not_specialize=["num", "clock"])
def _admit(table_ptr, table_stride, lengths_ptr, num, clock, num_slots, slot_of_block_ptr, block_ptr, length_ptr,
           used_ptr, chosen_ptr, slots_ptr, scored_ptr, PAGE_SIZE: tl.constexpr, ALL_ROWS: tl.constexpr,
           ALL_SLOTS: tl.constexpr):  # fmt: skip
    """Give slots to decodes that start, in their order, and note where all sequences are: one program does it all."""
    row, every = tl.arange(0, ALL_ROWS), tl.arange(0, ALL_SLOTS)
    length = tl.load(lengths_ptr + row, mask=row < num, other=0).to(tl.int32)
    slot = tl.load(slots_ptr + row, mask=row < num, other=num_slots)
    starts = slot < 0
    turn = tl.cumsum(starts.to(tl.int32), 0) - 1
    used = tl.load(used_ptr + every, mask=every < num_slots, other=clock)
    never = tl.full((), 2**62, tl.int64)
    order = tl.where(used == clock, never, used.to(tl.int64) * ALL_SLOTS + every)
    for given in tl.range(0, tl.sum(starts.to(tl.int32), 0), num_stages=1):
        first = tl.min(order, 0)
        free = tl.where(first == never, num_slots, first % ALL_SLOTS).to(tl.int32)
        slot = tl.where(starts & (turn == given), free, slot)
        order = tl.where(order == first, never, order)
    last = _block_of(table_ptr, table_stride, row, length - 1, row < num, PAGE_SIZE)
    has_slot = (row < num) & (slot < num_slots)
    tl.store(slots_ptr + row, slot, mask=row < num)
    tl.store(slot_of_block_ptr + last, tl.where(has_slot, slot, -1), mask=last >= 0)
    tl.store(block_ptr + slot, last, mask=has_slot)
    tl.store(length_ptr + slot, length, mask=has_slot)
    tl.store(used_ptr + slot, clock, mask=has_slot)
    scored = tl.load(scored_ptr + row, mask=row < num, other=0)
    tl.store(chosen_ptr + slot, scored, mask=has_slot & (scored > 0))


def follow(sequences: Sequences, book: Book, into: Places, clock: int, page_size: int, refresh_steps: int) -> None:
    """Find or give the slot of every decode, and say who chooses. Nothing waits for the device.

    clock: a number higher than at the step before, 1 at least. into: of at least as many sequences.
    """
    table, lengths, num = sequences.block_table, sequences.lengths, sequences.lengths.shape[0]
    num_slots, max_rows = book.used.shape[0], into.slots.shape[0]
    _recognise[(triton.cdiv(num, BLOCK_SLOTS),)](
        table, table.stride(0), lengths, sequences.prompt, num, sequences.num_decodes, clock, refresh_steps, num_slots,
        book.slot_of_block, book.block, book.length, book.used, book.chosen, into.slots, into.held, into.scored,
        PAGE_SIZE=page_size, BLOCK_SLOTS=BLOCK_SLOTS, num_warps=4,
    )  # fmt: skip
    _admit[(1,)](
        table, table.stride(0), lengths, num, clock, num_slots, book.slot_of_block, book.block, book.length, book.used,
        book.chosen, into.slots, into.scored, PAGE_SIZE=page_size, ALL_ROWS=triton.next_power_of_2(max_rows),
        ALL_SLOTS=triton.next_power_of_2(num_slots), num_warps=8,
    )  # fmt: skip
