"""What a campaign loses when things die: `python -m benchmarks.faults crowd|kills [-n N]`.

    python -m benchmarks.faults crowd -n 300            of so many programs 10 % crash, 10 % hang, 5 % take all memory
    python -m benchmarks.faults kills -n 20             `kill -9` at random, so often each: driver, worker, raylet or
                                                        gcs with a worker that only they can replace, node (all of
                                                        Ray), postgresql; then it goes on
    python -m benchmarks.faults kills --what driver     one of them

Pool, Ray, ledger and loop are the real ones; the engine is made up (`host.py`), so that a minute holds hundreds of
evaluations. `crowd` fails unless nothing is lost, measured twice, blamed on innocents or left behind; `kills` unless
each ledger says, row by row, what that of an undisturbed run with the same seed says, and no driver ends but those
that are killed.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.faults.crowd import crowd
from benchmarks.faults.kills import kills

if TYPE_CHECKING:
    from collections.abc import Sequence

TARGETS = ("driver", "worker", "raylet", "node", "gcs", "postgresql")
OF_RAY = {"worker", "raylet", "node", "gcs"}
USUAL = {"crowd": 300, "kills": 20}


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked; 1 where something was not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("of", choices=tuple(USUAL))
    parser.add_argument("-n", type=int, help="programs of a crowd, or kills of each target")
    parser.add_argument("--what", choices=TARGETS, nargs="*", default=TARGETS, help="what is killed")
    parser.add_argument("--workers", type=int, default=2, help="of a crowd")
    parser.add_argument("--candidates", type=int, default=12, help="of each campaign in which something is killed")
    parser.add_argument("--seed", type=int, default=0, help="of who dies when: another for each part of a run")
    parser.add_argument("--threads", action="store_true", help="workers in threads of the driver, without Ray")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that whatever runs is ended too
    num = given.n or USUAL[given.of]
    if given.of == "crowd":
        report = crowd(num, given.workers, given.seed, on_ray=not given.threads)
        print(report)
        return int(not report.is_right)
    right = []
    if given.threads and (set(given.what) & OF_RAY):
        parser.error("threads can be killed with their driver alone; give --what driver postgresql")
    for what in given.what:
        began = time.monotonic()
        killed = kills(what, num, given.candidates, given.seed, on_ray=not given.threads)
        print(f"{killed} ({time.monotonic() - began:.0f} s)", flush=True)
        right.append(killed.is_right)
    return int(not all(right))


if __name__ == "__main__":
    sys.exit(main())
