"""Latent attention by Triton's interpreter: pages, what programs see of latents, steps, and a real vLLM on CPU."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from vortex_dsl import load_program, zoo
from vortex_dsl.values import Shape

pytestmark = pytest.mark.vllm
SCRIPT = Path(__file__).parents[1] / "latent_script.py"
LATENT, VALUE, HEADS, SIZE = 48, 32, 4, 16

RULE = '''
from vortex_dsl import Int, Program, above, dot


class Latent(Program):
    """Rank pages by their mean latent, how large their values are, and the value of one token."""

    pages = Int({pages}, 1, 1024)
    sink = Int(0, 0, 8)
    window = Int(1, 1, 8)
    dense_layers = Int(0, 0, 8)

    def summarize(self, k, v):
        return {{"c": k.mean("token").to("float32"), "value": v.norm("dim").max("token"), "low": v.min("token")}}

    def select(self, q, page):
        s = dot(q, page.c, "dim").max("head") + 0.01 * page.value + 0.1 * dot(q, page.low, "dim").mean("head")
        return above(s + page.v.sum("dim").max("token"), -1e9, self.pages)
'''

KEPT = """
from vortex_dsl import Int, Program, State, dot, topk


class Kept(Program):
    \"\"\"Rank pages by how their score rises; both layers use a choice for four steps.\"\"\"

    dense_layers = Int(0, 0, 8)
    share_layers = Int(2, 1, 8)
    refresh_steps = Int(4, 1, 16)
    last = State()

    def summarize(self, k, v):
        return {"c": k.mean("token")}

    def select(self, q, page):
        s = dot(q, page.c, "dim").max("head")
        return topk(s - 0.5 * page.last, 1).remember(last=s)
