"""The fidelity stage in a worker: the dense engine decodes the texts once, the sparse one for each program."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from search.evaluator.arms import asked_of
from search.evaluator.fidelity.files import reference_path
from search.evaluator.outcomes import Outcome, outcome_of
from search.evaluator.prefill.stage import prefill_reference, prefilled
from search.evaluator.scratch.files import locked
from search.records import digest_of

if TYPE_CHECKING:
    from search.evaluator.arms import Arms
    from search.evaluator.engine import EngineSettings
    from search.records import EvaluationTask


def run(arms: Arms, task: EvaluationTask) -> Outcome:
    """Let the program decode the texts that dense attention has decoded."""
    name = reference_name(task, arms.settings.engine)
    _refer(arms, task, name)  # first, so that who has prefilled the texts for all decodes them too
    sparse = prefilled(arms, task)
    asked = {key: value for key, value in asked_of(task).items() if key in ("text", "values")}
    asked |= {"name": name}
    return outcome_of(sparse.call("fidelity", asked, arms.limits.fidelity_s))


def _refer(arms: Arms, task: EvaluationTask, name: str) -> None:
    """Let dense attention decode the texts, unless somebody did."""
    path = reference_path(name, arms.settings.scratch)
    if path.exists():
        return
    with locked(path.parent / "lock", before_waiting=lambda: arms.start_for(task)):
        if not path.exists():
            prefill_reference(arms, task)
            arms.ask_reference("fidelity_reference", _shared(task) | {"name": name}, arms.limits.fidelity_s)


def reference_name(task: EvaluationTask, engine: EngineSettings) -> str:
    """Name what the dense engine says to a workload: it depends on all that a program's figures do, but no program."""
    key = asdict(task.key)
    shared = ("model_digest", "environment_digest", "evaluator_version", "seed")
    return digest_of({name: key[name] for name in shared} | {"dtype": engine.dtype, "workload": _shared(task)})


def _shared(task: EvaluationTask) -> dict[str, Any]:
    """Give what is asked of every program, whatever its ratio."""
    return {"workload": asdict(replace(task.workload, ratio=0.0, repeats=1)), "seed": task.key.seed}
