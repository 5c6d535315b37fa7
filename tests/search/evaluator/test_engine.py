"""What an engine asks of vLLM, without one."""

from pathlib import Path

import pytest

from search.evaluator.engine import Engine, EngineSettings


@pytest.fixture
def asked(monkeypatch):
    """Give what vLLM was started with."""
    given = {}
    monkeypatch.setattr("vllm.LLM", lambda **settings: given.update(settings))
    return given


@pytest.fixture
def model(tmp_path):
    """A model that names no class."""
    (tmp_path / "config.json").write_text('{"architectures": []}')
    return str(tmp_path)


def test_two_engines_may_stand_on_one_device(asked, model):
    Engine(EngineSettings(model, sparse=False, max_tokens=2048, kv_cache_bytes=12345))
    assert asked["kv_cache_memory_bytes"] == 12345
    assert asked["gpu_memory_utilization"] < 0.2  # vLLM's default of 0.92 must be free at its start, whatever the cache
    assert asked["enforce_eager"]
    assert "compilation_config" not in asked


@pytest.mark.parametrize("config", ["{}", '{"architectures": null}', '{"architectures": ["NobodyKnows"]}'])
def test_what_a_model_does_not_say_of_its_class_is_left_to_vllm(asked, model, config):
    Path(model, "config.json").write_text(config)
    Engine(EngineSettings(model, sparse=False, max_tokens=2048))
    assert asked["model"] == model


def test_whole_steps_of_some_batches_are_captured_and_nothing_is_compiled(asked, model):
    Engine(EngineSettings(model, sparse=False, max_tokens=2048, graphs=True, captured_batches=[1, 32]))
    assert not asked["enforce_eager"]
    assert asked["compilation_config"] == {
        "mode": 0,
        "cudagraph_mode": "FULL_DECODE_ONLY",
        "cudagraph_capture_sizes": [1, 32],
    }
