"""A process that serves prompts under pressure and writes down the tokens: `serve_script.py REQUEST REPLY`.

Run as a script, so that each arm of a comparison has an interpreter and a vLLM of its own.
"""

import json
import os
import sys
from pathlib import Path

os.environ.update({"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_LOGGING_LEVEL": "ERROR", "VORTEX_PLUGIN": "vortex"})


def main() -> None:
    import vllm

    from search.evaluator.probe import MODEL_FOLDER

    request = json.loads(Path(sys.argv[1]).read_text())
    llm = vllm.LLM(
        model=str(MODEL_FOLDER),
        dtype=request.get("dtype", "float32"),
        max_model_len=1024,
        block_size=request["block_size"],
        enforce_eager=True,
        enable_prefix_caching=True,
        disable_log_stats=False,
        max_num_batched_tokens=request.get("max_num_batched_tokens", 2048),
        kv_cache_memory_bytes=request.get("kv_cache_bytes", 64 << 20),
        **request["engine"],
    )
    context = llm.llm_engine.vllm_config.compilation_config.static_forward_context.values()
    impls = [layer.impl for layer in context if hasattr(layer, "impl")]
    sampling = vllm.SamplingParams(temperature=0.0, max_tokens=64, min_tokens=64, ignore_eos=True)
    tokens = []
    for batch in request["batches"]:
        prompts = [{"prompt_token_ids": prompt} for prompt in batch]
        outputs = llm.generate(prompts, sampling, use_tqdm=False)
        tokens.append([list(o.outputs[0].token_ids) for o in outputs])
    metrics = {m.name: m.value for m in llm.get_metrics() if hasattr(m, "value")}
    reply = {
        "tokens": tokens,
        "impl": type(impls[0]).__name__,
        "preemptions": metrics.get("vllm:num_preemptions", 0),
        "prefix_hits": metrics.get("vllm:prefix_cache_hits", 0),
        "counters": [vars(impl.counters) for impl in impls if hasattr(impl, "counters")],
    }
    Path(sys.argv[2]).write_text(json.dumps(reply))


if __name__ == "__main__":
    main()
