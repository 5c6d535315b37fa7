"""The oracle stage within an engine's process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from search.evaluator.outcomes import plain
from search.evaluator.session import RefusedError
from search.records import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.evaluator.session import Session


def judge(session: Session, text: str, values: Sequence[Sequence[Any]], seed: int) -> dict[str, Any]:
    """Judge what this engine serves for the program, in caches of its own: the engine's are left alone."""
    from search.evaluator.oracle.check import check
    from search.evaluator.oracle.witness import Mismatch
    from vortex_dsl.serving.config import ServingError

    program, graph = session.traced(text, values)
    try:
        engine = session.engine
        verdict = check(program, graph, engine.llm.llm_engine.vllm_config, seed, engine.settings.lengths)
    except Mismatch as error:
        raise RefusedError(Status.WRONG_RESULT, str(error)) from error
    except ServingError as error:
        raise RefusedError(Status.UNSUPPORTED, str(error)) from error
    return {"measurements": plain(verdict.measurements), "message": f"served by {'; '.join(verdict.served_by)}"}
