"""A process that serves prompts by vLLM's own latent attention, then by programs in turn: REQUEST REPLY."""

import json
import os
import sys
from pathlib import Path

os.environ.update({"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_LOGGING_LEVEL": "ERROR", "VORTEX_PLUGIN": "vortex"})
EXTENSION = "vortex_dsl.serving.extension.VortexExtension"


def engine(model, **settings):
    import vllm

    common = {"dtype": "float32", "max_model_len": 1024, "enforce_eager": True, "skip_tokenizer_init": True}
    return vllm.LLM(model, disable_log_stats=False, **common, **settings)


def answers(llm, batches):
    import vllm

    sampling = vllm.SamplingParams(temperature=0.0, max_tokens=32, min_tokens=32, ignore_eos=True, detokenize=False)
    prompts = [[{"prompt_token_ids": prompt} for prompt in batch] for batch in batches]
    return [[list(o.outputs[0].token_ids) for o in llm.generate(batch, sampling, use_tqdm=False)] for batch in prompts]


def impls(llm):
    layers = llm.llm_engine.vllm_config.compilation_config.static_forward_context.values()
    return [layer.impl for layer in layers if hasattr(layer, "impl")]


def served(llm, program, batches):
    llm.collective_rpc("vortex_swap", args=(program,))
    tokens = answers(llm, batches)
    return {"tokens": tokens, "counters": llm.collective_rpc("vortex_counters")[0]}


def main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text())
    batches, programs = request["batches"], request["programs"]
    dense = engine(request["model"], attention_backend="CPU_MLA", kv_cache_memory_bytes=64 << 20)
    reply = {"dense": {"impl": type(impls(dense)[0]).__name__, "tokens": answers(dense, batches)}}
    del dense
    config = {"vortex": programs[0] | {"field_bytes": 8192}}
    sparse = engine(
        request["model"], attention_backend="CUSTOM", additional_config=config, worker_extension_cls=EXTENSION,
        **request["engine"],
    )  # fmt: skip
    reply["impl"] = type(impls(sparse)[0]).__name__
    reply["sparse"] = [served(sparse, program, batches) for program in programs]
    reply |= {m.name: m.value for m in sparse.get_metrics() if hasattr(m, "value")}
    Path(sys.argv[2]).write_text(json.dumps(reply))


if __name__ == "__main__":
    main()
