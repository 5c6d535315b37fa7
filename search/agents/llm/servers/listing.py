"""Which models a server lists, asked before a campaign begins: its first question may be minutes away."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from search.agents.answers import parsed
from search.agents.llm.keys import redacted
from search.report.wording import cut
from vortex_dsl.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.agents.llm.endpoint import Endpoint

PATH, VERSION = "models", "/v1"
WAIT_S = 10.0
LEAST_ANSWER_TOKENS = 2_000  # a program with its reasons
CONTEXT = "max_model_len"  # a model's context, as vLLM tells it
UNAUTHORIZED, NOT_FOUND = 401, 404
MAX_SHOWN, NUM_SHOWN = 300, 8  # characters, models


@dataclass(frozen=True)
class Listed:
    """What came of asking, in sentences: why no question will be answered as things are, and what may pass."""

    objection: str = ""
    remark: str = ""


def listed(endpoint: Endpoint) -> Listed:
    """Ask a server for its models. What it does not tell is no objection: few have to list anything.

    Not from within a running event loop. Raises ProposerError where there is no key to ask with.
    """
    import httpx2

    from search.agents.llm.transport import UnreadError

    try:
        replies = asyncio.run(_asked(endpoint))
    except (httpx2.HTTPError, TimeoutError) as error:
        told = redacted(str(error) or type(error).__name__, endpoint.credentials.secrets)
        return Listed(remark=f"{endpoint.where} does not answer yet: {cut(told, MAX_SHOWN)}")
    except (UnreadError, httpx2.InvalidURL):
        return Listed()
    return Listed(_objection(endpoint, replies))


async def _asked(endpoint: Endpoint) -> list[tuple[int, Any]]:
    """Give statuses and what JSON says: of the address, and where nothing is there of the one that may be meant."""
    import httpx2

    from search.agents.llm.transport import Address, Client

    address = Address(endpoint.where, endpoint.url, WAIT_S, is_openais=not endpoint.base_url)
    base = endpoint.url.rstrip("/")
    replies: list[tuple[int, Any]] = []
    async with Client(address, endpoint.credentials, httpx2.create_ssl_context()) as client:
        async with asyncio.timeout(WAIT_S):
            for at in dict.fromkeys((base, base.removesuffix(VERSION) + VERSION)):
                got = await client.get(f"{at}/{PATH}")
                replies.append((got.status_code, parsed(got.text)))
                if got.status_code != NOT_FOUND:
                    break
    return replies


def _objection(endpoint: Endpoint, replies: Sequence[tuple[int, Any]]) -> str:
    (status, told), *others = replies
    if status == UNAUTHORIZED:
        credentials = endpoint.credentials
        said = redacted(json.dumps(credentials.hidden(told), ensure_ascii=False), credentials.secrets) if told else ""
        key = f"the key in the environment variable {endpoint.api_key_env}"
        return f"{endpoint.where} wants another key than {key}, or any at all (HTTP {status}): {cut(said, MAX_SHOWN)}"
    if any(_models(other) for _, other in others):
        return f"{endpoint.where} has no models; did you mean {endpoint.base_url.rstrip('/')}{VERSION}?"
    return _of_models(endpoint, {str(each["id"]): each.get(CONTEXT) for each in _models(told)})


def _of_models(endpoint: Endpoint, contexts: dict[str, object]) -> str:
    """Object to a model that is not there, or too short: who tells contexts serves what it lists and nothing else.

    `contexts`: by model; an adapter's is not told.
    """
    if not any(map(_is_length, contexts.values())):
        return ""
    if endpoint.model not in contexts:
        names = cut(", ".join(list(contexts)[:NUM_SHOWN]), MAX_SHOWN)
        hint = did_you_mean(endpoint.model, list(contexts))
        return f"{endpoint.where} serves {names}, and not {endpoint.model!r}{hint or '; ask for what it serves'}"
    context, needed = contexts[endpoint.model], endpoint.max_prompt_tokens + LEAST_ANSWER_TOKENS
    if not _is_length(context) or context >= needed:
        return ""
    return (
        f"{endpoint.where} serves {endpoint.model} with a context of {context:,} tokens, and a question of up to "
        f"{endpoint.max_prompt_tokens:,} and an answer take {needed:,}; let it serve more, or set "
        "max_prompt_tokens in a campaign file"
    )


def _is_length(value: object) -> TypeGuard[int]:
    return type(value) is int


def _models(told: Any) -> list[dict[str, Any]]:
    data = told.get("data") if isinstance(told, dict) else None
    return [each for each in data if isinstance(each, dict) and "id" in each] if isinstance(data, list) else []
