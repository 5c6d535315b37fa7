"""Many searches: each method, cost ratio and seed, in as many processes as are asked for."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

from benchmarks.search.kept import Kept, Store, source_digest
from benchmarks.search.landscapes import Landscape, Synthetic
from benchmarks.search.peers.peers import PEERS, PeerError, run_peer
from benchmarks.search.planted import planted
from benchmarks.search.problems import Selection, from_file, split
from benchmarks.search.runs import Judged, Run, run, run_of
from search.records import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from benchmarks.search.problems import Problem

RECORDED, PLANTED = "recorded", "planted"
PLANTED_SEED = 0


@dataclass(frozen=True)
class Where:
    """Which problem, by name: what is recorded in a file, what is planted, or a landscape, another for each seed.

    `cache`: the folder where figures of programs, and searches that ended, are kept.
    """

    name: str
    cache: Path
    file: Path | None = None

    def selection(self) -> Selection:
        """Read or draw the problem, unless it is a landscape. Raises FileNotFoundError."""
        if self.name == PLANTED:
            return split(PLANTED, f"planted {PLANTED_SEED}", planted(PLANTED_SEED).recordings)
        assert self.file is not None, "what is recorded is in a file"
        return from_file(self.file)

    def problem(self, seed: int) -> Problem:
        """Give what a search with this seed is tried on."""
        return Synthetic(Landscape(self.name), seed) if self.name in set(Landscape) else _kept(self)


@lru_cache(maxsize=1)
def _kept(where: Where) -> Kept:
    return Kept(where.selection(), where.cache / "figures.db")


@dataclass(frozen=True)
class Case:
    """One search: `num` evaluations by a method, or by a peer with its Python and the rules that it may start from."""

    method: str
    ratio: float
    seed: int
    num: int
    python: Path | None = None
    start: tuple[Judged, ...] = ()


@dataclass(frozen=True)
class Asked:
    """Which searches: every method at every cost ratio with every seed, so many evaluations each."""

    methods: tuple[str, ...]
    ratios: tuple[float, ...]
    seeds: tuple[int, ...]
    evaluations: int

    def cases(self) -> list[Case]:
        """Give the searches by the house's own proposers; seed after seed, so that a part of them is of use."""
        return [
            Case(method, ratio, seed, self.evaluations)
            for seed, ratio, method in product(self.seeds, self.ratios, self.methods)
        ]


@dataclass(frozen=True)
class Skipped:
    """A peer that could not search, and why."""

    method: str
    reason: str


def runs_of(where: Where, cases: Iterable[Case], workers: int) -> tuple[list[Run], list[Skipped]]:
    """Search again and again. The order is that of the cases, whatever the number of processes."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=begin) as pool:
        futures = [pool.submit(_run, where, case) for case in cases]
        for n, future in enumerate(as_completed(futures), 1):
            _tell(where, future.result(), n, len(futures))
        done = [future.result() for future in futures]
    return [each for each in done if isinstance(each, Run)], [each for each in done if isinstance(each, Skipped)]


def begin() -> None:
    """Compute in one thread, since there are several processes, and end with the one that started this."""
    import torch

    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _run(where: Where, case: Case) -> Run | Skipped:
    """Search, or give what came of it before with the same source: who was interrupted asks the same again."""
    problem, done = where.problem(case.seed), Store(where.cache / "runs.db", "runs")
    asked = (case.method, case.ratio, case.seed, case.num, [rule.digest for rule in case.start])
    key = digest_of((source_digest(), problem.digest, asked))
    if (found := done.get(key)) is not None:
        return run_of(found)
    try:
        searched = _searched(problem, case)
    except PeerError as error:
        return Skipped(case.method, str(error))
    done.put(key, asdict(searched))
    return searched


def _searched(problem: Problem, case: Case) -> Run:
    if case.python is None:
        return run(problem, case.method, case.ratio, case.seed, case.num)
    return run_peer(problem, PEERS[case.method], case.python, case.start, case.ratio, case.seed, case.num)


def _tell(where: Where, done: Run | Skipped, n: int, num: int) -> None:
    print(f"{n}/{num} {where.name} {_said(done)}", file=sys.stderr, flush=True)


def _said(done: Run | Skipped) -> str:
    if isinstance(done, Skipped):
        return f"{done.method}: {done.reason}"
    best = done.best[0]
    told = f"{best.name} by {best.origin}, {best.search:.4f} seen, {best.held_out:.4f} held out"
    return f"{done.method} at {done.ratio:g}, seed {done.seed}: {told}"
