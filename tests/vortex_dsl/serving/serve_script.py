"""A process that serves prompts under pressure and writes down the tokens: `serve_script.py REQUEST REPLY`.

Run as a script, so that each arm of a comparison has an interpreter and a vLLM of its own.
"""

import json
import os
import sys
from pathlib import Path

os.environ.update({"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_LOGGING_LEVEL": "ERROR", "VORTEX_PLUGIN": "vortex"})
os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"  # two ranks on two cores that others use too


def main() -> None:
    import vllm

    from search.evaluator.probe import MODEL_FOLDER

    request = json.loads(Path(sys.argv[1]).read_text())
    llm = vllm.LLM(
        model=request.get("model", str(MODEL_FOLDER)),
        load_format=request.get("load_format", "auto"),
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
    length = request.get("max_tokens", 64)
    sampling = vllm.SamplingParams(temperature=0.0, max_tokens=length, min_tokens=length, ignore_eos=True)
    for impl in impls if request.get("replay") else []:
        impl.recorder = []
    tokens = []
    for batch in request["batches"]:
        prompts = [{"prompt_token_ids": prompt} for prompt in batch]
        outputs = llm.generate(prompts, sampling, use_tqdm=False)
        tokens.append([list(o.outputs[0].token_ids) for o in outputs])
    metrics = {m.name: m.value for m in llm.get_metrics() if hasattr(m, "value")}
    reply = {
        "tokens": tokens,
        "impl": type(impls[0]).__name__ if impls else "",
        "preemptions": metrics.get("vllm:num_preemptions", 0),
        "prefix_hits": metrics.get("vllm:prefix_cache_hits", 0),
        "replayed": replayed(impls) if request.get("replay") else None,
        "counters": [vars(impl.meter.counters) for impl in impls if hasattr(impl, "meter")],
        "exported": [[m.name, m.labels["layer"], m.value] for m in llm.get_metrics() if "vortex" in m.name],
    }
    Path(sys.argv[2]).write_text(json.dumps(reply))


def replayed(impls):
    """Decode what every layer saw again, request by request, outside the engine: runs, steps, wrong page sets."""
    import torch

    from vortex_dsl import decode

    layers = [runs_of(impl.recorder) for impl in impls]
    wrong = steps = 0
    for runs in zip(*layers, strict=True):
        lengths = [run["length"] for run in runs[0]]
        qs = torch.stack([torch.stack([step["q"] for step in run]).flatten(1, 2) for run in runs], 1)[:, :, None]
        ks, vs = (torch.stack([run[-1][name][:, : lengths[-1]] for run in runs])[:, None] for name in "kv")
        attended = decode(impls[0].rule.program, qs, ks, vs, lengths[0] - 1, backend="torch")[1][:, :, 0]
        for layer, run in enumerate(runs):
            for i, step in enumerate(run):
                num_pages = -(-step["length"] // impls[0].rule.page_size)
                wrong += not torch.equal(attended[i, layer, :, :num_pages], step["attended"][:, :num_pages])
                steps += 1
    return {"runs": len(layers[0]), "steps": steps, "wrong": wrong}


def runs_of(recorder):
    """Sort recorded rows into runs of decode steps without a prefill between: lists of steps of one request."""
    runs, going = [], {}
    for step in recorder:
        heads = int(step["kv_head"].max()) + 1
        for first in range(0, len(step["lengths"]), heads):
            rows = slice(first, first + heads)
            one = {name: step[name][rows] for name in ("q", "k", "v", "attended")} | {
                "length": int(step["lengths"][first])
            }
            request = one["k"][:, : one["length"] - 1].numpy().tobytes()
            run = going.pop(hash(request), None)
            if run is None:
                run = []
                runs.append(run)
            run.append(one)
            going[hash(one["k"][:, : one["length"]].numpy().tobytes())] = run
    return runs


if __name__ == "__main__":
    main()
