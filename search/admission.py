"""The door: a proposal becomes a candidate, and what the language alone can tell of it is measured."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from search.records import Candidate, Evaluation, EvaluationTask, Measurement, Proposal, Status
from vortex_dsl import ProgramError, Shape, cost, load_program, trace

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from search.config import CampaignConfig
    from vortex_dsl.graph import Graph


def traced(proposal: Proposal, config: CampaignConfig) -> tuple[str, Graph]:
    """Give the program's name and its graph with the proposal's values. Raises ProgramError."""
    program = load_program(_as_text(proposal.text)).with_values(**dict(proposal.values))
    return program.name, trace(program, Shape(group=config.group, head_dim=config.head_dim))


def admit(proposal: Proposal, campaign_id: int, step: int, config: CampaignConfig, seen: AbstractSet[str]) -> Candidate:
    """Parse, type and compare with what the campaign has seen: OK, PROGRAM_ERROR or DUPLICATE."""
    try:
        name, graph = traced(proposal, config)
    except ProgramError as error:
        return Candidate(campaign_id, step, proposal, Status.PROGRAM_ERROR, str(error))
    if graph.digest in seen:
        message = f"an earlier step of this campaign means the same: {graph.digest}"
        return Candidate(campaign_id, step, proposal, Status.DUPLICATE, message, graph.digest, name)
    return Candidate(campaign_id, step, proposal, Status.OK, "", graph.digest, name)


def check(task: EvaluationTask, config: CampaignConfig) -> Evaluation:
    """Measure an admitted program without running it: bytes, operations and the cost model's ratio to dense."""
    start = time.monotonic()
    program = load_program(_as_text(task.text)).with_values(**dict(task.values))
    shape = Shape(group=config.group, head_dim=config.head_dim)
    estimate = cost(program, shape, tokens=task.workload.num_tokens)
    graph = trace(program, shape)
    num_operations = len({*graph.summary_nodes, *graph.select_nodes})
    measurements = (
        Measurement("bytes_per_page", float(estimate.bytes_per_page)),
        Measurement("operations", float(num_operations)),
        Measurement("cost_ratio", float(estimate.ratio)),
    )
    return Evaluation(task.key, Status.OK, measurements=measurements, elapsed_s=time.monotonic() - start)


def _as_text(text: str) -> str:
    """Make sure that a proposal is read as a text, never as the path of a file."""
    return text if "\n" in text else text + "\n"
