"""What the evaluator's figures are worth: `python -m benchmarks.evaluator --db sqlite:///results.db`.

Four things may be asked, in one call or in several; each goes into a file of its own in benchmarks/results/:

* `--db`: what a campaign's rows tell: which figure of recall foretells which loss over the published rules, how wide
  intervals are, how many candidates come through in an hour, and how far they come. Nothing is measured anew.
* `--seeds A B`: the fidelity of ten published rules with two evaluation seeds on disjoint texts, in one worker, and
  whether both put them into the same order.
* `--recordings FILE`: what recall's figures lose by judging some steps only, by storing keys and values in 16 bits, and
  in the screen, which judges a part.
* `--markdown`: docs/evaluator.md, printed from the newest files.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.evaluator import page, results, twice
from benchmarks.evaluator.campaign import read
from search.commands.exits import CommandError
from search.config import LEAST_RATIO, MOST_RATIO
from search.evaluator.models import ModelError
from search.store.errors import StoreError
from vortex_dsl import zoo
from vortex_dsl.values import MAX_TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_WORKERS = 4096
MAX_SEED = 2**31


def main(arguments: list[str] | None = None) -> int:
    """Do what is asked, and say where it was written."""
    given = parser().parse_args(arguments)
    if not (given.db or given.seeds or given.recordings or given.markdown):
        parser().error("ask for at least one of --db, --seeds, --recordings and --markdown")
    try:
        _answer(given)
    except (CommandError, StoreError, ModelError, LookupError, ValueError, OSError) as error:
        print(f"benchmarks.evaluator: {error}", file=sys.stderr)
        return 1
    return 0


def _answer(given: argparse.Namespace) -> None:
    if given.db:
        found = results.of_campaign(read(given.db, given.campaign), given.workers)
        _tell(results.CAMPAIGN, found, page.of_campaign(found), given)
    if given.seeds:
        wanted = twice.Wanted(tuple(given.rules), tuple(given.seeds), given.ratio, given.model, given.tokens)
        found = results.of_twice(twice.judge(wanted))
        _tell(results.TWICE, found, page.of_twice(found), given)
    if given.recordings:
        from benchmarks.evaluator.agreement import agreements

        found = results.of_agreement(agreements(given.recordings, given.pages))
        _tell(results.AGREEMENT, found, page.of_agreement(found), given)
    if given.markdown:
        print(page.page(given.out), end="")


def _tell(about: str, found: dict[str, object], sections: list[str], given: argparse.Namespace) -> None:
    """Write a result and print its tables; where the whole page is asked for, that alone goes to stdout."""
    path = results.write(about, found, given.out)
    print("\n\n".join(sections), file=sys.stderr if given.markdown else sys.stdout)
    print(f"written to {path}", file=sys.stderr)


def parser() -> argparse.ArgumentParser:
    """Give the options."""
    made = argparse.ArgumentParser(
        "python -m benchmarks.evaluator", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = made.add_argument
    add("--db", metavar="URL", help="a campaign's database, as of `vortex run`; not changed, migrated if it is old")
    add("--campaign", metavar="ID", type=_whole(1, MAX_SEED), help="one campaign of it; the newest when left out")
    add("--workers", metavar="N", type=_whole(1, MAX_WORKERS), default=2, help="how many it had, which no row says")
    add("--seeds", metavar=("A", "B"), nargs=2, type=_whole(0, MAX_SEED), help="two evaluation seeds to judge with")
    add(
        "--rules", metavar="NAME", nargs="+", choices=zoo.names(), default=twice.RULES, help="of the zoo; ten are usual"
    )
    add("--ratio", metavar="R", type=_ratio, default=8.0, help="the cost ratio at which they are judged")
    add("--model", default="smollm2", help="a folder, or a name that `vortex model` knows")
    add("--tokens", metavar="N", type=_whole(64, MAX_TOKENS), default=twice.MODEL_TOKENS, help="longest text")
    add("--recordings", metavar="FILE", type=Path, help="a recording, as recall keeps them among the engines' files")
    add("--pages", metavar="N", type=_whole(1, 1024), default=8, help="that rules choose on it")
    add("--markdown", action="store_true", help="print docs/evaluator.md from the newest files")
    add("--out", metavar="FOLDER", type=Path, default=results.FOLDER, help="where results are written and read")
    return made


def _whole(low: int, high: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        if not (text.isdecimal() and len(text) < 18 and low <= int(text) <= high):
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {low} to {high}")
        return int(text)

    return whole


def _ratio(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not LEAST_RATIO <= found <= MOST_RATIO:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from {LEAST_RATIO:g} to {MOST_RATIO:g}")
    return found


if __name__ == "__main__":
    sys.exit(main())
