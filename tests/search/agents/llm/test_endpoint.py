"""Asking an endpoint over real HTTP: what is sent, how long it is waited for, and that keys stay where they are."""

import json
import logging
import re
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest
from scripted_server import TOLD, Scripted, chat

from search.agents.llm.endpoint import ANSWER_TOKENS, Chat, Endpoint
from search.agents.llm.keys import redacted
from search.contracts import ProposerError
from tests.search.agents.timing import within

ASKED = [{"role": "user", "content": "Write one."}]
KEY = "sk-proj-0123456789abcdef"
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


def body_of(wire, number=-1):
    return wire.requests[number][1]


def test_what_was_set_is_sent_and_nothing_else(wire):
    wire.script = [Scripted(chat("hello"))]
    answer = Chat(Endpoint("m", wire.url)).ask(ASKED)
    assert (answer.text, answer.fault, answer.dollars) == ("hello", "", 0.0)
    assert body_of(wire) == {"model": "m", "messages": ASKED}
    given = Endpoint(
        "m", wire.url, max_tokens=50, temperature=0.0, seed=7, body='{"top_k": 20, "chat_template_kwargs": {"a": 1}}'
    )
    Chat(given).ask(ASKED, [TOOL])
    assert body_of(wire) == {
        "model": "m",
        "messages": ASKED,
        "max_tokens": 50,
        "temperature": 0.0,
        "seed": 7,
        "tools": [TOOL],
        "top_k": 20,
        "chat_template_kwargs": {"a": 1},
    }


def test_an_answer_with_a_price_has_a_bound(wire):
    wire.script = [Scripted(chat("hello"))]
    Chat(Endpoint("m", wire.url, completion_price=1.0)).ask(ASKED)
    assert body_of(wire)["max_tokens"] == ANSWER_TOKENS


def test_headers_are_sent_and_those_that_name_a_variable_hold_what_is_in_it(wire, monkeypatch):
    monkeypatch.setenv("OTHER_KEY", "other-secret-key")
    wire.script = [Scripted(chat("hello"))]
    Chat(Endpoint("m", wire.url, headers='{"x-title": "search", "api-key": "$OTHER_KEY"}')).ask(ASKED)
    sent = wire.requests[0][0]
    assert (sent["x-title"], sent["api-key"]) == ("search", "other-secret-key")


def test_what_the_environment_holds_for_others_is_not_sent(wire, monkeypatch):
    """OpenAI's library sends these to wherever it asks, even instead of the key."""
    monkeypatch.setenv("MY_KEY", KEY)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer planted\nX-Gateway: planted\nContent-Type: x")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-planted")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-planted")
    wire.script = [Scripted(chat("hello"))]
    Chat(Endpoint("m", wire.url, api_key_env="MY_KEY", headers='{"x-title": "search"}')).ask(ASKED)
    sent = wire.requests[0][0]
    assert (sent["authorization"], sent["x-title"]) == (f"Bearer {KEY}", "search")
    assert sent["content-type"] == "application/json"
    assert "planted" not in str(sent)


def test_a_header_that_says_who_asks_is_sent_instead_of_the_key(wire, monkeypatch):
    monkeypatch.setenv("BASIC", "Basic-of-a-gateway")
    wire.script = [Scripted(chat("hello"))]
    Chat(Endpoint("m", wire.url, headers='{"Authorization": "$BASIC"}')).ask(ASKED)
    assert wire.requests[0][0]["authorization"] == "Basic-of-a-gateway"


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_this_machine_is_asked_without_a_proxy(wire, monkeypatch, name):
    """Who stands between networks takes the name for its own, and would get the key."""
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    wire.script = [Scripted(chat("hello"))]
    url = wire.url.replace("127.0.0.1", name)
    assert Chat(Endpoint("m", url, max_retries=0)).ask(ASKED).text == "hello"


