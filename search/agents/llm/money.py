"""What a language model's answers cost: tokens as the provider counts them, prices, and a purse that is not overdrawn.

Counts follow OpenAI's `usage` (https://platform.openai.com/docs/api-reference/chat/object): tokens of the cache are
among those read, tokens of reasoning among those written. Providers that count reasoning beside the answer say so by a
total that is greater than the sum.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from search.asking.owing import Reserved, bound_told
from search.contracts import NoMoneyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from search.contracts import Ledger

MOST_TOKENS = 10_000_000  # of one request; more is no count
PER_MILLION = 1e-6


@dataclass(frozen=True)
class Usage:
    """Tokens of a request, none negative: read (`cached` of them from the cache), written (`reasoning` of them)."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0


@dataclass(frozen=True)
class Price:
    """Dollars per million tokens read, read from the cache, and written. Reasoning is paid as what is written."""

    prompt: float = 0.0
    cached: float = 0.0
    completion: float = 0.0

    def dollars(self, usage: Usage) -> float:
        """Give what a request cost."""
        fresh = usage.prompt - usage.cached
        return PER_MILLION * (fresh * self.prompt + usage.cached * self.cached + usage.completion * self.completion)

    def most(self, prompt: int, completion: int) -> float:
        """Give the most that so many tokens read and written can cost."""
        return PER_MILLION * (prompt * max(self.prompt, self.cached) + completion * self.completion)


def usage_of(told: object, guess: Usage, most_written: int = MOST_TOKENS) -> tuple[Usage, str]:
    """Read the usage that a server told; what it does not tell, or what cannot be, is taken from `guess`.

    Gives with it what was guessed, in words, nothing where all was told. A total is believed up to `most_written`.
    """
    counts: Mapping[str, Any] = told if isinstance(told, dict) else {}
    read = _first(counts, "prompt_tokens", "input_tokens")
    written = _first(counts, "completion_tokens", "output_tokens")
    total = _count(counts.get("total_tokens"))
    if total is not None:
        read = total - written if read is None and written is not None and written <= total else read
        written = total - read if written is None and read is not None and read <= total else written
    guessed = [name for name, count in (("read", read), ("written", written)) if count is None]
    prompt = guess.prompt if read is None else read
    completion = guess.completion if written is None else written
    reasoning = _detail(counts, "completion_tokens_details", "reasoning_tokens") or 0
    if not guessed:
        beside = _beside(prompt, completion, total, reasoning)
        if completion + beside <= most_written:
            completion, reasoning = completion + beside, max(reasoning, beside)
    cached = _detail(counts, "prompt_tokens_details", "cached_tokens") or _count(counts.get("prompt_cache_hit_tokens"))
    usage = Usage(prompt, min(cached or 0, prompt), completion, min(reasoning, completion))
    return usage, f"the tokens {' and '.join(guessed)} are guessed: it did not tell them" if guessed else ""


def _beside(prompt: int, completion: int, total: int | None, reasoning: int) -> int:
    """Give the tokens of reasoning that are not among those of the answer."""
    if total is not None:
        return max(0, total - prompt - completion)
    return reasoning if reasoning > completion else 0


def _first(counts: Mapping[str, Any], *names: str) -> int | None:
    return next((count for name in names if (count := _count(counts.get(name))) is not None), None)


def _detail(counts: Mapping[str, Any], details: str, name: str) -> int | None:
    found = counts.get(details)
    return _count(found.get(name)) if isinstance(found, dict) else None


