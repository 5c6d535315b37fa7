"""The probe stage within an engine's process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from search.evaluator.outcomes import measured, plain
from search.records import Measurement, Workload, digest_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.evaluator.probe.tasks import ProbeTasks
    from search.evaluator.session import Session


def answer(
    session: Session, text: str, values: Sequence[Sequence[Any]], workload: dict[str, Any], seed: int
) -> dict[str, Any]:
    """Answer the probe's problems and score every decoded hop."""
    asked = Workload(**workload)
    tasks: ProbeTasks = session.kept(("probe", asked.digest, seed), lambda: _tasks(asked, seed))
    if session.sparse:
        session.swap(text, values)
    answers: list[list[int]] = []
    result = tasks.run(lambda prompts, max_tokens: _generate(session, prompts, max_tokens, answers))
    found = [accuracy(result.hops)]
    found += [Measurement(f"accuracy_{kind}", value) for kind, value in result.by_kind]
    if session.sparse:
        found += session.pages_read()
    correct = "".join("01"[c] for c in result.correct)
    return {"measurements": plain(found), "correct": correct, "answers": digest_of(answers)}


def accuracy(hops: Sequence[Sequence[bool]]) -> Measurement:
    """Give the share of right hops with the wider of two intervals: Wilson's, and a bootstrap over whole problems.

    Hops of one problem are not independent, and where all are right a bootstrap has no width.
    """
    from search.evaluator.intervals import clustered_mean, clustered_share

    return measured("accuracy", clustered_share(clustered_mean(hops)))


def _tasks(workload: Workload, seed: int) -> ProbeTasks:
    from search.evaluator.probe.problems import problems_of
    from search.evaluator.probe.tasks import ProbeTasks

    return ProbeTasks(problems_of(workload, seed))


def _generate(session: Session, prompts: list[str], max_tokens: int, answers: list[list[int]]) -> list[list[str]]:
    """Generate for lm-eval, note the tokens, and insist that every decoded token had a sparse read."""
    engine = session.engine
    if session.sparse:
        engine.reset()
    generation = engine.generate(engine.encode(prompts), max_tokens)
    if session.sparse:
        session.check_sparse(len(prompts) * (max_tokens - 1))
    answers += generation.tokens
    return [engine.decode(tokens) for tokens in generation.tokens]
