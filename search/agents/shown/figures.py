"""What was measured of a candidate, in words."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from search.agents.changing.source import Source
from search.parents import BEFORE_ENGINES, REFERENCE, SEED, cost_ratio, has_failed
from search.records import Measurement, Record, Stage, Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from search.archive.archive import Archive

MAX_IDEA, MAX_CHANGE = 160, 120  # characters
HEAD_DIM = 1  # a text's idea and name do not depend on it


def at(ratio: float) -> str:
    """Name a cost ratio, 0 for a program as written."""
    return f"at {ratio:g}x" if ratio else "as written"


def line(text: str, most: int) -> str:
    """Give a text in one line of at most so many characters."""
    words = " ".join(text.split())
    return words if len(words) <= most else f"{words[: most - 1].rstrip()}…"


def ratios_of(record: Record) -> list[float]:
    """Give the cost ratios at which anything was measured of a candidate, ascending."""
    return sorted({evaluation.ratio for evaluation in record.evaluations if evaluation.key.stage is not Stage.ORACLE})


@lru_cache(maxsize=1 << 14)
def _described(text: str) -> tuple[str, str]:
    source = Source.parse(text, HEAD_DIM)
    return source.idea, source.stem


def family(record: Record) -> str:
    """Name those that come of one idea: the class name without its number, as descendants keep it."""
    return _described(record.candidate.proposal.text)[1]


def idea(record: Record) -> str:
    """Say an admitted candidate's idea in one line, and what was changed or given as a reason."""
    told = line(_described(record.candidate.proposal.text)[0], MAX_IDEA)
    proposal = record.candidate.proposal
    why = line(proposal.rationale, MAX_CHANGE)
    is_told = proposal.operator in (SEED, REFERENCE) or why in told or not why
    return told if is_told else f"{told} [{proposal.operator}: {why}]"


def passed(record: Record, stage: Stage, ratio: float, name: str) -> Measurement | None:
    """Give a figure of a stage that was passed, None where there is none."""
    evaluation = record.evaluation(stage, ratio)
    found = evaluation.measurement(name) if evaluation and evaluation.status is Status.OK else None
    return found if found is not None and found.value == found.value else None


def with_interval(found: Measurement, form: str = ".3f", *, num: bool = True) -> str:
    """Write a figure with its interval of 95 % and the number of samples behind it."""
    value = f"{found.value:{form}}"
    is_told = found.low is not None and found.high is not None
    around = [f"{found.low:{form}} to {found.high:{form}}"] if is_told else []
    around += [f"n = {found.num_samples:,}"] if num else []
    return f"{value} ({', '.join(around)})" if around else value


def figures(record: Record, ratio: float, archive: Archive) -> str:
    """Say in a line what a candidate is worth at a cost ratio: what it loses, chooses and reads."""
    told = [*_losses(record, ratio, archive), *_choices(record, ratio), *_costs(record, ratio)]
    return ", ".join(told) or "nothing measured"


def _losses(record: Record, ratio: float, archive: Archive) -> Iterable[str]:
    kl = passed(record, Stage.FIDELITY, ratio, "kl")
    if kl:
        yield f"KL {with_interval(kl, '.4f', num=False)} nats"
    elif foretold := _foretold(record, ratio, archive):
        yield foretold
    answers = passed(record, Stage.RETRIEVAL, ratio, "accuracy")
    dense = passed(record, Stage.RETRIEVAL, ratio, "dense_accuracy")
    if answers:
        beside = f" of dense's {dense.value:.2f}" if dense else ""
        yield f"retrieval {answers.value:.2f}{beside} (n = {answers.num_samples})"
    if accuracy := passed(record, Stage.PROBE, ratio, "accuracy"):
        yield f"accuracy {with_interval(accuracy)}"


def _foretold(record: Record, ratio: float, archive: Archive) -> str:
    """Say what is foretold of a candidate that was in no engine, as its parents are chosen by it."""
    told = (archive.foretell(stage, ratio, record) for stage in BEFORE_ENGINES) if not has_failed(record) else ()
    mean, deviation = next(filter(None, told), (None, 0.0))
    if mean is None:
        return ""
    low, high = math.exp(mean - 2 * deviation), math.exp(mean + 2 * deviation)
    return f"in no engine; KL foretold {math.exp(mean):.4f} ({low:.4f} to {high:.4f}) nats"


def _choices(record: Record, ratio: float) -> Iterable[str]:
    stage = next((each for each in BEFORE_ENGINES if passed(record, each, ratio, "mass")), None)
    if stage:
        mass, best = (passed(record, stage, ratio, name) for name in ("mass", "oracle_mass"))
        beside = f" of the oracle's {best.value:.3f}" if best else ""
        yield f"{'' if stage is Stage.RECALL else 'on the screen '}mass {mass.value if mass else 0:.3f}{beside}"


def _costs(record: Record, ratio: float) -> Iterable[str]:
    per_page = record.value(Stage.CHECK, "bytes_per_page", ratio)
    if per_page is not None:
        yield f"{per_page:.0f} bytes of fields a page"
    if reads := cost_ratio(record, ratio):
        yield f"reads 1/{reads:.1f} of dense's bytes"
    if speedup := passed(record, Stage.SERVE, ratio, "speedup"):
        yield f"{speedup.value:.2f}x dense's throughput on this machine"
