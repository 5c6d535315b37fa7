"""Many searches: each method, cost ratio and seed, in as many processes as are asked for."""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from benchmarks.search.kept import Kept
from benchmarks.search.problems import from_file
from benchmarks.search.runs import Run, run

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.search.problems import Problem

RECORDED = "recorded"


@dataclass(frozen=True)
class Where:
    """Which problem: what is recorded in a file, or what has a name; and where figures of programs are kept."""

    name: str
    cache: Path
    file: Path | None = None

    def problem(self) -> Problem:
        """Read or make it."""
        assert self.file is not None
        return Kept(from_file(self.file), self.cache / "figures.db")


@dataclass(frozen=True)
class Asked:
    """Which searches: every method at every cost ratio with every seed, so many evaluations each."""

    methods: tuple[str, ...]
    ratios: tuple[float, ...]
    seeds: tuple[int, ...]
    evaluations: int


def runs_of(where: Where, asked: Asked, workers: int) -> list[Run]:
    """Search again and again. The order is that of `asked`, whatever the number of processes."""
    cases = list(product(asked.methods, asked.ratios, asked.seeds))
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=_begin, initargs=(where,)) as pool:
        futures = [pool.submit(_run, *case, asked.evaluations) for case in cases]
        for n, future in enumerate(as_completed(futures), 1):
            _tell(where, future.result(), n, len(cases))
        return [future.result() for future in futures]


def _tell(where: Where, done: Run, n: int, num: int) -> None:
    best = done.best[0]
    print(
        f"{n}/{num} {where.name} {done.method} at {done.ratio:g}, seed {done.seed}: {best.name} by {best.origin}, "
        f"{best.search:.4f} seen, {best.held_out:.4f} held out",
        file=sys.stderr,
        flush=True,
    )


_problem: Problem


def _begin(where: Where) -> None:
    """Prepare one process: one thread, since there are several processes."""
    import torch

    global _problem
    torch.set_num_threads(1)
    _problem = where.problem()


def _run(method: str, ratio: float, seed: int, num: int) -> Run:
    return run(_problem, method, ratio, seed, num)
