"""Language models as people describe them, what of that a campaign keeps, and what may change when it goes on."""

from __future__ import annotations

import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from search.agents.llm.endpoint import Endpoint
from search.agents.llm.keys import SECRET, redacted
from search.agents.llm.servers.listing import listed
from search.agents.shown.section import BUDGET_TOKENS
from search.campaigns.bounds import LARGEST
from search.config import ConfigError
from search.contracts import ProposerError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"
OF_RAY = "RAY_"  # what is called so may be handed on to Ray's processes
HEADER = r"^[A-Za-z0-9-]{1,64}$"
CALL = "/chat/completions"  # what follows an endpoint's address
LEAST_PROMPT_TOKENS = 6000  # instructions, a parent and what was measured of it
MAX_JSON = 16384  # characters of what goes with every request
GOES_ON = "goes_on"  # of the context in which a setup is read: the campaign is stored already
ELSEWHERE = ("base_url", "api_key_env", "headers", "deadline_s")  # of an endpoint, for a campaign that goes on
# Of a request's body: what has a key of its own here, and what would change the form of the reply.
OURS = ("model", "messages", "tools", "stream", "n", "temperature", "seed", "max_tokens", "max_completion_tokens")


def _a_url(text: str) -> str:
    if not text:
        return text
    try:
        url = urlsplit(text)
        is_url = (
            url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0 and not set(text) & set(" \t\n")
        )
    except ValueError:
        is_url = False
    if "@" in text.partition("://")[2].partition("/")[0]:  # what stands there is a password: it is not repeated
        raise ValueError("has a name or password before '@'; leave it out, and put the key into api_key_env's variable")
    if not is_url:
        raise ValueError(f"is no URL, but {text!r}; give one such as http://localhost:8000/v1")
    if url.query or url.fragment:
        raise ValueError("has something after '?' or '#'; give the address alone, and the rest in body or headers")
    if url.path.rstrip("/").endswith(CALL):
        raise ValueError(f"ends in {CALL}, which is put there for each question; leave that out")
    return text


def _a_variable(name: str) -> str:
    if name.upper().startswith(OF_RAY):
        raise ValueError(f"is {name}, and what begins with {OF_RAY} may reach Ray's processes; give another variable")
    return name


def _a_price(prices: tuple[float, float] | None) -> tuple[float, float] | None:
    if prices is not None and not all(0 <= dollars < math.inf for dollars in prices):
        raise ValueError(f"is no price, but {prices[0]} {prices[1]}; give dollars per million tokens, 0 or more")
    return prices


def _a_body(body: dict[str, Any]) -> dict[str, Any]:
    taken = [name for name in body if name in OURS]
    if taken:
        raise ValueError(f"may not say '{taken[0]}', which is asked by other keys, or by none")
    text = _json(body)
    if text is None or len(text) > MAX_JSON:
        raise ValueError(f"must be a table that JSON can hold, of at most {MAX_JSON:,} characters")
    if redacted(text) != text or any(SECRET.search(name) for name in body):
        raise ValueError(
            "holds a key, it seems, and would be stored; give it by api_key_env or by a header '$VARIABLE'"
        )
    return body


def _header_values(headers: dict[str, str]) -> dict[str, str]:
    text = _json(headers) or ""
    if len(text) > MAX_JSON:
        raise ValueError(f"have {len(text):,} characters; give at most {MAX_JSON:,}")
    for name, value in headers.items():
        if value.startswith("$"):
            continue
        if SECRET.search(name) or redacted(value) != value:
            raise ValueError(f"'{name}' holds a key, it seems; write '$VARIABLE', which is read when it is sent")
        if not value.isascii() or not value.isprintable():
            raise ValueError(f"'{name}' has signs that no header has")
    return headers