"""


@pytest.fixture(autouse=True)
def _where_kernels_run():
    """Make tensors where Triton runs; always the same ones."""
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        yield


def layer_of(text, **values):
    """A layer as vLLM would make it."""
    from vortex_dsl.backends.compiled import Compiled
    from vortex_dsl.serving.pages.pages import Softmax
    from vortex_dsl.serving.triton.mla import TritonMlaImpl
    from vortex_dsl.serving.triton.tallies import DeviceMeter

    impl = TritonMlaImpl.__new__(TritonMlaImpl)
    impl.num_heads, impl.num_kv_heads, impl.head_size, impl.kv_lora_rank = HEADS, 1, LATENT, VALUE
    impl.softmax, impl.num_layers, impl._first_head, impl._max_rows = Softmax(LATENT**-0.5), 4, 0, 16
    impl.rule = impl.rule_of(load_program(text).with_values(**values))
    impl._compiled, impl._recorder = Compiled(impl.rule.graph), None
    impl.tallies = DeviceMeter(1, windowed=False)
    return impl


def filled(lengths, num_bytes=0, dtype=torch.float32):
    """Write sequences into a cache full of NaN, with room for fields; also the slots, the tokens and the cache."""
    from vortex_dsl.serving.pages.pages import Rows
    from vortex_dsl.serving.triton.pages import LatentKernelPages

    most = -(-max(lengths) // SIZE) + 1
    content = LATENT + -(-num_bytes // (SIZE * dtype.itemsize))
    garbage = torch.nan if dtype.is_floating_point else 0x7F  # NaN in float8
    cache = torch.full((len(lengths) * most, SIZE, content), garbage, dtype=dtype)
    pages = LatentKernelPages(cache, LATENT, VALUE)
    table = torch.randperm(len(lengths) * most).reshape(len(lengths), most).int()
    tokens, slots = [torch.randn(length, LATENT) for length in lengths], []
    for row, latents in enumerate(tokens):
        place = torch.arange(len(latents))
        slots.append(torch.cat([table[row, place // SIZE].long() * SIZE + place % SIZE, torch.tensor([-1])]))
        padded = torch.cat([latents, torch.randn(3, LATENT)])
        pages.write(padded[:, VALUE:], padded[:, :VALUE], slots[-1])
    starts = torch.arange(len(lengths) + 1, dtype=torch.int32)
    return pages, Rows(table, torch.tensor(lengths, dtype=torch.int32), starts), slots, tokens, cache


def test_written_latents_are_read_back_and_fields_left_alone():
    pages, rows, _, tokens, cache = filled([40, 5], 96)
    assert torch.equal(pages.raw_keys(rows.table[0, :2]).flatten(0, 1), tokens[0][:32])
    values = pages.raw_values(rows.table[0, :2]).flatten(0, 1)
    assert torch.equal(values[:, :VALUE], tokens[0][:32, :VALUE])
    assert not values[:, VALUE:].any()
    assert pages.complete.nonzero().flatten().tolist() == sorted(rows.table[0, :2].tolist())
    assert pages.fields.view(torch.float32).isnan().all()
    assert pages.is_over(cache)


def test_a_float8_cache_holds_the_nearest_numbers():
    pages, rows, _, tokens, cache = filled([16], 96, torch.uint8)
    expected = tokens[0].to(torch.float8_e4m3fn).float()
    assert torch.equal(pages.raw_keys(rows.table[0, :1])[0], expected)
    assert pages.latents.dtype == pages.v.dtype == torch.float8_e4m3fn
    assert pages.is_over(cache.view(torch.float8_e4m3fn))  # as vLLM gives it to attention


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_fields_are_those_of_values_that_are_zero_where_latents_are_rotated(dtype):
    """From one cache of latents, the kernels compute what the batched backend computes from keys and values."""
    from vortex_dsl import trace
    from vortex_dsl.backends.batched import Batched

    impl = layer_of(RULE.format(pages=2))
    plain = Batched(trace(impl.rule.program, Shape(HEADS, LATENT)))
    assert plain.layout.bytes_per_page == impl.rule.batched.layout.bytes_per_page
    pages, rows, slots, *_ = filled([35], impl.rule.field_bytes, dtype)
    impl._compiled.summarize_written(pages.cache(), slots[0], pages.region)
    some = rows.table[0, :2].long()
    keys, values = pages.raw_keys(some), pages.raw_values(some)
    expected = plain.layout.load(plain.summarize(keys, values), torch.arange(2)).values()
    got = impl.rule.batched.layout.load(pages.fields, some).values()
    sums = sorted(float(field.double().sum()) for field in expected)
    assert sums == pytest.approx(sorted(float(field.double().sum()) for field in got), rel=1e-3, abs=1e-3)


def decoded(impl, lengths, *, dense=None, layers=(1,), dtype=torch.float32):
    """Decode one step of a cache with NaN wherever nothing was written."""
    from vortex_dsl.serving.layers.batches import DeviceBatch

    pages, rows, slots, _, cache = filled(lengths, impl.rule.field_bytes, dtype)
    for some in slots:
        impl._compiled.summarize_written(pages.cache(), some, pages.region)
    impl._pages = pages
    marks = torch.tensor(dense or [0] * len(lengths), dtype=torch.int8)
    meta = SimpleNamespace(batch=DeviceBatch(len(lengths), rows, marks, rows.table.shape[1], None))
    query, outputs = torch.randn(len(lengths) + 1, HEADS, LATENT), []
    for layer in layers:
        name = SimpleNamespace(layer_name=f"model.layers.{layer}.attn")
        parts = (query[..., :VALUE], query[..., VALUE:])
        outputs.append(impl.forward_mqa(parts, cache, meta, name)[0][: len(lengths)])
    return outputs, query[:-1], pages, rows


def dense_of(impl, query, pages, rows):
    out = torch.zeros(*query.shape[:2], VALUE)
    for row, length in enumerate(rows.lengths.tolist()):
        tokens = pages.raw_keys(rows.table[row, : -(-length // SIZE)].long()).flatten(0, 1)[:length].float()
        if length:
            out[row] = (query[row] @ tokens.T * impl.softmax.scale).softmax(-1) @ tokens[:, :VALUE]
    return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_padded_rows_and_ends_of_prompts_beside_decodes(dtype):
    """Rows of length 0 give zeros and count for nothing; a marked row attends to everything; others are sparse."""
    impl = layer_of(RULE.format(pages=1))
    (out,), query, pages, rows = decoded(impl, [150, 0, 150, 20], dense=[0, 0, 1, 0], dtype=dtype)
    dense = dense_of(impl, query, pages, rows)
    assert (out[1] == 0).all()
    torch.testing.assert_close(out[2:], dense[2:], atol=2e-6, rtol=2e-6)
    assert not torch.allclose(out[0], dense[0], atol=1e-3)
    counted = impl.tallies.counters
    assert (counted.sparse_tokens, counted.prefill_tokens, counted.dense_tokens) == (2, 1, 0)
    assert (counted.pages_attended, counted.pages_dense) == (2 + 2, 10 + 2)


@pytest.mark.parametrize("text", [RULE.format(pages=1024), zoo.text("quest")], ids=["scored", "covered"])
def test_a_covering_budget_is_the_dense_layer_bit_for_bit(text):
    impl = layer_of(text, dense_layers=1)
    (sparse, dense), *_ = decoded(impl, [300, 7], layers=(1, 0))
    assert torch.equal(sparse, dense)
    counted = impl.tallies.counters
    assert (counted.sparse_tokens, counted.dense_tokens) == (2, 2)
    assert counted.pages_attended == counted.pages_dense == 19 + 1


def test_pages_are_those_that_the_reference_chooses():
    """What a step lists, over a program that reads raw values and fields, against the language's own backend."""
    from vortex_dsl import attend

    impl = layer_of(RULE.format(pages=2))
    impl.vllm_config = SimpleNamespace(model_config=SimpleNamespace(enforce_eager=True))
    impl.recorder = []
    _, query, pages, rows = decoded(impl, [150])
    keys, values = (gather(rows.table[0, :10].long()).flatten(0, 1)[None, None, :150] for gather in
                    (pages.raw_keys, pages.raw_values))  # fmt: skip
    step = {"scale": impl.softmax.scale, "layer": 1, "num_layers": 4}
    _, attended = attend(impl.rule.program, query, keys, values, backend="reference", **step)
    assert torch.equal(impl.recorder[0]["attended"], attended[0])
    assert attended.sum() == 3


