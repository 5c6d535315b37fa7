"""The task stage within an engine's process: it answers what lm-eval asks outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from search.evaluator.asks import Ask
from search.evaluator.outcomes import plain
from search.evaluator.session import RefusedError
from search.records import Status, digest_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.evaluator.session import Session

LEAST_TOKENS = 2  # the first comes from prefill


def answer(
    session: Session,
    text: str,
    values: Sequence[Sequence[Any]],
    prompts: Sequence[str],
    samplings: Sequence[dict[str, Any]],
    special_tokens: bool,
    **_of_the_task: Any,
) -> dict[str, Any]:
    """Answer prompts. `special_tokens`: whether the tokenizer adds its own (a chat template has written them already).

    samplings: for each prompt `until` (stop strings), `max_gen_toks`, `temperature`, `top_p`, `top_k`, `seed`. The
    reply's "num_cut" counts the answers that the engine's length cut off.
    """
    if session.sparse:
        session.swap(text, values)
    tokenizer = session.engine.llm.get_tokenizer()
    tokens = [tokenizer.encode(prompt, add_special_tokens=special_tokens) for prompt in prompts]
    asks = [_ask(session, prompt, sampling) for prompt, sampling in zip(tokens, samplings, strict=True)]
    answers = session.engine.answer(asks)
    if session.sparse:
        _check_sparse(session, answers)
    return {
        "measurements": plain(session.pages_read() if session.sparse else ()),
        "answers": digest_of(answers),
        "texts": [_until(session.engine.text(said), ask.stop) for said, ask in zip(answers, asks, strict=True)],
        "num_cut": sum(
            len(said) == ask.num_tokens < int(sampling["max_gen_toks"])
            for said, ask, sampling in zip(answers, asks, samplings, strict=True)
        ),
    }


def _ask(session: Session, prompt: list[int], sampling: dict[str, Any]) -> Ask:
    """Bound an answer by what the engine takes. Raises RefusedError for a prompt that leaves no room for one."""
    most = session.engine.settings.max_tokens
    room = most - len(prompt)
    if room < LEAST_TOKENS:
        raise RefusedError(
            Status.UNSUPPORTED,
            f"a prompt of the task has {len(prompt)} tokens, and the engine takes {most} with the answer: choose a "
            "shorter task or a model with a longer context",
        )
    return Ask(
        prompt,
        min(room, int(sampling["max_gen_toks"])),
        ends=True,
        stop=tuple(word for word in sampling["until"] if word),
        temperature=float(sampling["temperature"]),
        top_p=float(sampling["top_p"]),
        top_k=int(sampling["top_k"]),
        seed=int(sampling["seed"]),
    )


def _check_sparse(session: Session, answers: Sequence[Sequence[int]]) -> None:
    """Raise unless every token after each answer's first had a sparse read, and there are such tokens."""
    num_decoded = sum(len(tokens) - 1 for tokens in answers)
    if not num_decoded:
        raise RefusedError(
            Status.NOT_SPARSE, "every answer ended with its first token, which prefill gives: the task measures nothing"
        )
    session.check_sparse(num_decoded)


def _until(text: str, stop: Sequence[str]) -> str:
    """Cut an answer where it was to stop."""
    for word in stop:
        text = text.split(word, maxsplit=1)[0]
    return text
