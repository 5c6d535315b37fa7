"""The plugin inside a real vLLM on CPU, against vLLM's own attention."""

import json
import random
import shutil
from pathlib import Path

import pytest

from search.evaluator.probe import MODEL_FOLDER

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

SCRIPT = Path(__file__).with_name("serve_script.py")
PRESSURE = {"max_num_batched_tokens": 192, "kv_cache_bytes": 6 << 20}


@pytest.fixture(scope="module")
def serve(tmp_path_factory, warm):
    """Run one arm in a process of its own and give what it wrote."""

    def run(**request):
        folder = tmp_path_factory.mktemp("arm")
        (folder / "request.json").write_text(json.dumps(request))
        done = warm.run(SCRIPT, folder / "request.json", folder / "reply.json", VLLM_PLUGINS="vortex")
        if done.returncode:
            return {"error": done.stderr}
        return json.loads((folder / "reply.json").read_text())

    return run


def sparse(program, **values):
    from vortex_dsl import zoo

    config = {"program": zoo.text(program), "values": values}
    return {"attention_backend": "CUSTOM", "additional_config": {"vortex": config}}


@pytest.fixture(scope="module")
def batches():
    """Ragged prompts (one token to several chunks), then prompts that share prefixes with them."""
    rng = random.Random(7)
    first = [[rng.randrange(4, 570) for _ in range(n)] for n in (1, 15, 16, 17, 190, 333, 600, 601, 700, 900)]
    second = [prompt[: len(prompt) // 2] + [rng.randrange(4, 570) for _ in range(9)] for prompt in first]
    return [first, second, first]


@pytest.fixture(scope="module")
def dense(serve, batches):
    return serve(block_size=32, engine={}, batches=batches, **PRESSURE)


def test_dense_arm_is_pressed(dense):
    """The comparison means something: the dense arm preempts, reuses prefixes and is not our backend."""
    assert dense["impl"] == "CPUAttentionBackendImpl"
    assert dense["preemptions"] > 0
    assert dense["prefix_hits"] > 0


ABOVE = """
from vortex_dsl import Int, Program, above, dot, maximum


class Above(Program):
    \"\"\"Score by Quest's bound and take whatever is above a bound that nothing is below.\"\"\"

    dense_layers = Int(0, 0, 8)

    def summarize(self, k, v):
        return {"hi": k.max("token"), "lo": k.min("token")}

    def select(self, q, page):
        bound = maximum(q * page.hi, q * page.lo).sum("dim")
        return above(bound.max("head"), -1000000.0, 1024)
"""


@pytest.mark.parametrize("kind", ["scored", "covered"])
def test_covering_budget_equals_vllm_token_for_token(serve, batches, dense, kind):
    """With prefix caching, chunked prefill and preemption, a budget that covers everything changes no token.

    Whether every page was scored and listed, or the budget was known to cover them all and nothing was.
    """
    engine = sparse("quest", pages=1024, dense_layers=0)
    if kind == "scored":
        engine = {"attention_backend": "CUSTOM", "additional_config": {"vortex": {"program": ABOVE}}}
    got = serve(block_size=16, engine=engine, batches=batches, **PRESSURE)
    assert "error" not in got, got["error"][-2000:]
    assert got["impl"] == "VortexImpl"
    assert got["preemptions"] > 0
    assert got["prefix_hits"] > 0
    for counters in got["counters"]:
        assert counters["pages_attended"] == counters["pages_dense"] > 0
        scored = counters["sparse_tokens"] - counters["covered_tokens"]  # short sequences have no candidate
        assert scored == 0 if kind == "covered" else scored > 0.9 * counters["sparse_tokens"]
    assert got["tokens"] == dense["tokens"]


def test_small_budget_reads_fewer_pages_in_bfloat16(serve, batches):
    """The counters show what was skipped, and the first dense layer as dense."""
    got = serve(block_size=32, dtype="bfloat16", engine=sparse("centroid", pages=2, page_size=32), batches=batches[:1])
    assert "error" not in got, got["error"][-2000:]
    first, *others = got["counters"]
    assert first["dense_tokens"] == 10 * 63
    assert first["sparse_tokens"] == 0
    for other in others:
        assert other["sparse_tokens"] == 10 * 63
        assert 0 < other["pages_attended"] < other["pages_dense"] / 2
    assert others
    exported = {(name, layer): value for name, layer, value in got["exported"]}
    for layer, counters in zip(sorted({layer for _, layer in exported}), got["counters"], strict=True):
        assert {name: exported[f"vllm:vortex_{name}", layer] for name in counters} == counters


REMEMBERING = '''
from vortex_dsl import Int, Program, State, dot, topk


class Remembering(Program):
    """Rank pages by how much their score rises."""

    pages = Int(3, 1, 1024)
    dense_layers = Int(0, 0, 8)
    share_layers = Int({share}, 1, 8)
    refresh_steps = Int({refresh}, 1, 16)
    last = State()

    def summarize(self, k, v):
        return {{"c": k.mean("token")}}

    def select(self, q, page):
        s = dot(q, page.c, "dim").max("head")
        return topk(s - 0.5 * page.last, self.pages).remember(last=s)
'''


@pytest.mark.parametrize(("share", "refresh"), [(1, 1), (2, 4)])
def test_what_a_request_remembers_is_what_decode_says(serve, batches, share, refresh):
    """Under preemption, prefix hits and queueing, every step attends to the pages that `decode` gives outside."""
    config = {"program": REMEMBERING.format(share=share, refresh=refresh)}
    engine = {"attention_backend": "CUSTOM", "additional_config": {"vortex": config}, "max_num_seqs": 6}
    few = [batch[4:] for batch in batches[:2]]
    got = serve(block_size=16, engine=engine, batches=few, replay=True, **PRESSURE)
    assert "error" not in got, got["error"][-2000:]
    assert got["preemptions"] > 0
    assert got["prefix_hits"] > 0
    assert got["replayed"]["runs"] > len(few[0]) + len(few[1])  # whatever was preempted started afresh
    assert got["replayed"]["steps"] > 2 * 12 * 60
    assert got["replayed"]["wrong"] == 0


@pytest.fixture(scope="module")
def windowed(tmp_path_factory):
    """Write a model with sliding-window and full-attention layers and capped logits, whose weights vLLM draws."""
    folder = tmp_path_factory.mktemp("windowed")
    config = {
        "architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2", "vocab_size": 577, "hidden_size": 64,
        "intermediate_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 64, "query_pre_attn_scalar": 64, "max_position_embeddings": 1024, "sliding_window": 64,
        "layer_types": ["sliding_attention", "full_attention"] * 2, "attn_logit_softcapping": 5.0,
        "final_logit_softcapping": 30.0, "hidden_activation": "gelu_pytorch_tanh", "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}, "torch_dtype": "float32",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(MODEL_FOLDER / name, folder / name)
    return {"model": str(folder), "load_format": "dummy"}


def test_sliding_window_layers_keep_their_window_and_full_ones_choose(serve, batches, windowed):
    """Both kinds in one model, with capped logits: vLLM's own tokens where the budget covers everything."""
    few = [batches[0][3:6]]
    dense = serve(block_size=32, engine={}, batches=few, **windowed)
    got = serve(block_size=16, engine=sparse("quest", pages=1024, dense_layers=0), batches=few, **windowed)
    assert "error" not in got, got["error"][-2000:]
    assert got["tokens"] == dense["tokens"]
    ways = [(c["window_tokens"] > 0, c["sparse_tokens"] > 0) for c in got["counters"]]
    assert ways == [(True, False), (False, True)] * 2


def test_two_ranks_choose_what_one_would(serve, batches):
    """KV heads are split over the ranks, and a choice that depends on the head's number stays the same."""
    few = [batches[0][3:7]]
    engine = sparse("random_pages", pages=3, dense_layers=0)
    one = serve(block_size=16, engine=engine, batches=few)
    two = serve(block_size=16, engine=engine | {"tensor_parallel_size": 2}, batches=few)
    assert "error" not in two, two["error"][-2000:]
    assert two["tokens"] == one["tokens"]
    attended = [
        sum(value for name, _, value in arm["exported"] if name == "vllm:vortex_pages_attended") for arm in (one, two)
    ]
    assert attended[0] == attended[1] > 0


def test_unserved_settings_are_errors(serve):
    """What the plugin cannot serve stops the engine with a sentence; the dense path never steps in."""
    engine = {"attention_backend": "CUSTOM"}
    assert "needs a program" in serve(block_size=16, engine=engine, batches=[])["error"]