class EndpointSetup(BaseModel):
    """Where agents ask a language model. Its key never stands here, only the name of the variable that holds it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    llm: str = Field("", max_length=200, description="The model that agents ask there.")
    base_url: Annotated[str, AfterValidator(_a_url)] = Field(
        "", max_length=2000, description="Any OpenAI-compatible endpoint; OpenAI's own if left out."
    )
    price: Annotated[tuple[float, float] | None, AfterValidator(_a_price)] = Field(
        None, strict=False, description="Dollars per million tokens that the model reads, and writes."
    )
    cached_price: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="Dollars per million tokens read from the provider's cache; as others if left out.",
    )
    api_key_env: Annotated[str, AfterValidator(_a_variable)] = Field(
        "OPENAI_API_KEY",
        pattern=VARIABLE,
        description="The environment variable that holds the endpoint's key; never the key itself.",
    )
    max_tokens: int | None = Field(
        None,
        ge=1,
        le=1 << 20,
        description="The most tokens of an answer, reasoning included; 16,384 of one with a price.",
    )
    max_prompt_tokens: int = Field(
        BUDGET_TOKENS,
        ge=LEAST_PROMPT_TOKENS,
        le=1 << 20,
        description="The most tokens of a question, estimated from above: less for a model with a short context.",
    )
    temperature: float | None = Field(None, ge=0, le=10, description="How freely the model draws; its own if left out.")
    seed: int | None = Field(
        None, ge=-LARGEST, le=LARGEST, description="Sent with every question, for servers that draw by it."
    )
    deadline_s: float = Field(
        600.0, ge=1, le=86400, description="The longest that an answer may take with all its retries."
    )
    body: Annotated[dict[str, Any], AfterValidator(_a_body)] = Field(
        {}, description="Sent with every question too, such as `{top_k = 20}`."
    )
    headers: Annotated[dict[Annotated[str, Field(pattern=HEADER)], str], AfterValidator(_header_values)] = Field(
        {}, max_length=16, description="Headers of every question; '$VARIABLE' is read from the environment."
    )

    @model_validator(mode="after")
    def _says_who(self, info: ValidationInfo) -> Self:
        if not self.llm and not (info.context or {}).get(GOES_ON):
            raise ValueError("does not say which model to ask; give llm, or --llm MODEL")
        return self

    def named(self, name: str) -> Endpoint:
        """Give the endpoint that is meant."""
        reading, writing = self.price or (0.0, 0.0)
        return Endpoint(
            self.llm,
            self.base_url,
            self.api_key_env,
            reading,
            writing,
            name=name,
            cached_price=self.cached_price,
            deadline_s=self.deadline_s,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            seed=self.seed,
            body=_json(self.body) or "{}",
            headers=_json(self.headers) or "{}",
            max_prompt_tokens=self.max_prompt_tokens,
        )


def endpoints_of(
    stored: Sequence[Endpoint], asked: Mapping[str, EndpointSetup], max_dollars: float | None
) -> dict[str, Endpoint]:
    """Give the endpoints of a campaign that goes on: model and price are its own, where they are may be said anew.

    A campaign from before it kept them has those that are asked for. Raises ConfigError for another model or price, an
    endpoint that the campaign does not have, one that says no price where dollars are limited, and a missing key.
    """
    if not stored:
        check_priced(asked, max_dollars)
        return with_keys({name: each.named(name) for name, each in asked.items()})
    known = {each.name: each for each in stored}
    for name, each in asked.items():
        if name not in known:
            raise ConfigError(f"the campaign asks no endpoint '{name}', only {', '.join(known)}; leave it out")
        known[name] = _moved(known[name], each)
    return with_keys(known)


def with_keys(endpoints: dict[str, Endpoint]) -> dict[str, Endpoint]:
    """Give endpoints as they are. Raises ConfigError where OpenAI's own is meant and has no key."""
    for name, each in endpoints.items():
        if not each.base_url and each.api_key_env not in os.environ:
            raise ConfigError(
                f"the endpoint {name} needs --base-url URL (base_url in a file), or a key for OpenAI's own in the "
                f"environment variable {each.api_key_env}"
            )
    return endpoints


def check_served(endpoints: Mapping[str, Endpoint], names: Container[str], tell: Callable[[str], object]) -> None:
    """Ask endpoints of these names what they serve, before anything takes time; `tell` what may be mended meanwhile.

    Raises ConfigError where one of them will answer no question as things are.
    """
    asked = [each for name, each in endpoints.items() if name in names]
    if not asked:
        return
    with ThreadPoolExecutor(len(asked)) as pool:
        try:
            found = list(pool.map(listed, asked))
        except ProposerError as error:
            raise ConfigError(str(error)) from None
    for each in found:
        if each.objection:
            raise ConfigError(each.objection)
        if each.remark:
            tell(each.remark)


def check_priced(endpoints: Mapping[str, EndpointSetup], max_dollars: float | None) -> None:
    """Raise ConfigError where dollars are limited and a model's are not known, or none costs any."""
    unpriced = [name for name, each in endpoints.items() if each.price is None]
    is_priced = any(any(each.price or ()) for each in endpoints.values())
    if max_dollars is not None and (unpriced or not is_priced):
        of = f" of {unpriced[0]}" if unpriced else ""
        raise ConfigError(
            f"max_dollars needs what a model costs per million tokens: --price IN OUT, price{of} in a file"
        )


def _moved(stored: Endpoint, asked: EndpointSetup) -> Endpoint:
    """Give a stored endpoint where it is now; what is said of it besides must be what is stored."""
    given = asked.named(stored.name)
    fields = {"llm": ("model",), "price": ("prompt_price", "completion_price")}
    for key in asked.model_fields_set.difference(ELSEWHERE):
        for name in fields.get(key, (key,)):
            before, now = getattr(stored, name), getattr(given, name)
            if before != now:
                raise ConfigError(
                    f"endpoints.{stored.name}.{key} is settled for a campaign that goes on: {before}, not {now}; "
                    "leave it out, or start another campaign"
                )
    return replace(stored, **{key: getattr(given, key) for key in ELSEWHERE if key in asked.model_fields_set})


def _json(value: object) -> str | None:
    """Give canonical JSON, None for what it cannot hold."""
    try:
        return json.dumps(value, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return None
