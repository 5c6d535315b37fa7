"""What is told before workers start, and while they do."""

import json
import re
import shutil
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from search.campaigns import machines, proposers
from search.campaigns.reading import read_setup
from search.commands.exits import ExitCode
from search.config import CampaignConfig
from search.evaluator.fidelity.given import source_of
from search.kinds.wished import Wish
from search.records import (
    EvaluationKey,
    Stage,
    Status,
)
from search.store.ledger import SqlLedger
from vortex_dsl import zoo

WORDS = " ".join(f"w{i:05}" for i in range(8000))  # a text to be judged on
QUEST = Path(zoo.__file__).with_name("quest.py")


@pytest.fixture
def other(tmp_path, worded):
    """A model that is not the probe: it takes 2,048 tokens."""
    folder = shutil.copytree(worded, tmp_path / "other")
    shape = {"num_attention_heads": 6, "num_key_value_heads": 2, "hidden_size": 384}
    shape |= {"num_hidden_layers": 4, "max_position_embeddings": 2048, "vocab_size": 576}
    (folder / "config.json").write_text(json.dumps(shape))
    return str(folder)


def test_a_real_model_is_judged_by_what_it_takes(call, pool, db, other, tmp_path, fake_pool):
    """All published rules are its seeds, at the cost ratios asked for, on texts as long as it can hold."""
    text = tmp_path / "words.txt"
    text.write_text(WORDS)
    pool(fake_pool())
    asked = ["--model", other, "--ratio", "4", "--text", str(text), "-n", "0"]
    code, out, err = call("run", *asked, "--db", db, "--json")
    assert code == ExitCode.NO_FEASIBLE, err  # the fake measures neither fidelity nor retrieval
    assert "OracleMass" in {row["name"] for row in json.loads(out)}
    ledger = SqlLedger(db)
    config = CampaignConfig.from_json(ledger.campaign().settings)
    ledger.close()
    assert (config.group, config.head_dim, config.num_layers, config.ratios) == (3, 64, 4, (4.0,))
    assert len(config.seeds) >= 38
    assert {Stage.FIDELITY, Stage.RETRIEVAL} < set(config.stages)
    assert max(workload.num_tokens for workload in config.workloads) < 2048
    assert config.workload(Stage.FIDELITY).source == source_of(WORDS)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--tokens", "2048"], "takes 2,048 tokens, 160 of them for answers; give at most 1888"),
        (
            ["--text", "nowhere.txt"],
            "text nowhere.txt cannot be read: No such file or directory; give",
        ),
        (["--text", str(QUEST)], "give a text (--text) of"),
        (["--ratio", "0.5"], "give numbers from 1 to 1024"),
        (["--ratio", "8", "--ratio", "8"], "give each once"),
        (["--tokens", "5"], "--tokens must be at least 256, but is 5; see"),
    ],
)
def test_what_a_model_cannot_be_judged_on_is_one_sentence(call, pool, db, other, arguments, says, fake_pool):
    pool(fake_pool())
    code, out, err = call("run", "--model", other, *arguments, "--db", db)
    assert (code, out, err.count("\n")) == (ExitCode.USAGE, "", 1)
    assert says in err


@pytest.mark.parametrize("option", [["--tokens", "1000"], ["--text", str(QUEST)], ["--task", "gsm8k"]])
def test_the_probe_is_judged_on_its_own_problems(call, pool, db, option, fake_pool):
    pool(fake_pool())
    code, _, err = call("run", *option, "--db", db)
    assert code == ExitCode.USAGE
    assert f"{option[0].removeprefix('--')} says what a real model is judged on" in err


def test_no_silence_is_long_where_stderr_is_no_terminal(capsys, monkeypatch):
    """A step is told three seconds after the line before, and what lasts every ten."""
    from search.commands.watching import progress
    from search.observer import Running

    now, doing = [0.0], {}
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    workload = CampaignConfig().workload(Stage.RECALL, 8.0)
    key = EvaluationKey("a" * 16, Stage.RECALL, workload.digest, "m" * 16, "e", "1", 0)
    lines = progress.Lines(progress.Steps((Stage.CHECK, Stage.RECALL), lambda keys: {k: doing[k] for k in keys}))
    for second in range(40):
        now[0], doing[key] = float(second), "starting the sparse engine" if second < 15 else "prefilling prompts"
        lines.on_waiting([Running("Quest", workload, second, key)], 3)
    assert capsys.readouterr().err.splitlines() == [
        f"recall at 8x of Quest (stage 2 of 2, {step}) since {second} s; 3 more wait"
        for second, step in (
            (3, "starting the sparse engine"), (13, "starting the sparse engine"), (16, "prefilling prompts"),
            (26, "prefilling prompts"), (36, "prefilling prompts"),
        )
    ]  # fmt: skip
    lines.on_waiting([], 0)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("failing", [False, True])
