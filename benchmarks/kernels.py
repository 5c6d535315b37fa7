"""Check and time the Triton kernels on a CUDA device: `python -m benchmarks.kernels [--repeats N] [--quick]`.

First correctness: each zoo program against the batched torch backend, on ragged lengths. Then, per shape and program:
scoring, selection (top-k and page list) and sparse decode, against dense attention by torch's SDPA on keys and values
that lie side by side, which is the friendliest case for it. Each part is replayed as a CUDA graph between two events,
with the L2 cache overwritten before; shown are median and the 10th and 90th percentile. Results go to
benchmarks/results/ as JSON with device and versions.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import triton

if sys.path[0] == str(Path(__file__).parent):  # run as a file: `kernels` must not mean this one
    sys.path[0] = str(Path(__file__).parents[1])

from kernels.decode import sparse_decode
from kernels.selection import list_pages
from vortex_dsl import Shape, attend, load_program, trace, zoo
from vortex_dsl.attention import Decode
from vortex_dsl.triton_backend import Compiled, prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from vortex_dsl.program import Program

RESULTS = Path(__file__).parent / "results"
TIMED_PROGRAMS = ("centroid", "quest", "quest_sub", "twilight")
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
    """Warm up, capture one run as a CUDA graph, and give its replay."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


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


def timing(case: Case, program: str, part: str, work: Callable[[], object], repeats: int) -> Timing:
    found = times_us(work, repeats)
    median, low, high = (found[min(int(share * len(found)), len(found) - 1)] for share in (0.5, 0.1, 0.9))
    return Timing(str(case), program, part, median, low, high, repeats)


def time_dense(case: Case, repeats: int) -> Timing:
    q, k, v = tensors(case)
    q = q[:, :, None]

    def work() -> torch.Tensor:
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)

    return timing(case, "dense", "torch SDPA", work, repeats)


def time_program(case: Case, name: str, repeats: int) -> list[Timing]:
    """Time the parts of a step, and all of it."""
    q, k, v = tensors(case)
    lengths = torch.full((case.batch,), case.length, device="cuda")
    scale = case.head_dim**-0.5
    compiled = Compiled(trace(program_of(name, case.pages), Shape(case.group, case.head_dim)))
    step = prepare(compiled, Decode(q.unflatten(1, (case.num_kv_heads, -1)), k, v, lengths, scale, 1, 2))
    del k, v
    memory = compiled.compute(step)

    def selected() -> tuple[torch.Tensor, torch.Tensor]:
        return list_pages(compiled.chosen(compiled.plan.choice, memory, step.pages), step.pages)

    def whole() -> torch.Tensor:
        return sparse_decode(q, step.cache, *list_pages(compiled.choose(step)[0], step.pages), scale)

    listed, count = selected()

    parts = {
        "scoring": lambda: compiled.compute(step),
        "selection": selected,
        "sparse decode": lambda: sparse_decode(q, step.cache, listed, count, scale),
        "whole step": whole,
    }
    return [timing(case, name, part, work, repeats) for part, work in parts.items()]


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
    dense = {found.case: found.median_us for found in timings if found.program == "dense"}
    print(f"\n{'case':44} {'program':10} {'part':14} {'median us':>10} {'p10':>9} {'p90':>9} {'dense / it':>10}")
    for found in timings:
        spread = f"{found.p10_us:>9.1f} {found.p90_us:>9.1f}"
        ratio = dense[found.case] / found.median_us
        print(f"{found.case:44} {found.program:10} {found.part:14} {found.median_us:>10.1f} {spread} {ratio:>10.2f}")


def save(checks: list[Check], timings: list[Timing]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    given = environment()
    path = RESULTS / f"kernels_{given['device'].replace(' ', '_')}_{given['time'].replace(':', '')}.json"
    rows = {"checks": [asdict(found) for found in checks], "timings": [asdict(found) for found in timings]}
    path.write_text(json.dumps({"environment": given, **rows}, indent=1) + "\n")
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=50, help="replays per figure")
    parser.add_argument("--quick", action="store_true", help="the first two shapes only")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        print("benchmarks.kernels needs a CUDA device, and torch sees none here.", file=sys.stderr)
        return 1
    checks = [check(name, group) for name in zoo.names() for group in (1, 4, 8)]
    print_checks(checks)
    timings = []
    for case in CASES[:2] if given.quick else CASES:
        timings.append(time_dense(case, given.repeats))
        for name in TIMED_PROGRAMS:
            timings += time_program(case, name, given.repeats)
    print_timings(timings)
    print(f"\nwritten to {save(checks, timings)}")
    return 0 if all(found.passed for found in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
