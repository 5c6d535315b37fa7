"""A server that cannot be reached is waited for, and told of once, as one that asks for it; who refuses is not."""

import logging
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from email.utils import formatdate

import pytest
from scripted_server import Scripted, Server, chat

from search.agents.llm.endpoint import Chat, Endpoint
from search.contracts import ProposerError, UnreachableError

ASKED = [{"role": "user", "content": "Write one."}]
LONG_S, SOON_S = 60.0, 10.0


@pytest.fixture
def port():
    """A port of this machine at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def chat_at(port, monkeypatch):
    monkeypatch.setattr("search.agents.llm.endpoint.REST_S", 0.1)

    def make(patience_s, **given):
        return Chat(Endpoint("m", f"http://127.0.0.1:{port}/v1", **{"max_retries": 0} | given), patience_s=patience_s)

    return make


def later(port, seconds, server, told=(True,)):
    """Let a server begin so long after something was told."""

    def begin():
        while not told:
            time.sleep(0.01)
        time.sleep(seconds)
        server.append(Server(port, [Scripted(chat("hello"))]))

    threading.Thread(target=begin, daemon=True).start()


def test_a_server_that_is_slow_to_start_is_waited_for_and_told_of_once(port, chat_at, caplog):
    server = []
    asking = chat_at(LONG_S)
    start = time.monotonic()
    later(port, 1.0, server, caplog.records)
    with caplog.at_level(logging.WARNING), ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: asking.ask(ASKED), range(4)))
    took_s = time.monotonic() - start
    with closing(server[0]):
        assert [each.text for each in answers] == ["hello"] * 4
        assert min(each.elapsed_s for each in answers) < took_s - 0.5, "an outage is no part of an answer"
        assert all(each.fault == "" for each in answers)
        assert len(server[0].requests) == 4
    told = [each.getMessage() for each in caplog.records if each.name.startswith("search")]
    assert len(told) == 1
    assert f"the endpoint http://127.0.0.1:{port}/v1 cannot be reached, and is asked again for up to " in told[0]


def test_a_server_that_never_comes_is_an_error_after_a_while(chat_at):
    start = time.monotonic()
    with pytest.raises(UnreachableError, match="gave no answer: APIConnectionError") as raised:
        chat_at(1.0, prompt_price=5.0, completion_price=5.0).ask(ASKED)
    assert 1.0 <= time.monotonic() - start < SOON_S
    assert (raised.value.dollars, raised.value.works) == (0.0, False)


def test_who_is_told_not_to_waits_no_longer(chat_at):
    asking = chat_at(LONG_S)
    threading.Timer(0.5, lambda: setattr(asking, "waits", False)).start()
    start = time.monotonic()
    with pytest.raises(UnreachableError):
        asking.ask(ASKED)
    assert time.monotonic() - start < SOON_S


def test_a_server_that_dies_and_comes_back_is_asked_again(port, chat_at):
    asking = chat_at(LONG_S)
    first = Server(port, [Scripted(chat("hello"))])
    asking.ask(ASKED)
    first.close()
    server = []
    later(port, 1.0, server)
    assert asking.ask(ASKED).text == "hello"
    server[0].close()


@pytest.mark.parametrize("reply", [Scripted(b"{}", 500), Scripted(b"{}", 401), Scripted(hangs_up=True)])
def test_who_is_there_and_does_not_answer_is_not_waited_for(wire, reply):
    wire.script = [reply]
    start = time.monotonic()
    with pytest.raises(ProposerError) as raised:
        Chat(Endpoint("m", wire.url, max_retries=0), patience_s=LONG_S).ask(ASKED)
    assert time.monotonic() - start < SOON_S
    assert not isinstance(raised.value, UnreachableError)


RESTS = {
    "seconds": {"retry-after": "1.5"},
    "milliseconds": {"retry-after-ms": "1500"},
    "a date": lambda: {"retry-after": formatdate(time.time() + 2, usegmt=True)},
}


@pytest.mark.parametrize("rest", RESTS)
@pytest.mark.parametrize("status", [429, 503, 529])
def test_a_server_that_asks_for_a_rest_is_left_alone_and_then_asked(wire, status, rest, caplog):
    """By nobody, whoever was told so; what was asked meanwhile costs no step."""
    told = RESTS[rest]() if callable(RESTS[rest]) else RESTS[rest]
    wire.script = [Scripted(b"{}", status, told), Scripted(chat("hello"))]
    asking = Chat(Endpoint("m", wire.url, max_retries=0), patience_s=LONG_S)
    start = time.monotonic()
    answer = asking.ask(ASKED)
    assert answer.text == "hello"
    assert time.monotonic() - start >= 0.9
    assert answer.elapsed_s < time.monotonic() - start - 0.8
    assert len(wire.requests) == 2
    assert "asks for a rest, and is asked again for up to" in caplog.text


def test_who_asks_while_a_server_rests_waits_too(wire):
    asking = Chat(Endpoint("m", wire.url, max_retries=0), patience_s=LONG_S)
    wire.script = [Scripted(b"{}", 429, {"retry-after": "2"}), Scripted(chat("hello"))]
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(asking.ask, ASKED)
        while not wire.requests:
            time.sleep(0.01)
        time.sleep(0.3)
        others = [pool.submit(asking.ask, ASKED) for _ in range(3)]
        time.sleep(0.3)
        assert len(wire.requests) == 1
        assert [each.result(LONG_S).text for each in (first, *others)] == ["hello"] * 4
    assert len(wire.requests) == 5


@pytest.mark.parametrize(
    "rest", ["3600", "1e300", "nan", "inf", "-1", "soon", "9" * 500, "Wed, 21 Oct 2065 07:28:00 GMT"]
)
def test_a_rest_that_is_longer_than_the_patience_or_none_is_not_waited_for(wire, rest):
    wire.script = [Scripted(b"{}", 429, {"retry-after": rest})]
    start = time.monotonic()
    with pytest.raises(ProposerError, match="asks to wait"):
        Chat(Endpoint("m", wire.url, max_retries=0), patience_s=LONG_S).ask(ASKED)
    assert time.monotonic() - start < SOON_S


def test_who_is_told_not_to_waits_for_no_rest(wire):
    wire.script = [Scripted(b"{}", 429, {"retry-after": "40"})]
    asking = Chat(Endpoint("m", wire.url, max_retries=0), patience_s=LONG_S)
    threading.Timer(0.5, lambda: setattr(asking, "waits", False)).start()
    start = time.monotonic()
    with pytest.raises(UnreachableError):
        asking.ask(ASKED)
    assert time.monotonic() - start < SOON_S


def test_a_server_without_encryption_is_not_waited_for(wire):
    start = time.monotonic()
    with pytest.raises(ProposerError, match="SSL") as raised:
        Chat(Endpoint("m", wire.url.replace("http:", "https:"), max_retries=0), patience_s=LONG_S).ask(ASKED)
    assert time.monotonic() - start < SOON_S
    assert not isinstance(raised.value, UnreachableError)
