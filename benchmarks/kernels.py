"""Check and time the Triton kernels on a CUDA device: `python benchmarks/kernels.py [--repeats N] [--quick] [--tune]`.

First correctness: each zoo program against the batched torch backend, on ragged lengths. Then, per shape and program:
the write of a token with the fields of the page that it completes, the index (scores, choice and block lists),
attention over the lists in bfloat16 and float8, and the whole step, launched as when served; scoring and selection by
themselves too. Then the same of latent attention. Each stands beside the time that its bytes take at the bandwidth that
copying or adding up reaches, and against dense attention by torch's SDPA (the 1.00 of the last column), FlexAttention,
FlashAttention, FlashInfer, and vLLM's MiniMax-M3 kernels, or by vLLM's kernels for latents (the first is the 1.00),
where they can be imported. Each part is replayed as a CUDA graph between two events,
with the L2 cache overwritten before; shown are median and the 10th and 90th percentile. Results go to
benchmarks/results/ as JSON with device and versions. With --tune the cuts of the decode kernels are measured first and
written to kernels/tuned.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import triton

if sys.path[0] == str(Path(__file__).parent):  # run as a file: `kernels` must not mean this one
    sys.path[0] = str(Path(__file__).parents[1])

from benchmarks.latents import LATENT_CASES, LATENT_RIVALS, LatentCase, error_of, parts, to_tune
from benchmarks.rivals import RIVALS
from kernels import tuning
from kernels.decode import PagedCache, Softmax, sparse_decode
from kernels.latent import UNMEASURED
from kernels.listing import list_pages
from kernels.selection import Listing, list_best
from kernels.writing import write_tokens
from vortex_dsl import Shape, attend, load_program, trace, zoo
from vortex_dsl.backends.compiled import Compiled
from vortex_dsl.backends.contract import Decode
from vortex_dsl.backends.triton_backend import prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernels.selection import BlockLists
    from vortex_dsl.backends.compiled import Step
    from vortex_dsl.frontend.program import Program

RESULTS = Path(__file__).parent / "results"
TIMED_PROGRAMS = ("centroid", "quest", "quest_sub", "twilight")
LATENT_PROGRAMS = ("centroid", "quest")
L2_BYTES = 256 * 2**20
TOLERANCE = 2e-2  # bfloat16 operands


@dataclass(frozen=True)
class Case:
    """A decode step of one layer."""

    batch: int
    length: int
    num_kv_heads: int = 8
    group: int = 2
    head_dim: int = 128
    pages: int = 64

    def __str__(self) -> str:
        heads = f"{self.num_kv_heads}x{self.group} heads of {self.head_dim}"
        return f"{self.batch} x {self.length}, {heads}, {self.pages} pages"


CASES = (Case(1, 32768), Case(64, 8192), Case(32, 32768), Case(8, 32768, group=4), Case(8, 131072, group=4))


@dataclass(frozen=True)
class Timing:
    """Microseconds of one part of one case."""

    case: str
    program: str
    part: str
    median_us: float
    p10_us: float
    p90_us: float
    repeats: int
    bytes: int = 0
    bound_us: float = 0.0


@dataclass(frozen=True)
class Check:
    """One program against torch: pages that differ, and the largest difference of the output."""

    program: str
    group: int
    pages_wrong: int
    pages: int
    error: float

    @property
    def passed(self) -> bool:
        return self.pages_wrong == 0 and self.error <= TOLERANCE


def tensors(case: Case, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Random q, k, v in bfloat16."""
    generator = torch.Generator("cuda").manual_seed(seed)
    q_shape = (case.batch, case.num_kv_heads * case.group, case.head_dim)
    kv_shape = (case.batch, case.num_kv_heads, case.length, case.head_dim)
    return tuple(
        torch.randn(shape, generator=generator, device="cuda", dtype=torch.bfloat16)
        for shape in (q_shape, kv_shape, kv_shape)
    )


def program_of(name: str, pages: int) -> Program:
    program = load_program(zoo.text(name))
    return program.with_values(pages=pages) if "pages" in program.tunables else program


