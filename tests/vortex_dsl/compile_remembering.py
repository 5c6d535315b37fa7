"""Compile for an NVIDIA GPU, on a machine without one, what finds and keeps requests' memory. Not a test itself.

Run with TRITON_INTERPRET unset. Prints one line per kernel.
"""

import torch
import triton
from compile_for_cuda import compile_instead

from kernels.remembering import Kept, keep, recall, settle
from kernels.selection import Pages
from kernels.slots import Book, Places, Sequences, follow

ROWS, SLOTS, HEADS, PAGES = 1024, 1152, 8, 2560


def integers(*shape, dtype=torch.int32):
    return torch.zeros(*shape, dtype=dtype)


if __name__ == "__main__":
    triton.runtime.jit.JITFunction.run = compile_instead
    at = Places(*(integers(ROWS) for _ in range(3)))
    lengths, table = integers(ROWS), integers(ROWS, PAGES)
    book = Book(integers(9999), *(integers(SLOTS) for _ in range(4)))
    for num, clock, refresh_steps in ((ROWS, 16, 1), (1, 1, 16), (3, 5, 7)):
        follow(Sequences(table[:num], lengths[:num], integers(ROWS, dtype=torch.int8), num), book, at, clock, 16,
               refresh_steps)  # fmt: skip
    pages = Pages(lengths[:4], HEADS, PAGES, 16, 1, 1)
    for axes, paged in (((PAGES,), True), ((PAGES, 4, 128), True), ((), False), ((128,), False)):
        kept = Kept(torch.zeros(2, HEADS, *axes), paged, 0.5)
        keep(kept, recall(kept, at, pages), at, pages)
    flags = (integers(*shape, dtype=torch.int8) for shape in ((pages.num_rows, PAGES), (SLOTS, HEADS, PAGES)))
    settle(*flags, at, pages)
