"""How long the parts of a served step take beside dense attention: captured, and replayed in turns within one run.

Each round replays dense attention, then each part of a program's step, with the L2 cache overwritten before each. A
part's figure is the median of its times and of the ratios within rounds, with the 10th and 90th percentile. Dense is
torch's SDPA over keys and values without pages; torch has none for latents, where it is our own kernel's.
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

import torch
import triton

from benchmarks.drill.rows import sentence
from benchmarks.drill.served import Case, Served
from benchmarks.kernels import L2_BYTES, bytes_per_us, captured
from kernels import tuning

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.drill.rows import Rows

PROGRAMS = ("centroid", "quest", "quest_int4", "twilight")
LATENT_PROGRAMS = ("centroid", "quest")
ROUNDS = 30
OUR_DENSE, ATTEND = "our dense", "attend"
LEAST_LEFT_S = 15.0  # no case is begun with less

SHAPES = ((1, 32768, 16, 8), (32, 32768, 16, 8), (64, 8192, 16, 8), (8, 131072, 32, 8))  # as `Case` begins
LATENT_SHAPES = ((1, 32768, 20, 1), (32, 32768, 20, 1), (64, 8192, 20, 1))
CASES = (
    *((*(Case(name, *shape) for name in PROGRAMS), Case("centroid", *shape, dependent=True)) for shape in SHAPES),
    *(tuple(Case(name, *shape, dim=576, latents=512) for name in LATENT_PROGRAMS) for shape in LATENT_SHAPES),
)  # side by side: programs over one shape
PROFILED = (CASES[1][0], CASES[len(SHAPES) + 1][0])  # 32 x 32768, by heads and over latents
TILINGS = tuple(
    tuning.Tiling(*cut)
    for cut in ((64, 2, 3, 4), (32, 4, 2, 4), (32, 4, 3, 4), (64, 4, 2, 4), (64, 2, 2, 4), (128, 1, 2, 4))
)
LATENT_TILINGS = tuple(
    tuning.Tiling(*cut) for cut in ((64, 2, 3, 8), (32, 4, 2, 8), (32, 8, 2, 8), (32, 2, 2, 8), (64, 2, 2, 16))
)


def tilings_of(case: Case) -> tuple[tuning.Tiling, ...]:
    """Give the cuts that are tried: by the first program of a shape, since a cut does not depend on the program."""
    if case.program != PROGRAMS[0] or case.dependent:
        return ()
    return LATENT_TILINGS if case.latents else TILINGS


def named(tiling: tuning.Tiling) -> str:
    return f"attend {tiling.tile}x{tiling.tiles}, {tiling.stages} stages, {tiling.warps} warps"


@cache
def _flush() -> torch.Tensor:
    return torch.empty(L2_BYTES, dtype=torch.int8, device="cuda")


def in_turns(replays: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Replay all of them, one after the other, so many times: microseconds of each, in the order of the rounds."""
    pairs: dict[str, list[tuple[torch.cuda.Event, torch.cuda.Event]]] = {name: [] for name in replays}
    for _ in range(rounds):
        for name, replay in replays.items():
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            _flush().zero_()
            start.record()
            replay()
            end.record()
            pairs[name].append((start, end))
    torch.cuda.synchronize()
    return {name: [1000 * start.elapsed_time(end) for start, end in found] for name, found in pairs.items()}


def spread(found: list[float]) -> tuple[float, float, float]:
    """Give median, 10th and 90th percentile."""
    ordered = sorted(found)
    return tuple(ordered[min(int(share * len(ordered)), len(ordered) - 1)] for share in (0.5, 0.1, 0.9))


def figures(times: dict[str, list[float]], moved: dict[str, int], rate: float) -> list[dict[str, object]]:
    """Give a row per part: its time, its bound by bytes, and how many times faster it is than the first, by rounds.

    times: microseconds by part, of the same rounds; moved: what each part has to move at least; rate: bytes per us.
    """
    rows, first = [], next(iter(times.values()))
    for name, found in times.items():
        median, low, high = (round(us, 1) for us in spread(found))
        ratio = [round(x, 3) for x in spread([dense / us for dense, us in zip(first, found, strict=True)])]
        bound = moved[name] / rate
        rows.append({
            "part": name, "us": median, "us_p10": low, "us_p90": high, "rounds": len(found),
            "faster": ratio[0], "faster_p10": ratio[1], "faster_p90": ratio[2],
            "mib": round(moved[name] / 2**20, 1), "bound_us": round(bound, 1), "of_bound": round(median / bound, 2),
        })  # fmt: skip
    return rows


