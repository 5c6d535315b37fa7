"""docs/agents.md is true: each of its commands is run, against a scripted server where a key would be needed."""

import io
import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.agents.server import Habits, serving
from benchmarks.loop import PROGRAM, Drawn
from search.campaigns import machines
from search.cli import commands, main
from search.store.ledger import SqlLedger

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "agents.md").read_text()
VORTEX = "import sys; from search.cli import main; sys.exit(main())"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SECTIONS = dict(part.split("\n", 1) for part in PAGE.split("\n## ")[1:])
HOSTED, OWN, CODING, *_FIGURES = SECTIONS


def blocks(section, language):
    return [body for name, body in FENCE.findall(SECTIONS[section]) if name == language]


def lines(section):
    """Every command of a section, as words."""
    return [shlex.split(line) for body in blocks(section, "sh") for line in body.splitlines()]


@pytest.fixture
def server():
    """A model that writes another program at every answer."""
    with serving(lambda n, _: f"Newer.\n\n```python\n{PROGRAM.format(step=n, slope=n + 1)}```\n", Habits()) as found:
        yield found


@pytest.fixture
def place(tmp_path, monkeypatch, server):
    """A folder with the page's files, workers that draw their figures, and the scripted server at both addresses."""

    @contextmanager
    def pool(_machines):
        yield Drawn()

    model = tmp_path / "model"
    model.mkdir()
    shape = {"num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 256, "vocab_size": 576}
    (model / "config.json").write_text(json.dumps(shape | {"num_hidden_layers": 2, "max_position_embeddings": 16384}))
    monkeypatch.setattr("search.evaluator.probe.MODEL_FOLDER", model)
    monkeypatch.setattr(machines.Machines, "pool", pool)
    monkeypatch.setattr("search.agents.llm.endpoint.OPENAI", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-test")
    monkeypatch.chdir(tmp_path)
    for section in SECTIONS:
        for body in blocks(section, "toml"):
            name = body.splitlines()[0].removeprefix("# ")
            Path(name).write_text(body.replace("http://localhost:8000/v1", server.url))
    return tmp_path


def run(words, server):
    return main([word.replace("http://localhost:8000/v1", server.url) for word in words[1:]])


def proposers():
    ledger = SqlLedger("sqlite:///results.db")
    found = [record.candidate.proposal for record in ledger.records(ledger.campaign().id)]
    ledger.close()
    return found


def test_a_campaign_with_a_hosted_model(place, server, capsys):
    variable, *rest = lines(HOSTED)
    assert variable[0] == "export"
    single = list(itertools.takewhile(lambda words: "agents.toml" not in words, rest))
    assert [run(words, server) for words in single] == [0] * 3
    asked = [each for each in proposers() if each.proposer == "llm"]
    assert asked
    assert sum(each.dollars for each in asked) > 0
    assert "sk-of-the-test" not in Path("results.db").read_bytes().decode("latin1")


def test_a_campaign_with_several_models(place, server, capsys):
    several = [words for words in lines(HOSTED) if "agents.toml" in words]
    assert [run(words, server) for words in several] == [0, 0]
    assert {"large", "small"} <= {each.proposer for each in proposers()}


def test_a_campaign_with_a_model_of_ones_own(place, server, capsys):
    served, campaign = lines(OWN)
    assert served[:3] == ["python", "-m", "vllm.entrypoints.openai.api_server"]  # test_vllm_server.py starts it
    assert served[served.index("--model") + 1] == campaign[campaign.index("--llm") + 1]
    assert run(campaign, server) == 0
    assert any(each.proposer == "llm" for each in proposers())


def test_commands_for_agents_from_outside_exist():
    for _, name, *words in lines(CODING):
        options = {opt for param in commands()[name].params for opt in (*param.opts, *param.secondary_opts)}
        assert [word for word in words if word.startswith("-") and word not in options] == []


def test_a_campaign_with_a_coding_agent(place, server, capsys, monkeypatch):
    """The guide is written; a program that is told takes a step of the campaign, under the agent's name."""
    guide, campaign, serving_tools, ask, tell = lines(CODING)
    assert run(guide, server) == 0
    assert "vortex mcp" in Path("AGENTS.md").read_text()
    campaign[campaign.index("--model") + 1] = "probe"  # smollm2 would have to be fetched
    campaign[campaign.index("--candidates") + 1] = "1"
    told = []
    thread = threading.Thread(target=lambda: told.append(_bring(ask, tell, monkeypatch, capsys)))
    thread.start()  # signals belong to the main thread, and with them the campaign
    assert run(campaign, server) == 0
    thread.join(60)
    (program,) = told
    (brought,) = [each for each in proposers() if each.proposer == "coder"]
    assert brought.text == program
    server_of_tools = [sys.executable, "-c", VORTEX, *serving_tools[1:]]  # it serves until its stdin ends
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(server_of_tools, stdin=subprocess.DEVNULL, env=environment, timeout=120).returncode == 0


def _bring(ask, tell, monkeypatch, capsys):
    """Wait for the campaign, ask what to invent and tell a program."""
    try:
        return _asked_and_told(ask, tell, monkeypatch, capsys)
    except BaseException:
        os.kill(os.getpid(), signal.SIGINT)  # or the campaign would wait for ever
        raise


def _asked_and_told(ask, tell, monkeypatch, capsys):
    while not _is_begun():
        time.sleep(0.05)
    brief = _piped(ask, {"agent": "coder"}, monkeypatch, capsys)
    program = PROGRAM.format(step=1, slope=1)
    answer = {"agent": "coder", "ticket": brief["ticket"], "program": program, "rationale": "Newer pages matter."}
    _piped(tell, answer, monkeypatch, capsys)
    return program


def _is_begun():
    """Whether there is a campaign in the ledger."""
    if not Path("results.db").exists():
        return False
    ledger = SqlLedger("sqlite:///results.db")
    try:
        return bool(ledger.campaigns())
    finally:
        ledger.close()


def _piped(words, asked, monkeypatch, capsys):
    """Run a command with JSON on stdin, and give what it wrote."""
    command = list(itertools.takewhile(lambda word: word != "<", words))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(asked).encode())))
    capsys.readouterr()
    assert main(command[1:]) == 0
    out = capsys.readouterr().out  # the campaign's own may follow
    return json.JSONDecoder().raw_decode(out[out.index("{") :])[0]
