"""Runs in an environment with vLLM and one exported wheel: serve prompts, write down tokens and page counts.

A script, never imported: it must not see this project. Arguments: request.json reply.json.
"""

import json
import sys
from pathlib import Path


def main() -> None:
    """Serve the prompts with CUSTOM and write tokens and page counts."""
    import vllm

    request = json.loads(Path(sys.argv[1]).read_text())
    llm = vllm.LLM(attention_backend="CUSTOM", enforce_eager=True, async_scheduling=False, **request["engine"])
    layers = llm.llm_engine.vllm_config.compilation_config.static_forward_context.values()
    impls = [layer.impl for layer in layers if hasattr(layer, "impl")]
    strangers = [type(impl).__module__ for impl in impls if type(impl).__module__.split(".")[0] != request["package"]]
    if strangers or not impls:
        sys.exit(f"the layers run {strangers}, not the wheel's {request['package']}")
    num_tokens = request["num_tokens"]
    sampling = vllm.SamplingParams(temperature=0.0, max_tokens=num_tokens, min_tokens=num_tokens, ignore_eos=True)
    outputs = llm.generate(request["prompts"], sampling, use_tqdm=False)
    reply = {
        "tokens": [list(output.outputs[0].token_ids) for output in outputs],
        "pages_attended": sum(impl.meter.counters.pages_attended for impl in impls),
        "pages_dense": sum(impl.meter.counters.pages_dense for impl in impls),
    }
    Path(sys.argv[2]).write_text(json.dumps(reply))


if __name__ == "__main__":
    main()