def sdpa(case: Case) -> Callable[[], object]:
    """Attend densely by torch, to as many random tokens."""
    shape = (case.batch, case.kv_heads, case.tokens, case.dim)
    k, v = (torch.randn(shape, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    q = torch.randn(case.batch, case.heads, 1, case.dim, device="cuda", dtype=torch.bfloat16)
    return lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)


Part = tuple["Callable[[], object]", int]  # what it does, and the bytes that it has to move


def parts_of(served: Served) -> dict[str, Part]:
    """Give the parts of a step, dense attention by the same kernel first."""
    case, lists = served.case, served.index()
    rows, pages = case.batch * case.kv_heads, case.tokens // case.page_size
    fields, attended = rows * pages * served.field_bytes, int(lists.tokens.sum()) * case.token_bytes
    page = case.page_size * case.token_bytes
    written = rows * (3 * case.token_bytes + page + served.field_bytes)  # a token in and out, a page read, its fields
    return {
        OUR_DENSE: (partial(served.attend, None), dense_bytes(case)),
        "write": (served.write, written),
        "index": (served.index, fields),
        ATTEND: (partial(served.attend, lists), attended),
        "whole": (served.whole, written + fields + attended),
    }


def dense_bytes(case: Case) -> int:
    return case.batch * case.kv_heads * case.tokens * case.token_bytes


def replays_of(served: Served, parts: dict[str, Part]) -> dict[str, Callable[[], object]]:
    """Capture the parts, and attention in every cut that is tried and fits."""
    replays = {name: captured(work) for name, (work, _) in parts.items()}
    for tiling in tilings_of(served.case):
        try:
            with tuning.trial(tiling):
                replays[named(tiling)] = captured(parts[ATTEND][0])
        except triton.runtime.errors.OutOfResources:
            continue
    return replays


def time_program(case: Case, dense: dict[str, Callable[[], object]], rounds: int) -> list[dict[str, object]]:
    """Time the parts of one program's step. dense: a captured rival by its name, in the same rounds."""
    served = Served(case, "cuda")
    parts = parts_of(served)
    replays = {**dense, **replays_of(served, parts)}
    bytes_of = {name: num for name, (_, num) in parts.items()} | dict.fromkeys(dense, dense_bytes(case))
    moved = {name: bytes_of.get(name, bytes_of[ATTEND]) for name in replays}
    return figures(in_turns(replays, rounds), moved, bytes_per_us())


def time(rows: Rows) -> None:
    """Time every case that there is time for."""
    rows.add(bytes_per_us=round(bytes_per_us()), device=torch.cuda.get_device_name())
    for cases in CASES:
        if rows.left_s < LEAST_LEFT_S:
            rows.add(case=str(cases[0]), skipped="no time is left")
            continue
        dense = {} if cases[0].latents else {"SDPA": captured(sdpa(cases[0]))}
        for case in cases:
            if rows.left_s < LEAST_LEFT_S / 2:
                rows.add(case=str(case), program=case.program, skipped="no time is left")
                continue
            try:
                for found in time_program(case, dense, ROUNDS):
                    rows.add(case=str(case), program=case.program, **found)
            except torch.AcceleratorError as error:  # the device's context is lost: whatever follows would fail too
                rows.add(case=str(case), program=case.program, failed=sentence(error))
                return
            except Exception as error:
                rows.add(case=str(case), program=case.program, failed=sentence(error))
            torch.cuda.empty_cache()
        del dense


def step(rows: Rows) -> None:
    """Run one step of large shapes, once: what a profiler looks at."""
    for case in PROFILED:
        lists = Served(case, "cuda").whole()
        rows.add(case=str(case), program=case.program, attended_tokens=int(lists.tokens.sum()) // len(lists.tokens))
