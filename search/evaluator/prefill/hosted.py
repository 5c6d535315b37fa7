"""A workload's prompts in an engine's prefix cache, within the engine's process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.evaluator.asks import Ask
from search.evaluator.fidelity import hosted as fidelity
from search.evaluator.prefill.kept import Shelf
from search.evaluator.prefill.replay import can_replay, prefilled_by, replay, token_bytes
from search.evaluator.recall import hosted as recall
from search.evaluator.retrieval import hosted as retrieval
from search.evaluator.session import PREFILLED
from search.evaluator.speed import hosted as speed
from search.records import Stage, Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from search.evaluator.session import Session

    Prompt = tuple[int, ...]

PROMPTS: dict[Stage, Callable[[Session, Workload, int], list[Prompt]]] = {
    Stage.RECALL: recall.prompts,
    Stage.FIDELITY: fidelity.prompts,
    Stage.RETRIEVAL: retrieval.prompts,
    Stage.SERVE: speed.documents,
}


def prefill(session: Session, workload: dict[str, Any], seed: int, circumstances: str) -> dict[str, Any]:
    """Have the prompts of a workload in the prefix cache, once.

    The dense engine computes and keeps what nobody has kept yet. The sparse one is served from there and, where
    prompts are not kept, prefills them itself, with every page attended. The reply's "files" are those kept.
    """
    asked, shelf = Workload(**workload), Shelf(Path.home() / PREFILLED, circumstances)

    def once() -> dict[str, Any]:
        prompts = PROMPTS[asked.stage](session, asked, seed)
        whole = without_beginnings(prompts)
        _fill(session, whole, shelf)
        return {
            "num_prompts": len(prompts),
            "files": [shelf.path(prompt).name for prompt in whole if shelf.has(prompt)],
        }

    return session.kept((PREFILLED, asked.digest, seed), once)


def kept(session: Session, workload: dict[str, Any], seed: int, circumstances: str) -> dict[str, Any]:
    """Give the "files" of a workload's prompts, as `prefill` does, where all of them are kept already; else none."""
    asked, shelf = Workload(**workload), Shelf(Path.home() / PREFILLED, circumstances)
    whole = without_beginnings(PROMPTS[asked.stage](session, asked, seed))
    return {"files": [shelf.path(prompt).name for prompt in whole] if all(map(shelf.has, whole)) else []}


def without_beginnings(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Leave out prompts with which longer ones begin: they share their pages."""
    longest: list[Prompt] = []
    for prompt in sorted(dict.fromkeys(prompts), key=len, reverse=True):
        if not any(other[: len(prompt)] == prompt for other in longest):
            longest.append(prompt)
    return longest


def _fill(session: Session, prompts: Sequence[Prompt], shelf: Shelf) -> None:
    """Write prompts into the prefix cache."""
    engine = session.engine
    num_bytes = token_bytes(engine) * sum(map(len, prompts)) if can_replay(engine) else 0
    if num_bytes and not session.sparse and shelf.holds(num_bytes):
        _compute(session, [prompt for prompt in prompts if not shelf.has(prompt)], shelf)
    session.attend_every_page()
    for prompt in prompts:
        prefilled = shelf.read(prompt) if num_bytes else None
        if prefilled is None:
            engine.answer([Ask(prompt, 1)])
        else:
            replay(engine, prompt, prefilled)


def _compute(session: Session, prompts: Sequence[Prompt], shelf: Shelf) -> None:
    """Prefill prompts and keep them, each whole: from a cache that holds nothing of it."""
    for prompt in prompts:
        session.forget_prompts()
        shelf.write(prompt, prefilled_by(session.engine, prompt))
    if prompts:
        session.forget_prompts()
