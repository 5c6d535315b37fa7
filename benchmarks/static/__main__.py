"""What kernels would do on a card, without one: `python -m benchmarks.static [--program quest ...] [--arch 90]`.

Every kernel of a decode step is compiled for sm_90 and sm_100 at the shapes that goals are set for, its machine code is
read, and a model of its time stands beside the time that its bytes take and, where there are any, the measured time
and the goal.
Ends with status 1 if a kernel breaks a rule (`rules.py`). What is compiled stays in Triton's cache.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING

from benchmarks.drill.served import Case
from benchmarks.static import goals, measured
from benchmarks.static.model import CARDS
from benchmarks.static.step import Step, examined, printed

if TYPE_CHECKING:
    from collections.abc import Sequence

SHAPES = ((1, 32768, 16, 8), (32, 32768, 16, 8), (64, 8192, 16, 8))  # as `Case` begins: Qwen3-1.7B's heads
LATENT_SHAPES = ((1, 32768, 20, 1), (32, 32768, 20, 1))
PROGRAMS = ("centroid", "quest", "quest_int4", "quest_sub", "twilight", "two_stage", "sparq")
CASES = (
    *(Case(name, *shape) for name in PROGRAMS for shape in SHAPES),
    *(Case(name, *shape, dim=576, latents=512) for name in ("centroid", "quest") for shape in LATENT_SHAPES),
    Case("centroid", 32, 32768, 16, 8, float8=True),
    Case("refined_union", *SHAPES[1]),
    *(Case(name, *SHAPES[0], dependent=True) for name in ("centroid", "twilight", "two_stage")),
    Case("centroid", *LATENT_SHAPES[0], dim=576, latents=512, dependent=True),
)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks.static", description=__doc__)
    made.add_argument(
        "--program",
        action="append",
        choices=sorted({case.program for case in CASES}),
        help="only this one; may be repeated",
    )
    made.add_argument("--arch", type=int, choices=[card.arch for card in CARDS], help="only for this architecture")
    made.add_argument("--jobs", type=int, default=1, help="processes that compile")
    return made


def steps_of(cases: Sequence[Case], arch: int | None, jobs: int) -> list[Step]:
    """Compile and read the steps, a card after the other, in processes of their own: none runs in the interpreter."""
    os.environ.pop("TRITON_INTERPRET", None)
    wanted = [(case, card) for card in CARDS if arch in (None, card.arch) for case in cases]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        return list(pool.map(partial(examined), *zip(*wanted, strict=True)))


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    cases = [case for case in CASES if given.program is None or case.program in given.program]
    steps = steps_of(cases, given.arch, given.jobs)
    for step in steps:
        print(printed(step), end="\n\n")
    print(measured.compared(steps))
    print("\n".join(line for step in steps for line in goals.told(step)))
    broken = [sentence for step in steps for sentence in step.broken]
    print("\n".join(dict.fromkeys(broken)) or "no kernel breaks a rule")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
