"""Is the search any good? `python -m benchmarks.search --record FILE`, then `--recordings FILE`.

What may be asked, in one call or in several; each goes into a file of its own in benchmarks/results/:

* `--record FILE`: decode some documents with a model in vLLM, and keep its queries, keys and values.
* `--recordings FILE`: search on one part of them by every method, at each cost ratio and with each seed, and tell what
  was chosen by the other part: other documents and other layers. `--planted`: the same where the truth is known.
* `--peers FOLDER`: with either, other people's searches too, each in an environment that is made in this folder.
* `--landscapes`: the choice of whom to change, on six synthetic landscapes.
* `--markdown`: docs/search.md, printed from the newest files.

`--quick` asks for two seeds at one cost ratio. Searches that ended are kept in `--cache`: who is interrupted asks the
same again, and goes on, as long as no source has changed.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.search import page, results
from benchmarks.search.landscapes import Landscape
from benchmarks.search.peers.peers import NUM_INITIAL, PEERS, PeerError, python_of
from benchmarks.search.problems import BenchmarkError
from benchmarks.search.published import published
from benchmarks.search.runs import BASELINES, EVALUATIONS, METHODS, MIX
from benchmarks.search.trials import PLANTED, RECORDED, Asked, Case, Skipped, Where, runs_of
from search.config import LEAST_RATIO, MOST_RATIO, RATIOS
from search.evaluator.models import ModelError
from search.evaluator.models.cache import cache_folder
from vortex_dsl.values import MAX_TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.search.problems import BenchmarkError
from benchmarks.search.published import Published

SEEDS = 10
LANDSCAPE_EVALUATIONS = 100
MAX_SEEDS, MAX_EVALUATIONS, MAX_WORKERS, MAX_DOCUMENTS = 1000, 10_000, 256, 64
WHAT = ("record", "recordings", "planted", "landscapes", "markdown")


def main(arguments: list[str] | None = None) -> int:
    """Do what is asked, and say where it was written."""
    given = parser().parse_args(arguments)
    if not any(getattr(given, what) for what in WHAT):
        parser().error(f"ask for at least one of {', '.join(f'--{what}' for what in WHAT)}")
    try:
        _answer(given)
    except (BenchmarkError, ModelError, ValueError, OSError) as error:
        print(f"benchmarks.search: {error}", file=sys.stderr)
        return 1
    return 0


def _answer(given: argparse.Namespace) -> None:
    if given.record:
        from benchmarks.search.record import record

        record(given.model, given.documents, given.tokens, given.record)
    if given.recordings:
        _search(Where(RECORDED, given.cache, given.recordings), given)
    if given.planted:
        _search(Where(PLANTED, given.cache), given)
    if given.landscapes:
        _climb(given)
    if given.markdown:
        print(page.page(given.out), end="")


def _search(where: Where, given: argparse.Namespace) -> None:
    """Search on a selection by every method and peer."""
    asked, selection, problem = _asked(given), where.selection(), where.problem(0)
    yardsticks = {ratio: published(problem, ratio) for ratio in asked.ratios}
    peers, skipped = _peers(given.peers, asked, yardsticks, given.peer_seeds)
    runs, failed = runs_of(where, [*asked.cases(), *peers], given.workers)
    found = results.of_selection(selection, asked, yardsticks, runs, [*skipped, *failed])
    _tell(where.name, found, given)


def _peers(
    folder: Path | None, asked: Asked, yardsticks: Mapping[float, Published], num_seeds: int | None
) -> tuple[list[Case], list[Skipped]]:
    """Give the searches of peers, each with the first of the seeds, and those that cannot be installed."""
    cases, skipped = [], []
    for peer in PEERS.values() if folder else ():
        assert folder is not None
        try:
            python = python_of(peer, folder.absolute())
        except (PeerError, OSError) as error:
            skipped.append(Skipped(peer.name, str(error)))
            continue
        own = replace(asked, methods=(peer.name,), seeds=asked.seeds[:num_seeds]).cases()
        cases += [replace(c, python=python, start=yardsticks[c.ratio].rules[:NUM_INITIAL]) for c in own]
    return cases, skipped


def _climb(given: argparse.Namespace) -> None:
    """Search on every landscape by the house's round and the baselines."""
    usual = _asked(given)
    evaluations = given.evaluations or min(usual.evaluations, LANDSCAPE_EVALUATIONS)
    asked = replace(usual, methods=(MIX, *BASELINES), ratios=(), evaluations=evaluations)
    found = {}
    for landscape in Landscape:
        cases = replace(asked, ratios=(landscape.ratio,)).cases()
        found[landscape], _ = runs_of(Where(landscape.value, given.cache), cases, given.workers)
    _tell(results.LANDSCAPES, results.of_landscapes(asked, found), given)


