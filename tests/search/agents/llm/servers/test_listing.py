"""What a server tells of its models before it is asked anything, over real HTTP."""

import json
from dataclasses import replace

import pytest
from scripted_server import Scripted

from search.agents.llm.endpoint import Endpoint
from search.agents.llm.servers.listing import LEAST_ANSWER_TOKENS, Listed, listed
from search.contracts import ProposerError

KEY = "no/form=that+is/known"


def models(*names, context=32_768):
    """A list as vLLM gives it."""
    told = {} if context is None else {"max_model_len": context}
    data = [{"id": name, "object": "model", "owned_by": "vllm", "parent": None, **told} for name in names]
    return Scripted(json.dumps({"object": "list", "data": data}).encode())


@pytest.fixture
def endpoint(wire):
    return Endpoint("Qwen/Qwen3-8B", wire.url)


def test_a_server_that_serves_the_model_is_asked_once_with_the_key(wire, endpoint, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    wire.listed = {"/v1/models": models("Qwen/Qwen3-8B")}
    assert listed(endpoint) == Listed()
    ((path, sent),) = wire.looked
    assert (path, sent["authorization"]) == ("/v1/models", f"Bearer {KEY}")
    assert wire.requests == []


def test_another_model_is_told_with_those_that_are_served(wire, endpoint):
    wire.listed = {"/v1/models": models("/models/Qwen3-8B", "Qwen/Qwen3-8b")}
    told = listed(endpoint).objection
    assert f"the endpoint {wire.url} serves /models/Qwen3-8B, Qwen/Qwen3-8b, and not 'Qwen/Qwen3-8B'" in told
    assert "did you mean 'Qwen/Qwen3-8b'?" in told
    assert "ask for what it serves" in listed(replace(endpoint, model="zzzzz")).objection


def test_a_context_that_a_question_does_not_fit_is_told(wire, endpoint):
    wire.listed = {"/v1/models": models(endpoint.model, context=8192)}
    assert "with a context of 8,192 tokens, and a question of up to 12,000 and an answer take 14,000" in (
        listed(endpoint).objection
    )
    assert listed(replace(endpoint, max_prompt_tokens=8192 - LEAST_ANSWER_TOKENS)) == Listed()


def test_an_adapter_has_no_context_of_its_own(wire, endpoint):
    (base,) = json.loads(models("base").body)["data"]
    adapter = base | {"id": endpoint.model, "parent": "base", "max_model_len": None}
    wire.listed = {"/v1/models": Scripted(json.dumps({"data": [base, adapter]}).encode())}
    assert listed(endpoint) == Listed()


def test_who_tells_no_context_may_serve_what_is_not_listed(wire, endpoint):
    """Names that stand for others, and proxies that hand on whatever they do not know."""
    wire.listed = {"/v1/models": models("latest", context=None)}
    assert listed(endpoint) == Listed()


@pytest.mark.parametrize("given", ["", "/"])
def test_an_address_without_its_version_is_told_with_the_one_that_may_be_meant(wire, endpoint, given):
    wire.listed = {"/v1/models": models(endpoint.model)}
    base = wire.url.removesuffix("/v1")
    assert f"did you mean {wire.url}?" in listed(replace(endpoint, base_url=base + given)).objection


@pytest.mark.parametrize(
    "reply",
    [
        Scripted(b"", 403),
        Scripted(b"<html>", 501, {"content-type": "text/html"}),
        Scripted(b'{"data": [null, 3, {"id": null}, {"id": "x", "max_model_len": "8192"}]}'),
        Scripted(b'{"data": {"id": "x"}}'),
        Scripted(b"[" * 100_000),
        Scripted(b" " * 4096, is_endless=True),
        Scripted(b"", 307, {"location": "http://127.0.0.1:9/"}),
        None,
    ],
    ids=["forbidden", "not made", "no models", "no list", "nested", "endless", "redirect", "not found"],
)
def test_what_a_server_does_not_tell_is_no_objection(wire, endpoint, reply):
    wire.listed = {"/v1/models": reply} if reply else {}
    assert listed(endpoint) == Listed()


def test_a_key_that_is_refused_is_told_and_not_repeated(wire, endpoint, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    wire.listed = {"/v1/models": Scripted(json.dumps({"error": f"not {KEY}"}).replace("/", "\\/").encode(), 401)}
    told = listed(endpoint).objection
    assert "another key than the key in the environment variable OPENAI_API_KEY" in told
    assert "not [key]" in told
    assert "known" not in told


def test_a_server_that_is_not_there_is_no_objection_yet(endpoint):
    told = listed(replace(endpoint, base_url="http://127.0.0.1:9/v1"))
    assert told.objection == ""
    assert "the endpoint http://127.0.0.1:9/v1 does not answer yet" in told.remark


def test_a_server_that_says_nothing_is_left_alone(wire, endpoint, monkeypatch):
    monkeypatch.setattr("search.agents.llm.servers.listing.WAIT_S", 0.5)
    wire.listed = {"/v1/models": Scripted(b"{}", wait_s=5.0)}
    told = listed(endpoint)
    assert (told.objection, "does not answer yet" in told.remark) == ("", True)


def test_without_a_key_openais_own_is_not_asked(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ProposerError, match="OPENAI_API_KEY is not set"):
        listed(Endpoint("m"))
