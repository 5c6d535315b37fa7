"""Latent attention: programs over the latents of tiny models, in a real vLLM on CPU, against vLLM's own."""

import json
import random
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from vortex_dsl import attend, load_program, zoo
from vortex_dsl.backends.tape.machine import Layer
from vortex_dsl.serving.config import ServingError
from vortex_dsl.serving.layers.decodes import Decodes, Heads
from vortex_dsl.serving.layers.rule import Rule
from vortex_dsl.serving.pages import latent as pages_latent
from vortex_dsl.serving.pages.over import latents_over
from vortex_dsl.serving.pages.pages import Rows, Softmax

pytestmark = pytest.mark.vllm
SCRIPT = Path(__file__).with_name("latent_script.py")
KINDS = ("deepseek_v2", "glm4_moe_lite")

RULE = '''
from vortex_dsl import Choice, Float, Int, Program, State, above, dot


class Latent(Program):
    """Rank pages by their mean latent, how much of it is value, and how their score rises."""

    pages = Int({pages}, 1, 1024)
    least = Float({least}, -1e9, 1e9)
    page_size = Choice({page_size}, (16, 32, 64, 128))
    dense_layers = Int({dense}, 0, 8)
    share_layers = Int({share}, 1, 8)
    refresh_steps = Int({refresh}, 1, 16)
    last = State()

    def summarize(self, k, v):
        return {{"c": k.mean("token"), "value": v.norm("dim").max("token")}}

    def select(self, q, page):
        s = dot(q, page.c, "dim").max("head") + 0.01 * page.value
        return above(s - 0.5 * page.last, self.least, self.pages).remember(last=s)
'''


def rule(page_size, pages=1024, least=-1e9, dense=0, share=1, refresh=1):
    text = RULE.format(page_size=page_size, pages=pages, least=least, dense=dense, share=share, refresh=refresh)
    return {"program": text}


def covering(page_size):
    """A budget that covers everything, and that nothing but the scores can tell to do so."""
    return rule(page_size)


