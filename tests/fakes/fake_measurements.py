"""Tasks, candidates and results that nobody ran, and what drivers do with a ledger."""

import dataclasses
import time

from search.contracts import Claim
from search.records import (
    Candidate,
    Environment,
    Evaluation,
    EvaluationKey,
    EvaluationTask,
    Measurement,
    Proposal,
    Stage,
    Status,
    StoredCampaign,
    Workload,
)

ENVIRONMENT = Environment(
    device="Xeon", driver="", python="3.11.2", torch="2.13.0", vllm="0.32.0", commit="abc", dtype="float32"
)
ELSEWHERE = dataclasses.replace(ENVIRONMENT, device="H200", driver="CUDA 13")
BFLOAT16 = dataclasses.replace(ENVIRONMENT, dtype="bfloat16")
LENGTHS = (300, 100, 200)
CAMPAIGN = StoredCampaign(
    seed=7, num_candidates=100, proposers=("grammar", "baseline"), model="probe", settings='{"lag":8}'
)
MINUTE = 60.0
MOMENT = 0.05


def task(digest="p0", stage=Stage.PROBE, **circumstances):
    """Give a task; `split`, `ratio`, `lengths`, place, `seed` and `repeat` are the circumstances that tests vary."""
    split, ratio, lengths = (circumstances.pop(n, d) for n, d in (("split", "search"), ("ratio", 0.0), ("lengths", ())))
    workload = Workload(stage, max(lengths, default=512), num_sequences=4, split=split, lengths=lengths, ratio=ratio)
    places = (("model_digest", "model"), ("environment", ENVIRONMENT), ("version", "1"), ("seed", 0))
    model, environment, version, seed = (circumstances.pop(name, usual) for name, usual in places)
    key = EvaluationKey(digest, stage, workload.digest, model, environment.digest, version, seed, **circumstances)
    return EvaluationTask(key, text=f"class {digest}: ...", values=(("chosen", 4), ("rule", "max")), workload=workload)


def result(task_, status=Status.OK, **measured):
    """Give the task's result; `measured` maps names to a value or to (value, low, high)."""
    measurements = tuple(
        Measurement(name, *value, num_samples=36) if isinstance(value, tuple) else Measurement(name, value)
        for name, value in measured.items()
    )
    ratio = task_.workload.ratio
    return Evaluation(task_.key, status, "why", measurements, "0110", answers="a1b2", elapsed_s=0.25, ratio=ratio)


def propose(campaign, step, digest="", status=Status.OK, **proposed):
    """Give a step's candidate; without a status it is admitted as the program `digest` (`p<step>`)."""
    digest = digest or (f"p{step}" if status is Status.OK else "")
    text = proposed.pop("text", f"class {digest}: ...")
    proposal = Proposal(text=text, proposer="grammar", operator="mutate", **proposed)
    return Candidate(campaign.id, step, proposal, status, "", digest, digest.upper())


def measure(ledger, candidate, task_, **measured):
    """Claim and finish one evaluation of a candidate; `at` names another environment."""
    environment = measured.pop("at", ENVIRONMENT)
    assert ledger.claim(task_, "me", MINUTE, candidate.id) is Claim.TAKEN
    evaluation = result(task_, measured.pop("status", Status.OK), **measured)
    ledger.finish(evaluation, "me", environment)
    return evaluation


def lose_lease(ledger, task_, begun=True):
    """Let an owner claim, begin and die."""
    assert ledger.claim(task_, "doomed", MOMENT) is Claim.TAKEN
    if begun:
        ledger.begin([task_.key], "doomed")
    time.sleep(2 * MOMENT)


def quarantine(ledger, task_, candidate):
    """Let three owners die while they measure a candidate."""
    for _ in range(3):
        lose_lease(ledger, task_)
    assert ledger.claim(task_, "careful", MINUTE, candidate.id).status is Status.QUARANTINED
