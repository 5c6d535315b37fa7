"""What the probe tells of rules: `python -m benchmarks.probe [--problems N] [--tokens L] [--pages N] [--split NAME]`.

Each rule decodes the same problems with the same number of chosen pages in every layer but the first. Prefill is dense;
then hops 2 to 9 are each predicted given the right token before them, in torch and without an engine. Printed is the
share of right hops of each kind, and of all with a 95 % interval that draws whole problems. `farthest_N` is no
published rule: it keeps the N keys of a page that stray farthest from the page's mean, which is all there is to find
wherever no page holds more than N records. Rules with a state, or that reuse a choice, would need `decode`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.models.qwen2.modeling_qwen2 import apply_rotary_pos_emb

from search.evaluator.intervals import clustered_mean
from search.evaluator.probe import MODEL_FOLDER
from search.evaluator.probe.chains import KINDS, make_problems
from vortex_dsl import Shape, load_program, trace, zoo
from vortex_dsl.backends.batched import Batched, Loaded, Step
from vortex_dsl.backends.torch_backend import attend_pages

if TYPE_CHECKING:
    from transformers import Qwen2ForCausalLM

    from search.evaluator.probe.chains import Problem

RULES = ("dense", "oracle_mass", "quest_sub", "sign_keys", "quest", "mass_lse", "centroid", "random_pages", "streaming")
NUM_FARTHEST = (3, 5, 8)
FARTHEST = '''from vortex_dsl import Int, Program, dot, stack, topk, where


class Farthest(Program):
    """Keep the keys that stray farthest from their page's mean, and rank the page by the best of them."""

    pages = Int(64, low=1, high=1024, log=True)

    def summarize(self, k, v):
        strays = (k - k.mean("token")).norm("dim")
        far = [strays.top("token", i + 1) for i in range({num})]
        each = [far[i] & ~far[i - 1] if i else far[i] for i in range({num})]
        return {{"keys": stack([where(one, k, 0).sum("token") for one in each], "slot")}}

    def select(self, q, page):
        return topk(dot(q, page.keys, "dim").max("head", "slot"), self.pages)
