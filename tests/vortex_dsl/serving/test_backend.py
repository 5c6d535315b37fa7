"""What the backend makes of a batch, what it asks of the cache, and what it refuses: without an engine."""

import importlib
from types import SimpleNamespace

import pytest
import torch

from vortex_dsl.serving import plugin
from vortex_dsl.serving.config import ServingError

pytestmark = pytest.mark.vllm


def built(query_lens, lengths, prefilling, table, page_size=16, first=0, **extra):
    """Build the metadata of a batch of two KV heads. Slots follow from the table; two padded tokens end it."""
    from vllm.v1.attention.backend import CommonAttentionMetadata

    from vortex_dsl.serving.backend import VortexMetadataBuilder
    from vortex_dsl.serving.layers.decodes import Heads

    builder = VortexMetadataBuilder.__new__(VortexMetadataBuilder)
    builder.page_size, builder.heads = page_size, Heads(2, first)
    builder.layer_names = []  # no layer that remembers anything of its requests
    builder.vllm_config = SimpleNamespace(compilation_config=SimpleNamespace(static_forward_context={}))
    table = torch.tensor(table, dtype=torch.int32)
    starts = torch.tensor([0, *query_lens]).cumsum(0).to(torch.int32)
    slots = [
        int(table[row, position // page_size]) * page_size + position % page_size
        for row, (queries, length) in enumerate(zip(query_lens, lengths, strict=True))
        for position in range(length - queries, length)
    ]
    batch = CommonAttentionMetadata(
        query_start_loc=starts,
        query_start_loc_cpu=starts,
        seq_lens=torch.tensor(lengths, dtype=torch.int32),
        num_reqs=len(lengths),
        num_actual_tokens=len(slots) + 2,
        max_query_len=max(query_lens),
        max_seq_len=max(lengths),
        block_table_tensor=table,
        slot_mapping=torch.tensor([*slots, -1, -1]),
        is_prefilling=torch.tensor(prefilling),
        **extra,
    )
    return builder.build(0, batch)


def test_a_page_is_complete_when_its_last_token_is_written():
    """By a decode (block 5), inside a prefill chunk (block 7, not 8); padding completes nothing."""
    meta = built([1, 1, 20], [32, 18, 25], [False, False, True], [[4, 5], [6, 9], [7, 8]])
    assert meta.num_decodes == 2
    assert meta.completed.tolist() == [10, 11, 14, 15]
    assert meta.prefills.query_start_loc.tolist() == [0, 20]


def test_a_block_is_begun_when_its_first_token_is_written_and_not_its_last():
    """By a decode (block 5), and at the end of a prompt (8, with 9 tokens), which fills block 7; 6 was begun before."""
    meta = built([1, 1, 20, 16], [17, 10, 25, 32], [False, False, True, True], [[4, 5], [6, 9], [7, 8], [2, 3]])
    assert meta.begun == ((5, 1), (8, 9))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_request_does_not_read_what_another_left_in_its_block(dtype):
    """Not even where that was no number, in the block that a decode begins and in a prompt's last one."""
    from vortex_dsl.serving.layers.mha import VortexImpl
    from vortex_dsl.serving.metrics import Meter
    from vortex_dsl.serving.pages.cpu import CpuPages
    from vortex_dsl.serving.pages.pages import Softmax

    impl, cache = VortexImpl.__new__(VortexImpl), torch.full((9, 2, 16, 136), torch.nan, dtype=dtype)
    impl.rule = SimpleNamespace(page_size=16, summarize=lambda *_: None, covers=lambda _: True, leader=lambda _: 0)
    impl.pages_over = lambda kv_cache: CpuPages(kv_cache, 64)
    impl._pages, impl.softmax, impl.meter, impl.recorder = None, Softmax(0.125), Meter(), None
    past = torch.ones(16, 2, 64, dtype=dtype)
    impl.do_kv_cache_update(None, past, past, cache, torch.arange(4 * 16, 5 * 16))
    meta = built([1, 9], [17, 9], [False, True], [[4, 5], [7, 8]])
    tokens, output = torch.ones(10, 2, 64, dtype=dtype), torch.empty(10, 2, 64, dtype=dtype)
    impl.do_kv_cache_update(None, tokens, tokens, cache, torch.tensor([5 * 16, *range(7 * 16, 7 * 16 + 9)]))
    impl.forward(SimpleNamespace(layer_name="model.layers.0.attn"), tokens, tokens, tokens, cache, meta, output)
    torch.testing.assert_close(output, torch.ones_like(output))


def test_one_token_of_a_prompt_is_prefill():
    """A short tail after a prefix-cache hit may not be decoded: answers would depend on what was cached."""
    meta = built([1, 1], [18, 17], [False, True], [[1, 2], [3, 4]])
    assert meta.num_decodes == 1
    assert meta.prefills.lengths.tolist() == [17]


def test_rows_are_sequences_times_kv_heads_numbered_over_all_ranks():
    meta = built([1, 1], [33, 5], [False, False], [[2, 3, 4], [7, -1, -1]], first=6)
    assert meta.decodes.pages.tolist() == [[4, 6, 8], [5, 7, 9], [14, 0, 0], [15, 1, 1]]
    assert meta.decodes.lengths.tolist() == [33, 33, 5, 5]
    assert meta.decodes.kv_head.tolist() == [6, 7, 6, 7]


@pytest.mark.parametrize(
    ("total", "num_ranks", "first"), [(8, 1, [0]), (8, 4, [0, 2, 4, 6]), (2, 4, [0, 0, 1, 1]), (1, 2, [0, 0])]
)
def test_kv_heads_are_split_over_ranks_or_repeated(total, num_ranks, first):
    from vortex_dsl.serving.layers.decodes import first_kv_head

    assert [first_kv_head(total, rank, num_ranks) for rank in range(num_ranks)] == first


def test_attention_that_is_not_causal_is_refused():
    with pytest.raises(ServingError, match="causal attention only"):
        built([1], [5], [False], [[1]], causal=False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
@pytest.mark.parametrize("page_size", [16, 32, 64, 128])
@pytest.mark.parametrize("num_bytes", [0, 16, 272, 2048, 1000])
def test_a_page_has_room_for_its_fields_and_keeps_them_aligned(monkeypatch, dtype, page_size, num_bytes):
    from vllm.v1.kv_cache_interface import FullAttentionSpec

    from vortex_dsl.serving.backend import VortexBackend
    from vortex_dsl.serving.layers.layer import Room

    monkeypatch.setattr(VortexBackend, "rooms", {80: Room(num_bytes, page_size), 64: Room(10**6, page_size)})
    spec = FullAttentionSpec(block_size=page_size, num_kv_heads=2, head_size=80, dtype=dtype)
    page_bytes = VortexBackend.customize_spec(spec).page_size_bytes // 2
    plain = spec.page_size_bytes // 2
    assert num_bytes <= page_bytes - plain < num_bytes + max(64, page_size * dtype.itemsize)
    assert page_bytes % 64 == plain % 64 == 0


def test_values_of_another_width_are_refused():
    from vllm.v1.kv_cache_interface import FullAttentionSpec

    from vortex_dsl.serving.backend import VortexBackend

    spec = FullAttentionSpec(block_size=16, num_kv_heads=2, head_size=192, head_size_v=128, dtype=torch.float32)
    with pytest.raises(ServingError, match="keys of 192 and values of 128"):
        VortexBackend.customize_spec(spec)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"sinks": torch.ones(4)}, "attention sinks"),
        ({"alibi_slopes": [0.5]}, "ALiBi"),
        ({"kv_cache_dtype": "bfloat16"}, "kv_cache_dtype='bfloat16' with a model in torch.float32"),
        ({"attn_type": "encoder_only"}, "encoder attention"),
    ],
)
def test_what_a_layer_cannot_serve_is_refused_by_name(monkeypatch, asked, words):
    assert words in refused(monkeypatch, None, **asked)


