"""What was measured of a rule: the stages at each cost ratio, and their parts by kind, length, layer and head."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.ranking.leaderboard import interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.dash.rule.gathering import Rule
    from search.records import Evaluation, Measurement

# What the names of measurements end in, and how the parts that they make are called; the first that fits counts.
PARTS = (
    (re.compile(r"(?P<figure>.+)_layer_(?P<part>\d+)"), "layer"),
    (re.compile(r"(?P<figure>.+)_head_(?P<part>\d+)"), "KV head"),
    (re.compile(r"(?P<figure>.+)_text_(?P<part>\d+)"), "text"),
    (re.compile(r"(?P<figure>.+)_third_(?P<part>\d+)"), "third of the text"),
    (re.compile(r"(?P<figure>right)_(?P<part>.+_prompt_\d+)"), "passage"),
    (re.compile(r"(?P<figure>(?:dense_)?accuracy)_(?P<part>[a-z_]+_\d+)"), "kind and length"),
    (re.compile(r"(?P<figure>(?:mass|kl|loss|cost_ratio|(?:dense_)?accuracy))_(?P<part>\d+)"), "length"),
    (re.compile(r"(?P<figure>(?:mass|kl|loss|(?:dense_)?accuracy))_(?P<part>[a-z_]+)"), "kind"),
)
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
    whole = [m for m in evaluation.measurements if _part(m) is None]
    where = f"{place.device}, {place.dtype or 'unknown dtype'}, vllm {place.vllm}" if place else LOST
    return Taken(
        evaluation,
        workload.split,
        f"{where}; evaluator {evaluation.key.evaluator_version}, seed {evaluation.key.seed}",
        ", ".join(f"{length:,}" for length in workload.all_lengths),
        tuple((m.name, _written(m), m.num_samples) for m in whole),
        tuple(_tables(evaluation.measurements)),
    )


def _part(measurement: Measurement) -> tuple[str, str, str] | None:
    """Give what divides, which part it is and the figure's name; None for a figure of the whole."""
    for pattern, by in PARTS:
        if found := pattern.fullmatch(measurement.name):
            return by, found["part"], found["figure"]
    return None


def _written(measurement: Measurement) -> str:
    """Write a figure with its interval, and a count as a count."""
    value, low = measurement.value, measurement.low
    is_count = value is not None and low is None and float(value).is_integer()
    return f"{value:,.0f}" if is_count else interval(value, low, measurement.high)


def _tables(measurements: Sequence[Measurement]) -> list[Table]:
    cells: dict[str, dict[str, dict[str, str]]] = {}
    for each in measurements:
        if found := _part(each):
            by, part, figure = found
            written = f"{_written(each)} n={each.num_samples}"
            cells.setdefault(by, {}).setdefault(part, {})[figure] = written
    return [_table(by, parts) for by, parts in cells.items()]


def _table(by: str, parts: dict[str, dict[str, str]]) -> Table:
    figures = tuple(dict.fromkeys(name for part in parts.values() for name in part))
    ordered = sorted(parts.items(), key=lambda part: (part[0].rstrip("0123456789"), _number(part[0])))
    rows = tuple((part.replace("_", " "), *(given.get(name, "–") for name in figures)) for part, given in ordered)
    return Table(f"by {by}", (by, *figures), rows[:MAX_PARTS], max(len(rows) - MAX_PARTS, 0))


def _number(part: str) -> int:
    return int(re.search(r"\d*$", part)[0] or 0)  # type: ignore[index]