def _count(value: object) -> int | None:
    """Give a count of tokens, None for what is none: null, a text, a fraction, below zero, without bound."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST_TOKENS:
        return None
    return int(value) if value == int(value) else None


@dataclass(frozen=True)
class Asker:
    """Who asks a question, and for which step: what the ledger notes of it."""

    proposer: str = ""
    model: str = ""
    step: int = 0


NOBODY = Asker()


class Bill:
    """What one request cost, as far as it is known: as much as is reserved, until it is settled."""

    def __init__(self, reserved: float, asker: Asker = NOBODY) -> None:
        self.reserved, self.asker = reserved, asker
        self.id = uuid4().hex
        self.is_settled = self.is_reserved = False
        self._dollars = 0.0

    @property
    def dollars(self) -> float:
        """What is known of its cost."""
        return self._dollars if self.is_settled else self.reserved

    @dollars.setter
    def dollars(self, cost: float) -> None:
        self._dollars, self.is_settled = cost, True


class Purse:
    """A campaign's dollars, shared by all who ask at once: each reserves the most that a request can cost, then pays.

    So what is spent never exceeds `most` by more than a provider's own counts exceed what was reserved. Whoever cannot
    reserve waits for the bills of others, in the order in which they came; requests that cost nothing never wait.

    Once it is kept in a ledger, whatever stands there counts: what other drivers of the campaign keep back, and what
    those who died had asked. What is reserved is written there before anything is sent.
    """

    def __init__(self, most: float = math.inf, spent: float = 0.0) -> None:
        self.most, self.spent = most, spent
        self._reserved = 0.0
        self._changed = threading.Condition()
        self._waiting: deque[Bill] = deque()
        self._ledger: Ledger | None = None
        self._campaign_id = 0

    def keep_in(self, ledger: Ledger, campaign_id: int) -> None:
        """Keep its reservations in a campaign's ledger from now on."""
        with self._changed:
            self._ledger, self._campaign_id = ledger, campaign_id

    @contextmanager
    def reserved(self, dollars: float, asker: Asker = NOBODY) -> Iterator[Bill]:
        """Keep the most that a request can cost until it is known: set `Bill.dollars` within. Raises NoMoneyError."""
        bill = Bill(dollars, asker)
        if dollars > 0:
            self._reserve(bill)
        try:
            yield bill
        finally:
            self._pay(bill)

    def widen(self, bill: Bill, dollars: float) -> None:
        """Reserve more for a request that is sent again. Raises NoMoneyError where that is not covered."""
        with self._changed:
            if dollars > bill.reserved and not self._takes(bill, dollars):
                raise NoMoneyError(self._refusal(dollars - bill.reserved, bill.reserved))

    def _reserve(self, bill: Bill) -> None:
        with self._changed:
            self._waiting.append(bill)
            try:
                self._changed.wait_for(
                    lambda: self._waiting[0] is bill and (self._takes(bill, bill.reserved) or not self._reserved)
                )
            finally:
                self._waiting.remove(bill)
                self._changed.notify_all()
            if not bill.is_reserved:
                raise NoMoneyError(self._refusal(bill.reserved))

    def _pay(self, bill: Bill) -> None:
        """Let go of what was reserved. In the ledger it stays as dear as it may be unless its cost is known."""
        with self._changed:
            try:
                if self._ledger is not None and bill.is_reserved and bill.is_settled:
                    self._ledger.settle(bill.id, bill.dollars)
            finally:
                if bill.is_reserved:
                    self._reserved -= bill.reserved
                    self._reserved = self._reserved if self._reserved > PER_MILLION**2 else 0.0  # what rounding left
                self.spent += bill.dollars  # until the ledger tells of what there is in all
                self._changed.notify_all()

    def _takes(self, bill: Bill, dollars: float) -> bool:
        """Reserve so many dollars for a bill, in all, if they are covered."""
        kept = bill.reserved if bill.is_reserved else 0.0
        if self._ledger is None:
            is_covered = self.spent + self._reserved - kept + dollars <= self.most
        else:
            asker = bill.asker
            asked = Reserved(bill.id, self._campaign_id, asker.step, asker.proposer, asker.model, dollars)
            spent = self._ledger.reserve(asked, self.most)
            is_covered = spent is None
            self.spent = self.spent if spent is None else spent
        if is_covered:
            self._reserved += dollars - kept
            bill.reserved, bill.is_reserved = dollars, True
        return is_covered

    def _refusal(self, dollars: float, kept: float = 0.0) -> str:
        bound = bound_told(self._ledger.owing(self._campaign_id)) if self._ledger is not None else ""
        return (
            f"language models have cost ${self.spent + kept:,.4f}{f' ({bound})' if bound else ''}, and another request "
            f"may cost ${dollars:,.4f}: the campaign's ${self.most:,.2f} do not cover it"
        )
