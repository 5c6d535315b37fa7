"""What lm-eval made of the answers, document by document, beside dense attention on the same documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from search.evaluator import intervals
from search.evaluator.outcomes import measured
from search.records import Measurement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Scores = dict[str, list[float]]  # by metric, one value for each document in order

OTHER_LENGTH = -1.0  # by which RULER marks the metrics of lengths that a document does not have
PLAIN_FILTER = "none"


def scores_of(reports: Sequence[dict[str, Any]], name: str) -> Scores:
    """Give each metric's value for each document, averaged over the repeats (avg@k). A metric may have several filters.

    reports: lm-eval's, one a repeat. Metrics that are no number for a single document are left out.
    """
    repeats = [_scores(report["samples"][name]) for report in reports]
    return {
        metric: [sum(each) / len(each) for each in zip(*(scores[metric] for scores in repeats), strict=True)]
        for metric in repeats[0]
    }


def _scores(samples: Sequence[dict[str, Any]]) -> Scores:
    found: Scores = {}
    for sample in sorted(samples, key=lambda sample: sample["doc_id"]):
        suffix = "" if sample["filter"] == PLAIN_FILTER else f"_{sample['filter']}"
        for metric in sample["metrics"]:
            value = sample[metric]
            if isinstance(value, bool | int | float) and value != OTHER_LENGTH:
                found.setdefault(f"{metric}{suffix}", []).append(float(value))
    return found


def paired_measurements(sparse: Scores, dense: Scores, higher_is_better: Mapping[str, bool]) -> list[Measurement]:
    """Compare the same documents: each metric by both; `loss` by the first, above 0 where sparse is worse."""
    found = []
    for metric, values in sparse.items():
        found += [_mean(metric, values), _mean(f"dense_{metric}", dense[metric])]
    first = next(iter(sparse))
    sign = 1.0 if higher_is_better.get(first.partition("_")[0], higher_is_better.get(first, True)) else -1.0
    lost = [sign * (d - s) for s, d in zip(sparse[first], dense[first], strict=True)]
    over = intervals.mean(lost)
    if set(lost) <= {-1.0, 0.0, 1.0}:
        over = intervals.wider(over, *intervals.paired_shares(lost.count(1.0), lost.count(-1.0), len(lost)))
    return [*found, measured("loss", over)]


def _mean(name: str, values: Sequence[float]) -> Measurement:
    """Give the mean over documents; of right and wrong ones with Wilson's interval, else Student's."""
    if set(values) <= {0.0, 1.0}:
        low, high = intervals.wilson(int(sum(values)), len(values))
        return Measurement(name, sum(values) / len(values), low, high, len(values))
    return measured(name, intervals.mean(values))


def right_and_wrong(values: Sequence[float]) -> str:
    """Write 0 or 1 for each document; nothing where a value is neither."""
    return "".join("01"[int(v)] for v in values) if set(values) <= {0.0, 1.0} else ""
