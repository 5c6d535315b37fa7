"""What was measured of a candidate, in words."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from search.agents.changing.source import Source
from search.archive.speeds import MODELLED, cost_ratio
from search.parents import BEFORE_ENGINES, REFERENCE, SEED, has_failed
from search.records import Measurement, Record, Stage, Status
from search.report.wording import cut
from search.telling.rationale import reasons_in

if TYPE_CHECKING:
    from search.archive.archive import Archive

MAX_IDEA, MAX_CHANGE = 160, 120  # characters
HEAD_DIM = 1  # a text's idea does not depend on it

MASS_OF_LAYER = "mass_layer_"  # what recall and the screen call a layer's mass, before its number


def at(ratio: float) -> str:
    """Name a cost ratio, 0 for a program as written."""
    return f"at {ratio:g}x" if ratio else "as written"


def ratios_of(record: Record) -> list[float]:
    """Give the cost ratios at which anything was measured of a candidate, ascending."""
    return sorted({evaluation.ratio for evaluation in record.evaluations if evaluation.key.stage is not Stage.ORACLE})


@lru_cache(maxsize=1 << 14)
def _idea(text: str) -> str:
    return Source.parse(text, HEAD_DIM).idea


def idea(record: Record) -> str:
    """Say an admitted candidate's idea in one line, and what was changed or given as a reason."""
    told = cut(_idea(record.candidate.proposal.text), MAX_IDEA)
    proposal = record.candidate.proposal
    why = cut(reasons_in(proposal.rationale), MAX_CHANGE)
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


def figures(record: Record, ratio: float, archive: Archive) -> dict[str, str]:
    """Say in a few words each what a candidate loses, chooses and reads at a cost ratio; what is not known is left out.

    What was in no engine has a KL that is foretold, as parents are chosen by it.
    """
    told = {
        "KL in nats": _kl(record, ratio) or _foretold(record, ratio, archive),
        "retrieval, dense's": _retrieval(record, ratio),
        "accuracy": _accuracy(record, ratio),
        "mass, the oracle's": _mass(record, ratio),
        "bytes of fields a page": _number(record.value(Stage.CHECK, "bytes_per_page", ratio), ".0f"),
        "dense's bytes per byte": _number(cost_ratio(record, ratio), ".1f"),
        "speed here, dense = 1": _speed(record, ratio),
        **_modelled(record, ratio),
    }
    return {name: value for name, value in told.items() if value}


def _kl(record: Record, ratio: float) -> str:
    found = passed(record, Stage.FIDELITY, ratio, "kl")
    return with_interval(found, ".4f", num=False) if found else ""


def _foretold(record: Record, ratio: float, archive: Archive) -> str:
    told = (archive.foretell(stage, ratio, record) for stage in BEFORE_ENGINES) if not has_failed(record) else ()
    foretold = next(filter(None, told), None)
    if foretold is None:
        return ""
    mean, deviation = foretold
    low, high = math.exp(mean - 2 * deviation), math.exp(mean + 2 * deviation)
    return f"foretold {math.exp(mean):.4f} ({low:.4f} to {high:.4f})"


def _beside(record: Record, stage: Stage, ratio: float, names: tuple[str, str]) -> str:
    found, other = (passed(record, stage, ratio, name) for name in names)
    return f"{found.value:.3f}, {other.value:.3f}" if found and other else ""


def _retrieval(record: Record, ratio: float) -> str:
    found = passed(record, Stage.RETRIEVAL, ratio, "accuracy")
    both = _beside(record, Stage.RETRIEVAL, ratio, ("accuracy", "dense_accuracy"))
    return f"{both} (n = {found.num_samples})" if found and both else ""


def _accuracy(record: Record, ratio: float) -> str:
    found = passed(record, Stage.PROBE, ratio, "accuracy")
    return with_interval(found) if found else ""


def _mass(record: Record, ratio: float) -> str:
    told = ((stage, _beside(record, stage, ratio, ("mass", "oracle_mass"))) for stage in BEFORE_ENGINES)
    stage, both = next(((stage, both) for stage, both in told if both), (None, ""))
    return f"{both} on the screen" if stage is Stage.SCREEN else both


def _number(found: float | None, form: str) -> str:
    return "" if found is None else f"{found:{form}}"


def _speed(record: Record, ratio: float) -> str:
    found = passed(record, Stage.SERVE, ratio, "speedup")
    return with_interval(found, ".2f", num=False) if found else ""


def _modelled(record: Record, ratio: float) -> dict[str, str]:
    """Give the speed that the check models for the campaign's device, by that device."""
    checked = record.evaluation(Stage.CHECK, ratio)
    told = ((each.name, each.value) for each in (checked.measurements if checked else ()))
    return {
        f"speed modelled on {name.removeprefix(MODELLED)}": f"{value:.2f}"
        for name, value in told
        if name.startswith(MODELLED)
    }
