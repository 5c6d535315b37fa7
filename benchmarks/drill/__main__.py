"""Quarter of an hour on one Hopper card: `python3 -m benchmarks.drill MODE`, in the order of the README beside this."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.drill.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Mode = Callable[[Rows, argparse.Namespace], None]


def precompile(rows: Rows, given: argparse.Namespace) -> None:
    """Compile what check, tiny and time launch."""
    from benchmarks.drill.precompile import precompile as run

    run(rows, given.jobs)


def check(rows: Rows, given: argparse.Namespace) -> None:
    """Compare what serves with torch."""
    from benchmarks.drill.correct import check as run

    run(rows, given.device)


def tiny(rows: Rows, given: argparse.Namespace) -> None:
    """Run each kernel once on the smallest shapes."""
    from benchmarks.drill.correct import tiny as run

    run(rows, given.device)


def time(rows: Rows, _given: argparse.Namespace) -> None:
    """Time the parts of a step beside dense attention."""
    from benchmarks.drill.timed import time as run

    run(rows)


def step(rows: Rows, _given: argparse.Namespace) -> None:
    """Run one step of large shapes, for a profiler."""
    from benchmarks.drill.timed import step as run

    run(rows)


def serve(rows: Rows, given: argparse.Namespace) -> None:
    """Compare engines end to end."""
    from benchmarks.drill import serving

    if given.small:
        serving.serve(rows, serving.SMALL, serving.SMALL_CASES, captured=False)
    else:
        serving.serve(rows, serving.size_for(card_bytes()), serving.CASES, captured=not given.eager)


def card_bytes() -> int:
    """Ask how much memory the card has, of a process that ends: this one must not hold any of it."""
    import subprocess

    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[0]) * 2**20


MODES: dict[str, Mode] = {run.__name__: run for run in (precompile, check, tiny, time, step, serve)}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python3 -m benchmarks.drill", description=__doc__)
    made.add_argument("mode", choices=MODES)
    made.add_argument("--budget", type=float, default=150.0, help="seconds after which nothing more is begun")
    made.add_argument("--out", type=Path, default=Path(), help="folder where MODE.jsonl grows")
    made.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes that compile")
    made.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: in Triton's interpreter")
    made.add_argument("--eager", action="store_true", help="serve without graphs")
    made.add_argument("--small", action="store_true", help="serve a tiny model, which shows that it runs")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    if why := missing(given):
        print(f"benchmarks.drill {given.mode}: {why}", file=sys.stderr)
        return 2
    rows = Rows(given.mode, given.out, given.budget)
    MODES[given.mode](rows, given)
    return rows.close()


def missing(given: argparse.Namespace) -> str:
    """Say what a mode needs and does not have, nothing where it has all."""
    import torch

    interpreted = given.mode in ("check", "tiny")
    needs = given.mode in ("time", "step") or (interpreted and given.device == "cuda")
    if needs and not torch.cuda.is_available():
        return "needs a CUDA device, and torch sees none here" + ("; try --device cpu" if interpreted else "")
    if given.device == "cpu" and os.environ.get("TRITON_INTERPRET", "0") == "0" and interpreted:
        return "on a CPU it needs TRITON_INTERPRET=1 in the environment"
    return "" if given.out.is_dir() else f"--out {given.out} is no folder"


if __name__ == "__main__":
    sys.exit(main())
