"""What dense attention makes of a workload: measured once for each model and seed, kept, and paired with programs."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from search.evaluator.scratch.files import locked, write_atomically
from search.records import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from search.records import EvaluationTask


def kept_reference(
    scratch: Path, dtype: str, task: EvaluationTask, ask: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Give the reply of dense attention in a dtype to a task's workload; `ask` asks where nobody has kept it yet.

    The cost ratio that the program was fitted to is nothing to dense attention. A file of another model, version of
    the evaluator, environment, workload or seed has another name, and one that is not whole is made anew.
    """
    key, workload = task.key, replace(task.workload, ratio=0.0)
    circumstances = {
        "model": key.model_digest,
        "environment": key.environment_digest,
        "version": key.evaluator_version,
        "dtype": dtype,
        "workload": asdict(workload),
        "seed": key.seed,
    }
    path = scratch / "references" / f"{task.key.stage.value}-{digest_of(circumstances)}.json"
    circumstances = json.loads(json.dumps(circumstances))
    kept = _read(path, circumstances)
    if kept is None:
        with locked(path.parent / f"{task.key.stage.value}.lock"):
            kept = _read(path, circumstances)
            if kept is None:
                kept = ask()
                text = json.dumps({"circumstances": circumstances, "reply": kept})
                write_atomically(path, lambda part: part.write_text(text, "utf-8"))
    return kept


def _read(path: Path, circumstances: dict[str, Any]) -> dict[str, Any] | None:
    """Give the reply that a file holds, None where it is missing, spoiled or of other circumstances."""
    try:
        kept = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    whole = isinstance(kept, dict) and kept.keys() == {"circumstances", "reply"}
    return dict(kept["reply"]) if whole and kept["circumstances"] == circumstances else None