def test_speculative_decoding_is_refused(monkeypatch):
    """Its steps of several tokens would pass for prefill, and so run dense in silence."""
    assert "speculative decoding" in refused(monkeypatch, object())


def test_halves_of_a_step_that_overlap_are_refused(monkeypatch):
    """Which rows are of prompts stands in the same memory for both."""
    assert "dual-batch overlap" in refused(monkeypatch, None, use_ubatching=True)


def refused(monkeypatch, speculative_config, use_ubatching=False, **asked):
    from vortex_dsl.serving.layers import mha

    config = SimpleNamespace(
        model_config=SimpleNamespace(dtype=torch.float32), speculative_config=speculative_config,
        parallel_config=SimpleNamespace(use_ubatching=use_ubatching),
    )  # fmt: skip
    monkeypatch.setattr(mha, "get_current_vllm_config", lambda: config)
    with pytest.raises(ServingError) as raised:
        mha.VortexImpl(4, 64, 0.125, 2, **asked)
    return str(raised.value)


@pytest.mark.parametrize(
    ("module", "make", "size", "kind"),
    [
        ("chunked_local_attention", "create_chunked_local_attention_backend", 64, "ChunkedLocalAttention_64"),
        ("static_sink_attention", "create_static_sink_attention_backend", 16, "StaticSink"),
    ],
)
@pytest.mark.parametrize("latent", [False, True])
def test_layers_whose_batches_vllm_cuts_anew_are_refused_when_they_are_made(module, make, size, kind, latent):
    """vLLM wraps the builder of such layers, and hands over rows without saying which are in their prompt."""
    from vortex_dsl.serving.backend import VortexBackend
    from vortex_dsl.serving.backend_mla import VortexMlaBackend

    wrapping = getattr(importlib.import_module(f"vllm.model_executor.layers.attention.{module}"), make)
    with pytest.raises(ServingError, match=f"does not serve layers of the kind {kind}, whose batches"):
        wrapping(VortexMlaBackend if latent else VortexBackend, size)