def check(name: str, group: int) -> Check:
    case = Case(6, 2100, num_kv_heads=2, group=group)
    q, k, v = tensors(case, seed=group)
    lengths = torch.tensor([0, 1, 17, 1000, 2048, 2100], device="cuda")
    program = program_of(name, 20)
    out, attended = attend(program, q, k, v, lengths, backend="triton")
    other, pages = attend(program, q, k, v, lengths, backend="torch")
    error = float((out.float() - other.float()).abs().max())
    return Check(name, group, int((attended != pages).sum()), pages.numel(), error)


def captured(work: Callable[[], object]) -> Callable[[], object]:
    """Warm up, capture one run as a CUDA graph, and give its replay, which keeps alive what the run reads."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()

    def replay(_kept: Callable[[], object] = work) -> None:
        graph.replay()  # it knows addresses only: were the tensors of `work` freed, it would read somebody else's

    return replay


def times_us(work: Callable[[], object], repeats: int) -> list[float]:
    replay = captured(work)
    flush = torch.empty(L2_BYTES, dtype=torch.int8, device="cuda")
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(repeats)]
    for start, end in events:
        flush.zero_()
        start.record()
        replay()
        end.record()
    torch.cuda.synchronize()
    return sorted(1000 * start.elapsed_time(end) for start, end in events)


@cache
def bytes_per_us() -> float:
    """Bytes that a copy or a sum moves in a microsecond, whichever is more: the bandwidth that bounds are taken from.

    What is timed here reads more than it writes, and reading alone is faster: on an H200 a copy moved 2.7 TB/s, and
    attention read 4.6.
    """
    source = torch.zeros(2**28, dtype=torch.float32, device="cuda")
    target = torch.empty_like(source)
    copied = 2 * source.nbytes / times_us(lambda: target.copy_(source), 20)[10]
    return max(copied, source.nbytes / times_us(source.sum, 20)[10])


def timing(
    what: tuple[Case | LatentCase, str, str], work: Callable[[], object], repeats: int, num_bytes: int = 0
) -> Timing:
    """Time one part of a case. what: case, program, part; num_bytes: what it has to move at least."""
    case, program, part = what
    found = times_us(work, repeats)
    median, low, high = (found[min(int(share * len(found)), len(found) - 1)] for share in (0.5, 0.1, 0.9))
    return Timing(str(case), program, part, median, low, high, repeats, num_bytes, num_bytes / bytes_per_us())


def dense_bytes(case: Case) -> int:
    return 4 * case.batch * case.num_kv_heads * case.length * case.head_dim


def time_rivals(case: Case, repeats: int) -> tuple[list[Timing], dict[str, str]]:
    """Time what others have; gives also those that are not here, and why."""
    q, k, v = tensors(case)
    timings, missing = [], {}
    for name, make in RIVALS.items():
        try:
            work = make(q, k, v, case.pages * 16)
            moved = dense_bytes(case) if "sparse" not in name else dense_bytes(case) * case.pages * 16 // case.length
            timings.append(timing((case, "dense" if "sparse" not in name else "sparse", name), work, repeats, moved))
        except Exception as error:
            missing[name] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return timings, missing


def time_latents(case: LatentCase, repeats: int) -> tuple[list[Timing], dict[str, str]]:
    """Time latent attention, ours and others'; gives also those that are not here, and why."""
    timings, missing = [], {}
    for name, make in LATENT_RIVALS.items():
        try:
            timings.append(timing((case, "dense", name), make(case), repeats, case.dense_bytes))
        except Exception as error:
            missing[name] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    for program in LATENT_PROGRAMS:
        steps = parts(case, program_of(program, case.pages))
        timings += [timing((case, program, part), work, repeats, moved) for part, work, moved in steps]
    return timings, missing


