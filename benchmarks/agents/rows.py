"""What `slots` found, seed by seed: a file with which later runs go on, and the table of `docs/agents.md`."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from benchmarks.agents.slots import NUM_SLOTS, STAGE_S, Busy, busy
from search.evaluator.identity import code_digest, environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FOLDER = Path(__file__).parents[1] / "results"
ABOUT, DTYPE = "agents_slots", "float32"
WORDS = {1: "one worker", 4: "four workers"}


@dataclass(frozen=True)
class Case:
    """Seconds that an answer takes, workers that such answers can keep busy at one stage each, and answers.

    `is_mixed`: the grammar has half of the steps.
    """

    latency_s: float
    num_workers: int
    num_answers: int
    is_mixed: bool = False

    def told(self) -> str:
        """Say it as the table does."""
        who = "half of the steps the grammar's" if self.is_mixed else "a language model alone"
        return f"{self.latency_s:g} s | {who}, {WORDS[self.num_workers]}"


# In this order for every seed; the longer ones, with the grammar, once all seeds have the others.
ALONE = (Case(4.0, 1, 60), Case(1.0, 4, 120))
MIXED = (Case(4.0, 1, 60, is_mixed=True), Case(1.0, 4, 120, is_mixed=True))


@dataclass(frozen=True)
class Row:
    """What a case came to with one seed."""

    case: Case
    seed: int
    shares: Busy

    def plain(self) -> dict[str, Any]:
        """Give what is written."""
        return {**asdict(self.case), "seed": self.seed, **asdict(self.shares)}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Row:
        """Read what was written."""
        case = Case(*(plain[name] for name in ("latency_s", "num_workers", "num_answers", "is_mixed")))
        return cls(case, plain["seed"], Busy(plain["workers"], plain["requests"]))


def measured(seeds: Sequence[int], folder: Path, beside: str) -> Iterator[Row]:
    """Give rows as they come, each written before; what the newest file has from here is not measured again.

    `beside`: what else the machine did meanwhile, in words.
    """
    here = _circumstances(beside)
    path, rows = _begun(folder, here)
    known = {(each.case, each.seed) for each in rows}
    for cases in (ALONE, MIXED):
        for seed in seeds:
            for case in (each for each in cases if (each, seed) not in known):
                found = busy(case.latency_s, case.num_workers, case.num_answers, seed, mixed=case.is_mixed)
                rows.append(Row(case, seed, found))
                _write(path, here, rows)
                yield rows[-1]


def table(folder: Path) -> str:
    """Write the newest file as Markdown: means over the seeds, the least in brackets, and how many seeds there are."""
    _, rows = _newest(folder)
    head = "| answers take | proposers | workers are busy | requests, of what eight slots allow | seeds |"
    ordered = sorted(rows, key=_place)
    lines = [_line(case, list(found)) for case, found in groupby(ordered, key=lambda row: row.case)]
    return "\n".join((head, "|---|---|---|---|---|", *lines))


def _place(row: Row) -> int:
    return [*ALONE, *MIXED].index(row.case)


def _line(case: Case, rows: Sequence[Row]) -> str:
    told = (
        f"{mean(values):.1%} ({min(values):.1%})".replace("%", " %")
        for values in ([each.shares.workers for each in rows], [each.shares.requests for each in rows])
    )
    return f"| {case.told()} | {' | '.join(told)} | {len(rows)} |"


def _circumstances(beside: str) -> dict[str, Any]:
    """Give what rows of one file share: machine, code, what a server and a worker are like, and what ran beside."""
    found = asdict(environment(DTYPE))
    return {
        "environment": {name: found[name] for name in ("device", "python")},
        "code": code_digest(),
        "num_slots": NUM_SLOTS,
        "stage_s": STAGE_S,
        "beside": beside,
    }


def _begun(folder: Path, here: dict[str, Any]) -> tuple[Path, list[Row]]:
    """Give the newest file with its rows, where it was measured so; else a new one."""
    path, rows = _newest(folder)
    if path is not None and here.items() <= json.loads(path.read_text()).items():
        return path, rows
    return folder / f"{ABOUT}_{time.strftime('%Y-%m-%dT%H%M%SZ', time.gmtime())}.json", []


def _newest(folder: Path) -> tuple[Path | None, list[Row]]:
    path = max(folder.glob(f"{ABOUT}_*.json"), default=None)
    return path, [] if path is None else [Row.of(each) for each in json.loads(path.read_text())["rows"]]


def _write(path: Path, here: dict[str, Any], rows: Sequence[Row]) -> None:
    told = {
        "measured_to": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **here,
        "rows": [each.plain() for each in sorted(rows, key=lambda row: (_place(row), row.seed))],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=1, allow_nan=False) + "\n")