@pytest.mark.parametrize("latent", [False, True])
def test_whatever_else_vllm_makes_of_a_backend_with_another_builder_is_refused_too(latent):
    """Encoders, cross-attention and layers that share keys and values in prefill."""
    from vllm.model_executor.layers.attention.cross_attention import create_cross_attention_backend
    from vllm.model_executor.layers.attention.encoder_only_attention import create_encoder_only_attention_backend
    from vllm.v1.attention.backends.utils import create_fast_prefill_custom_backend

    from vortex_dsl.serving.backend import VortexBackend
    from vortex_dsl.serving.backend_mla import VortexMlaBackend

    backend = VortexMlaBackend if latent else VortexBackend
    for wrapping, words in (
        (create_cross_attention_backend, (backend,)),
        (create_encoder_only_attention_backend, (backend,)),
        (create_fast_prefill_custom_backend, ("FastPrefill_", backend)),
    ):
        with pytest.raises(ServingError, match="does not serve layers of the kind "):
            wrapping(*words)


@pytest.mark.parametrize(("query_lens", "lengths"), [([200], [200]), ([1], [200]), ([1, 70, 1], [65, 130, 3])])
def test_rows_of_which_vllm_does_not_say_whether_they_are_in_a_prompt_attend_to_all(query_lens, lengths):
    from vllm.v1.attention.backend import CommonAttentionMetadata
    from vllm.v1.attention.backends.utils import make_local_attention_virtual_batches

    from vortex_dsl.serving.layers.batches import split

    num, starts = len(lengths), torch.tensor([0, *query_lens]).cumsum(0).int()
    batch = CommonAttentionMetadata(
        query_start_loc=starts,
        query_start_loc_cpu=starts,
        seq_lens=torch.tensor(lengths).int(),
        num_reqs=num,
        num_actual_tokens=sum(query_lens),
        max_query_len=max(query_lens),
        max_seq_len=max(lengths),
        block_table_tensor=torch.arange(num * 32).view(num, 32).int(),
        slot_mapping=torch.zeros(sum(query_lens), dtype=torch.long),
        is_prefilling=torch.tensor([queries > 1 for queries in query_lens]),
    )
    cut, _ = make_local_attention_virtual_batches(64, batch, 16)
    assert cut.is_prefilling is None
    assert split(cut) == (0, cut.num_reqs, 0)


def test_a_width_that_the_kernel_does_not_take_is_refused_when_the_layer_is_made(monkeypatch):
    """And not by the first token. Plain torch serves it."""
    from vortex_dsl.serving.layers import mha
    from vortex_dsl.serving.layers.layer import Room

    config = SimpleNamespace(
        model_config=SimpleNamespace(dtype=torch.float32), speculative_config=None,
        parallel_config=SimpleNamespace(use_ubatching=False),
    )  # fmt: skip
    monkeypatch.setattr(mha, "get_current_vllm_config", lambda: config)
    monkeypatch.setattr(mha.VortexImpl, "prepare", lambda *_: Room(64, 16))
    monkeypatch.setattr(mha, "ROOMS", {})
    monkeypatch.setattr(mha, "kernels_of", lambda _: "cpp")
    mha.VortexImpl(4, 64, 0.125, 2)
    with pytest.raises(ServingError, match=r"no head_dim of 144 .* 'kernels': 'torch'"):
        mha.VortexImpl(4, 144, 0.125, 2)
    monkeypatch.setattr(mha, "kernels_of", lambda _: "torch")
    mha.VortexImpl(4, 144, 0.125, 2)


def test_reserved_bytes_are_counted_in_whole_lines_too():
    """So a program that needs as many bytes as were asked for still fits."""
    from vortex_dsl import zoo
    from vortex_dsl.serving.layers.mha import VortexImpl

    served = {"program": zoo.text("quest"), "values": {"page_size": 16}, "field_bytes": 1000, "kernels": "torch"}
    impl = VortexImpl.__new__(VortexImpl)
    impl.num_heads, impl.num_kv_heads, impl.head_size = 4, 2, 64
    room = impl.prepare(
        SimpleNamespace(
            additional_config={"vortex": served},
            device_config=SimpleNamespace(device_type="cpu"),
            model_config=SimpleNamespace(get_total_num_hidden_layers=lambda: 2),
            cache_config=SimpleNamespace(block_size=16),
        )
    )
    assert (room.field_bytes, room.page_size) == (1024, 16)