def test_calls_of_tools_come_back(wire):
    called = [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"ratio": 16}'}}]
    wire.script = [Scripted(chat(None, message={"tool_calls": called}, finish="tool_calls"))]
    answer = Chat(Endpoint("m", wire.url)).ask(ASKED, [TOOL])
    assert [(call.id, call.name, call.arguments) for call in answer.calls] == [("c1", "look", {"ratio": 16})]
    assert answer.fault == ""


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (b'{"error": {"message": "\\"auto\\" tool choice requires --enable-auto-tool-choice"}}', 400),
        (b'{"error": "Tool error: no such grammar", "error_type": "tool_error"}', 422),
        (b'{"detail": [{"loc": ["body", "tools"], "msg": "Extra inputs are not permitted"}]}', 422),
        (b"tools are not supported", 400),
    ],
    ids=["OpenAI", "one text", "FastAPI", "plain"],
)
def test_an_endpoint_that_takes_no_tools_is_asked_without(wire, refusal, status):
    wire.script = [Scripted(refusal, status), Scripted(chat("hello"))]
    asking = Chat(Endpoint("m", wire.url))
    assert asking.ask(ASKED, [TOOL]).text == "hello"
    assert asking.ask(ASKED, [TOOL]).text == "hello"
    assert ["tools" in body for _, body in wire.requests] == [True, False, False]


NO_TOOLS = Scripted(b"tools are not supported", 400)


@pytest.mark.parametrize(
    "refusal",
    [
        "System role not supported",
        "Conversation roles must alternate user/assistant/user/assistant/...",
        "Only user and assistant roles are supported!",
    ],
)
@pytest.mark.parametrize("first", [[], [NO_TOOLS]], ids=["alone", "after tools"])
def test_a_model_that_knows_no_system_is_told_all_by_who_asks(wire, refusal, first):
    refused = Scripted(json.dumps({"error": {"message": refusal, "code": 400}}).encode(), 400)
    wire.script = [*first, refused, Scripted(chat("hello"))]
    asking = Chat(Endpoint("m", wire.url))
    messages = [{"role": "system", "content": "Rules."}, *ASKED]
    for _ in range(2):
        assert asking.ask(messages, [TOOL]).text == "hello"
    asked = [body["messages"] for _, body in wire.requests[len(first) :]]
    both = [{"role": "user", "content": f"Rules.\n\n{ASKED[0]['content']}"}]
    assert asked == [messages, both, both]


def test_a_refusal_that_no_other_form_mends_is_told(wire):
    wire.script = [Scripted(json.dumps({"error": {"message": "no such role"}}).encode(), 400)]
    with pytest.raises(ProposerError, match="no such role"):
        Chat(Endpoint("m", wire.url)).ask([{"role": "system", "content": "Rules."}, *ASKED])
    assert len(wire.requests) == 2


@pytest.mark.parametrize("lost", [Scripted(chat("x"), wait_s=3.0), Scripted(b"", 504)], ids=["slow", "gateway"])
def test_what_was_asked_in_vain_before_tools_were_refused_is_counted(wire, lost):
    wire.script = [lost, NO_TOOLS, Scripted(chat("hello"))]
    priced = Endpoint("m", wire.url, completion_price=1.0, max_tokens=1000, timeout_s=0.5, max_retries=1)
    answer = Chat(priced).ask(ASKED, [TOOL])
    assert answer.text == "hello"
    assert answer.dollars == pytest.approx((1000 + TOLD["completion_tokens"]) / 1e6)
    assert "requests that gave nothing, 1, are counted" in answer.fault


def test_a_dripping_answer_ends_with_its_deadline(wire):
    wire.script = [Scripted(chat("hello " * 100), drip_s=0.05)]
    start = time.monotonic()
    answer = Chat(Endpoint("m", wire.url, deadline_s=1.0)).ask(ASKED)
    assert time.monotonic() - start < 5
    assert answer.fault == "the reply was not whole after 1 s"


