"""The door: a proposal becomes a candidate, and what the language alone can tell of it is measured."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from search.fit import traced
from search.records import Candidate, Evaluation, EvaluationTask, Measurement, Proposal, Status
from vortex_dsl import ProgramError, Shape
from vortex_dsl.analysis.cost import cost_of

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from search.config import CampaignConfig


def admit(proposal: Proposal, campaign_id: int, step: int, config: CampaignConfig, seen: AbstractSet[str]) -> Candidate:
    """Parse, type and compare with what the campaign has seen: OK, PROGRAM_ERROR or DUPLICATE."""
    try:
        program, graph = traced(proposal.text, proposal.values, Shape(config.group, config.head_dim))
    except ProgramError as error:
        return Candidate(campaign_id, step, proposal, Status.PROGRAM_ERROR, str(error))
    if graph.digest in seen:
        message = f"an earlier step of this campaign means the same: {graph.digest}"
        return Candidate(campaign_id, step, proposal, Status.DUPLICATE, message, graph.digest, program.name)
    return Candidate(campaign_id, step, proposal, Status.OK, "", graph.digest, program.name)


def check(task: EvaluationTask, config: CampaignConfig) -> Evaluation:
    """Measure an admitted program without running it: bytes, operations and the cost model's ratio to dense."""
    start = time.monotonic()
    _, graph = traced(task.text, task.values, Shape(config.group, config.head_dim))
    estimate = cost_of(graph, task.workload.num_tokens)
    measurements = (
        Measurement("bytes_per_page", float(estimate.bytes_per_page)),
        Measurement("operations", float(graph.num_operations)),
        Measurement("cost_ratio", float(estimate.ratio)),
    )
    return Evaluation(task.key, Status.OK, measurements=measurements, elapsed_s=time.monotonic() - start)