'''


@dataclass(frozen=True)
class Prefilled:
    """One problem after dense prefill: `states`, the input of each layer [prompt token, width], and what is decoded."""

    problem: Problem
    states: tuple[torch.Tensor, ...]
    decoded: torch.Tensor  # token ids of hops 1 to 8
    right: torch.Tensor  # of hops 2 to 9


def prefill(model: Qwen2ForCausalLM, tokenizer, problem: Problem) -> Prefilled:
    prompt, chain = (
        torch.tensor(tokenizer(text).input_ids) for text in (problem.prompt, " " + " ".join(problem.chain))
    )
    states = model.model(input_ids=prompt[None], output_hidden_states=True, use_cache=False).hidden_states
    return Prefilled(problem, tuple(state[0] for state in states[:-1]), chain[:-1], chain[1:])


def answer(model: Qwen2ForCausalLM, batched: Batched, prefilled: Prefilled) -> list[bool]:
    """Decode all hops of one problem, layer after layer, and tell which are right."""
    hidden = model.model.embed_tokens(prefilled.decoded)
    for index, (layer, state) in enumerate(zip(model.model.layers, prefilled.states, strict=True)):
        found = attention(model, batched, index, torch.cat([state, hidden]), len(hidden))
        hidden = hidden + layer.self_attn.o_proj(found)
        hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    logits = model.lm_head(model.model.norm(hidden))
    return (logits.argmax(-1) == prefilled.right).tolist()


def attention(model, batched: Batched, index: int, state: torch.Tensor, num_decoded: int) -> torch.Tensor:
    """Attend from the last tokens, each to the pages that the rule chooses for it: [decoded token, width]."""
    q, k, v = projected(model, index, state)
    size, (num_kv_heads, num_pages) = batched.graph.page_size, (k.shape[0], -(-len(state) // batched.graph.page_size))
    pad = (0, 0, 0, num_pages * size - len(state))
    k, v = (torch.nn.functional.pad(x, pad).unflatten(1, (-1, size)).repeat(num_decoded, 1, 1, 1) for x in (k, v))
    q = q[:, -num_decoded:].transpose(0, 1).unflatten(1, (num_kv_heads, -1)).flatten(0, 1)
    lengths = torch.arange(len(state) - num_decoded, len(state)).repeat_interleave(num_kv_heads) + 1
    scale = model.model.layers[index].self_attn.scaling
    pages = torch.ones(k.shape[:2], dtype=torch.bool)
    if index >= batched.graph.dense_layers:
        region = batched.summarize(k.flatten(0, 1), v.flatten(0, 1))
        fields = batched.layout.load(region, torch.arange(pages.numel()).reshape(pages.shape))
        pages = batched.select(
            Step(
                q=q, sets=batched.page_sets(lengths, num_pages), kv_head=torch.arange(num_kv_heads).repeat(num_decoded),
                layer_index=index, layer_count=len(model.model.layers), scale=scale,
                source=Loaded(num_pages, fields, k, v),
            )
        )  # fmt: skip
    return attend_pages(q, k, v, pages, lengths, scale).reshape(num_decoded, -1)


def projected(model, index: int, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Give a layer's q, k and v after rotary embedding: [head, token, dim] each."""
    attn, normed = model.model.layers[index].self_attn, model.model.layers[index].input_layernorm(state)[None]
    q, k, v = (
        project(normed).unflatten(-1, (-1, attn.head_dim)).transpose(1, 2)
        for project in (attn.q_proj, attn.k_proj, attn.v_proj)
    )
    q, k = apply_rotary_pos_emb(q, k, *model.model.rotary_emb(normed, torch.arange(len(state))[None]))
    return q[0], k[0], v[0]


def program_of(name: str, pages: int, shape: Shape) -> Batched:
    family, _, num = name.rpartition("_")
    program = load_program(FARTHEST.format(num=num) if family == "farthest" else zoo.text(name))
    if "pages" in program.values:
        program = program.with_values(pages=pages)
    return Batched(trace(program, shape))


@torch.no_grad()
def main() -> None:
    options = parsed()
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(options.model, local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(options.model, local_files_only=True)
    config = model.config
    shape = Shape(config.num_attention_heads // config.num_key_value_heads, model.model.layers[0].self_attn.head_dim)
    names = [*RULES, *(f"farthest_{num}" for num in NUM_FARTHEST)]
    rules = {name: program_of(name, options.pages, shape) for name in options.rules or names}
    hops = {name: {kind: [] for kind in KINDS} for name in rules}
    for kind in KINDS:
        for problem in make_problems(kind, options.problems, options.tokens, options.seed, options.split):
            prefilled = prefill(model, tokenizer, problem)
            for name, batched in rules.items():
                hops[name][kind].append(answer(model, batched, prefilled))
    print(f"{options.problems} problems of {options.tokens} tokens a kind, split {options.split}, "
          f"seed {options.seed}, {options.pages} chosen pages")  # fmt: skip
    print("| rule |", " | ".join(KINDS), "| all | 95 % |")
    print("|---" * (len(KINDS) + 3) + "|")
    for name, by_kind in hops.items():
        every = clustered_mean([each for kind in KINDS for each in by_kind[kind]])
        kinds = " | ".join(f"{clustered_mean(by_kind[kind]).value:.3f}" for kind in KINDS)
        print(f"| {name} | {kinds} | {every.value:.3f} | {every.low:.3f} .. {every.high:.3f} |")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(MODEL_FOLDER))
    parser.add_argument("--problems", type=int, default=24, help="of each kind")
    parser.add_argument("--tokens", type=int, default=2032)
    parser.add_argument("--pages", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", default="search")
    parser.add_argument("--rules", nargs="+", default=[])
    return parser.parse_args()


if __name__ == "__main__":
    main()
