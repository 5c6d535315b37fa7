"""Dollars as recorded beside those that the server charged: errors, retries, cut answers, caches and reasoning."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.agents.server import Habits, serving
from search.agents.llm.endpoint import Chat
from search.agents.llm.money import NoMoneyError, Purse
from search.contracts import ProposerError

if TYPE_CHECKING:
    from typing import Any

ERRORS, TRUNCATIONS, REASONING = 0.1, 0.1, 0.3
NUM_AT_ONCE = 16
MAX_TOKENS = 512  # more than the longest answer and its reasoning: no server writes more than it is asked for


@dataclass(frozen=True)
class Account:
    """What was recorded, what the server charged and what could be spent, in dollars; and how many answers there were.

    `refused`: questions that were not asked, as what was left did not cover them.
    """

    recorded: float
    charged: float
    most: float
    num_answers: int
    num_requests: int
    refused: int


def account(num_answers: int, seed: int, share: float = 2.0) -> Account:
    """Ask so many questions, with `share` of the dollars that they cost at most."""
    habits = Habits(errors=ERRORS, truncations=TRUNCATIONS, reasoning=REASONING, seed=seed)
    with serving(lambda number, _asked: "word " * (20 + number % 150), habits) as server:
        endpoint = server.endpoint(max_tokens=MAX_TOKENS, max_retries=8)
        messages = [{"role": "user", "content": "Write a program. " * 40}]
        each = endpoint.price.most(len(messages[0]["content"]), MAX_TOKENS)
        most = share * num_answers * each
        purse = Purse(most)
        chat = Chat(endpoint, purse)
        with ThreadPoolExecutor(NUM_AT_ONCE) as pool:
            spent = list(pool.map(lambda _: _asked(chat, messages), range(num_answers)))
        recorded = sum(each for each in spent if each is not None)
        return Account(recorded, server.dollars, most, server.num_answers, len(server.arrivals), spent.count(None))


def _asked(chat: Chat, messages: list[dict[str, Any]]) -> float | None:
    """Ask, and give what was recorded; None where nothing was asked."""
    try:
        return chat.ask(messages).dollars
    except NoMoneyError:
        return None
    except ProposerError as error:
        return error.dollars
