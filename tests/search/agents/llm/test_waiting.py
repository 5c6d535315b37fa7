"""A server that cannot be reached is waited for, and told of once; one that is there and refuses is not."""

import logging
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

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


def later(port, seconds, server):
    """Let a server begin after so long."""

    def begin():
        time.sleep(seconds)
        server.append(Server(port, [Scripted(chat("hello"))]))

    threading.Thread(target=begin, daemon=True).start()


def test_a_server_that_is_slow_to_start_is_waited_for_and_told_of_once(port, chat_at, caplog):
    server = []
    later(port, 1.0, server)
    asking = chat_at(LONG_S)
    with caplog.at_level(logging.WARNING), ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: asking.ask(ASKED), range(4)))
    with closing(server[0]):
        assert [each.text for each in answers] == ["hello"] * 4
        assert max(each.elapsed_s for each in answers) < 1.0, "an outage is no part of an answer"
        assert all(each.fault == "" for each in answers)
        assert len(server[0].requests) == 4
    told = [each.getMessage() for each in caplog.records if each.name.startswith("search")]
    assert len(told) == 1
    assert f"the endpoint http://127.0.0.1:{port}/v1 cannot be reached, and is asked again for up to 60 s" in told[0]


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


def test_a_server_without_encryption_is_not_waited_for(wire):
    start = time.monotonic()
    with pytest.raises(ProposerError, match="SSL") as raised:
        Chat(Endpoint("m", wire.url.replace("http:", "https:"), max_retries=0), patience_s=LONG_S).ask(ASKED)
    assert time.monotonic() - start < SOON_S
    assert not isinstance(raised.value, UnreachableError)
