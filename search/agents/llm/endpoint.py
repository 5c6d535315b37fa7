"""A language model behind any OpenAI-compatible endpoint: where it is, what it costs, and asking it once."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import threading
import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from search.agents.answers import parsed
from search.agents.llm.keys import Credentials, redacted
from search.agents.llm.money import MOST_TOKENS, Asker, Price, Purse, Usage, usage_of
from search.agents.llm.replies import Call, Reply, read_reply
from search.agents.shown.section import BUDGET_TOKENS
from search.contracts import NoMoneyError, ProposerError, UnreachableError
from search.report.wording import cut, duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from openai import APIStatusError

    from search.agents.llm.transport import Address, Client
    from search.contracts import Ledger

__all__ = ["Answer", "Call", "Chat", "Endpoint", "Usage"]

OPENAI = "https://api.openai.com/v1"
NO_KEY = "none"  # for endpoints that want no key
MAX_ASKED_BYTES = 1 << 20  # of messages and tools
TOKENS_OF_A_MESSAGE = 16  # that templates add
BYTES_PER_TOKEN = 4  # of English and of programs, where nothing better is known
ANSWER_TOKENS = 16384  # the most of an answer that has a price, where nothing is said
NOTHING_USED, NO_REPLY = Usage(), Reply(is_answer=False)
MAX_SHOWN = 500  # characters of an error
NUM_AT_ONCE = 16  # requests; an endpoint that takes fewer lets the others wait, or asks for patience
REST_S = 1.0  # between questions to a server that cannot be reached
REFUSING = (400, 404, 422, 501)  # statuses of servers that do not take a question in its form
TOOLS, SYSTEM = "tools", "system"  # what a question has, that some take and others refuse


@dataclass(frozen=True)
class Endpoint:
    """Where to ask, which model, what it costs and how long it may take. `base_url` is OpenAI's own when empty.

    Prices are in dollars per million tokens; `cached_price` of those that the provider had in its cache, that of others
    where it is None. The key is read from the environment variable `api_key_env` when it is sent, and stands nowhere
    else. `timeout_s` bounds the wait for the next byte, `deadline_s` an answer with all its retries. `max_tokens`
    bounds an answer with its reasoning, `ANSWER_TOKENS` where it is None and the model has a price. `body` and
    `headers` are JSON objects that go with every request; a header "$NAME" is read from that environment variable.
    `max_prompt_tokens`: the most of a question, as they are estimated from above. `name` is the proposer's.
    """

    model: str
    base_url: str = ""
    api_key_env: str = "OPENAI_API_KEY"
    prompt_price: float = 0.0
    completion_price: float = 0.0
    timeout_s: float = 300.0
    max_retries: int = 4
    cached_price: float | None = None
    deadline_s: float = 600.0
    max_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    body: str = "{}"
    headers: str = "{}"
    name: str = ""
    max_prompt_tokens: int = BUDGET_TOKENS

    @cached_property
    def price(self) -> Price:
        """What tokens cost."""
        cached = self.prompt_price if self.cached_price is None else self.cached_price
        return Price(self.prompt_price, cached, self.completion_price)

    @property
    def most_written(self) -> int | None:
        """The most tokens of an answer, None where the server decides."""
        return self.max_tokens or (ANSWER_TOKENS if self.completion_price else None)

    @property
    def where(self) -> str:
        """The endpoint, as people are told of it."""
        return f"the endpoint {self.base_url or 'of OpenAI'}"

    @property
    def url(self) -> str:
        """Where it is."""
        return self.base_url or OPENAI

    @property
    def credentials(self) -> Credentials:
        """What is sent to it and told to nobody; it stays with who asks."""
        return Credentials(self.api_key_env, self.headers, NO_KEY if self.base_url else "")


@dataclass(frozen=True)
class Answer:
    """What came of asking once. `fault` says in a sentence what was odd, nothing where nothing was.

    `dollars` are exact where the server told its usage, else the most that it can have cost, or, where the answer is
    there, what its length comes to. `elapsed_s` is in seconds, retries included. `questions`: the rows of the ledger
    in which the dollars stand.
    """

    text: str
    calls: tuple[Call, ...] = ()
    usage: Usage = NOTHING_USED
    dollars: float = 0.0
    elapsed_s: float = 0.0
    fault: str = ""
    questions: tuple[str, ...] = field(default=(), compare=False)


class Chat:
    """Asks one endpoint, from as many threads as want, of which `num_at_once` are let through at a time.

    Without a purse of its campaign, what it spends has no bound. `patience_s`: for so long a server that cannot be
    reached is asked again, as it may be starting, and one that asks for a rest is left alone.
    """

    def __init__(
        self, endpoint: Endpoint, purse: Purse | None = None, num_at_once: int = NUM_AT_ONCE, patience_s: float = 0.0
    ) -> None:
        self.endpoint = endpoint
        self._purse, self._patience_s = purse or Purse(), patience_s
        self._credentials = endpoint.credentials
        self._room = threading.BoundedSemaphore(num_at_once)
        self._takes = {TOOLS, SYSTEM}
        self._has_answered = self._is_away = False
        self._next_s = 0.0  # before this nobody asks a server that wants to be left alone
        self.waits = True  # for a server that cannot be reached, or asks for it

    def pay_from(self, ledger: Ledger, campaign_id: int) -> None:
        """Keep back what is asked from now on in this ledger."""
        self._purse.keep_in(ledger, campaign_id)

    def ask(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = (), step: int = 0
    ) -> Answer:
        """Ask once, with retries, and give whatever was replied. Not from within a running event loop.

        It waits first until there is room; `elapsed_s` and the endpoint's deadline count from then on.

        Messages and tools have OpenAI's form; `step` is the campaign's. An endpoint that refuses tools is asked without
        them from then on, and one that knows no system is told all by who asks. Raises ProposerError, which tells of
        dollars, where no answer came at all, UnreachableError where nobody was there, and NoMoneyError where the purse
        does not cover the most that this can cost; then nothing was asked.
        """
        num_bytes = len(json.dumps([list(messages), list(tools)], ensure_ascii=False).encode("utf-8", "replace"))
        if num_bytes > MAX_ASKED_BYTES:
            raise ProposerError(f"a question has {num_bytes:,} bytes; {self.endpoint.where} is asked at most 1 MiB")
        read = num_bytes + TOKENS_OF_A_MESSAGE * len(messages)
        most = self.endpoint.price.most(read, self.endpoint.most_written or 0)
        asker = Asker(self.endpoint.name, self.endpoint.model, step)
        with self._room, self._purse.reserved(most, asker) as bill:
            kept = (bill.id,) if bill.is_reserved else ()

            def again(num_lost: int) -> None:
                self._purse.widen(bill, (num_lost + 1) * most)

            try:
                answer = self._asked(list(messages), list(tools), _Size(num_bytes, most), again)
            except ProposerError as error:
                bill.dollars, error.questions = error.dollars, kept
                raise
            bill.dollars = answer.dollars
        return replace(answer, questions=kept)

    def _asked(self, messages: list[Any], tools: list[Any], size: _Size, again: Callable[[int], None]) -> Answer:
        num_bytes, most = size.num_bytes, size.most
        try:
            got, offers_tools, elapsed_s = self._reached(messages, tools, again)
        except _InVainError as error:
            told = redacted(f"{self.endpoint.where} gave no answer: {error}", self._credentials.secrets)
            kind = ProposerError if error.rest_s is None else UnreachableError
            raise kind(told, error.num_lost * most, works=self._has_answered) from None
        self._has_answered, self._is_away = True, False
        reply = NO_REPLY if got.body is None else self._read(got.body, offers_tools=offers_tools)
        usage, guessed = self._usage(reply, num_bytes)
        lost = f"requests that gave nothing, {got.num_lost}, are counted as dear as they can have been"
        faults = (got.fault, *reply.faults, guessed, lost if got.num_lost and most else "")
        dollars = self.endpoint.price.dollars(usage) + got.num_lost * most
        told = redacted("; ".join(filter(None, faults)), self._credentials.secrets)
        return Answer(reply.text, reply.calls, usage, dollars, elapsed_s, told)

    def _reached(
        self, messages: list[Any], tools: list[Any], again: Callable[[int], None]
    ) -> tuple[_Received, bool, float]:
        """Give what came, whether it could call tools, and the seconds that it took: without those of an outage."""
        start, num_lost = time.monotonic(), 0
        until_s = start + self._patience_s
        while True:
            start = time.monotonic() if self._rested() else start
            offered = tools if TOOLS in self._takes else []
            said = messages if SYSTEM in self._takes else without_system(messages)
            try:
                got = asyncio.run(self._received(said, offered, again, num_lost))
            except _RefusedError as error:
                self._takes.discard(error.what)
                num_lost = error.num_lost
            except _InVainError as error:
                num_lost = error.num_lost
                if error.rest_s is None or not self._waits(error, error.rest_s, until_s - time.monotonic()):
                    raise
                start = time.monotonic()
            else:
                return got, bool(offered), time.monotonic() - start

    def _waits(self, error: _InVainError, rest_s: float, left_s: float) -> bool:
        """Say whether a server is asked again that cannot be reached or asks for a rest, once of all who wait aloud."""
        if left_s <= rest_s or not self.waits:
            return False
        if not self._is_away:
            self._is_away = True
            why = "asks for a rest" if rest_s else "cannot be reached"
            told = redacted(str(error), self._credentials.secrets)
            said = "%s %s, and is asked again for up to %s: %s"
            logging.getLogger(__name__).warning(said, self.endpoint.where, why, duration(left_s), told)
        if rest_s:
            self._next_s = max(self._next_s, time.monotonic() + rest_s)
        else:
            time.sleep(min(REST_S, left_s))
        return True

    def _rested(self) -> bool:
        """Leave a server alone as long as it asked for, whoever of all who ask was told so."""
        begun = time.monotonic()
        while self.waits and (left_s := self._next_s - time.monotonic()) > 0:
            time.sleep(min(REST_S, left_s))
        return self._next_s > begun

    def _usage(self, reply: Reply, num_bytes: int) -> tuple[Usage, str]:
        """Give what a reply used: as told, else as long as it is; nothing for what no model wrote."""
        if not reply.is_answer and not isinstance(reply.usage, dict):
            return Usage(), ""
        read, written = (math.ceil(size / BYTES_PER_TOKEN) for size in (num_bytes, reply.num_written))
        most = self.endpoint.most_written or MOST_TOKENS
        usage, guessed = usage_of(reply.usage, Usage(read, 0, written), most)
        return usage, guessed if self.endpoint.price.dollars(usage) else ""

    async def _received(
        self, messages: list[Any], tools: list[Any], again: Callable[[int], None], num_lost: int
    ) -> _Received:
        """Give what came, where so many requests were lost before. Raises _InVainError where nothing did.

        That is a _RefusedError where it may be asked in another form.
        """
        import httpx2
        from openai import APIStatusError, OpenAIError

        from search.agents.llm.transport import Client, UnreadError, is_away

        endpoint = self.endpoint
        async with Client(self._address(), self._credentials, self._verify, again) as client:
            client.num_lost = num_lost
            try:
                async with asyncio.timeout(endpoint.deadline_s):
                    return _Received(await self._sent(client, messages, tools), client.num_lost)
            except UnreadError as error:
                return _Received(None, client.num_lost, str(error))
            except APIStatusError as error:
                if refused := self._refused(error, messages, tools):
                    raise _RefusedError(refused, client.num_lost) from None
                told = f"{client.last}: {self._said(error)}"
                raise _InVainError(told, client.num_lost, client.rest_s or None) from None
            except (TimeoutError, OpenAIError, httpx2.InvalidURL, NoMoneyError) as error:
                late = f"not whole after {endpoint.deadline_s:g} s" if isinstance(error, TimeoutError) else ""
                if client.has_begun:
                    return _Received(
                        None, client.num_lost, f"the reply was {late or f'broken off: {self._said(error)}'}"
                    )
                before = f"; the last reply was {client.last}" if client.last else ""
                rest_s = 0.0 if is_away(error.__cause__) else None
                raise _InVainError(f"{late or self._said(error)}{before}", client.num_lost, rest_s) from None

    def _address(self) -> Address:
        from search.agents.llm.transport import Address

        endpoint = self.endpoint
        return Address(endpoint.where, endpoint.url, endpoint.timeout_s, is_openais=not endpoint.base_url)

    async def _sent(self, client: Client, messages: list[Any], tools: list[Any]) -> bytes:
        from openai import AsyncOpenAI

        endpoint = self.endpoint
        asking = AsyncOpenAI(
            api_key=self._credentials.key,
            base_url=endpoint.url,
            timeout=client.timeout,
            max_retries=endpoint.max_retries,
            http_client=client,
        )
        raw = await asking.chat.completions.with_raw_response.create(
            model=endpoint.model, messages=messages, extra_body=self._body(tools)
        )
        return raw.content

    def _body(self, tools: list[Any]) -> dict[str, Any]:
        """Give what is asked beside the messages: nothing that the endpoint's owner left out."""
        endpoint = self.endpoint
        # OpenAI's own models refuse the older name, and most other servers know no other.
        longest = "max_tokens" if endpoint.base_url else "max_completion_tokens"
        given = {"temperature": endpoint.temperature, "seed": endpoint.seed, longest: endpoint.most_written}
        asked = {name: value for name, value in given.items() if value is not None}
        return asked | ({"tools": tools} if tools else {}) | json.loads(endpoint.body)

    def _refused(self, error: APIStatusError, messages: list[Any], tools: list[Any]) -> str:
        """Say what of a question was refused that it can do without, nothing where that is not told."""
        said = self._whole(error).lower() if error.status_code in REFUSING else ""
        if tools and "tool" in said:
            return TOOLS
        return SYSTEM if messages[0]["role"] == SYSTEM and "role" in said else ""

    def _said(self, error: Exception) -> str:
        """Give what a library says of an error, in one line, with what lies behind a failed connection.

        Keys are taken out before it is cut: half of one would be told.
        """
        cause = error.__cause__
        said = cut(redacted(self._whole(error), self._credentials.secrets), MAX_SHOWN)
        behind = cut(redacted(f"{type(cause).__name__}: {cause}", self._credentials.secrets), MAX_SHOWN)
        return f"{type(error).__name__}: {said}{f' ({behind})' if cause else ''}"

    def _whole(self, error: Exception) -> str:
        """Give what an error says, and what the server said that the library leaves out: all but OpenAI's own form."""
        response, said = getattr(error, "response", None), str(error)
        if response is None or " - " in said:
            return said
        text = response.text.strip()
        given = parsed(text)
        told = text if given is None else json.dumps(self._credentials.hidden(given), ensure_ascii=False)
        return f"{said} - {told}" if told else said

    def _read(self, body: bytes, *, offers_tools: bool) -> Reply:
        """Read a reply without our keys: whoever echoes them, plain or escaped, has them kept and shown to others.

        Arguments of calls are JSON in a text, and so escaped twice; a text may come in parts.
        """
        reply = read_reply(body, offers_tools=offers_tools, hidden=self._credentials.hidden)
        calls = tuple(replace(each, arguments=self._credentials.hidden(each.arguments)) for each in reply.calls)
        return replace(reply, text=self._credentials.hidden(reply.text), calls=calls)

    @cached_property
    def _verify(self) -> Any:
        """The certificates that are trusted, read once."""
        import httpx2

        return httpx2.create_ssl_context()


@dataclass(frozen=True)
class _Size:
    """The bytes of a question, and the most dollars that one request with it can cost."""

    num_bytes: int
    most: float


@dataclass(frozen=True)
class _Received:
    """The bytes of a reply, None where none came whole; how many requests may have cost and gave nothing; and why."""

    body: bytes | None
    num_lost: int
    fault: str = ""


class _InVainError(Exception):
    """Nothing was replied, after all retries. `rest_s`: seconds after which it may be asked again, None for never."""

    def __init__(self, message: str, num_lost: int, rest_s: float | None) -> None:
        super().__init__(message)
        self.num_lost, self.rest_s = num_lost, rest_s


class _RefusedError(Exception):
    """The endpoint does not take a part of a question: `TOOLS` or `SYSTEM`."""

    def __init__(self, what: str, num_lost: int) -> None:
        super().__init__()
        self.what, self.num_lost = what, num_lost


def without_system(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Put the instructions before what is said first, for models whose templates have two roles alone."""
    first, *rest = messages
    if first["role"] != SYSTEM or not rest:
        return [*messages]
    said, *others = rest
    return [{**said, "content": f"{first['content']}\n\n{said['content']}"}, *others]
