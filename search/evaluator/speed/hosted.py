"""The serve stage within an engine's process: one timed round."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from search.evaluator.session import RefusedError
from search.records import Status, Workload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.evaluator.session import Session

NUM_TOKENS = 17  # the first comes from prefill; 16 decode steps are timed


def serve_round(
    session: Session,
    text: str,
    values: Sequence[Sequence[Any]],
    workload: dict[str, Any],
    seed: int,
    num_tokens: int = NUM_TOKENS,
) -> dict[str, Any]:
    """Decode a fixed amount of work once and time its steps. `num_tokens`: of each answer."""
    if session.sparse:
        session.swap(text, values)
    asked = Workload(**workload)
    prompts = session.kept(("prompts", asked.digest, seed), lambda: _prompts(session, asked, seed))
    steps = session.engine.generate(prompts, num_tokens).decode_step_s
    if not steps:
        raise RefusedError(Status.INFRASTRUCTURE, "no step decoded all prompts at once: the KV cache is too small")
    answer: dict[str, Any] = {
        "elapsed_s": sum(steps),
        "num_tokens": len(steps) * len(prompts),
        "step_ms": [1000 * s for s in steps],
    }
    if session.sparse:
        session.check_sparse(len(prompts) * (num_tokens - 1))
        read = {m.name: m.value for m in session.pages_read()}
        answer |= {"pages_attended": read["pages_attended"], "pages_dense": read["pages_dense"]}
    return answer


def _prompts(session: Session, workload: Workload, seed: int) -> list[list[int]]:
    """Give seeded random prompts, prefilled once: what they say does not matter for speed, their lengths do."""
    size = session.engine.llm.llm_engine.vllm_config.model_config.get_vocab_size()
    rng = random.Random(f"{seed}/{workload.split}")
    prompts = [[rng.randrange(4, size) for _ in range(workload.num_tokens)] for _ in range(workload.num_sequences)]
    session.engine.generate(prompts, 2)
    if session.sparse:
        session.engine.reset()
    return prompts
