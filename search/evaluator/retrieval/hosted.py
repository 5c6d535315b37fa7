"""The retrieval stage within an engine's process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from search.evaluator.asks import Ask
from search.evaluator.outcomes import plain
from search.evaluator.retrieval.prompts import QuestionsError, form_of, questions_of
from search.evaluator.retrieval.scoring import share_right
from search.evaluator.session import RefusedError
from search.records import Status, Workload, digest_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.evaluator.engine import Engine
    from search.evaluator.retrieval.prompts import Questionnaire
    from search.evaluator.session import Session


def prompts(session: Session, workload: Workload, seed: int) -> list[tuple[int, ...]]:
    """Give the prompts of a workload's passages."""
    return [prompt.tokens for prompt in _asked(session, workload, seed).prompts]


def answer(
    session: Session,
    text: str,
    values: Sequence[Sequence[Any]],
    workload: dict[str, Any],
    seed: int,
    asked: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Answer a workload's questions, or those of the prompts `asked`, and judge each.

    The reply's "questions" has a row for each question in order: number of its prompt, kind, length, share right;
    "left_out" names the kinds whose passages do not fit a length, nothing where there are none.
    """
    written = _asked(session, Workload(**workload), seed)
    chosen = [(i, written.prompts[i]) for i in (range(len(written.prompts)) if asked is None else asked)]
    if session.sparse:
        session.swap(text, values)
    asks = [
        Ask(prompt.tokens, len(lead) + num_tokens, lead)
        for _, prompt in chosen
        for lead, num_tokens in zip(prompt.leads, prompt.num_answer_tokens, strict=True)
    ]
    answers = session.engine.answer(asks)
    if session.sparse:
        session.check_sparse(sum(len(tokens) - 1 for tokens in answers))
    free = [tokens[len(ask.forced) :] for ask, tokens in zip(asks, answers, strict=True)]
    judged = [(i, prompt, question) for i, prompt in chosen for question in prompt.questions]
    said = [session.engine.text(tokens) for tokens in free]
    return {
        "measurements": plain(session.pages_read() if session.sparse else ()),
        "answers": digest_of(free),
        "questions": [
            [i, prompt.kind, prompt.num_tokens, share_right(question, words)]
            for (i, prompt, question), words in zip(judged, said, strict=True)
        ],
        "left_out": ", ".join(map(str, written.left_out)),
    }


def _asked(session: Session, workload: Workload, seed: int) -> Questionnaire:
    """Write the prompts in the model's form, once."""
    return session.kept(("retrieval", workload.digest, seed), lambda: _written(session.engine, workload, seed))


def _written(engine: Engine, workload: Workload, seed: int) -> Questionnaire:
    longest, most = max(workload.all_lengths), engine.settings.max_tokens
    if longest > most:
        raise RefusedError(
            Status.UNSUPPORTED, f"questions of {longest} tokens are asked, but the engine takes {most}: ask for shorter"
        )
    try:
        return questions_of(workload, seed, lambda text: engine.encode([text])[0], form_of(engine.llm.get_tokenizer()))
    except QuestionsError as error:
        raise RefusedError(Status.UNSUPPORTED, str(error)) from error
