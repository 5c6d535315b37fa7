"""vLLM's own OpenAI server, on a CPU with a tiny model, answers the client: text, stops, usage, streams."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from search.agents.llm.endpoint import Chat, Endpoint
from search.contracts import ProposerError

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

STARTS_S = 240
TEMPLATE = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}assistant: "
QUESTION = [{"role": "user", "content": "Say something."}]
_spec = importlib.util.spec_from_file_location("tiny_llama", Path(__file__).parents[3] / "tiny_llama.py")
tiny_llama = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny_llama)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Start the server; give its URL."""
    folder = tmp_path_factory.mktemp("served")
    model = tiny_llama.write(folder / "model")
    template = folder / "template.jinja"
    template.write_text(TEMPLATE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model),
        "--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32",
        "--max-model-len", str(tiny_llama.MAX_TOKENS), "--enforce-eager", "--chat-template", str(template),
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
    answer = Chat(Endpoint("tiny", served, completion_price=1.0, max_tokens=20, seed=1)).ask(QUESTION)
    assert answer.text
    assert 10 < answer.usage.prompt < 100
    assert 1 <= answer.usage.completion <= 20
    assert answer.dollars == pytest.approx(answer.usage.completion / 1e6)
    if answer.usage.completion == 20:
        assert "cut off" in answer.fault


def test_the_same_seed_gives_the_same_answer(served):
    ask = [Chat(Endpoint("tiny", served, max_tokens=20, seed=seed)).ask(QUESTION).text for seed in (1, 1, 2)]
    assert ask[0] == ask[1] != ask[2]


def test_a_text_at_which_to_stop(served):
    asked = Endpoint("tiny", served, max_tokens=40, seed=1)
    whole = Chat(asked).ask(QUESTION).text
    mark = whole[len(whole) // 2 :][:4]
    assert whole.index(mark) > 0
    answer = Chat(replace(asked, body=json.dumps({"stop": [mark]}))).ask(QUESTION)
    assert answer.text == whole[: whole.index(mark)].strip()
    assert answer.fault == ""


def test_a_stream_ends_with_its_usage(served):
    """Other clients of the same server may stream."""
    from openai import OpenAI

    asked = {"model": "tiny", "messages": QUESTION, "max_tokens": 10, "temperature": 0}
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
        Chat(Endpoint("tiny", served)).ask([{"role": "user", "content": "word " * 4000}])
