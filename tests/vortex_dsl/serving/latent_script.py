"""A process that serves models by vLLM's own latent attention, then by programs in turn: REQUEST REPLY."""

import json
import os
import sys
from pathlib import Path

os.environ.update({"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_LOGGING_LEVEL": "ERROR", "VORTEX_PLUGIN": "vortex"})
EXTENSION = "vortex_dsl.serving.extension.VortexExtension"


def engine(model, **settings):
    import vllm

    common = {"dtype": "float32", "max_model_len": 544, "enforce_eager": True, "skip_tokenizer_init": True}
    return vllm.LLM(model, disable_log_stats=False, **common, **settings)


def answers(llm, case):
    import vllm

    length, batches = case.get("max_tokens", 24), case["batches"]
    sampling = vllm.SamplingParams(
        temperature=0.0, max_tokens=length, min_tokens=length, ignore_eos=True, detokenize=False
    )
    prompts = [[{"prompt_token_ids": prompt} for prompt in batch] for batch in batches]
    return [[list(o.outputs[0].token_ids) for o in llm.generate(batch, sampling, use_tqdm=False)] for batch in prompts]


def impls(llm):
    layers = llm.llm_engine.vllm_config.compilation_config.static_forward_context.values()
    return [layer.impl for layer in layers if hasattr(layer, "impl")]


def served(llm, program, case):
    """Serve a program and replay outside the engine what it did; what came of that stands beside the tokens."""
    from serve_script import replayed

    llm.collective_rpc("vortex_swap", args=(program,))
    llm.collective_rpc("vortex_record", args=(True,))
    tokens, layers = answers(llm, case), impls(llm)
    result = {"tokens": tokens, "counters": llm.collective_rpc("vortex_counters")[0]}
    if all(impl.recorder for impl in layers):
        result["replayed"] = replayed(layers)
    llm.collective_rpc("vortex_record", args=(False,))
    return result


def serve(case):
    """Serve one model in both ways."""
    import torch
    from latent_models import save

    model = save(case["kind"], Path(case["folder"]))
    torch.cpu._is_amx_tile_supported = lambda: case["amx"]  # without, vLLM switches off more than its kernel cannot do
    dense = engine(model, attention_backend="CPU_MLA", kv_cache_memory_bytes=32 << 20)
    reply = {"dense": {"impl": type(impls(dense)[0]).__name__, "tokens": answers(dense, case)}}
    del dense
    config = {"vortex": case["programs"][0] | {"field_bytes": 8192}}
    sparse = engine(
        model, attention_backend="CUSTOM", additional_config=config, worker_extension_cls=EXTENSION,
        **case["engine"],
    )  # fmt: skip
    reply["impl"] = type(impls(sparse)[0]).__name__
    reply["sparse"] = [served(sparse, program, case) for program in case["programs"]]
    return reply | {m.name: m.value for m in sparse.get_metrics() if hasattr(m, "value")}


def main() -> None:
    cases = json.loads(Path(sys.argv[1]).read_text())
    Path(sys.argv[2]).write_text(json.dumps({name: serve(case) for name, case in cases.items()}))


if __name__ == "__main__":
    main()
