"""The door: a proposal becomes a candidate, and what the language alone can tell of it is measured."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from search.archive.speeds import MODELLED
from search.behaviour.lengths import objection, unsteady
from search.fit import fit, traced
from search.records import Candidate, Evaluation, EvaluationTask, Measurement, Proposal, Stage, Status
from vortex_dsl import ProgramError
from vortex_dsl.analysis.cost import cost_of
from vortex_dsl.analysis.devices import device, modelled_s
from vortex_dsl.analysis.layout import Layout
from vortex_dsl.codegen.plan import make_plan

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from search.config import CampaignConfig
    from search.fit import Fitted, Terms
    from search.records import Record

MODELLED_SEQUENCES = 32  # of the batch for which speed is modelled


def admit(proposal: Proposal, campaign_id: int, step: int, config: CampaignConfig, seen: AbstractSet[str]) -> Candidate:
    """Parse, type and compare with what the campaign has seen: OK, PROGRAM_ERROR or DUPLICATE.

    A rule whose program at some cost ratio is that of an earlier rule is the same rule with another budget. Whether it
    keeps to the bounds is told by `search.agents.bounds.enforced`.
    """
    try:
        program, graph = traced(proposal.text, proposal.values, config.terms.shape)
        known = [digest for digest in digests(proposal, config.terms, config.ratios) if digest in seen]
    except ProgramError as error:
        return Candidate(campaign_id, step, proposal, Status.PROGRAM_ERROR, str(error))
    if known:
        message = f"an earlier step of this campaign means the same: {known[0]}"
        return Candidate(campaign_id, step, proposal, Status.DUPLICATE, message, graph.digest, program.name)
    return Candidate(campaign_id, step, proposal, Status.OK, "", graph.digest, program.name)


def digests(proposal: Proposal, terms: Terms, ratios: tuple[float, ...]) -> list[str]:
    """Give the digests of a proposal's programs: as written, and at each cost ratio that it reaches.

    Raises ProgramError.
    """
    found = [fit(proposal.text, proposal.values, terms, ratio) for ratio in (0.0, *ratios)]
    return list(dict.fromkeys(each.digest for each in found if not each.refusal))


def meant(record: Record, config: CampaignConfig) -> list[str]:
    """Give the digests of a step's programs, which no later one repeats.

    Those of who was checked here its record tells: to fit budgets anew takes a tenth of a second, which whoever resumes
    a campaign would wait for a thousand times.
    """
    candidate = record.candidate
    written = [candidate.program_digest] if candidate.program_digest else []
    if candidate.status is not Status.OK:
        return written
    checked = {each.ratio: each.key.program_digest for each in record.evaluations if each.key.stage is Stage.CHECK}
    if config.ratios and all(ratio in checked for ratio in config.ratios):
        return [*written, *(checked[ratio] for ratio in config.ratios)]
    return [*written, *digests(candidate.proposal, config.terms, config.ratios)]


def check(task: EvaluationTask, config: CampaignConfig) -> Evaluation:
    """Measure an admitted program without running it: bytes, operations and the cost model's ratios to dense.

    Where it cannot be brought to the workload's cost ratio, or reads otherwise than it is judged by
    (`search.behaviour.lengths`), it is BELOW_GATE.
    """
    start = time.monotonic()
    _, graph = traced(task.text, task.values, config.terms.shape)
    fitted = fit(task.text, task.values, config.terms, task.workload.ratio)
    measurements = [
        Measurement("bytes_per_page", float(Layout(graph).bytes_per_page)),
        Measurement("operations", float(graph.num_operations)),
        Measurement("cost_ratio", fitted.cost_ratio),
        *(Measurement(f"cost_ratio_{length}", ratio) for length, ratio in fitted.cost_ratios),
        *([] if fitted.budget is None else [Measurement("budget", fitted.budget)]),
        modelled(task.text, fitted.values, config),
    ]
    if Stage.RETRIEVAL in config.stages:
        measurements.append(Measurement("retrieval_cost_ratio", _asked(task, config).cost_ratio))
    told = fitted.refusal or _objection(task, fitted, config)
    status, elapsed_s = Status.BELOW_GATE if told else Status.OK, time.monotonic() - start
    return Evaluation(task.key, status, told, tuple(measurements), elapsed_s=elapsed_s, ratio=task.workload.ratio)


def _asked(task: EvaluationTask, config: CampaignConfig) -> Fitted:
    """Fit the program's budget at the lengths of questions, where it is another."""
    return fit(task.text, task.values, config.terms_of(config.workload(Stage.RETRIEVAL)), task.workload.ratio)


def _objection(task: EvaluationTask, fitted: Fitted, config: CampaignConfig) -> str:
    """Say why what it reads is not what it is judged by, with the budget of texts and with that of questions."""
    _, judged = traced(task.text, fitted.values, config.terms.shape)
    told = objection(judged, config.workloads, config.num_layers, task.workload.ratio)
    if told or Stage.RETRIEVAL not in config.stages:
        return told
    _, asked = traced(task.text, _asked(task, config).values, config.terms.shape)
    return unsteady(asked, [config.workload(Stage.RETRIEVAL)], config.num_layers)


def modelled(text: str, values: tuple[tuple[str, float | int | str], ...], config: CampaignConfig) -> Measurement:
    """Model the speed-up of attention on the campaign's target, for a batch of the longest texts that are judged."""
    _, graph = traced(text, values, config.terms.shape)
    spent = cost_of(graph, max(config.terms.lengths), config.num_layers)
    rows, launches = MODELLED_SEQUENCES * config.num_kv_heads, make_plan(graph).num_launches
    sparse_s, dense_s = modelled_s(spent, device(config.target), rows, launches)
    return Measurement(f"{MODELLED}{config.target}", spent.layers.times(dense_s, sparse_s))
