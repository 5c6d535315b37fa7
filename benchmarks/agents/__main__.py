"""What are campaigns with language models worth? Against a scripted server over real HTTP.

    python -m benchmarks.agents slots [--seeds 10]   are workers busy with answers of 4 s, and slots with those of 1 s;
                                                     it goes on with the newest file, and prints the table of
                                                     docs/agents.md, which --markdown does alone
    python -m benchmarks.agents money [--seeds 10]   are the dollars on record those that the server charged
    python -m benchmarks.agents ablation --recordings FILE   is each part of a question worth its tokens, to a scripted
                                                             student; FILE as `python -m benchmarks.search` records it
    python -m benchmarks.agents ablation --markdown > docs/ablation.md   the page, from the newest file

`slots` takes real seconds, about two minutes a seed, on a machine that does nothing else. That no kind of reply ends a
campaign is told by tests/search/agents/llm/test_replies.py.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from pathlib import Path

from benchmarks.agents import page, rows
from benchmarks.agents.ablation import ARMS, NUM_PROPOSALS, rises_of
from benchmarks.agents.money import account
from benchmarks.search.problems import BenchmarkError
from benchmarks.search.trials import RECORDED, Where
from search.evaluator.models.cache import cache_folder

NUM_ANSWERS = 1000


def main(arguments: list[str] | None = None) -> int:
    """Measure what is asked for, and print it."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.agents", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("what", choices=("slots", "money", "ablation"))
    add("--seeds", type=int, default=10)
    add("--recordings", metavar="FILE", type=Path, help="of ablation: recorded queries, keys and values")
    add("--proposals", metavar="N", type=int, default=NUM_PROPOSALS, help="of ablation: of each campaign")
    add("--minutes", metavar="N", type=float, default=math.inf, help="of ablation: begin no search after so long")
    add("--workers", metavar="N", type=int, default=os.cpu_count() or 1, help="of ablation: processes that search")
    add("--cache", metavar="FOLDER", type=Path, default=cache_folder() / "benchmarks", help="of ablation: kept figures")
    add("--out", metavar="FOLDER", type=Path, default=page.FOLDER, help="of ablation and slots: where results are")
    add("--markdown", action="store_true", help="of ablation and slots: print what docs show of the newest file")
    add("--beside", metavar="WORDS", default="nothing", help="of slots: what else the machine does meanwhile")
    given = parser.parse_args(arguments)
    if min(given.seeds, given.proposals, given.workers) < 1:
        parser.error("--seeds, --proposals and --workers are at least 1")
    if given.what != "ablation":
        slots(given) if given.what == "slots" else money(range(given.seeds))
        return 0
    if not (given.recordings or given.markdown):
        parser.error("ablation wants --recordings FILE, --markdown, or both")
    try:
        ablation(given)
    except (BenchmarkError, ValueError, OSError) as error:
        print(f"benchmarks.agents: {error}", file=sys.stderr)
        return 1
    return 0


def ablation(given: argparse.Namespace) -> None:
    """Search with all arms, writing what there is after each search; print the page if asked.

    What the newest file has already, measured alike, is not searched again.
    """
    if given.recordings:
        until_s = time.monotonic() + 60 * given.minutes
        where = Where(RECORDED, given.cache, given.recordings)
        here = page.circumstances(given.recordings, given.proposals)
        path, done = page.begun(given.out, here)
        known = {(each.arm, each.seed) for each in done}
        for found in rises_of(where, range(given.seeds), given.proposals, given.workers, known, until_s):
            done.append(found)
            page.write(path, here, done)
            print(
                f"{len(done)}/{given.seeds * len(ARMS)} seed {found.seed}, {found.arm}: {found.search:.4f} seen, "
                f"{found.held_out:.4f} held out, {found.gain:+.4f}",
                file=sys.stderr,
                flush=True,
            )
        print(f"written to {path}", file=sys.stderr)
    if given.markdown:
        print(page.page(given.out), end="")


def slots(given: argparse.Namespace) -> None:
    """Measure what the newest file does not hold, writing each share as it comes; print the table."""
    for row in () if given.markdown else rows.measured(range(given.seeds), given.out, given.beside):
        shares = f"workers {row.shares.workers:.1%}, requests {row.shares.requests:.1%}"
        print(f"{row.case.told()}, seed {row.seed}: {shares}", file=sys.stderr, flush=True)
    print(rows.table(given.out))


def money(seeds: range) -> None:
    """Print what differs, with dollars enough and with less than half of them."""
    for share in (2.0, 0.1):
        for seed in seeds:
            found = account(NUM_ANSWERS, seed, share)
            print(
                f"seed {seed}: {found.num_answers:,} answers to {found.num_requests:,} requests, recorded "
                f"${found.recorded:.6f}, charged ${found.charged:.6f} of ${found.most:.4f}, not asked {found.refused}",
                flush=True,
            )


if __name__ == "__main__":
    sys.exit(main())
