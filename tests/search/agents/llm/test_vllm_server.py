"""vLLM's own OpenAI server, on a CPU with a tiny model, answers the client: text, stops, usage, streams, errors."""

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace

import httpx
import pytest
from tiny_llama import MAX_TOKENS, write

from search.agents.llm.endpoint import Chat, Endpoint
from search.agents.llm.servers.listing import Listed, listed
from search.contracts import ProposerError

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

STARTS_S = 240
TEMPLATE = """{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}\
{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}assistant: """
TEMPLATED = json.dumps({"chat_template": TEMPLATE})  # of its own the tiny model has none
QUESTION = [{"role": "user", "content": "Say something."}]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Start the server; give its URL."""
    folder = tmp_path_factory.mktemp("served")
    model = write(folder / "model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model),
        "--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32",
        "--max-model-len", str(MAX_TOKENS), "--enforce-eager", "--trust-request-chat-template",
    ]  # fmt: skip
    environment = {"VLLM_PLUGINS": "", "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "1",
                   "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"}  # fmt: skip
    log = folder / "log"
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | environment)
    try:
        _wait(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(30)


def _wait(url, process, log):
    end_s = time.monotonic() + STARTS_S
    while time.monotonic() < end_s:
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.5)
    pytest.fail(f"the server did not start: {log.read_text()[-3000:]}")


def test_an_answer_with_its_usage_and_no_more_tokens_than_asked_for(served):
    answer = Chat(Endpoint("tiny", served, body=TEMPLATED, completion_price=1.0, max_tokens=20, seed=1)).ask(QUESTION)
    assert answer.text
    assert 10 < answer.usage.prompt < 100
    assert 1 <= answer.usage.completion <= 20
    assert answer.dollars == pytest.approx(answer.usage.completion / 1e6)
    if answer.usage.completion == 20:
        assert "cut off" in answer.fault


def test_the_same_seed_gives_the_same_answer(served):
    asked = Endpoint("tiny", served, body=TEMPLATED, max_tokens=20)
    ask = [Chat(replace(asked, seed=seed)).ask(QUESTION).text for seed in (1, 1, 2)]
    assert ask[0] == ask[1] != ask[2]


def test_a_text_at_which_to_stop(served):
    asked = Endpoint("tiny", served, body=TEMPLATED, max_tokens=40, seed=1)
    whole = Chat(asked).ask(QUESTION).text
    mark = whole[len(whole) // 2 :][:4]
    assert whole.index(mark) > 0
    answer = Chat(replace(asked, body=json.dumps({"chat_template": TEMPLATE, "stop": [mark]}))).ask(QUESTION)
    assert answer.text == whole[: whole.index(mark)].strip()
    assert answer.fault == ""


def test_a_stream_ends_with_its_usage(served):
    """Other clients of the same server may stream."""
    from openai import OpenAI

    asked = {
        "model": "tiny",
        "messages": QUESTION,
        "max_tokens": 10,
        "temperature": 0,
        "extra_body": json.loads(TEMPLATED),
    }
    client = OpenAI(base_url=served, api_key="none")
    parts = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    text = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
    assert text == client.chat.completions.create(**asked).choices[0].message.content
    assert 1 <= parts[-1].usage.completion_tokens <= 10


def test_a_model_that_is_not_served_is_a_clear_error(served):
    with pytest.raises(ProposerError, match=r"404.*another"):
        Chat(Endpoint("another", served)).ask(QUESTION)


def test_more_than_the_context_holds_is_a_clear_error(served):
    with pytest.raises(ProposerError, match=r"gave no answer.*2048"):
        Chat(Endpoint("tiny", served, body=TEMPLATED)).ask([{"role": "user", "content": "word " * 4000}])


def test_a_model_without_a_chat_template_is_a_clear_error(served):
    with pytest.raises(ProposerError, match=r"gave no answer.*must provide a chat template"):
        Chat(Endpoint("tiny", served)).ask(QUESTION)


def test_a_template_that_knows_no_system_is_told_all_by_the_user(served):
    asking = Chat(Endpoint("tiny", served, body=TEMPLATED, max_tokens=5))
    assert asking.ask([{"role": "system", "content": "Rules."}, *QUESTION]).usage.completion >= 1


def test_tools_that_are_not_taken_are_left_out(served):
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    assert Chat(Endpoint("tiny", served, body=TEMPLATED, max_tokens=5)).ask(QUESTION, [tool]).usage.completion >= 1


def test_it_lists_its_models_with_their_contexts(served):
    assert "serves tiny with a context of 2,048 tokens" in listed(Endpoint("tiny", served)).objection
    assert listed(Endpoint("tiny", served, max_prompt_tokens=48)) == Listed()
    assert "serves tiny, and not 'other'" in listed(Endpoint("other", served)).objection
    without = served.removesuffix("/v1")
    assert f"did you mean {served}?" in listed(Endpoint("tiny", without)).objection