@pytest.mark.parametrize("body", [b" " * 4096, b": still thinking\n\n" * 200, chat("x" * 60_000)])
@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_without_end_is_cut_off_at_a_bound(wire, body, status):
    wire.script = [Scripted(body, status, is_endless=True)]
    answer = Chat(Endpoint("m", wire.url, max_retries=0)).ask(ASKED)
    assert (answer.text, answer.fault) == ("", "the reply has more than 4,194,304 bytes")
    assert len(wire.requests) == 1


def test_a_server_that_is_asked_in_vain_is_told_with_what_it_said_last(wire):
    wire.script = [Scripted(b"{}", 429, {"retry-after": "60"})]
    with pytest.raises(ProposerError, match=r"not whole after 1 s; the last reply was HTTP 429, and asks to wait 60 s"):
        Chat(Endpoint("m", wire.url, deadline_s=1.0)).ask(ASKED)


@pytest.mark.parametrize("said", [b'{"detail":"Not Found"}', b'{"error": "Not Found"}', b"404 Not Found\n"])
def test_what_a_server_says_of_an_error_is_told_in_whatever_form_it_says_it(wire, said):
    wire.script = [Scripted(said, 404)]
    with pytest.raises(ProposerError, match=r"HTTP 404.*Not Found"):
        Chat(Endpoint("m", wire.url)).ask(ASKED)


def test_who_is_asked_in_vain_is_told_whether_others_were_answered(wire):
    wire.script = [Scripted(b"{}", 400), Scripted(chat("hello")), Scripted(b"{}", 400)]
    asking = Chat(Endpoint("m", wire.url))
    with pytest.raises(ProposerError) as first:
        asking.ask(ASKED)
    asking.ask(ASKED)
    with pytest.raises(ProposerError) as later:
        asking.ask(ASKED)
    assert (first.value.works, later.value.works) == (False, True)


def test_a_long_rest_is_told_while_it_is_waited_for(wire, caplog):
    wire.script = [Scripted(b"{}", 429, {"retry-after": "30"})]
    with caplog.at_level(logging.WARNING), pytest.raises(ProposerError):
        Chat(Endpoint("m", wire.url, max_retries=0)).ask(ASKED)
    assert f"the endpoint {wire.url} replied with HTTP 429, and asks to wait 30 s" in caplog.text


@pytest.mark.parametrize("rest", ["9" * 5000, "\u00b2", "-1", "soon"])
def test_a_rest_that_is_no_number_of_seconds_is_told_as_it_is(wire, rest):
    wire.script = [Scripted(b"{}", 429, {"retry-after": rest})]
    with pytest.raises(ProposerError, match=f"asks to wait until {re.escape(rest[:39])}"):
        Chat(Endpoint("m", wire.url, max_retries=0)).ask(ASKED)


def test_of_a_rest_no_part_of_a_key_and_no_control_characters_are_told(wire, monkeypatch):
    monkeypatch.setenv("MY_KEY", "otherwise0secret0" * 3)
    wire.script = [Scripted(b"{}", 429, {"retry-after": "\x1b[31m" + "otherwise0secret0" * 3})]
    with pytest.raises(ProposerError, match="asks to wait until") as raised:
        Chat(Endpoint("m", wire.url, api_key_env="MY_KEY", max_retries=0)).ask(ASKED)
    assert "otherwise" not in str(raised.value)
    assert str(raised.value).isprintable()


def asked_at_once(asking, number):
    """Let so many threads ask; give their answers and how long all took."""
    start = time.monotonic()
    with ThreadPoolExecutor(number) as pool:
        answers = list(pool.map(lambda _: asking.ask(ASKED).text, range(number)))
    return answers, time.monotonic() - start


def test_many_are_asked_at_once(wire):
    wire.script = [Scripted(chat("hello"), wait_s=1.0)]
    answers, elapsed_s = asked_at_once(Chat(Endpoint("m", wire.url)), 8)
    assert answers == ["hello"] * 8
    assert elapsed_s < 8


