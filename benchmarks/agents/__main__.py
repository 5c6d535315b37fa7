"""What are campaigns with language models worth? Against a scripted server over real HTTP.

    python -m benchmarks.agents slots [--seeds 10]   are workers busy with answers of 4 s, and slots with those of 1 s
    python -m benchmarks.agents money [--seeds 10]   are the dollars on record those that the server charged

`slots` takes real seconds, about a minute a seed, on a machine that does nothing else. That no kind of reply ends a
campaign is told by tests/search/agents/llm/test_replies.py.
"""

from __future__ import annotations

import argparse
import sys
from statistics import mean

from benchmarks.agents.money import account
from benchmarks.agents.slots import busy

# Latency of an answer, workers that such answers can keep busy at one stage each, answers
SLOW, QUICK = (4.0, 1, 60), (1.0, 4, 120)
NUM_ANSWERS = 1000


def main(arguments: list[str] | None = None) -> int:
    """Measure what is asked for, and print it."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.agents", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("slots", "money"))
    parser.add_argument("--seeds", type=int, default=10)
    given = parser.parse_args(arguments)
    (slots if given.what == "slots" else money)(range(given.seeds))
    return 0


def slots(seeds: range) -> None:
    """Print shares, the least of the seeds beside the mean."""
    for latency_s, num_workers, num_answers in (SLOW, QUICK):
        for mixed in (False, True):
            found = [busy(latency_s, num_workers, num_answers, seed, mixed=mixed) for seed in seeds]
            told = (
                f"{name} {mean(values):.1%} (least {min(values):.1%})"
                for name in ("workers", "requests")
                for values in [[getattr(each, name) for each in found]]
            )
            print(
                f"{latency_s:g} s, {'mixed' if mixed else 'alone'}, {num_workers} workers: {', '.join(told)}",
                flush=True,
            )


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
