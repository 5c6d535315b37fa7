"""An engine's configuration without the engine: what the oracle stage judges serving by."""

import json
from types import SimpleNamespace

import pytest

LATENT = {
    "architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "vocab_size": 256, "hidden_size": 64,
    "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4,
    "max_position_embeddings": 4096, "qk_nope_head_dim": 32, "v_head_dim": 32, "torch_dtype": "float32",
    "moe_intermediate_size": 32, "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2,
    "first_k_dense_replace": 1, "q_lora_rank": None,
}  # fmt: skip


@pytest.fixture(scope="session")
def config_of():
    """Give vLLM's configuration for a model, dtype and `kernels`."""
    from vllm.engine.arg_utils import EngineArgs

    from search.evaluator.probe import MODEL_FOLDER
    from vortex_dsl import zoo

    made = {}

    def config_of(dtype="float32", kernels="auto", model=str(MODEL_FOLDER)):
        key = (dtype, kernels, model)
        if key not in made:
            served = {"vortex": {"program": zoo.text("quest"), "kernels": kernels}}
            given = EngineArgs(model, dtype=dtype, max_model_len=2048, enforce_eager=True, additional_config=served)
            made[key] = given.create_engine_config()
        return made[key]

    return config_of


@pytest.fixture
def status_of(config_of):
    """Give the oracle stage's status and message for a program of the zoo or a text, in an engine's configuration."""
    from search.evaluator.host import answer
    from search.evaluator.session import Session
    from vortex_dsl import zoo

    def status_of(name="quest", config=None, lengths=()):
        llm = SimpleNamespace(llm_engine=SimpleNamespace(vllm_config=config or config_of()))
        host = Session("sparse")
        host._engine = SimpleNamespace(llm=llm, settings=SimpleNamespace(lengths=lengths))
        text = name if "\n" in name else zoo.text(name)
        reply = answer(host, {"call": "oracle", "args": {"text": text, "values": [], "seed": 1}})
        return reply.get("status", "ok"), reply["message"] if "status" in reply else reply["result"]["message"]

    return status_of


@pytest.fixture
def latent_config(config_of, tmp_path):
    """Give the configuration of an engine for a model whose cache holds latents."""

    def latent_config(dtype, value_dim, rotated, kernels="auto"):
        shape = {"kv_lora_rank": value_dim, "qk_rope_head_dim": rotated}
        (tmp_path / "config.json").write_text(json.dumps(LATENT | shape))
        return config_of(dtype, kernels, str(tmp_path))

    return latent_config


@pytest.fixture(scope="session")
def alone(config_of, tmp_path_factory):
    """Make this process rank 0 of 1, as an engine's worker is: layers on Triton ask which heads are theirs."""
    from vllm.config import set_current_vllm_config
    from vllm.distributed import parallel_state

    with set_current_vllm_config(config_of()):
        meeting = f"file://{tmp_path_factory.mktemp('ranks')}/meeting"
        parallel_state.init_distributed_environment(1, 0, meeting, 0, "gloo")
        parallel_state.initialize_model_parallel(1, 1)
    yield
    parallel_state.destroy_model_parallel()
    parallel_state.destroy_distributed_environment()
