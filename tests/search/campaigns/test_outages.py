"""A campaign whose language model's server starts late, dies in the middle, or never comes."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from scripted_server import Scripted, Server, chat

from benchmarks.loop import PROGRAM
from search.agents.llm.endpoint import Endpoint
from search.campaigns.proposers import proposers_of
from search.cli import main
from search.commands.exits import ExitCode
from search.config import CampaignConfig
from search.loop import Loop, start_campaign
from search.outcome import End
from search.records import Status

LONG_S = 60.0


def answer(number):
    """Another program at every answer."""
    program = PROGRAM.format(step=number, slope=number + 1)
    return Scripted(chat(f"Newer.\n\n```python\n{program}```\n"))


@pytest.fixture
def port(monkeypatch):
    monkeypatch.setattr("search.agents.llm.endpoint.REST_S", 0.1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def server_at(port):
    begun = []

    def begin():
        begun.append(Server(port, answer))
        return begun[-1]

    yield begin
    for each in begun:
        each.close()


@pytest.fixture
def loop_of(port, ledger, fake):
    """Give the loop of a new campaign that a language model proposes, alone or with another one."""

    def make(num_candidates=4, patience_s=LONG_S, others=()):
        own = Endpoint("m", f"http://127.0.0.1:{port}/v1", max_retries=1, name="own")
        endpoints = (own, *others)
        names = tuple(each.name for each in endpoints)
        config = CampaignConfig(
            model="probe", num_candidates=num_candidates, seeds=("quest",), ratios=(4.0,), lag=3, turns=1,
            proposers=names, endpoints=endpoints,
        )  # fmt: skip
        campaign = start_campaign(ledger, config)
        proposers = proposers_of(config, {each.name: each for each in endpoints}, patience_s)
        return Loop(ledger, fake(2, failure_rate=0), proposers, campaign)

    return make


def soon(condition):
    end = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def failed(ledger):
    records = ledger.records(ledger.campaign().id)
    return [each for each in records if each.candidate.status is Status.INFRASTRUCTURE]


def test_a_server_that_starts_after_the_campaign_is_waited_for(loop_of, server_at, ledger):
    loop = loop_of()
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(loop.run)
        time.sleep(1.0)
        server_at()
        assert run.result(LONG_S).end is End.DONE
    assert failed(ledger) == []


def test_a_server_that_dies_in_mid_answer_and_is_started_again_costs_no_step(loop_of, server_at, ledger):
    first = server_at()
    first.script = lambda number: replace(answer(number), wait_s=0.5, hangs_up=number >= 2)
    loop = loop_of(num_candidates=12)
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(loop.run)
        soon(lambda: len(first.requests) >= 3)
        first.close()
        time.sleep(1.0)
        server_at()
        assert run.result(LONG_S).end is End.DONE
    assert failed(ledger) == []


def test_ctrl_c_does_not_wait_for_a_server_that_never_comes(loop_of, ledger):
    loop = loop_of()
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(loop.run)
        soon(lambda: ledger.records(1))
        time.sleep(1.0)
        start = time.monotonic()
        loop.drain()
        assert run.result(LONG_S).end is End.INTERRUPTED
    assert time.monotonic() - start < LONG_S / 3
    assert failed(ledger) == []


def test_ctrl_c_keeps_what_another_server_answers(loop_of, ledger):
    with_slow = Server()
    with_slow.script = lambda number: Scripted(answer(number).body, wait_s=2.0)
    loop = loop_of(num_candidates=6, others=(Endpoint("n", with_slow.url, max_retries=0, name="other"),))
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(loop.run)
        soon(lambda: with_slow.requests)
        loop.drain()
        assert run.result(LONG_S).end is End.INTERRUPTED
    with_slow.close()
    proposers = [each.candidate.proposal.proposer for each in ledger.records(1)]
    assert "other" in proposers
    assert ledger.owing(1) == []


def test_a_server_that_never_comes_ends_the_campaign_in_the_end(loop_of):
    outcome = loop_of(patience_s=1.0).run()
    assert outcome.end is End.INFRASTRUCTURE
    assert "gave no answer from the start" in outcome.message


@pytest.fixture
def serving(server_at):
    """A server that lists one model as vLLM does."""
    server = server_at()

    def serve(name="m", context=32_768):
        body = json.dumps({"data": [{"id": name, "max_model_len": context}]}).encode()
        server.listed = {"/v1/models": Scripted(body)}
        return server

    return serve


@pytest.mark.parametrize(
    ("told", "says"),
    [({"name": "/models/m"}, "serves /models/m, and not 'm'"), ({"context": 8192}, "a context of 8,192 tokens")],
)
def test_a_server_that_would_answer_nothing_is_told_before_anything_is_made(serving, told, says, tmp_path, capsys):
    db = tmp_path / "new.db"
    server = serving(**told)
    words = ["--llm", "m", "--base-url", server.url, "--db", str(db)]
    assert main(["run", *words]) == ExitCode.USAGE
    assert says in capsys.readouterr().err
    assert not db.exists()
    assert server.requests == []


def test_an_endpoint_that_nobody_asks_need_not_be_right(serving, tmp_path, monkeypatch, capsys):
    class GotThereError(Exception):
        pass

    def there(_):
        raise GotThereError

    monkeypatch.setattr("search.campaigns.machines.facts_to_serve", there)
    words = ["--llm", "m", "--base-url", serving("another").url, "--db", str(tmp_path / "new.db")]
    main(["run", "--proposer", "grammar", *words])
    assert "GotThereError" in capsys.readouterr().err


def test_whoever_goes_on_is_told_too(serving, loop_of, db, ledger, capsys):
    server = serving("another")
    loop_of()
    assert main(["resume", "--db", db]) == ExitCode.USAGE
    assert "serves another, and not 'm'" in capsys.readouterr().err
    assert ledger.records(1) == []
    assert server.requests == []
