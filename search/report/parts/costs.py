"""What the campaign took: seconds and evaluations by stage, tokens and dollars by proposer, time by the clock."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import TYPE_CHECKING

from search.asking.owing import owing_told
from search.records import Stage, Status
from search.report.blocks import Block, Column, Grid, Words
from search.report.wording import duration
from search.workloads import SEARCH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.records import Candidate
    from search.report.material import Material, Place
    from search.store.spent import Spending

PAUSE_S = 900.0  # without a candidate or a result for so long, nobody was at work
HOUR_S = 3600.0
ORDER = {stage.value: number for number, stage in enumerate(Stage)}


def costs(material: Material) -> list[Block]:
    """Tell what was proposed, at what price, and how long it took by the clock."""
    owing = owing_told(material.owing)
    return [Words(_clock(material)), _by_proposer(material.candidates), *([Words(f"{owing}.")] if owing else [])]


def by_stage(material: Material, place: Place) -> Grid:
    """Tell evaluations and seconds of each stage and cost ratio at one place."""
    divided: dict[tuple[str, float, str], list[Spending]] = defaultdict(list)
    for each in place.spendings:
        divided[each.stage, each.ratio, each.split].append(each)
    ordered = sorted(divided.items(), key=lambda each: (each[0][2] != SEARCH, ORDER[each[0][0]], each[0][1]))
    hours = _working_s(material) / HOUR_S
    rows = [_stage(*where, found, hours) for where, found in ordered]
    fresh = [s for s in place.spendings if not s.is_older]
    asked = sum(s.num_asked for s in place.spendings)
    share = 1 - len(fresh) / asked if asked else 0.0
    seconds = sum(s.elapsed_s for s in fresh)
    note = (
        f"{len(fresh):,} evaluations and {seconds:,.0f} s of workers in all; "
        f"{share:.1%} of {asked:,} asked for were there already. An hour: of the time at work."
    )
    headings = (Column("stage"), *(Column(name, True) for name in (
        "cost ratio", "measured", "given", "passed", "failed", "median s", "seconds", "an hour")))  # fmt: skip
    return Grid("Evaluations by stage", headings, tuple(rows), note, empty="Nothing was measured.")


def _stage(stage: str, ratio: float, split: str, found: Sequence[Spending], hours: float) -> tuple[str, ...]:
    fresh = [s for s in found if not s.is_older]
    seconds = [s.elapsed_s for s in fresh]
    passed = sum(s.status == Status.OK for s in found)
    return (
        stage if split == SEARCH else f"{stage} (held out)",
        f"{ratio:g}" if ratio else "as written",
        f"{len(fresh):,}",
        f"{sum(s.num_asked for s in found) - len(fresh):,}",
        f"{passed:,}",
        f"{len(found) - passed:,}",
        f"{statistics.median(seconds):.2f}" if seconds else "–",
        f"{sum(seconds):,.0f}",
        f"{len(fresh) / hours:,.0f}" if hours > 0 else "–",
    )


def _working_s(material: Material) -> float:
    """Give the seconds during which the campaign was at work: from one event to the next, pauses left out."""
    return sum(gap for gap in material.spent.gaps_s if gap <= PAUSE_S)


def _clock(material: Material) -> str:
    working, pauses = _working_s(material), [gap for gap in material.spent.gaps_s if gap > PAUSE_S]
    number = len(material.candidates)
    told = f"{number:,} candidates in {duration(working)}"
    told += f", {number * HOUR_S / working:,.0f} an hour" if working > 0 and number else ""
    paused = f" Pauses of more than {PAUSE_S / 60:.0f} minutes are not counted: {len(pauses)}, {duration(sum(pauses))}."
    return f"{told}.{paused if pauses else ''}"


def _by_proposer(candidates: Sequence[Candidate]) -> Grid:
    divided: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        divided[candidate.proposal.proposer].append(candidate)
    rows = tuple(_proposer(name, own) for name, own in sorted(divided.items(), key=lambda e: (-len(e[1]), e[0])))
    headings = (Column("proposer"), *(Column(name, True) for name in (
        "proposed", "tokens read", "tokens written", "dollars", "seconds answering")))  # fmt: skip
    return Grid("Price of proposals", headings, rows, empty="Nothing was proposed.")


def _proposer(name: str, own: Sequence[Candidate]) -> tuple[str, ...]:
    proposals = [candidate.proposal for candidate in own]
    return (
        name,
        f"{len(own):,}",
        f"{sum(p.prompt_tokens for p in proposals):,}",
        f"{sum(p.completion_tokens for p in proposals):,}",
        f"{sum(p.dollars for p in proposals):.4f}",
        f"{sum(p.elapsed_s for p in proposals):,.1f}",
    )
