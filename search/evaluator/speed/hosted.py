"""The serve stage within an engine's process: one timed round."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.evaluator.fidelity.given import TextError
from search.evaluator.outcomes import plain
from search.evaluator.session import RefusedError
from search.evaluator.speed.clock import AttentionClock
from search.evaluator.speed.floor import floor_s
from search.evaluator.speed.prompts import NUM_TOKENS, documents_of, prompts_of
from search.records import Status, Workload, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from search.evaluator.session import Session

GUARDS = ("pages_claimed", "shortest_prompt", "longest_prompt", "preemptions")


def serve_round(
    session: Session,
    text: str,
    values: Sequence[Sequence[Any]],
    workload: dict[str, Any],
    seed: int,
    num_tokens: int = NUM_TOKENS,
) -> dict[str, Any]:
    """Decode a fixed amount of work once and time its steps. `num_tokens`: of each answer.

    `floor_ms`: the least time of a step, in which the pages that it read can be read at all. `guards`: measurements
    that say how it was decoded. `elapsed_s` is wall time. On a CPU, `processor_s` is what the steps took of
    processors, all threads together, and `attention_s` the share of it within attention layers: what other processes do
    changes neither.
    """
    if session.sparse:
        session.swap(text, values)
    asked, engine = Workload(**workload), session.engine
    decoded = prompts(session, asked, seed)
    with AttentionClock(engine.attention_layers if engine.on_cpu else ()) as clock:
        timed = engine.generate(decoded, num_tokens, attention_clock=clock.read)
    steps = timed.decode_step_s
    if not steps:
        raise RefusedError(Status.INFRASTRUCTURE, "no step decoded all prompts at once: the KV cache is too small")
    answer: dict[str, Any] = {
        "elapsed_s": sum(steps),
        "num_tokens": len(steps) * len(decoded),
        "step_ms": [1000 * s for s in steps],
        "answers": digest_of(timed.tokens),
    }
    if engine.on_cpu:
        answer |= {"processor_s": sum(timed.processor_s), "attention_s": sum(timed.attention_s)}
    if session.sparse:
        num_steps = num_tokens - 1
        session.check_sparse(len(decoded) * num_steps)
        read = session.pages_read()
        answer["guards"] = plain(each for each in read if each.name in GUARDS)
        answer |= {m.name: m.value for m in read if m.name in ("pages_attended", "pages_dense")}
        answer["floor_ms"] = 1000 * floor_s(engine, num_steps)
    return answer


def prompts(session: Session, workload: Workload, seed: int) -> list[tuple[int, ...]]:
    """Give the prompts that are decoded."""
    return _made(session, workload, seed, prompts_of)


def documents(session: Session, workload: Workload, seed: int) -> list[tuple[int, ...]]:
    """Give what is prefilled: the documents of which the prompts are beginnings."""
    return _made(session, workload, seed, documents_of)


def _made(
    session: Session, workload: Workload, seed: int, make: Callable[..., list[tuple[int, ...]]]
) -> list[tuple[int, ...]]:
    asked = replace(workload, ratio=0.0, repeats=1)

    def made() -> list[tuple[int, ...]]:
        try:
            return make(asked, seed, session.engine.llm.get_tokenizer(), Path.home())
        except TextError as error:
            raise RefusedError(Status.INFRASTRUCTURE, str(error)) from None

    return session.kept((make.__name__, asked.digest, seed), made)
