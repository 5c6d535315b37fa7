"""What a step launches, compiled for a card that need not be here: kernels with their grids, by part of the step."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache, partial
from math import prod
from typing import Any

import triton
from triton.runtime.jit import JITFunction

from benchmarks.drill.precompile import Absent, _operand
from benchmarks.drill.served import LAYER, NUM_LAYERS, Case, Served
from benchmarks.static import sass
from kernels import decode, dependent, latent
from vortex_dsl.analysis.budget import Budget
from vortex_dsl.analysis.schedule import schedule
from vortex_dsl.codegen.emit import emit_stage

PARTS = ("write", "index", "attend")
# Of the seven that a key has, until no page ties with the last that is taken: of 2,048 scores spread as normal numbers.
DIGITS_READ = 4
_RUN = JITFunction.run


@dataclass(frozen=True)
class Launch:
    """One kernel as it is launched. live: programs that do not return at once; repeats: how often its loops run; moved:
    bytes of fields, keys and values that it has to read; dependent: whether it may begin while the one before it ends;
    rows: programs on the grid's first axis, of each of which one goes on where programs count themselves.
    """

    part: str
    name: str
    code: sass.Code
    warps: int
    shared: int
    programs: int
    live: int
    repeats: int
    moved: int = 0
    dependent: bool = False
    rows: int = 0


@dataclass
class Recorder:
    """Compiles what the parts of a step launch, and notes it; what is launched beforehand is left out."""

    served: Served | None = None
    part: str = ""
    launches: list[Launch] = field(default_factory=list)

    def run(self, function: JITFunction, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        del warmup
        if self.served is None:
            return
        kernel = _RUN(function, *args, grid=grid, warmup=True, **kwargs)
        name, case = function.fn.__name__, self.served.case
        live, moved = work_of(name, self.served, grid, kwargs)
        self.launches.append(
            Launch(
                self.part, name, _code(kernel.asm["cubin"]), kernel.metadata.num_warps, kernel.metadata.shared,
                prod(grid), min(prod(grid), live), _repeats(function, kwargs, case), moved,
                kernel.metadata.launch_pdl, grid[0],
            )
        )  # fmt: skip


@cache
def _code(cubin: bytes) -> sass.Code:
    return sass.read(cubin)


def work_of(name: str, served: Served, grid: tuple[int, ...], given: dict[str, Any]) -> tuple[int, int]:
    """Give the programs that have work, and the bytes that a launch has to read of fields, keys and values."""
    case, plan = served.case, served.compiled.plan
    rows, pages = case.batch * case.kv_heads, case.tokens // case.page_size
    if name == "_write":
        return prod(grid), rows * (3 * case.token_bytes + case.page_size * case.token_bytes + served.field_bytes)
    if name.startswith("_attend"):
        parts = -(-case.attended // (given["NUM_TILES"] * given["TILE"]))
        return grid[0] * min(parts, grid[1]) * grid[2], rows * min(case.attended, case.tokens) * case.token_bytes
    stage = next((stage for stage in plan.stages if stage.name == name), None)
    if stage is None:
        return prod(grid), 0
    computed = refined_pages(served) if stage.among else pages
    read = rows * computed * emit_stage(plan, stage).page_bytes(plan.layout, case.dtype.itemsize)
    return rows * -(-computed // stage.block_pages), read


def refined_pages(served: Served) -> int:
    """Give the pages of a row that a refinement looks at."""
    graph, case = served.compiled.graph, served.case
    budget = Budget(case.max_pages, graph.sink + graph.window, LAYER, NUM_LAYERS)
    return max(budget.chosen(cut.among) for cut in schedule(graph) if cut.among)


def _repeats(function: JITFunction, given: dict[str, Any], case: Case) -> int:
    """Say how often a kernel's loops run: its tiles, a key's digits, its walk over pages, or what its text says."""
    if "NUM_TILES" in given:
        return given["NUM_TILES"]
    if function.fn.__name__ == "_select" and given["ONE_TILE"]:
        return DIGITS_READ
    if "BLOCK_PAGES" in given:
        return -(-case.max_pages // given["BLOCK_PAGES"])
    steps = [-(-int(end) // int(step)) for end, step in re.findall(r"range\(0, (\d+), (\d+)\)", function.src)]
    walked = [-(-case.max_pages // int(step)) for step in re.findall(r"range\(0, complete_0, (\d+)\)", function.src)]
    return max([1, *steps, *walked])


def launched(case: Case, arch: int, processors: int) -> tuple[Launch, ...]:
    """Launch a step part by part, as far as a launch goes without a card. Nothing else can be launched afterwards."""
    decode._operand = latent._operand = _operand  # noqa: SLF001
    decode.num_processors = lambda _: processors
    dependent.capability = lambda _: divmod(arch, 10)
    triton.runtime.driver.set_active(_Card(arch))
    recorder = Recorder()

    def run(function: JITFunction, *args: Any, **given: Any) -> None:
        recorder.run(function, *args, **given)

    JITFunction.run = run
    served = Served(case, "cpu", imagined=True)
    lists, recorder.served = served.index(), served
    works = {"write": served.write, "index": served.index, "attend": partial(served.attend, lists)}
    for recorder.part in PARTS:
        works[recorder.part]()
    return tuple(recorder.launches)


class _Card(Absent):
    """A card of each kind has a number of its own: kernels are kept by it."""

    def get_current_device(self) -> int:
        return self.arch
