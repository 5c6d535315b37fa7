"""What was measured of a rule: the stages at each cost ratio, and their parts by kind, length, layer and head."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.report.measurements import part_of, written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.dash.rule.gathering import Rule
    from search.records import Evaluation, Measurement

MAX_PARTS = 128  # of one table
LOST = "a machine that lost its worker each time"


@dataclass(frozen=True)
class Table:
    """Figures by part: a column each; `rows` have the part's name and a cell for each column."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_more: int = 0


@dataclass(frozen=True)
class Taken:
    """One evaluation: `figures` of the whole (name, value with interval, samples), `tables` of its parts."""

    evaluation: Evaluation
    split: str
    where: str
    lengths: str
    figures: tuple[tuple[str, str, int], ...]
    tables: tuple[Table, ...]


def stages(rule: Rule, ratio: float) -> list[Taken]:
    """Give what was measured at a cost ratio, in the order of the stages."""
    return [_taken(rule, each) for each in rule.record.evaluations if each.ratio == ratio]


def _taken(rule: Rule, evaluation: Evaluation) -> Taken:
    workload = rule.known.workloads[evaluation.key.workload_digest]
    place = rule.known.environments.get(evaluation.key.environment_digest)
    whole = [m for m in evaluation.measurements if part_of(m) is None]
    where = f"{place.device}, {place.dtype or 'unknown dtype'}, vllm {place.vllm}" if place else LOST
    return Taken(
        evaluation,
        workload.split,
        f"{where}; evaluator {evaluation.key.evaluator_version}, seed {evaluation.key.seed}",
        ", ".join(f"{length:,}" for length in workload.all_lengths),
        tuple((m.name, written(m), m.num_samples) for m in whole),
        tuple(_tables(evaluation.measurements)),
    )


def _tables(measurements: Sequence[Measurement]) -> list[Table]:
    cells: dict[str, dict[str, dict[str, str]]] = {}
    for each in measurements:
        if found := part_of(each):
            by, part, figure = found
            cells.setdefault(by, {}).setdefault(part, {})[figure] = f"{written(each)} n={each.num_samples}"
    return [_table(by, parts) for by, parts in cells.items()]


def _table(by: str, parts: dict[str, dict[str, str]]) -> Table:
    figures = tuple(dict.fromkeys(name for part in parts.values() for name in part))
    ordered = sorted(parts.items(), key=lambda part: (part[0].rstrip("0123456789"), _number(part[0])))
    rows = tuple((part.replace("_", " "), *(given.get(name, "–") for name in figures)) for part, given in ordered)
    return Table(f"by {by}", (by, *figures), rows[:MAX_PARTS], max(len(rows) - MAX_PARTS, 0))


def _number(part: str) -> int:
    return int(re.search(r"\d*$", part)[0] or 0)  # type: ignore[index]