def test_no_more_are_asked_at_once_than_may_be_and_the_others_wait(wire):
    wire.script = [Scripted(chat("hello"), wait_s=0.4)]
    answers, elapsed_s = asked_at_once(Chat(Endpoint("m", wire.url), num_at_once=2), 4)
    assert answers == ["hello"] * 4
    assert elapsed_s >= 0.8


def test_a_question_without_bound_is_refused(wire):
    with pytest.raises(ProposerError, match="at most 1 MiB"):
        Chat(Endpoint("m", wire.url)).ask([{"role": "user", "content": "x" * (2 << 20)}])
    assert wire.requests == []


@pytest.mark.parametrize("status", [401, 403, 200])
def test_a_key_that_a_server_echoes_is_in_no_message_log_or_traceback(wire, monkeypatch, caplog, status):
    monkeypatch.setenv("MY_KEY", KEY)
    wire.script = [
        Scripted(json.dumps({"error": {"message": f"Incorrect API key: {KEY} (Bearer {KEY})"}}).encode(), status)
    ]
    asking = Chat(Endpoint("m", wire.url, api_key_env="MY_KEY", max_retries=0))
    with caplog.at_level(logging.DEBUG):
        try:
            told = asking.ask(ASKED).fault
        except ProposerError:
            told = traceback.format_exc()
    assert wire.requests[0][0]["authorization"] == f"Bearer {KEY}"
    assert "Incorrect API key: [key]" in told
    assert KEY not in told + caplog.text + repr(asking.endpoint)


def test_a_key_that_a_server_echoes_escaped_or_in_a_call_is_not_kept(wire, monkeypatch):
    key = "no/form=that+is/known"
    monkeypatch.setenv("MY_KEY", key)
    call = {"id": key, "type": "function", "function": {"name": "look", "arguments": json.dumps({"x": [{key: key}]})}}
    wire.script = [Scripted(chat(f"It is {key}.", message={"tool_calls": [call]}).replace(b"/", b"\\/"))]
    answer = Chat(Endpoint("m", wire.url, api_key_env="MY_KEY")).ask(ASKED, [TOOL])
    assert answer.text == "It is [key]."
    assert answer.calls[0].arguments == {"x": [{"[key]": "[key]"}]}
    assert answer.calls[0].id == "[key]"


def test_a_key_that_a_server_echoes_in_two_parts_is_not_kept(wire, monkeypatch):
    monkeypatch.setenv("MY_KEY", "no-form-that-is-known")
    parts = [{"type": "text", "text": text} for text in ("It is no-form-", "that-is-known.")]
    wire.script = [Scripted(chat(parts))]
    assert Chat(Endpoint("m", wire.url, api_key_env="MY_KEY")).ask(ASKED).text == "It is [key]."


def test_a_key_that_a_server_echoes_escaped_in_an_error_of_its_own_form_is_not_told(wire, monkeypatch):
    key = "no/form=that+is/known"
    monkeypatch.setenv("MY_KEY", key)
    wire.script = [Scripted(json.dumps({"detail": [{key: f"{key} is wrong"}]}).replace("/", "\\/").encode(), 403)]
    with pytest.raises(ProposerError, match=r"\[key\] is wrong") as raised:
        Chat(Endpoint("m", wire.url, api_key_env="MY_KEY")).ask(ASKED)
    assert "form" not in str(raised.value)


@pytest.mark.parametrize("form", ["json", "stream"])
def test_of_a_key_that_is_escaped_where_a_message_is_cut_no_half_is_told(wire, monkeypatch, form):
    key = "no/form=that+is/known/but-long"
    monkeypatch.setenv("MY_KEY", key)
    told = json.dumps({"error": {"message": "x" * 185 + key}}).replace("/", "\\/")
    wire.script = [Scripted((told if form == "json" else f"data: {told}\n\n").encode())]
    fault = Chat(Endpoint("m", wire.url, api_key_env="MY_KEY")).ask(ASKED).fault
    assert "the server tells of an error: xxx" in fault
    assert "no/form" not in fault