def test_what_takes_long_to_start_is_said_again_until_it_is_done(capsys, monkeypatch, model, failing, fake_pool):
    """The pool blocks: Ray and workers tell nothing while they start."""
    from search.campaigns import saying
    from search.evaluator.models import model_facts
    from search.evaluator.models.weights import Weights

    class SlowPool(fake_pool):
        def __init__(self, _settings, _placement, said, _further):
            super().__init__()
            with said("starting Ray (local)"):
                deadline = time.monotonic() + 10.0
                while len(seen) < 4 and time.monotonic() < deadline:
                    seen.extend(capsys.readouterr().err.splitlines())
                    time.sleep(0.01)
                if failing:
                    raise OSError("no room")

    seen = []
    monkeypatch.setattr(saying, "SILENCE_S", 0.05)
    monkeypatch.setattr("search.evaluator.pool.RayPool", SlowPool)
    monkeypatch.setattr("search.evaluator.models.weights.read_weights", lambda _folder: Weights("F32", 1, 4))
    placed = machines.Machines(model_facts(model, "probe"), CampaignConfig().workloads, (Wish("", 1),), "local")
    with pytest.raises(OSError, match="no room") if failing else nullcontext(), placed.pool():
        pass
    assert seen[0] == "starting Ray (local)", "what is done at once is not worth a line"
    assert all(re.fullmatch(r"starting Ray \(local\), since \d+ s", line) for line in seen[1:])
    capsys.readouterr()
    time.sleep(0.2)
    assert capsys.readouterr().err == "", "what is done is not said again"


def test_eval_of_a_program_that_fails_is_refused(call, pool, db, fake_pool):
    pool(fake_pool(Status.WRONG_RESULT))
    code, out, _ = call("eval", str(QUEST), "--db", db)
    assert code == ExitCode.REFUSED
    assert "wrong_result" in out
    assert "it fell over" in out


def test_eval_refuses_a_bad_program_before_anything_starts(call, tmp_path, db):
    (tmp_path / "bad.py").write_text("import os\n")
    code, _, err = call("eval", str(tmp_path / "bad.py"), "--db", db)
    assert code == ExitCode.REFUSED
    assert "^" in err
    assert not Path(db.removeprefix("sqlite:///")).exists()


def test_resume_leaves_single_programs_alone(call, pool, db, fake_pool):
    pool(fake_pool())
    call("eval", str(QUEST), "--db", db)
    code, _, err = call("resume", "1", "--db", db)
    assert code == ExitCode.USAGE
    assert "vortex eval" in err


def test_an_endpoint_brings_the_llm_into_the_round():
    agents = {"endpoints": {"llm": {"llm": "some-model", "base_url": "http://127.0.0.1:1/v1", "price": (0.5, 1.5)}}}
    endpoint = read_setup(None, agents).agents()["llm"]
    assert (endpoint.model, endpoint.completion_price) == ("some-model", 1.5)
    assert "llm" in read_setup(None, agents).round
    assert "llm" not in read_setup().round
    assert read_setup(None, agents | {"proposers": ("grammar",)}).round == ("grammar",)


def test_an_endpoint_that_does_not_answer_is_infrastructure(call, pool, db, monkeypatch, fake_pool):
    monkeypatch.setattr("search.agents.llm.endpoint.Endpoint.max_retries", 0)
    pool(fake_pool())
    where = ["--base-url", "http://127.0.0.1:1/v1", "--llm", "m"]
    code, _, err = call("run", "-n", "1", "--proposer", "llm", *where, "--max-outage", "0", "--db", db)
    assert code == ExitCode.INFRASTRUCTURE
    assert "the endpoint http://127.0.0.1:1/v1 does not answer yet" in err
    assert "the endpoint http://127.0.0.1:1/v1 gave no answer" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("name", proposers.KNOWN)
def test_every_known_proposer_can_be_built(name):
    agents = {"endpoints": {"llm": {"llm": "m", "base_url": "http://127.0.0.1:1/v1"}}}
    endpoints = read_setup(None, agents).agents()
    (built,) = proposers.proposers_of(CampaignConfig(proposers=(name,)), endpoints)
    assert built.name == name
