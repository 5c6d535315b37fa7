"""A scripted agent with the real client of MCP takes part in a campaign, on stdio and over HTTP."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from search.outside.gateway import MAX_WAITS, Gateway
from search.outside.tools import MAX_ANSWER, TOOLS
from search.records import Status

ROOT = Path(__file__).resolve().parents[3]
VORTEX = "import sys; from search.cli import main; sys.exit(main())"
TOKEN = "a-token-that-only-this-test-knows"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
PATIENCE_S = 120
USUAL = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


async def play(client, text):
    """What a coding agent does in one round; gives the number of its candidate and all that it read."""
    read = {}

    async def call(tool, **arguments):
        result = await client.call_tool(tool, arguments)
        assert not result.is_error, result.content
        (content,) = result.content
        read[tool] = content.text
        return content.text

    assert {tool.name for tool in (await client.list_tools()).tools} == {tool.name for tool in TOOLS}
    ticket = re.match(r"ticket: (\S+)", await call("brief"))[1]
    await call("language")
    await call("zoo", name="quest")
    assert "within all bounds" in await call("check", program=text)
    await call("look", program=text)
    told = await call("submit", program=text, ticket=ticket, rationale="a mean", hypotheses=["good: recall > 0 at 4"])
    number = int(re.search(r"submission (\d+)", told)[1])
    known = 0
    while "finished" not in (told := await call("wait", submission=number, timeout_s=20, num_known=known)):
        assert told.count("\n*") >= known
        known = told.count("\n*")
    await call("show", name=re.search(r"candidate (\d+)", told)[1])
    await call("diff", name="Quest", other=re.search(r"candidate (\d+)", told)[1])
    await call("leaderboard")
    assert "good" in await call("journal")
    assert "good" in await call("hypotheses")
    assert all(len(each) <= MAX_ANSWER for each in read.values())
    refused = await client.call_tool("submit", {"program": text, "path": "/etc/passwd"})
    assert refused.is_error
    assert "path" in refused.content[0].text
    unknown = await client.call_tool("read_file", {"path": "/etc/passwd"})
    assert unknown.is_error
    return int(re.search(r"candidate (\d+)", told)[1]), read


def check_played(ledger, campaign, candidate_id, read, text):
    candidate = ledger.candidate(candidate_id).candidate
    assert candidate.campaign_id == campaign.id
    assert (candidate.status, candidate.proposal.proposer, candidate.proposal.text) == (Status.OK, "claude", text)
    assert candidate.proposal.rationale == "a mean"
    assert candidate.name in read["show"]
    assert f"+class {candidate.name}(Program):" in read["diff"]


def test_an_agent_takes_part_over_stdio(db, ledger, running, text_of):
    words = ["-c", VORTEX, "mcp", "--agent", "claude", "--db", db]
    server = StdioServerParameters(command=sys.executable, args=words, env=ENVIRONMENT)

    async def session():
        with anyio.fail_after(PATIENCE_S):
            async with Client(stdio_client(server)) as client:
                return await play(client, text_of(3))

    check_played(ledger, running, *anyio.run(session), text_of(3))


HELLO = {
    "jsonrpc": "2.0", "id": 1, "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}},
}  # fmt: skip


def called(number, tool, /, **arguments):
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}


def test_whatever_stands_on_a_line_the_next_one_is_answered(db, campaign):
    deep = "[" * 100_000 + "]" * 100_000
    lines = [
        json.dumps(HELLO), json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        "no JSON", "\x00\ufffd", json.dumps(called(2, "show", name="\ud800")),
        json.dumps(called(3, "check", program="")).replace('""', deep), json.dumps(called(4, "x" * 100_000)),
        json.dumps(called(5, "check", program="x" * 10_000_000)), json.dumps(called(6, "wait", submission=1e400)),
        json.dumps(called(7, "check", program="class A(Program):\n" * 500)), json.dumps(called(8, "zoo", name="quest")),
    ]  # fmt: skip
    words = [sys.executable, "-c", VORTEX, "mcp", "--agent", "claude", "--db", db]
    with subprocess.Popen(words, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.stdin.write("\n".join(lines) + "\n")
        process.stdin.flush()
        answers = {}
        while 8 not in answers:
            told = json.loads(process.stdout.readline())
            answers[told.get("id")] = told
        process.stdin.close()
        assert process.wait(30) == 0
    assert "class Quest(Program)" in answers[8]["result"]["content"][0]["text"]
    for number in answers.keys() & {4, 5, 6, 7}:
        content = json.dumps(answers[number])
        assert len(content) < 2000


READY = {"jsonrpc": "2.0", "method": "notifications/initialized"}
LONG_S, SOON_S = 60, 30


def test_a_server_whose_client_has_gone_ends_though_a_call_still_waits(db, ledger, campaign, text_of):
    waited = Gateway(ledger, "claude").submit(text_of(1)).submission
    calls = [called(2, "wait", submission=waited, timeout_s=LONG_S), called(3, "zoo", name="quest")]
    words = [sys.executable, "-c", VORTEX, "mcp", "--agent", "claude", "--db", db]
    with subprocess.Popen(words, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.stdin.write("\n".join(map(json.dumps, [HELLO, READY, *calls])) + "\n")
        process.stdin.flush()
        while json.loads(process.stdout.readline()).get("id") != 3:
            pass
        process.stdin.close()
        assert process.wait(SOON_S) == 0


def test_a_client_that_reads_no_more_ends_a_server_and_is_no_bug(db, campaign):
    words = [sys.executable, "-c", VORTEX, "mcp", "--agent", "claude", "--db", db]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, env=ENVIRONMENT, **pipes) as process:
        process.stdin.write("\n".join(map(json.dumps, [HELLO, READY])) + "\n")
        process.stdin.flush()
        process.stdout.readline()
        process.stdout.close()
        process.stdin.write(json.dumps(called(3, "zoo", name="quest")) + "\n")
        process.stdin.flush()
        assert process.wait(SOON_S) == 0
        assert process.stderr.read() == ""


def test_ctrl_c_ends_a_server_whose_stdin_stays_open(db, campaign):
    """As in a terminal, where nobody has ended it yet."""
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # a shell's jobs ignore it
    words = [sys.executable, "-c", f"{heard}; {VORTEX}", "mcp", "--agent", "claude", "--db", db]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, env=ENVIRONMENT, **pipes) as process:
        process.stdin.write("\n".join(map(json.dumps, [HELLO, READY, called(3, "zoo", name="quest")])) + "\n")
        process.stdin.flush()
        while json.loads(process.stdout.readline()).get("id") != 3:
            pass
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(SOON_S) == 130
            assert process.stderr.read() == "vortex: interrupted\n"
        finally:
            process.kill()


def test_calls_that_wait_keep_nobody_else_from_being_answered(db, ledger, campaign, text_of):
    waited = Gateway(ledger, "claude").submit(text_of(1)).submission
    waits = [called(100 + i, "wait", submission=waited, timeout_s=LONG_S) for i in range(MAX_WAITS + 2)]
    calls = [*waits, called(3, "zoo", name="quest"), called(4, "wait", submission=waited, timeout_s=0)]
    words = [sys.executable, "-c", VORTEX, "mcp", "--agent", "claude", "--db", db]
    answers = {}
    with subprocess.Popen(words, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.stdin.write("\n".join(map(json.dumps, [HELLO, READY, *calls])) + "\n")
        process.stdin.flush()
        while not {3, 4} <= answers.keys() or len(answers) < 5:
            told = json.loads(process.stdout.readline())
            answers[told["id"]] = told["result"]
        process.stdin.close()
        assert process.wait(SOON_S) == 0
    refused = [told for number, told in answers.items() if number >= 100]
    assert [told["isError"] for told in refused] == [True, True]
    assert f"{MAX_WAITS} calls wait already" in refused[0]["content"][0]["text"]
    assert not answers[4]["isError"]


def test_a_wait_that_its_client_cancels_gives_its_place_to_another(db, ledger, campaign, text_of):
    waited = Gateway(ledger, "claude").submit(text_of(1)).submission
    waits = [called(100 + i, "wait", submission=waited, timeout_s=LONG_S) for i in range(MAX_WAITS + 1)]
    words = [sys.executable, "-c", VORTEX, "mcp", "--agent", "claude", "--db", db]
    with subprocess.Popen(words, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def say(*messages):
            process.stdin.write("\n".join(map(json.dumps, messages)) + "\n")
            process.stdin.flush()

        def next_answer():
            while (told := json.loads(process.stdout.readline())).get("id", 0) < 100:
                pass
            return told["id"], told.get("result", {}).get("isError")

        say(HELLO, READY, *waits)
        refused, is_error = next_answer()  # all places are taken
        assert is_error
        left = next(call["id"] for call in waits if call["id"] != refused)
        say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": left}})
        until, taken = time.monotonic() + 5.0, None
        for number in range(200, 300):  # well before the time is up for which it would have waited
            say(called(number, "wait", submission=waited, timeout_s=1.0))
            answers = dict([next_answer()])
            while number not in answers:
                answers |= [next_answer()]
            if not answers[number]:
                taken = number
                break
            assert time.monotonic() < until, "the place of a call that was cancelled is not given to another"
        assert taken
        process.stdin.close()
        assert process.wait(SOON_S) == 0


def test_a_server_over_http_ends_when_it_is_told_to_though_a_call_still_waits(db, ledger, campaign, text_of):
    waited = Gateway(ledger, "claude").submit(text_of(1)).submission
    call = json.dumps(called(2, "wait", submission=waited, timeout_s=LONG_S))
    with served(db) as (url, token):
        sent = USUAL | {"Authorization": f"Bearer {token}"}
        told = httpx2.post(url, content=json.dumps(HELLO), headers=sent, timeout=30)
        sent["mcp-session-id"] = told.headers["mcp-session-id"]
        with pytest.raises(httpx2.ReadTimeout):
            httpx2.post(url, content=call, headers=sent, timeout=2)
    # `served` has waited for its end


@contextmanager
def served(db, token=TOKEN, host="127.0.0.1"):
    """Serve over HTTP in a process of its own; give the URL, and the token that it tells where it has none."""
    environment = {**ENVIRONMENT, "VORTEX_MCP_TOKEN": token}
    words = [sys.executable, "-c", VORTEX, "mcp", "--agent", "claude", "--http", "--host", host, "--db", db]
    process = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        told = "" if token else re.search(r"the token is (\S+)", process.stderr.readline())[1]
        yield re.search(r"http://\S+", process.stderr.readline())[0], told or token
    finally:
        process.terminate()
        process.communicate(timeout=SOON_S)


def test_an_agent_takes_part_over_http(db, ledger, running, text_of):
    async def session(url, token):
        with anyio.fail_after(PATIENCE_S):
            headers = {"Authorization": f"Bearer {token}"}
            async with (
                httpx2.AsyncClient(headers=headers, timeout=60) as http,
                Client(streamable_http_client(url, http_client=http)) as client,
            ):
                return await play(client, text_of(3))

    with served(db, token="") as (url, token):
        assert url.startswith("http://127.0.0.1:")
        assert len(token) >= 32
        check_played(ledger, running, *anyio.run(session, url, token), text_of(3))


def status(url, content=None, **headers):
    """What a server says to a request for its tools."""
    hello = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    sent = json.dumps(hello) if content is None else content
    return httpx2.post(url, content=sent, headers=USUAL | headers, timeout=30).status_code


def test_nobody_is_served_without_the_token(db, campaign):
    with served(db) as (url, token):
        right = {"Authorization": f"Bearer {token}"}
        assert status(url) == 401
        assert status(f"{url}?token={token}&access_token={token}") == 401
        assert status(url, Authorization="Bearer wrong") == 401
        assert status(url, Authorization=f"Bearer {token}é".encode("latin-1")) == 401
        assert status(url, **right) not in (401, 403, 421)
        assert status(url, **right, Host="evil.example") == 421
        assert status(url, **right, Origin="http://evil.example") == 403
        assert status(url, "x" * (2 << 20), **right) == 413
        assert status(url, (b"x" * 65_536 for _ in range(32)), **right) == 413  # nobody said how long it would be


def test_clients_that_leave_without_a_word_keep_nobody_out(db, campaign):
    num_left = 100
    with served(db) as (url, token), httpx2.Client(headers=USUAL | {"Authorization": f"Bearer {token}"}) as client:
        codes = {client.post(url, content=json.dumps(HELLO), timeout=30).status_code for _ in range(num_left)}
    assert codes == {200}


def test_whoever_has_the_token_is_served_by_any_name_where_other_machines_are(db, campaign):
    with served(db, host="0.0.0.0") as (url, token):
        here = url.replace("0.0.0.0", "127.0.0.1")
        right = {"Authorization": f"Bearer {token}"}
        assert status(here) == status(here, Authorization="Bearer wrong", Host="gpu-box.example:8000") == 401
        assert status(here, **right, Host="gpu-box.example:8000") not in (401, 403, 421)


@pytest.mark.parametrize("token", ["short", "has spaces in the middle of it", "x" * 600])
def test_a_token_that_is_none_is_refused_and_not_repeated(db, capsys, monkeypatch, token):
    from search.cli import main

    monkeypatch.setenv("VORTEX_MCP_TOKEN", token)
    assert main(["mcp", "--http", "--db", db]) == 2
    said = capsys.readouterr().err
    assert "VORTEX_MCP_TOKEN must have" in said
    assert token not in said


def test_an_address_that_is_not_ours_is_refused(db, capsys, monkeypatch):
    from search.cli import main

    monkeypatch.setenv("VORTEX_MCP_TOKEN", TOKEN)
    assert main(["mcp", "--http", "--host", "203.0.113.1", "--db", db]) == 2
    assert "cannot be served" in capsys.readouterr().err


def test_a_cluster_without_its_token_is_not_joined(db, campaign, capsys, monkeypatch, tmp_path):
    from search.cli import main

    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["mcp", "--ray", "127.0.0.1:1", "--db", db]) == 4
    assert "Ray at 127.0.0.1:1 is joined with the cluster's token, and there is none here" in capsys.readouterr().err
