"""The recall stage within an engine's process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from search.evaluator.outcomes import plain
from search.records import Workload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.evaluator.recall.figures import Recording
    from search.evaluator.session import Session

RECORDED_STEPS = 3


def measure(
    session: Session, text: str, values: Sequence[Sequence[Any]], workload: dict[str, Any], seed: int
) -> dict[str, Any]:
    """Measure the attention mass that the program keeps on queries, keys and values of this model."""
    from search.evaluator.recall import figures

    _, graph = session.traced(text, values)
    asked = Workload(**workload)
    recorded = session.kept(("recorded", asked.digest, seed), lambda: _record(session, asked, seed))
    return {"measurements": plain(figures.measure(graph, recorded, seed))}


def _record(session: Session, workload: Workload, seed: int) -> list[Recording]:
    """Record q, k and v of a few decode steps once, with every page attended."""
    from search.evaluator.engine import START
    from search.evaluator.probe import chains
    from search.evaluator.recall.figures import recordings

    kind = chains.KINDS[0]
    problems = chains.make_problems(kind, workload.num_sequences, workload.num_tokens, seed, workload.split)
    session.swap(START.format(page_size=session.engine.settings.page_size), ())
    prompts = session.engine.encode([problem.prompt for problem in problems])
    return recordings(session.engine.record(prompts, RECORDED_STEPS))
