"""The fidelity stage within an engine's process: the dense reference, and a program beside it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from search.evaluator.fidelity.figures import Compared
from search.evaluator.fidelity.files import reference_path
from search.evaluator.fidelity.given import TextError
from search.evaluator.fidelity.positions import Against, Kept
from search.evaluator.fidelity.reference import MAX_BYTES, Reference, read, with_own, write
from search.evaluator.fidelity.texts import (
    document_tokens,
    encoder,
    first_tokens,
    texts_of,
    turns,
)
from search.evaluator.outcomes import plain
from search.evaluator.session import RefusedError
from search.records import Status, Workload, digest_of
from search.workloads import FORCED_TOKENS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.evaluator.engine import Engine
    from search.evaluator.fidelity.texts import Text
    from search.evaluator.session import Session


def refer(session: Session, workload: dict[str, Any], seed: int, name: str) -> dict[str, Any]:
    """Decode the texts densely and keep what was said under `name` in this process's home."""
    asked, home = Workload(**workload), Path.home()
    texts = with_own(_texts(session.engine, asked, seed, home), len(asked.all_lengths))
    made = _made(session.engine, texts, asked.num_decoded or FORCED_TOKENS)
    write(made, reference_path(name, home))
    return {"num_texts": len(made.texts)}


def prompts(session: Session, workload: Workload, seed: int) -> list[tuple[int, ...]]:
    """Give the prompts of a workload's texts, or of those that the KV cache holds first."""
    engine = session.engine
    texts = _texts(engine, workload, seed, Path.home())
    first, *_ = turns(texts, workload.num_decoded or FORCED_TOKENS, engine.kv_tokens)
    return [text.prompt for text in first]


def compare(session: Session, text: str, values: Sequence[Sequence[Any]], name: str) -> dict[str, Any]:
    """Decode the texts of a reference with the program's attention, and compare position by position."""
    reference = _reference(session, name)
    session.swap(text, values)
    session.engine.reset()
    texts, said = reference.texts, reference.log_probabilities
    listeners = [Against(room, each.forced) for room, each in zip(said, texts, strict=True)]
    _dictate(session.engine, texts, said.shape[1] + 1, listeners)
    done = session.done()
    session.check_sparse(said.shape[0] * said.shape[1], done)
    figures = torch.stack([each.figures for each in listeners])
    found = Compared(texts, *(each.numpy() for each in figures.unbind(-1)))
    return {
        "measurements": plain([*found.measurements(), *session.pages_read(done)]),
        "message": found.extent,
        "correct": found.agreements,
        "answers": digest_of([each.first_choices for each in listeners]),
    }


def _texts(engine: Engine, workload: Workload, seed: int, scratch: Path) -> list[Text]:
    """Cut the texts with the model's tokenizer, after seeing that the engine holds them."""
    needed = max(workload.all_lengths) + (workload.num_decoded or FORCED_TOKENS)
    if needed > engine.settings.max_tokens:
        raise RefusedError(
            Status.INFRASTRUCTURE,
            f"a text with what is decoded after it has {needed} tokens, but the engine takes at most "
            f"{engine.settings.max_tokens}: ask for shorter texts or raise max_tokens",
        )
    room = document_tokens(workload.all_lengths, workload.num_decoded or FORCED_TOKENS)
    if room > engine.kv_tokens:
        raise RefusedError(
            Status.INFRASTRUCTURE,
            f"the texts of a document need room for {room} tokens, but the KV cache holds {engine.kv_tokens}: raise "
            "kv_cache_bytes or ask for shorter texts",
        )
    try:
        tokenizer = engine.llm.get_tokenizer()
    except ValueError:
        raise RefusedError(
            Status.INFRASTRUCTURE,
            f"the model {engine.settings.model} has no tokenizer, by which texts are cut: put the tokenizer's files "
            "beside its weights",
        ) from None
    try:
        return texts_of(workload, encoder(tokenizer), seed, first_tokens(tokenizer), scratch)
    except TextError as error:
        raise RefusedError(Status.INFRASTRUCTURE, str(error)) from None


def _made(engine: Engine, texts: Sequence[Text], num_decoded: int) -> Reference:
    """Decode each text once; what the model said itself is what is forced from then on."""
    vocabulary = engine.llm.llm_engine.vllm_config.model_config.get_vocab_size()
    size = (len(texts), num_decoded - 1, vocabulary)
    if 4 * math.prod(size) > MAX_BYTES:
        raise RefusedError(
            Status.INFRASTRUCTURE,
            f"{size[0]} texts of {size[1]} positions and {vocabulary} tokens of vocabulary make more than {MAX_BYTES} "
            "bytes of log-probabilities: ask for fewer texts or positions",
        )
    said = torch.empty(size)
    emitted = _dictate(engine, texts, num_decoded, [Kept(room) for room in said])
    whole = [replace(text, forced=tuple(tokens)) for text, tokens in zip(texts, emitted, strict=True)]
    return Reference(whole, said)


def _dictate(
    engine: Engine, texts: Sequence[Text], num_decoded: int, listeners: Sequence[Kept | Against]
) -> list[list[int]]:
    """Let requests emit their texts while somebody listens to each; give what they emitted.

    Documents that the KV cache does not hold at once take turns, each prefilled anew.
    """
    from search.evaluator.fidelity.forcing import Dictation

    emitted: list[list[int]] = []
    for some in turns(texts, num_decoded, engine.kv_tokens):
        heard = listeners[len(emitted) : len(emitted) + len(some)]
        dictations = [
            Dictation(len(text.prompt), text.forced, each.hear) for text, each in zip(some, heard, strict=True)
        ]
        emitted += engine.generate([text.prompt for text in some], num_decoded, dictations).tokens
    for text, tokens, listener in zip(texts, emitted, listeners, strict=True):
        if listener.num_heard != num_decoded - 1 or (text.forced and tuple(tokens) != tuple(text.forced)):
            raise RefusedError(Status.INFRASTRUCTURE, f"{text.name} was not decoded as it was dictated")
    return emitted


def _reference(session: Session, name: str) -> Reference:
    """Give the dense reference, opened once."""
    return session.kept(("reference", name), lambda: read(reference_path(name, Path.home())))
