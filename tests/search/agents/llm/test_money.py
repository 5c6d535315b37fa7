"""Dollars: what a provider's counts come to, and a purse that many ask from at once."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from scripted_server import Scripted, chat

from search.agents.llm.endpoint import Chat, Endpoint
from search.agents.llm.money import MOST_TOKENS, Price, Purse, Usage, usage_of
from search.contracts import NoMoneyError, ProposerError

PRICES = {"prompt_price": 3.0, "completion_price": 15.0, "cached_price": 0.3}
GUESS = Usage(100, 0, 10)
ASKED = [{"role": "user", "content": "Write one."}]


def test_a_price_tells_cached_tokens_from_others():
    assert Price(3.0, 0.3, 15.0).dollars(Usage(1000, 400, 200, 50)) == pytest.approx(
        (600 * 3 + 400 * 0.3 + 200 * 15) / 1e6
    )


def test_without_a_price_of_their_own_cached_tokens_cost_what_others_do():
    assert Endpoint("m", prompt_price=3.0).price.dollars(Usage(1000, 400)) == pytest.approx(0.003)


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ({"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}, Usage(7, 0, 3)),
        ({"prompt_tokens": 7, "total_tokens": 10}, Usage(7, 0, 3)),
        ({"completion_tokens": 3, "total_tokens": 10}, Usage(7, 0, 3)),
        ({"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 30}, Usage(7, 0, 23, 20)),
        ({"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 5}, Usage(7, 0, 3)),
        ({"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": MOST_TOKENS}, Usage(7, 0, 3)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage()),
        ({"prompt_tokens": "7", "completion_tokens": float("nan")}, GUESS),
        ({"prompt_tokens": 7, "completion_tokens": MOST_TOKENS + 1}, Usage(7, 0, 10)),
        (None, GUESS),
        ([7, 3], GUESS),
    ],
)
def test_counts_are_read_as_providers_tell_them(told, found):
    usage, guessed = usage_of(told, GUESS, most_written=1000)
    assert usage == found
    assert bool(guessed) == (GUESS.prompt == usage.prompt or GUESS.completion == usage.completion)


def test_a_purse_is_never_overdrawn_by_many_at_once():
    purse, most, seen = Purse(1.0), [], threading.Lock()
    rng = random.Random(0)
    costs = [rng.uniform(0, 0.03) for _ in range(200)]

    def spend(cost):
        try:
            with purse.reserved(0.03) as bill:
                with seen:
                    most.append(purse.spent + purse._reserved)
                bill.dollars = cost
        except NoMoneyError:
            return 0.0
        return cost

    with ThreadPoolExecutor(16) as pool:
        paid = sum(pool.map(spend, costs))
    assert max(most) <= 1.0
    assert purse.spent == pytest.approx(paid)
    assert 0.97 < paid <= 1.0  # all but what one more could have cost
    with (
        pytest.raises(NoMoneyError, match=r"have cost \$0\.9\d+, and another request may cost \$0\.0300"),
        purse.reserved(0.03),
    ):
        pass


def test_what_costs_nothing_is_never_refused():
    with Purse(1.0, spent=1.0).reserved(0.0) as bill:
        assert bill.dollars == 0


def test_whoever_cannot_reserve_waits_for_what_others_really_pay():
    purse, order = Purse(1.0), []
    is_open, is_waiting = threading.Event(), threading.Event()

    def first():
        with purse.reserved(0.8) as bill:
            is_open.set()
            is_waiting.wait(5)
            order.append("first")
            bill.dollars = 0.1

    thread = threading.Thread(target=first)
    thread.start()
    is_open.wait(5)
    threading.Timer(0.05, is_waiting.set).start()
    with purse.reserved(0.8):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


def test_what_was_reserved_is_spent_where_nobody_knows_better():
    purse = Purse(1.0)
    with pytest.raises(RuntimeError), purse.reserved(0.4):
        raise RuntimeError
    assert purse.spent == 0.4


def reply_to(number):
    """Give a thousand answers with errors, retries, truncations, caches and reasoning as two providers count it."""
    rng = random.Random(number)
    if rng.random() < 0.1:
        return Scripted(b'{"error": {"message": "busy"}}', rng.choice([429, 500, 503]), {"retry-after-ms": "1"})
    read, written, thought = rng.randrange(500, 9000), rng.randrange(50, 900), rng.choice([0, 0, 700])
    cached = rng.choice([0, read // 2])
    beside = thought if rng.random() < 0.5 else 0
    usage = {
        "prompt_tokens": read,
        "completion_tokens": written + thought - beside,
        "total_tokens": read + written + thought,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": thought},
    }
    body = chat("x" * written, finish=rng.choice(["stop", "stop", "length"]), usage=usage)
    return Scripted(body, paid=(read, cached, written + thought))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_dollars_are_the_servers_own_to_the_cent_over_a_thousand_answers(wire):
    wire.script = reply_to
    purse = Purse(1000.0)
    asking = Chat(Endpoint("m", wire.url, **PRICES, max_retries=1, max_tokens=2000), purse)

    def ask(_):
        try:
            return asking.ask(ASKED).dollars
        except ProposerError as error:
            return error.dollars

    with ThreadPoolExecutor(8) as pool:
        paid = list(pool.map(ask, range(1000)))
    num_failed = sum(dollars == 0 for dollars in paid)
    assert 0 < num_failed < 40  # a tenth of a tenth
    assert len(wire.requests) > 1050  # the retries
    assert sum(paid) == pytest.approx(wire.dollars, abs=1e-6)
    assert purse.spent == pytest.approx(wire.dollars, abs=1e-6)
    assert wire.dollars > 10


def test_an_endpoint_is_not_asked_for_what_the_purse_does_not_cover(wire):
    wire.script = reply_to
    with pytest.raises(NoMoneyError, match="do not cover it"):
        Chat(Endpoint("m", wire.url, **PRICES), Purse(0.2)).ask(ASKED)  # 16,384 tokens may cost $0.25
    assert wire.requests == []


def test_whatever_is_spent_stays_below_what_there_is(wire):
    wire.script = lambda number: Scripted(chat("x"), paid=(1000, 0, 200))
    purse = Purse(0.05)
    asking = Chat(Endpoint("m", wire.url, **PRICES, max_tokens=400), purse)

    def ask(_):
        try:
            return asking.ask(ASKED).dollars
        except NoMoneyError:
            return None

    with ThreadPoolExecutor(8) as pool:
        paid = [dollars for dollars in pool.map(ask, range(30)) if dollars is not None]
    assert len(paid) == 8  # of $0.006 each, the last of them with $0.008 left for $0.0063
    assert purse.spent == pytest.approx(wire.dollars) == pytest.approx(sum(paid))
    assert purse.spent <= 0.05


def test_what_was_lost_before_tools_were_refused_is_paid_too(wire):
    """Of the request that was waited for in vain nobody knows what it cost, whatever the next one is told."""
    wire.script = [Scripted(wait_s=1.0), Scripted(b"tools are not supported", 400), Scripted(chat("x"))]
    asking = Chat(Endpoint("m", wire.url, **PRICES, max_tokens=400, timeout_s=0.5, max_retries=1), purse := Purse(1.0))
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    answer = asking.ask(ASKED, [tool])
    told = asking.endpoint.price.dollars(answer.usage)
    assert answer.text == "x"
    assert answer.dollars - told > 400 * PRICES["completion_price"] / 1e6
    assert answer.elapsed_s > 0.5
    assert "requests that gave nothing, 1, are counted" in answer.fault
    assert purse.spent == pytest.approx(answer.dollars)