@pytest.fixture(scope="module")
def served(tmp_path_factory, warm):
    """Serve both models in one process, by vLLM's own attention and by ours."""
    rng, folder = random.Random(7), tmp_path_factory.mktemp("latent")
    first = [[rng.randrange(4, 250) for _ in range(n)] for n in (1, 15, 16, 17, 150, 300, 500)]
    second = [prompt[: len(prompt) // 2] + [rng.randrange(4, 250) for _ in range(9)] for prompt in first]
    cases = {}
    for kind, page_size in zip(KINDS, (16, 32), strict=True):
        programs = [covering(page_size), rule(page_size, 1, dense=1), rule(page_size, 3, share=2, refresh=4)]
        engine = {"max_num_batched_tokens": 128, "kv_cache_memory_bytes": 3_400_000}
        cases[kind] = {
            "kind": kind, "folder": str(folder / kind), "amx": kind == "deepseek_v2",
            "batches": [first, second], "programs": programs, "engine": engine,
        }  # fmt: skip
    (folder / "request.json").write_text(json.dumps(cases))
    done = warm.run(SCRIPT, folder / "request.json", folder / "reply.json", VLLM_PLUGINS="vortex")
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "reply.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_covering_budget_equals_vllm_token_for_token(served, kind):
    """With prefix caching, chunked prefill and preemption, which vLLM's own here does without, no token changes."""
    reply = served[kind]
    assert (reply["dense"]["impl"], reply["impl"]) == ("CPUMLAImpl", "VortexMlaImpl")
    assert reply["vllm:prefix_cache_hits"] > 0
    assert reply["vllm:num_preemptions"] > 0
    covering = reply["sparse"][0]
    assert covering["tokens"] == reply["dense"]["tokens"]
    for counters in covering["counters"]:
        assert counters["pages_attended"] == counters["pages_dense"] > 0
        assert counters["sparse_tokens"] > counters["covered_tokens"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_small_budget_reads_fewer_pages(served, kind):
    """The counters show what was skipped, and the first dense layer as dense."""
    small = served[kind]["sparse"][1]
    first, second = small["counters"]
    assert first["sparse_tokens"] == second["dense_tokens"] == 0
    assert first["dense_tokens"] == second["sparse_tokens"] > 2 * 7 * 22  # one less for each preemption
    assert 0 < second["pages_attended"] < second["pages_dense"] * 2 / 3
    assert first["prefill_tokens"] == second["prefill_tokens"] > 0
    assert small["tokens"] != served[kind]["dense"]["tokens"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_only_what_follows_a_prompt_is_decoded(served, kind):
    """A prompt of one token, the last piece of one, and what is prefilled again after a preemption are prefill."""
    reply = served[kind]
    turns = [program["counters"][1] for program in reply["sparse"]]
    num_decoded = sum(counters["sparse_tokens"] + counters["dense_tokens"] for counters in turns)
    assert num_decoded == 3 * 2 * 7 * 23 - reply["vllm:num_preemptions"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_pages_are_those_that_decode_gives_outside(served, kind):
    """Fields, states, stored and shared choices: every step attends to the pages that the language's `decode` says."""
    for turn in (0, 2):
        replayed = served[kind]["sparse"][turn]["replayed"]
        assert replayed["runs"] >= 2 * 7
        assert replayed["steps"] > 2 * 2 * 7 * 22
        assert replayed["wrong"] == 0


def filled(kind, page_size, dtype, shape, num_bytes=96):
    """Write three sequences into a cache full of NaN, with room for fields behind each page's latents."""
    generator = torch.Generator().manual_seed(3)
    latent, value = shape
    content = latent + num_bytes // dtype.itemsize
    pages = kind(torch.full((12, page_size, content), float("nan")).to(dtype), latent, value)
    lengths = [1, 2 * page_size, 3 * page_size + 5]
    table = torch.randperm(12, generator=generator).view(3, 4).to(torch.int32)
    tokens = [torch.randn(length, latent, generator=generator).to(dtype) for length in lengths]
    for row, sequence in enumerate(tokens):
        positions = torch.arange(len(sequence))
        slots = table[row].long()[positions // page_size] * page_size + positions % page_size
        padded = torch.cat([sequence, sequence[:1]])
        pages.write(padded[:, value:], padded[:, :value], torch.cat([slots, torch.tensor([-1])]))
    return pages, Rows(table, torch.tensor(lengths, dtype=torch.int32), torch.arange(4, dtype=torch.int32)), tokens


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2), (torch.float16, 4e-3)])
@pytest.mark.parametrize(
    ("kind", "page_size", "shape"),
    [("CpuLatentPages", 16, (576, 512)), ("CpuLatentPages", 32, (576, 512)), ("CpuLatentPages", 128, (576, 512)),
     ("LatentPages", 16, (576, 512)), ("LatentPages", 64, (320, 256))],
)  # fmt: skip
def test_attention_over_latents_is_the_textbook_one(kind, page_size, shape, dtype, tolerance):
    """Whatever the page's size, and whatever lies beyond the last token."""
    pages, rows, tokens = filled(getattr(pages_latent, kind), page_size, dtype, shape)
    query = torch.randn(3, 4, shape[0], generator=torch.Generator().manual_seed(1)).to(dtype)
    out = torch.full((3, 4, shape[1]), float("nan"), dtype=dtype)
    pages.attend_sequences(query, rows, Softmax(0.1), out)
    for row, sequence in enumerate(tokens):
        weights = (query[row].double() @ sequence.double().T * 0.1).softmax(-1)
        wanted = weights @ sequence[:, : shape[1]].double()
        torch.testing.assert_close(out[row].double(), wanted, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("kind", ["CpuLatentPages", "LatentPages"])
def test_a_programs_value_is_the_latents_value_part(kind):
    """Both have the latent's width; the rotated channels of the value are zero. Fields lie behind, untouched."""
    pages, rows, tokens = filled(getattr(pages_latent, kind), 32, torch.float32, (576, 512))
    keys, values = (gather(rows.table[1, :2]).flatten(0, 1) for gather in (pages.raw_keys, pages.raw_values))
    assert torch.equal(keys, tokens[1])
    assert torch.equal(values[:, :512], tokens[1][:, :512])
    assert not values[:, 512:].any()
    assert torch.equal(pages.raw_keys(rows.table[1, :2]).flatten(0, 1), tokens[1])
    assert pages.fields.shape == (12, 32 * 96)
    assert pages.fields.view(torch.float32).isnan().all()


def cache_for(rule, page_size, latent, dtype):
    """Make a cache of as large pages as vLLM is told to make for a rule, full of what no token wrote."""
    from vllm.v1.kv_cache_interface import MLAAttentionSpec

    from vortex_dsl.serving.layers.layer import Room, with_fields

    spec = MLAAttentionSpec(block_size=page_size, num_kv_heads=1, head_size=latent, dtype=dtype)
    whole = with_fields(spec, Room(rule.field_bytes, page_size)).page_size_bytes
    return torch.full((40, page_size, whole // page_size // dtype.itemsize), 77.0, dtype=dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 4e-2)])
@pytest.mark.parametrize(
    ("name", "group", "shape", "page_size"),
    [("quest", 20, (576, 512), 16), ("narrow_int8", 5, (576, 512), 16), ("two_stage", 3, (576, 512), 64),
     ("sign_keys", 8, (288, 256), 32), ("mass_lse", 4, (48, 32), 128), ("oracle_mass", 2, (40, 24), 16)],
)  # fmt: skip
def test_a_rule_over_latents_chooses_and_attends_as_it_does_outside(name, group, shape, page_size, dtype, tolerance):
    """Ragged sequences in scattered pages of the size that vLLM is told, fields of any width behind the latents.

    A page that ended within a line would kill the process, which then fails for all tests of this file.
    """
    (latent, value), generator = shape, torch.Generator().manual_seed(2)
    program = load_program(zoo.text(name)).with_values(page_size=page_size, dense_layers=0)
    program = program.with_values(pages=2) if "pages" in program.tunables else program
    rule, lengths = Rule(program, group, latent), [1, page_size, 5 * page_size + 3, 7 * page_size]
    pages = latents_over(cache_for(rule, page_size, latent, dtype), latent, value)
    table = torch.randperm(40, generator=generator)[: 4 * 8].view(4, 8).to(torch.int32)
    k = torch.randn(4, 1, max(lengths), latent, generator=generator).to(dtype)
    q = (torch.randn(4, group, latent, generator=generator) * 0.3).to(dtype)
    for row, length in enumerate(lengths):
        positions = torch.arange(length)
        slots = table[row].long()[positions // page_size] * page_size + positions % page_size
        pages.write(k[row, 0, :length, value:], k[row, 0, :length, :value], slots)
        rule.summarize(pages, table[row, : length // page_size].long())
    rows = Rows(table, torch.tensor(lengths, dtype=torch.int32), torch.arange(5, dtype=torch.int32))
    attended, listed = rule.choice(q, pages, Decodes(rows, page_size, Heads(1)), Layer(0, 1, 0.1), rule.memory(1))
    out = torch.full((4, group, value), torch.nan, dtype=dtype)
    pages.attend_pages(q, Rows(listed.table, listed.lengths, rows.query_start_loc), Softmax(0.1), out)
    v = k.float().clone()
    v[..., value:] = 0
    expected, chosen = attend(program, q.float(), k.float(), v, rows.lengths, scale=0.1, backend="torch")
    assert torch.equal(attended, chosen[:, 0, : attended.shape[1]])
    torch.testing.assert_close(out.float(), expected[..., :value], atol=tolerance, rtol=tolerance)


RAW_RULE = """from vortex_dsl import *


class Raw(Program):
    \"\"\"Rank pages by keys and values of every token.\"\"\"

    sink = Int(0, 0, 16)
    window = Int(1, 1, 64)

    def select(self, q, page):
        return topk(dot(q, page.k, "dim").max("head", "token") + dot(q, page.v, "dim").mean("head", "token"), 1)
"""


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("kind", "shape"), [("CpuLatentPages", (576, 512)), ("LatentPages", (40, 24))])
def test_the_tape_reads_latents_as_keys_and_their_value_part_as_values(kind, shape, dtype):
    pages, rows, tokens = filled(getattr(pages_latent, kind), 16, dtype, shape)
    query = torch.randn(3, 4, shape[0], generator=torch.Generator().manual_seed(1)).to(dtype)
    program = load_program(RAW_RULE).with_values(page_size=16, dense_layers=0)
    rule = Rule(program, 4, shape[0])
    assert pages.machine_of(rule.batched) is not None
    found = rule.choice(query, pages, Decodes(rows, 16, Heads(1)), Layer(0, 1, 0.1), rule.memory(1)).attended
    for row, sequence in enumerate(tokens):
        keys = sequence.float()
        values = keys.clone()
        values[:, shape[1] :] = 0
        given = query[row].float()[None], keys[None, None], values[None, None]
        wanted = attend(program, *given, scale=0.1, backend="reference")[1][0, 0]
        assert torch.equal(found[row, : len(wanted)], wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
@pytest.mark.parametrize("page_size", [16, 32, 64, 128])
@pytest.mark.parametrize("num_bytes", [0, 16, 608, 1168, 2048])
def test_a_page_of_latents_has_room_for_its_fields_and_ends_a_line(monkeypatch, page_size, num_bytes, dtype):
    """Of 64 bytes, which vLLM's C++ kernel loads at once: pages that end inside of one kill the process."""
    from vllm.v1.kv_cache_interface import MLAAttentionSpec

    from vortex_dsl.serving.backend_mla import VortexMlaBackend
    from vortex_dsl.serving.layers.layer import Room

    monkeypatch.setattr(VortexMlaBackend, "rooms", {576: Room(num_bytes, page_size)})
    spec = MLAAttentionSpec(block_size=page_size, num_kv_heads=1, head_size=576, dtype=dtype)
    page_bytes = VortexMlaBackend.customize_spec(spec).page_size_bytes
    extra = page_bytes - page_size * 576 * dtype.itemsize
    assert num_bytes <= extra < num_bytes + max(64, page_size * dtype.itemsize)
    assert page_bytes % 64 == 0


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"indexer": object()}, "a model that chooses tokens itself"),
        ({"sliding_window": 128}, "a sliding window"),
        ({"kv_cache_dtype": "fp8"}, "kv_cache_dtype='fp8' with a model in torch.float32"),
        ({"tensor_parallel_size": 2}, "tensor_parallel_size above 1"),
        ({"decode_context_parallel_size": 2}, "latents split over workers"),
        ({"speculative_config": object()}, "speculative decoding"),
    ],
)
def test_what_latent_attention_cannot_serve_is_refused_by_name(monkeypatch, asked, words):
    from vortex_dsl.serving.layers import mla

    parallel = dict.fromkeys(
        ("tensor_parallel_size", "decode_context_parallel_size", "prefill_context_parallel_size"), 1
    )
    config = SimpleNamespace(
        model_config=SimpleNamespace(dtype=torch.float32),
        speculative_config=asked.pop("speculative_config", None),
        parallel_config=SimpleNamespace(
            **{name: asked.pop(name, one) for name, one in parallel.items()}, use_ubatching=False
        ),
    )
    monkeypatch.setattr(mla, "get_current_vllm_config", lambda: config)
    plain = {
        "alibi_slopes": None, "sliding_window": None, "kv_cache_dtype": "auto", "logits_soft_cap": None,
        "attn_type": "decoder", "kv_sharing_target_layer_name": None,
    }  # fmt: skip
    with pytest.raises(ServingError, match=words):
        mla.VortexMlaImpl(4, 576, 0.1, 1, **plain | asked)


@pytest.mark.parametrize(("use_mla", "name"), [(True, "VortexMlaBackend"), (False, "VortexBackend")])
def test_custom_means_the_backend_that_fits_the_model(monkeypatch, use_mla, name):
    """By what vLLM's own look-up finds while it loads a model, and by the CPU platform."""
    import vllm.config
    from vllm.utils.import_utils import resolve_obj_by_qualname
    from vllm.v1.attention.backends.registry import AttentionBackendEnum
    from vllm.v1.attention.selector import AttentionSelectorConfig

    from vortex_dsl.serving.cpu_platform import VortexCpuPlatform

    config = SimpleNamespace(model_config=SimpleNamespace(use_mla=use_mla))
    monkeypatch.setattr(vllm.config, "get_current_vllm_config", lambda: config)
    found = resolve_obj_by_qualname("vortex_dsl.serving.selected.Backend")
    asked = AttentionSelectorConfig(64, torch.float32, "auto", 16, use_mla=use_mla)
    path = VortexCpuPlatform.get_attn_backend_cls(AttentionBackendEnum.CUSTOM, asked)
    assert found.__name__ == path.rpartition(".")[2] == name
    assert found.is_mla() is use_mla
    assert found.get_name() == "CUSTOM"