def test_a_cache_that_others_would_write_past_is_not_written_by_them(monkeypatch):
    """vLLM's fused write knows no fields; where it is on, it is turned off. Queries are not quantised for us."""
    from vllm.model_executor.layers.attention.mla_attention import MLACommonImpl

    from vortex_dsl.serving.layers import mla

    passes = SimpleNamespace(fuse_rope_kvcache_cat_mla=True)
    one = dict.fromkeys(("tensor_parallel_size", "decode_context_parallel_size", "prefill_context_parallel_size"), 1)
    one["use_ubatching"] = False
    config = SimpleNamespace(
        model_config=SimpleNamespace(dtype=torch.bfloat16), speculative_config=None,
        parallel_config=SimpleNamespace(**one), compilation_config=SimpleNamespace(pass_config=passes),
    )  # fmt: skip
    monkeypatch.setattr(mla, "get_current_vllm_config", lambda: config)
    monkeypatch.setattr(MLACommonImpl, "__init__", lambda self, *_, **__: setattr(self, "scale", 0.1))
    monkeypatch.setattr(mla.VortexMlaImpl, "prepare", lambda *_: None)
    impl = mla.VortexMlaImpl(4, 576, 0.1, 1, None, None, "auto", None, "decoder", None)
    assert not passes.fuse_rope_kvcache_cat_mla
    assert not impl.supports_quant_query_input


@pytest.mark.parametrize(("kernels", "support"), [("auto", "UNIFORM_SINGLE_TOKEN_DECODE"), ("torch", "NEVER")])
def test_graphs_hold_decode_steps_on_triton_alone(kernels, support):
    from vortex_dsl.serving.backend_mla import VortexMlaMetadataBuilder

    config = SimpleNamespace(
        additional_config={"vortex": {"program": zoo.text("quest"), "kernels": kernels}},
        device_config=SimpleNamespace(device_type="cuda"),
        model_config=SimpleNamespace(enforce_eager=False, get_head_size=lambda: 576),
    )
    assert VortexMlaMetadataBuilder.get_cudagraph_support(config, None).name == support


@pytest.mark.skipif(torch.cuda.is_available(), reason="on CUDA the other tests compile")
def test_kernels_over_latents_compile_for_a_gpu_that_is_not_there():
    script = Path(__file__).parents[2] / "compile_latents.py"
    programs = [str(zoo.path(name)) for name in ("quest", "value_gated")]
    kept = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment = kept | {"PYTHONPATH": str(script.parents[2])}
    command = [sys.executable, str(script), *programs]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    sizes = {line.split(":")[0]: int(line.split()[-2]) for line in done.stdout.splitlines()}
    assert {"_attend_latents", "summarize_0"} <= set(sizes)
    assert max(sizes.values()) < 227 * 1024  # shared memory of an H100


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="the interpreter is for machines without CUDA")
def test_an_engine_on_triton_gives_vllms_tokens_and_the_references_pages(tmp_path, warm):
    """Tiny DeepSeek-V2, two sequences, chunked prefill that ends in single tokens: all pages, then few of them.

    Then few that are remembered and shared by both layers.
    """
    rng = random.Random(3)
    prompts = [[rng.randrange(4, 250) for _ in range(n)] for n in (70, 67)]
    programs = [{"program": RULE.format(pages=pages), "kernels": "triton"} for pages in (1024, 1)]
    programs.append({"program": KEPT})
    case = {
        "kind": "deepseek_v2", "folder": str(tmp_path / "model"), "amx": True, "batches": [prompts],
        "programs": programs, "max_tokens": 8,
        "engine": {"max_num_batched_tokens": 69, "max_num_seqs": 2, "kv_cache_memory_bytes": 3_400_000},
    }  # fmt: skip
    (tmp_path / "request.json").write_text(json.dumps({"triton": case}))
    done = warm.run(SCRIPT, tmp_path / "request.json", tmp_path / "reply.json", VLLM_PLUGINS="vortex")
    assert done.returncode == 0, done.stderr[-3000:]
    reply = json.loads((tmp_path / "reply.json").read_text())["triton"]
    assert (reply["dense"]["impl"], reply["impl"]) == ("CPUMLAImpl", "TritonMlaImpl")
    every, few, remembered = reply["sparse"]
    assert every["tokens"] == reply["dense"]["tokens"]
    for program in reply["sparse"]:
        assert program["replayed"]["steps"] == 2 * 2 * 7
        assert program["replayed"]["wrong"] == 0
    assert all(c["pages_attended"] == c["pages_dense"] > 0 for c in every["counters"])
    assert all(c["pages_attended"] == 2 * c["sparse_tokens"] < c["pages_dense"] for c in few["counters"])
    assert all(0 < c["pages_attended"] < c["pages_dense"] for c in remembered["counters"])
