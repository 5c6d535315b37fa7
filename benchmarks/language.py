"""Time the language on this CPU: `python -m benchmarks.language [--repeats N] [--no-process] [--out FOLDER]`.

Per zoo program, each time from a text never seen before, as a search meets them: loading (which parses, checks and
traces once, to refuse what cannot work), tracing for another shape of model, and the passes, which tracing includes;
in CPU time of this one thread, which other work on the machine disturbs least. Then `vortex check` as a process, in
time on the clock. Shown are median and the 10th and 90th percentile; the first, cold program is left out. Results go
to benchmarks/results/ as JSON with CPU, versions and date.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if sys.path[0] == str(Path(__file__).parent):  # run as a file
    sys.path[0] = str(Path(__file__).parents[1])

from vortex_dsl import Shape, load_program, trace, zoo
from vortex_dsl.frontend.trace import traced
from vortex_dsl.passes.pipeline import finished

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SHAPE = Shape(group=2, head_dim=64)  # not one that loading traces
LIMIT_MS, PROCESS_LIMIT_S = 5.0, 1.5


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one part of the work on one program."""

    program: str
    part: str
    median_ms: float
    p10_ms: float
    p90_ms: float
    repeats: int


def timing(program: str, part: str, seconds: list[float]) -> Timing:
    found = sorted(1000 * each for each in seconds)
    median, low, high = (found[min(int(share * len(found)), len(found) - 1)] for share in (0.5, 0.1, 0.9))
    return Timing(program, part, median, low, high, len(found))


def fresh(name: str, number: int) -> str:
    """Give a program's text with a comment, so that nothing remembers it."""
    return f"{zoo.text(name)}\n# {number}\n"


def timed(work: Callable[[], object]) -> tuple[float, Any]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def time_program(name: str, repeats: int) -> list[Timing]:
    """Time one program's load, trace, passes, and load and trace together."""
    seconds: dict[str, list[float]] = {"load": [], "trace": [], "passes": [], "load and trace": []}
    gc.collect()
    for number in range(repeats):
        text = fresh(name, number)
        loading, program = timed(lambda text=text: load_program(text))
        tracing, _ = timed(lambda program=program: trace(program, SHAPE))
        raw = traced(program, SHAPE)
        passes, _ = timed(lambda raw=raw: finished(raw))
        for part, took in zip(seconds, (loading, tracing, passes, loading + tracing), strict=True):
            seconds[part].append(took)
    return [timing(name, part, each) for part, each in seconds.items()]


def time_process(name: str, repeats: int) -> Timing:
    """Time `vortex check` from start to exit."""
    command = [sys.executable, "-c", "import sys; from search.cli import main; sys.exit(main())"]
    command += ["check", str(zoo.path(name))]
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
        seconds.append(time.perf_counter() - start)
    return timing(name, "vortex check", seconds)


def environment() -> dict[str, str]:
    """Name what the figures depend on."""
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "cpu": cpu_model(),
        "cores": str(os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "system": platform.system(),
        "commit": commit.stdout.strip() or "unknown",
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or "unknown"


def print_timings(timings: list[Timing]) -> None:
    print(f"{'program':18} {'part':15} {'median ms':>10} {'p10':>9} {'p90':>9}")
    for found in timings:
        print(f"{found.program:18} {found.part:15} {found.median_ms:>10.2f} {found.p10_ms:>9.2f} {found.p90_ms:>9.2f}")


def summary(timings: list[Timing]) -> dict[str, float]:
    """Give the medians over all programs, programs per second, and the slowest process."""
    parts = {part: [each for each in timings if each.part == part] for part in {each.part for each in timings}}
    whole = [each.median_ms for each in parts["load and trace"]]
    medians = {
        f"{part} ms": timing("", part, [t.median_ms / 1000 for t in found]).median_ms for part, found in parts.items()
    }
    slowest = max((each.median_ms for each in parts.get("vortex check", [])), default=0.0)
    return {**medians, "programs per second": 1000 * len(whole) / sum(whole), "slowest vortex check ms": slowest}


def save(timings: list[Timing], medians: dict[str, float], folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    given = environment()
    path = folder / f"language_{given['time'].replace(':', '')}.json"
    rows = {"environment": given, "summary": medians, "timings": [asdict(found) for found in timings]}
    path.write_text(json.dumps(rows, indent=1) + "\n")
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=31, help="runs per figure")
    parser.add_argument("--no-process", action="store_true", help="leave out `vortex check` as a process")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    given = parser.parse_args()
    load_program(fresh("quest", -1))
    timings = [found for name in zoo.names() for found in time_program(name, given.repeats)]
    if not given.no_process:
        timings += [time_process(name, 3) for name in zoo.names()]
    print_timings(timings)
    medians = summary(timings)
    print("\nover all programs: " + ", ".join(f"{name} {value:,.2f}" for name, value in sorted(medians.items())))
    print(f"written to {save(timings, medians, given.out)}")
    kept = medians["load and trace ms"] < LIMIT_MS and medians["slowest vortex check ms"] < 1000 * PROCESS_LIMIT_S
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