def test_what_a_server_says_is_told_in_one_line_without_half_a_key_or_control_characters(wire, monkeypatch):
    monkeypatch.setenv("MY_KEY", "otherwise0secret0")
    message = "\x1b[31mred\u202e\n\ud800" + "x" * 470 + "otherwise0secret0"
    wire.script = [Scripted(json.dumps({"error": {"message": message}}).encode(), 400)]
    with pytest.raises(ProposerError) as raised:
        Chat(Endpoint("m", wire.url, api_key_env="MY_KEY", max_retries=0)).ask(ASKED)
    assert "otherwise" not in str(raised.value)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("unit", ["-eyJ", "Bearer ", "://a:", "sk-", "[", '{"a":'])
def test_whatever_an_error_repeats_is_told_in_seconds(wire, unit):
    message = (unit * (1 << 20))[: 1 << 20]
    wire.script = [Scripted(json.dumps({"error": {"message": message}}).encode(), 400)]
    with within(20.0), pytest.raises(ProposerError, match="HTTP 400") as raised:
        Chat(Endpoint("m", wire.url, max_retries=0)).ask(ASKED)
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize("key", ["sk-with space", "sk-\x00zero", "schlüssel-geheim"])
def test_what_can_be_no_key_is_refused_and_not_repeated(wire, monkeypatch, key):
    if "\x00" in key:
        monkeypatch.setattr("os.environ", {"MY_KEY": key})
    else:
        monkeypatch.setenv("MY_KEY", key)
    with pytest.raises(ProposerError, match="MY_KEY holds no key") as raised:
        Chat(Endpoint("m", wire.url, api_key_env="MY_KEY")).ask(ASKED)
    assert key not in str(raised.value)


def test_white_space_around_a_key_does_not_matter(wire, monkeypatch):
    monkeypatch.setenv("MY_KEY", f" {KEY}\n")
    wire.script = [Scripted(chat("hello"))]
    Chat(Endpoint("m", wire.url, api_key_env="MY_KEY")).ask(ASKED)
    assert wire.requests[0][0]["authorization"] == f"Bearer {KEY}"


def test_a_key_goes_nowhere_else(wire, monkeypatch):
    """A redirect is not followed, and OpenAI's own address is not taken from the environment."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", wire.url)
    monkeypatch.setattr("search.agents.llm.endpoint.OPENAI", "http://127.0.0.1:9/v1")
    with pytest.raises(ProposerError, match="APIConnectionError"):
        Chat(Endpoint("m", max_retries=0)).ask(ASKED)
    assert wire.requests == []
    wire.script = [Scripted(b"", 307, {"location": f"{wire.url}/elsewhere"}), Scripted(chat("hello"))]
    with pytest.raises(ProposerError, match="HTTP 307"):
        Chat(Endpoint("m", wire.url, max_retries=0)).ask(ASKED)
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    "secret",
    [
        KEY,
        "sk-ant-api03-abcdefghijklmnop",
        "AIzaSyA0123456789abcdefghijklmnop",
        "gsk_0123456789abcdef0123",
        "hf_abcdefghijklmnopqrst",
        "ghp_abcdefghijklmnopqrst0123",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-def",
    ],
)
def test_what_has_the_form_of_a_key_is_taken_out(secret):
    assert secret not in redacted(f"use {secret}, or 'Authorization: Bearer {secret}'")


def test_passwords_in_urls_are_taken_out_and_programs_stay_as_they_are():
    from vortex_dsl import zoo

    assert redacted("http://me:hunter22@host/v1") == "http://[key]@host/v1"
    assert redacted("my-own-key-value", ["my-own-key-value"]) == "[key]"
    assert all(redacted(zoo.text(name)) == zoo.text(name) for name in zoo.names())
