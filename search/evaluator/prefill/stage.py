"""Prefilled prompts, as a worker asks for them."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from search.evaluator.scratch.files import locked, write_atomically
from search.evaluator.session import PREFILLED
from search.records import digest_of

if TYPE_CHECKING:
    from pathlib import Path

    from search.evaluator.arms import Arms
    from search.evaluator.sandbox import Child
    from search.records import EvaluationTask


def prefilled(arms: Arms, task: EvaluationTask) -> Child:
    """Give an engine for the task's program with the prompts of the task's workload in its prefix cache.

    Dense attention prefills them once: of several workers one asks for it, and the others wait.
    """
    args = asked_prompts(task)
    told = arms.settings.scratch / PREFILLED / f"{digest_of(args)}.json"
    if not _all_kept(told):
        with locked(told.parent / "lock", before_waiting=lambda: arms.start_for(task)):
            if not _all_kept(told):
                files = _kept_by_others(arms, args)
                files = files or arms.ask_reference("prefill", args, arms.limits.prefill_s)["files"]
                write_atomically(told, lambda part: part.write_text(json.dumps(files), "utf-8"))
    engine = arms.sparse(task)
    engine.call("prefill", args, arms.limits.prefill_s)
    return engine


def _kept_by_others(arms: Arms, args: dict[str, Any]) -> list[str]:
    """Give the files of prompts that were kept for another workload; none unless an engine runs that can cut them."""
    running = arms.running
    return list(running.call("kept", args, arms.limits.prefill_s)["files"]) if running else []


def prefill_reference(arms: Arms, task: EvaluationTask) -> None:
    """Have the prompts in the prefix cache of the engine that is asked for references."""
    arms.ask_reference("prefill", asked_prompts(task), arms.limits.prefill_s)


def asked_prompts(task: EvaluationTask) -> dict[str, Any]:
    """Give what an engine is told of a task's prompts, which are the same for every program, ratio and repetition."""
    key = task.key
    circumstances = digest_of((key.model_digest, key.environment_digest, key.evaluator_version))
    return {
        "workload": asdict(replace(task.workload, ratio=0.0, repeats=1)),
        "seed": key.seed,
        "circumstances": circumstances,
    }


def _all_kept(told: Path) -> bool:
    """Say whether the prompts that a file names are all still kept."""
    try:
        names = json.loads(told.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(names, list) and all((told.parent / str(name)).exists() for name in names)
