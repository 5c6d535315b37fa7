"""Which stage a candidate goes to next: a pure function of its own record and of the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.parents import accuracy
from search.records import Stage, Status

if TYPE_CHECKING:
    from search.config import CampaignConfig
    from search.records import Record

SEED = "seed"  # the operator of a seed's proposal


def next_stage(record: Record, config: CampaignConfig) -> Stage | None:
    """Give the stage to run next, None when there is none: refused, failed, below a gate or through."""
    if record.candidate.status is not Status.OK:
        return None
    done = [evaluation.key.stage for evaluation in record.evaluations]
    missing = next((stage for stage in config.stages if stage not in done), None)
    return missing if missing and _passed(record, config) else None


def _passed(record: Record, config: CampaignConfig) -> bool:
    """Say whether the last stage lets the candidate on. Every seed that behaves goes all the way."""
    if not record.evaluations:
        return True
    last = record.evaluations[-1]
    if record.candidate.proposal.operator == SEED:
        return last.status in (Status.OK, Status.BELOW_GATE)
    return last.status is Status.OK and _good_enough(record, last.key.stage, config)


def _good_enough(record: Record, stage: Stage, config: CampaignConfig) -> bool:
    if stage is Stage.RECALL:
        found, by_chance = (record.value(stage, name) for name in ("mass", "random_mass"))
        return found is None or by_chance is None or found > by_chance
    if stage is Stage.PROBE:
        return (accuracy(record) or 0.0) >= config.serve_floor
    return True