def time_program(case: Case, name: str, repeats: int) -> list[Timing]:
    """Time the parts of a step, and all of it."""
    q, k, v = tensors(case)
    lengths = torch.full((case.batch,), case.length, device="cuda")
    scale = case.head_dim**-0.5
    compiled = Compiled(trace(program_of(name, case.pages), Shape(case.group, case.head_dim)))
    step = prepare(compiled, Decode(q.unflatten(1, (case.num_kv_heads, -1)), k, v, lengths, scale, 1, 2))
    newest = (k[:, :, -1].clone(), v[:, :, -1].clone())
    del k, v
    softmax, listing = Softmax(scale), Listing(step.cache.block_table)
    lists, small = compiled.listed(step, listing), in_float8(step.cache)
    rows, page_bytes = step.pages.num_rows, compiled.plan.layout.bytes_per_page
    summaries = rows * (case.length // step.pages.page_size) * page_bytes
    attended = int(lists.tokens.sum()) * case.head_dim * 4
    written = rows * (case.head_dim * (8 + 2 * step.pages.page_size) + page_bytes)  # a token in and out, a page's keys

    size, complete = step.pages.page_size, torch.empty(len(step.region), dtype=torch.uint8, device="cuda")
    slots = step.cache.block_table[:, -1].long() * size + (case.length - 1) % size
    how = compiled.summarizing(step.cache, step.region)

    def write() -> None:
        write_tokens(*newest, slots, step.cache, complete, how)

    def whole() -> None:
        write()
        sparse_decode(q, step.cache, compiled.listed(step, listing), softmax)

    parts: dict[str, tuple[Callable[[], object], int]] = {
        "write": (write, written),
        "index": (lambda: compiled.listed(step, listing), summaries),
        "attention": (lambda: sparse_decode(q, step.cache, lists, softmax), attended),
        "attention fp8": (lambda: sparse_decode(q, small, lists, softmax), attended // 2),
        "our dense": (lambda: sparse_decode(q, step.cache, None, softmax), dense_bytes(case)),
        "whole step": (whole, written + summaries + attended),
    }
    parts |= apart(compiled, step, listing)
    return [timing((case, name, part), work, repeats, moved) for part, (work, moved) in parts.items()]


def apart(compiled: Compiled, step: Step, listing: Listing) -> dict[str, tuple[Callable[[], object], int]]:
    """Give the parts of an index, and what each has to move at least."""
    memory, num = compiled.compute(step), step.pages.num_rows * step.pages.max_pages

    def selected() -> BlockLists:
        picked = compiled.picked(compiled.plan.choice, memory, step.pages)
        return (list_pages if isinstance(picked, torch.Tensor) else list_best)(picked, step.pages, listing)

    return {
        "scoring": (lambda: compiled.compute(step), num * compiled.plan.layout.bytes_per_page),
        "selection": (selected, 4 * num),
    }


def in_float8(cache: PagedCache) -> PagedCache:
    k, v = (x.to(torch.float8_e4m3fn) for x in (cache.k, cache.v))
    return PagedCache(k, v, cache.block_table, cache.seq_lens)


def to_tune_of(case: Case) -> tuple[str, Callable[[], object]]:
    """Give a shape and a sparse step of it."""
    q, k, v = tensors(case)
    compiled = Compiled(trace(program_of("quest", case.pages), Shape(case.group, case.head_dim)))
    lengths = torch.full((case.batch,), case.length, device="cuda")
    step = prepare(compiled, Decode(q.unflatten(1, (case.num_kv_heads, -1)), k, v, lengths, 0.1, 1, 2))
    lists = compiled.listed(step, Listing(step.cache.block_table))
    work = partial(sparse_decode, q, step.cache, lists, Softmax(0.1))
    return tuning.shape_key(step.cache.k, q, case.group), work


def measured(work: Callable[[], object], repeats: int) -> dict[tuning.Tiling, float]:
    """Time every cut of a kernel, in parts of the best."""
    found = {}
    for tiling in (*tuning.CANDIDATES, UNMEASURED):
        with tuning.trial(tiling), contextlib.suppress(triton.runtime.errors.OutOfResources):
            found[tiling] = times_us(work, repeats)[repeats // 2]
    best = min(found.values())
    return {tiling: us / best for tiling, us in found.items()}


def tune(cases: tuple[Case | LatentCase, ...], repeats: int) -> None:
    """Keep, for each shape, the cut that is best over all of its cases: a cut may not depend on a batch."""
    shapes: dict[str, list[dict[tuning.Tiling, float]]] = {}
    for case in cases:
        latent = isinstance(case, LatentCase)
        shape, work = to_tune(case, program_of("quest", case.pages)) if latent else to_tune_of(case)
        shapes.setdefault(shape, []).append(measured(work, repeats))
    for shape, several in shapes.items():
        everywhere = [tiling for tiling in several[0] if all(tiling in found for found in several)]
        best = min(everywhere, key=lambda tiling: sum(found[tiling] for found in several))
        tuning.keep(torch.device("cuda"), shape, best)
        print(f"{shape}: {best}")


def environment() -> dict[str, str]:
    """Name what the figures depend on."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    commit = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    return {
        "device": torch.cuda.get_device_name(),
        "driver": _output(query),
        "cuda": str(torch.version.cuda),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "commit": _output(commit),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _output(command: list[str]) -> str:
    if shutil.which(command[0]) is None:
        return "unknown"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else "unknown"


def print_checks(checks: list[Check]) -> None:
    print(f"{'program':14} {'group':>5} {'pages wrong':>12} {'error':>9}")
    for found in checks:
        wrong = f"{found.pages_wrong}/{found.pages}"
        print(f"{found.program:14} {found.group:>5} {wrong:>12} {found.error:>9.1e} {'' if found.passed else 'WRONG'}")


def print_timings(timings: list[Timing]) -> None:
    dense = {found.case: found.median_us for found in reversed(timings) if found.program == "dense"}  # the first
    head = f"{'median us':>10} {'p10':>9} {'p90':>9} {'bound us':>9} {'dense / it':>10}"
    print(f"\n{'case':44} {'program':10} {'part':18} {head}")
    for found in timings:
        spread = f"{found.p10_us:>9.1f} {found.p90_us:>9.1f} {found.bound_us:>9.1f}"
        ratio = dense.get(found.case, float("nan")) / found.median_us
        print(f"{found.case:44} {found.program:10} {found.part:18} {found.median_us:>10.1f} {spread} {ratio:>10.2f}")


def save(checks: list[Check], timings: list[Timing], missing: dict[str, str]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    given = environment()
    path = RESULTS / f"kernels_{given['device'].replace(' ', '_')}_{given['time'].replace(':', '')}.json"
    rows = {"checks": [asdict(found) for found in checks], "timings": [asdict(found) for found in timings]}
    rows |= {"missing": missing, "bytes_per_us": bytes_per_us()}
    path.write_text(json.dumps({"environment": given, **rows}, indent=1) + "\n")
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=50, help="replays per figure")
    parser.add_argument("--quick", action="store_true", help="the first two shapes only")
    parser.add_argument("--tune", action="store_true", help="measure the cuts of the decode kernel first")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        print("benchmarks.kernels needs a CUDA device, and torch sees none here.", file=sys.stderr)
        return 1
    checks = [check(name, group) for name in zoo.names() for group in (1, 4, 8)]
    checks += [Check(f"{name} (MLA)", 20, 0, 0, error_of(program_of(name, 20))) for name in LATENT_PROGRAMS]
    print_checks(checks)
    timings: list[Timing] = []
    missing: dict[str, str] = {}
    cases, latent_cases = (CASES[:2], LATENT_CASES[:1]) if given.quick else (CASES, LATENT_CASES)
    if given.tune:
        tune((*cases, *latent_cases), 20)
    for case in cases:
        rivals, absent = time_rivals(case, given.repeats)
        timings, missing = timings + rivals, missing | absent
        for name in TIMED_PROGRAMS:
            timings += time_program(case, name, given.repeats)
    for latents in latent_cases:
        rivals, absent = time_latents(latents, given.repeats)
        timings, missing = timings + rivals, missing | absent
    print_timings(timings)
    for name, why in missing.items():
        print(f"not measured: {name} ({why})")
    print(f"\nwritten to {save(checks, timings, missing)}")
    return 0 if all(found.passed for found in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
