"""Count the kernels that a card would compile while sequences grow by a token a step. Not a test itself.

Run with a program's name and the width of the block table in pages, and TRITON_INTERPRET unset; nothing is compiled.
Prints a number for the first step, and for all of them.
"""

import sys
from dataclasses import replace

import torch
import triton
from triton.runtime.jit import JITFunction

from benchmarks.drill.precompile import Absent
from benchmarks.drill.served import Case, Served
from vortex_dsl.serving.triton.steps import bound_of

STEPS = 64
met, num = set(), []


def meet(function, key, *_rest):
    met.add((function.cache_key, key))


if __name__ == "__main__":
    run = JITFunction.run
    JITFunction.run = lambda self, *args, grid, warmup, **given: run(self, *args, grid=grid, warmup=True, **given)
    JITFunction._do_compile = meet
    triton.runtime.driver.set_active(Absent(90))
    most_pages = int(sys.argv[2])
    served = Served(Case(sys.argv[1], 2, most_pages * 16, 4, 2), "cpu", imagined=True)
    for step in range(STEPS):
        tokens = 6 * most_pages + 21 * step
        max_pages = bound_of(-(-tokens // 16), most_pages)
        bounds = replace(served.step.pages, seq_lens=torch.full((2,), tokens).int(), max_pages=max_pages,
                         most_pages=most_pages)  # fmt: skip
        served.step = replace(served.step, pages=bounds)
        served.whole()
        num.append(len(met))
    print(num[0], num[-1])
