"""The retrieval stage in a worker: the program answers what dense attention answers."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from search.evaluator.arms import asked_of
from search.evaluator.outcomes import DenseFailedError, Outcome, outcome_of, plain
from search.evaluator.prefill.stage import prefill_reference, prefilled
from search.evaluator.retrieval import figures
from search.evaluator.scratch.references import kept_reference
from search.records import Status

if TYPE_CHECKING:
    from search.evaluator.arms import Arms
    from search.records import EvaluationTask


def run(arms: Arms, task: EvaluationTask) -> Outcome:
    """Let the program answer the questions of each kind and length of which dense attention answers enough.

    Kinds and lengths that are left out are told, with the reason: no passage fits, or dense attention answers too few.
    Where there are no others, this stage says nothing about any program: it passes without a figure, and its message
    says why, so that programs are judged by what the model can do.
    """
    args, limits = asked_of(task), arms.limits
    args["workload"] = asdict(replace(task.workload, ratio=0.0))  # the same questions whatever the ratio

    def dense_answers() -> dict[str, Any]:
        prefill_reference(arms, task)
        return arms.ask_reference("retrieval", args | {"text": "", "values": ()}, limits.retrieval_s)

    try:
        reply = kept_reference(arms.settings.scratch, arms.settings.engine.dtype, task, dense_answers)
    except DenseFailedError as error:
        if error.status is not Status.UNSUPPORTED:
            raise
        return Outcome(message=f"no question was asked: {error}")
    dense = figures.judged_of(reply["questions"])
    kept, dropped, left_out = figures.answered(dense), ", ".join(figures.dropped(dense)), _left_out(reply)
    if not kept:
        least = f"dense attention answers less than {figures.FLOOR:.0%} of every kind at every length"
        message = "; ".join([f"{least}: {dropped}", *left_out, "ask at shorter lengths, or of a larger model"])
        return Outcome(Status.OK, message, tuple(figures.dense_measurements(dense)))
    prompts = list(dict.fromkeys(each.prompt for each in kept))
    answers = prefilled(arms, task).call("retrieval", args | {"asked": prompts}, limits.retrieval_s)
    sparse = figures.judged_of(answers["questions"])
    found = [*figures.paired_measurements(sparse, kept), *figures.dense_measurements(dense)]
    answers["measurements"] = [*plain(found), *answers["measurements"]]
    answers["correct"] = "".join("01"[each.right] for each in sparse)
    too_few = [f"dropped, as dense attention answers too few: {dropped}"] if dropped else []
    answers["message"] = "; ".join(too_few + left_out)
    return outcome_of(answers)


def _left_out(reply: dict[str, Any]) -> list[str]:
    """Tell what was not asked, nothing where every kind fits every length."""
    return [f"left out, as no passage fits: {reply['left_out']}"] if reply["left_out"] else []
