"""What reading and writing a large ledger costs: `python -m benchmarks.store [--candidates 200000]`.

Fills an empty database (SQLite and PostgreSQL, unless --on names one) and prints of each thing that people and the
loop ask for the median and the 95th percentile of its time, and the most memory that the asking process had. Each is
asked in a process of its own, opened anew: what opening takes stands in a line by itself. Whole commands follow, with
Python's start: of those that read everything what they take grows with the ledger. Nothing is kept.
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from benchmarks.store.asking import ASKED, Figures, ask
from benchmarks.store.commands import COMMANDS, cost
from benchmarks.store.filling import fill
from benchmarks.store.server import server

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.store.filling import Filled

USUAL = 20_000
MAX_CANDIDATES = 10_000_000
DATABASES = ("sqlite", "postgresql")


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what is asked."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that a server that runs is ended too
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=USUAL, help="with five evaluations each")
    parser.add_argument("--on", choices=DATABASES, help="one of the databases")
    parser.add_argument("--only", choices=sorted({*ASKED, *COMMANDS}), nargs="*", help="what is asked")
    given = parser.parse_args(arguments)
    if not 100 <= given.candidates <= MAX_CANDIDATES:
        parser.error(f"--candidates must lie between 100 and {MAX_CANDIDATES:,}, but is {given.candidates}")
    for name in [given.on] if given.on else DATABASES:
        with ExitStack() as stack:
            began = time.monotonic()
            url = _empty(name, stack)
            filled = fill(url, given.candidates)
            took = time.monotonic() - began
            print(
                f"{name}: {filled.num_candidates:,} candidates, {filled.num_evaluations:,} evaluations, "
                f"filled in {took:.0f} s",
                flush=True,
            )
            for what in given.only or (*ASKED, *COMMANDS):
                told = cost(filled, what) if what in COMMANDS else figures(filled, what)
                print(f"{what:<34} {told}", flush=True)


def _empty(name: str, stack: ExitStack) -> str:
    """Give the URL of an empty database that is gone when the stack is closed."""
    if name == "sqlite":
        return f"sqlite:///{stack.enter_context(tempfile.TemporaryDirectory())}/results.db"
    return stack.enter_context(server("fsync=off", "max_wal_size=4GB")).url


def figures(filled: Filled, what: str) -> Figures:
    """Ask for one thing again and again, in a new process."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(ask, (filled, what))


if __name__ == "__main__":
    main()
