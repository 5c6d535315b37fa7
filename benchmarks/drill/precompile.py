"""Compile beforehand, in parallel, what `check`, `tiny` and `time` launch: on a card that waits, seconds are dear.

Every launch goes as far as Triton goes before a kernel runs, with arguments in the host's memory and a stand-in for the
driver, so what is compiled lies in Triton's cache under the names by which the launch itself will look. No card is
needed, so this is also how the drill is rehearsed without one.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import torch
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.runtime.jit import JITFunction

from benchmarks.drill import correct, timed
from benchmarks.drill.rows import sentence
from benchmarks.drill.served import Case, Served
from kernels import decode, dependent, latent, tuning

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.drill.rows import Rows

HOPPER, HOPPER_PROCESSORS = 90, 132  # of an H100 and of an H200
OPERANDS = {torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}


@dataclass
class Absent:
    """Stands for the driver of a card that need not be here: what a launch asks before it compiles."""

    arch: int

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, _device: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.arch, 32)


@dataclass
class Share:
    """One process's share: every `num`-th kernel, in the order in which all processes meet them."""

    number: int
    num: int
    met: set[tuple[str, str]] = field(default_factory=set)
    mine: int = 0
    failed: list[str] = field(default_factory=list)

    def compile(self, function: JITFunction, key: str, *rest: Any) -> Any:
        """Compile a kernel as Triton does, or give None and leave it to another process."""
        name = (function.cache_key, key)
        if name in self.met:
            return None
        self.met.add(name)
        if len(self.met) % self.num != self.number:
            return None
        self.mine += 1
        kernel = _COMPILE(function, key, *rest)
        _launcher(kernel)
        return kernel

    def launch(self, function: JITFunction, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        """Go as far as a launch goes before anything runs."""
        del warmup
        try:
            _RUN(function, *args, grid=grid, warmup=True, **kwargs)
        except Exception as error:
            self.failed.append(f"{function.fn.__name__}: {sentence(error)}")


_RUN, _COMPILE = JITFunction.run, JITFunction._do_compile  # noqa: SLF001


def _launcher(kernel: Any) -> None:
    """Build what starts the kernel, a C module by its signature, where a driver is there to link with."""
    if torch.cuda.is_available():
        from triton.backends.nvidia.driver import CudaLauncher

        CudaLauncher(kernel.src, kernel.metadata)


def _operand(cache: torch.Tensor, q: torch.Tensor) -> tl.dtype:
    """Multiply as on a card (`kernels.decode._operand`)."""
    return OPERANDS.get(q.dtype if cache.itemsize == 1 else cache.dtype, tl.float32)


def as_on_a_card(share: Share, arch: int) -> None:
    """Let launches compile for a card, for as long as this process lives."""
    decode._operand = latent._operand = _operand  # noqa: SLF001
    decode.num_processors = lambda _: HOPPER_PROCESSORS
    dependent.capability = lambda _: divmod(arch, 10)
    triton.runtime.driver.set_active(Absent(arch))

    def run(function: JITFunction, *args: Any, **given: Any) -> None:
        share.launch(function, *args, **given)

    def do_compile(function: JITFunction, *given: Any) -> Any:
        return share.compile(function, *given)

    JITFunction.run, JITFunction._do_compile = run, do_compile  # noqa: SLF001


def launch(case: Case) -> None:
    """Launch all that a case launches, in every cut that is timed."""
    served = Served(case, "cpu", imagined=True)
    lists = served.whole()
    served.attend(None)
    if case in CHECKED:
        served.attend(replace(lists, arrived=None))
    for tiling in timed.tilings_of(case) if case in TIMED else ():
        with tuning.trial(tiling):
            served.attend(lists)


CHECKED = frozenset(correct.CHECKS)
TIMED = frozenset(case for cases in timed.CASES for case in cases)
ALL = (*correct.CHECKS, *correct.TINY, *(case for cases in timed.CASES for case in cases))


def compile_share(cases: Iterable[Case], arch: int, num: int, number: int) -> tuple[int, int, list[str]]:
    """Compile one share: how many kernels it was, of how many, and what did not compile."""
    torch.set_num_threads(1)
    share = Share(number, num)
    as_on_a_card(share, arch)
    for case in cases:
        launch(case)
    return share.mine, len(share.met), share.failed


def precompile(rows: Rows, jobs: int, arch: int = HOPPER, cases: tuple[Case, ...] = ALL) -> None:
    """Compile all kernels of these cases in so many processes."""
    if os.environ.get("TRITON_INTERPRET", "0") != "0":
        sys.exit("precompile needs TRITON_INTERPRET unset: the interpreter compiles nothing")
    # A process compiles one share: what it has met before, Triton would not show it again.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        shares = list(pool.map(partial(compile_share, cases, arch, jobs), range(jobs)))
    for error in sorted({error for _, _, failed in shares for error in failed}):
        rows.add(failed=error)
    rows.add(compiled=sum(mine for mine, _, _ in shares), kernels=max(met for _, met, _ in shares), jobs=jobs)
