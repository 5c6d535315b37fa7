"""The recall stage in a worker: the sparse engine records once, and a process without an engine measures programs."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from search.evaluator.identity import EVALUATOR_VERSION
from search.evaluator.outcomes import Outcome, outcome_of
from search.evaluator.prefill.stage import prefilled
from search.evaluator.sandbox import ChildError
from search.evaluator.scratch.files import locked
from search.records import digest_of
from search.workloads import recorded

if TYPE_CHECKING:
    from pathlib import Path

    from search.evaluator.arms import Arms
    from search.records import EvaluationTask, Workload


def run(arms: Arms, task: EvaluationTask) -> Outcome:
    """Measure what the program keeps of the model's attention."""
    return _ask(arms, task, "recall")


def screen(arms: Arms, task: EvaluationTask) -> Outcome:
    """Measure it on a small part of what is recorded for recall."""
    return _ask(arms, task, "screen")


def file_of(scratch: Path, made_by: tuple[str, str, str, str], workload: Workload, seed: int) -> Path:
    """Name the recordings of a workload, whether or not they are there.

    `made_by`: digests of the model and of the environment, whose Python brings the prose; evaluator's version, dtype of
    the engine. Stages, programs and cost ratios share them.
    """
    return scratch / "recordings" / f"{digest_of((*made_by, recorded(workload).digest, seed))}.safetensors"


def _ask(arms: Arms, task: EvaluationTask, call: str) -> Outcome:
    key = task.key
    made_by = key.model_digest, key.environment_digest, EVALUATOR_VERSION, arms.settings.engine.dtype
    file = file_of(arms.settings.scratch, made_by, task.workload, key.seed)
    if not file.exists():
        workload = recorded(task.workload)
        key = replace(key, stage=workload.stage, workload_digest=workload.digest)
        _record(arms, replace(task, key=key, workload=workload), file)
    try:
        reply = arms.ask_light(
            (call, {"file": str(file)}),
            (call, {"file": str(file), "text": task.text, "values": task.values}),
            arms.limits.recall_s,
        )
    except ChildError as error:  # no engine took part, so none is to blame
        return Outcome(error.status, str(error))
    return outcome_of(reply)


def _record(arms: Arms, task: EvaluationTask, file: Path) -> None:
    """Let an engine record; of several workers one does, and the others wait for it."""
    engine = prefilled(arms, task)
    with locked(file.parent / "lock"):
        if file.exists():
            return
        args = {"file": str(file), "workload": asdict(task.workload), "seed": task.key.seed}
        try:
            engine.call("record", args, arms.limits.record_s)
        except ChildError as error:
            raise ChildError(f"the model's attention was not recorded: {error}") from error