def _tell(about: str, found: dict[str, object], given: argparse.Namespace) -> None:
    """Write a result and print its tables; where the whole page is asked for, that alone goes to stdout."""
    path = results.write(about, found, given.out)
    print("\n\n".join(page.SECTIONS[about](found)), file=sys.stderr if given.markdown else sys.stdout)
    print(f"written to {path}", file=sys.stderr)


def _asked(given: argparse.Namespace) -> Asked:
    quick = Asked(tuple(METHODS), (8.0,), (0, 1), 40)
    usual = quick if given.quick else Asked(tuple(METHODS), RATIOS, tuple(range(SEEDS)), EVALUATIONS)
    return Asked(
        tuple(given.methods or usual.methods),
        tuple(given.ratios or usual.ratios),
        tuple(range(given.seeds)) if given.seeds else usual.seeds,
        given.evaluations or usual.evaluations,
    )


def parser() -> argparse.ArgumentParser:
    """Give the options."""
    made = argparse.ArgumentParser(
        "python -m benchmarks.search", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = made.add_argument
    add("--record", metavar="FILE", type=Path, help="record a model's queries, keys and values; starts an engine")
    add("--model", default="smollm2", help="of --record: a folder, or a name that `vortex model` knows")
    add("--documents", metavar="N", type=_whole(2, MAX_DOCUMENTS), default=6, help="of --record")
    add("--tokens", metavar="N", type=_whole(64, MAX_TOKENS), default=3072, help="of --record: of each document")
    add("--recordings", metavar="FILE", type=Path, help="search on what was recorded")
    add("--planted", action="store_true", help="search on what is planted")
    add("--peers", metavar="FOLDER", type=Path, help=f"let {', '.join(PEERS)} search too; installed here, once")
    add("--peer-seeds", metavar="N", type=_whole(1, MAX_SEEDS), help="of peers, which take longer; the others' usually")
    add("--landscapes", action="store_true", help="search on synthetic landscapes")
    add("--methods", metavar="NAME", nargs="+", choices=METHODS, help=f"who searches: {', '.join(METHODS)}")
    add("--ratios", metavar="R", nargs="+", type=_ratio, help="cost ratios; 8, 16 and 32 are usual")
    add("--seeds", metavar="N", type=_whole(1, MAX_SEEDS), help=f"how many; {SEEDS} are usual")
    add("--evaluations", metavar="N", type=_whole(1, MAX_EVALUATIONS), help=f"of each run; {EVALUATIONS} are usual")
    add("--quick", action="store_true", help="two seeds at one cost ratio, where nothing else is said")
    workers = min(os.cpu_count() or 1, MAX_WORKERS)
    add("--workers", metavar="N", type=_whole(1, MAX_WORKERS), default=workers, help="processes that search")
    kept = cache_folder() / "benchmarks"
    add("--cache", metavar="FOLDER", type=Path, default=kept, help="where figures and searches are kept")
    add("--markdown", action="store_true", help="print docs/search.md from the newest files")
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
