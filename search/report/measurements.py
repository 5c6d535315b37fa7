"""What was measured, for people: which figures are the point of a stage, and which are parts of others."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from search.ranking.leaderboard import interval, spread
from search.records import Stage

if TYPE_CHECKING:
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
# What a page about a rule needs of each stage; of a stage that is not here, or gave none of these, all that is no part.
POINTS = {
    Stage.CHECK: ("cost_ratio", "budget", "bytes_per_page"),
    Stage.SCREEN: ("mass", "recall", "output_error"),
    Stage.RECALL: ("mass", "recall", "output_error"),
    Stage.ORACLE: ("rows", "served_rows", "max_error"),
    Stage.RACE: ("kl",),
    Stage.FIDELITY: ("kl", "agreement", "perplexity_ratio", "pages_attended", "pages_dense"),
    Stage.RETRIEVAL: ("accuracy", "dense_accuracy", "loss"),
    Stage.PROBE: ("accuracy", "pages_attended"),
    Stage.SERVE: ("speedup", "step_ms", "dense_step_ms"),
}


def part_of(measurement: Measurement) -> tuple[str, str, str] | None:
    """Give what divides, which part it is and the figure's name; None for a figure of the whole."""
    for pattern, by in PARTS:
        if found := pattern.fullmatch(measurement.name):
            return by, found["part"], found["figure"]
    return None


def points_of(evaluation: Evaluation) -> tuple[Measurement, ...]:
    """Give the figures of an evaluation for which its stage is there."""
    wanted = POINTS.get(evaluation.key.stage, ())
    chosen = tuple(each for name in wanted if (each := evaluation.measurement(name)))
    return chosen or tuple(each for each in evaluation.measurements if part_of(each) is None)


def written(measurement: Measurement) -> str:
    """Write a figure with its interval, and a count as a count."""
    value, low, high = measurement.value, measurement.low, measurement.high
    return f"{value:,.0f}" if _is_count(measurement) else interval(value, low, high)


def briefly(measurement: Measurement) -> str:
    """Write it as narrowly as a page wants it."""
    value, low, high = measurement.value, measurement.low, measurement.high
    return f"{value:,.0f}" if _is_count(measurement) else spread(value, low, high)


def _is_count(measurement: Measurement) -> bool:
    value = measurement.value
    return value is not None and measurement.low is None and float(value).is_integer()