@pytest.mark.parametrize("asked", ["use_mm_prefix", "use_non_causal", "use_dcp"])
def test_the_cpu_platform_refuses_what_cuda_would(asked):
    from vllm.v1.attention.backends.registry import AttentionBackendEnum
    from vllm.v1.attention.selector import AttentionSelectorConfig

    from vortex_dsl.serving.cpu_platform import VortexCpuPlatform

    config = AttentionSelectorConfig(64, torch.float32, "auto", 16)._replace(**{asked: True})
    with pytest.raises(ServingError, match=asked):
        VortexCpuPlatform.get_attn_backend_cls(AttentionBackendEnum.CUSTOM, config)


@pytest.mark.parametrize(("backend", "seen"), [("CUSTOM", False), ("CPU_ATTN", True)])
def test_vllm_is_told_of_no_block_size_of_ours_which_it_would_warn_of(monkeypatch, backend, seen):
    from vllm.platforms.cpu import CpuPlatform
    from vllm.v1.attention.backends.registry import AttentionBackendEnum

    from vortex_dsl.serving import cpu_platform

    def settle(_cls, config):
        given.append(config.cache_config.user_specified_block_size)
        config.cache_config.block_size = 16 if given[-1] else 128

    given, program = [], SimpleNamespace(load=lambda: SimpleNamespace(values={"page_size": 16}))
    monkeypatch.setattr(CpuPlatform, "check_and_update_config", classmethod(settle))
    monkeypatch.setattr(cpu_platform, "serving_config", lambda _: program)
    cache = SimpleNamespace(block_size=16, user_specified_block_size=True, enable_prefix_caching=True)
    config = SimpleNamespace(
        cache_config=cache,
        scheduler_config=SimpleNamespace(enable_chunked_prefill=True, max_num_batched_tokens=2048),
        attention_config=SimpleNamespace(backend=AttentionBackendEnum[backend]),
        compilation_config=SimpleNamespace(custom_ops=[]),
        model_config=None,
    )
    cpu_platform.VortexCpuPlatform.check_and_update_config(config)
    assert given == [seen]
    assert (cache.block_size, cache.user_specified_block_size) == (16, True)


@pytest.mark.parametrize("backend", ["CUSTOM", "CPU_ATTN"])
def test_several_plugins_of_which_none_is_named_are_told_before_an_engine_starts(monkeypatch, backend):
    """By a worker it was told minutes later, above the tracebacks of all processes that had waited for it."""
    from vllm.platforms.cpu import CpuPlatform
    from vllm.v1.attention.backends.registry import AttentionBackendEnum

    from vortex_dsl.serving.cpu_platform import AmbiguousCpuPlatform

    settled, asked = [], AttentionBackendEnum[backend]
    monkeypatch.setattr(
        CpuPlatform, "check_and_update_config", classmethod(lambda _cls, config: settled.append(config))
    )
    monkeypatch.setattr(plugin, "installed", lambda: {"vortex": "a", "vortex-0": "b"})
    config = SimpleNamespace(attention_config=SimpleNamespace(backend=asked))
    if backend == "CUSTOM":
        with pytest.raises(plugin.PluginConflictError, match=r"\(vortex, vortex-0\); set VORTEX_PLUGIN to the one"):
            AmbiguousCpuPlatform.check_and_update_config(config)
    else:
        AmbiguousCpuPlatform.check_and_update_config(config)
        assert settled == [config]


def test_whoever_moves_blocks_without_their_fields_is_refused_on_a_cpu():
    from vllm.model_executor.layers.attention_layer_base import AttentionLayerBase

    from vortex_dsl.serving.layers.mha import VortexImpl

    class Other(AttentionLayerBase):
        def get_attn_backend(self):
            raise NotImplementedError

        def get_kv_cache_spec(self, vllm_config):
            raise NotImplementedError

    def check(connector, layers):
        context = SimpleNamespace(static_forward_context=layers)
        impl.vllm_config = SimpleNamespace(kv_transfer_config=connector, compilation_config=context)
        impl._refuse_strangers()

    impl, ours = VortexImpl.__new__(VortexImpl), Other()
    ours.impl = impl
    check(None, {"ours": ours})
    with pytest.raises(ServingError, match=r"other kinds beside ours .* mamba"):
        check(None, {"ours": ours, "mamba": Other()})
    with pytest.raises(ServingError, match="KV connectors"):
        check(object(), {"ours": ours})
