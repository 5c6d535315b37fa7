"""A program served without a model: the layers and caches that an engine makes for it, given tokens by hand.

Whoever judges what serves drives these, so that what is judged is what serves: the classes, pages and kernels are those
that vLLM is given for the same settings, by the same functions. Only the model's own part is missing, and tokens are
whatever the judge hands over. Nothing here knows what a right answer is.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from vllm.config import CUDAGraphMode, set_current_vllm_config
from vllm.v1.attention.backend import AttentionType, CommonAttentionMetadata
from vllm.v1.kv_cache_interface import (
    FullAttentionSpec,
    KVCacheLayout,
    KVCacheTensor,
    MLAAttentionSpec,
    create_kv_cache_views,
)

from vortex_dsl.serving import selected
from vortex_dsl.serving.config import KEY, kernels_of, serving_config
from vortex_dsl.serving.layers.batches import BatchReader, split
from vortex_dsl.serving.layers.decodes import Heads
from vortex_dsl.serving.layers.mla import VortexMlaImpl
from vortex_dsl.serving.triton.layer import TritonLayer
from vortex_dsl.serving.triton.steps import StepReader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vortex_dsl.frontend.program import Program
    from vortex_dsl.serving.layers.layer import ProgramLayer

NUM_STRANGERS = 3  # blocks that belong to no sequence
LAYOUT = KVCacheLayout.LBHNC
_LAYER = "model.layers.{}.self_attn.attn"


@dataclass(frozen=True)
class Model:
    """What serving depends on of a model; `value_dim` is 0 unless its cache holds latents."""

    group: int
    head_dim: int
    value_dim: int
    num_kv_heads: int
    dtype: torch.dtype

    @property
    def num_q_heads(self) -> int:
        """Give the number of query heads."""
        return self.group * self.num_kv_heads

    @property
    def output_dim(self) -> int:
        """Give the channels of an output."""
        return self.value_dim or self.head_dim


def model_of(vllm_config: Any, num_kv_heads: int) -> Model:
    """Read an engine's model, as if it had so many KV heads; latents are one."""
    model, parallel = vllm_config.model_config, vllm_config.parallel_config
    group = model.get_num_attention_heads(parallel) // model.get_num_kv_heads(parallel)
    latent = model.use_mla
    value_dim = model.hf_text_config.kv_lora_rank if latent else 0
    return Model(group, model.get_head_size(), value_dim, 1 if latent else num_kv_heads, model.dtype)


class Tokens(NamedTuple):
    """Keys and values of some layers: [layers, batch, num_kv_heads, tokens, head_dim]. Latents are keys alone."""

    k: torch.Tensor
    v: torch.Tensor


class Turn(NamedTuple):
    """A sequence's part in a step: its tokens up to `until` come, one if it decodes."""

    sequence: int
    until: int
    decodes: bool


@dataclass(frozen=True)
class Listed:
    """The pages that a decode was told to attend to, in the order told, and the tokens that it was told they hold."""

    pages: torch.Tensor
    tokens: int


@dataclass
class RehearsedLayer:
    """One layer as vLLM's forward context holds it. `heard`: what its kernel was last told to attend to, if told."""

    layer_name: str
    impl: Any
    kv_cache: torch.Tensor
    heard: tuple[torch.Tensor, torch.Tensor] | None = None
    _k_scale_float: float = 1.0
    _v_scale_float: float = 1.0


@dataclass(frozen=True)
class Took:
    """What one layer made of a step. out: [turns, num_q_heads, channels], NaN where nothing was computed.

    `listed`: by turn and KV head, None where a layer attends to all that there is.
    """

    out: torch.Tensor
    listed: dict[tuple[int, int], Listed | None] = field(default_factory=dict)


class _Reader(BatchReader):
    """Reads steps as our metadata builders do, which ask vLLM for more than there is here."""

    def __init__(self, vllm_config: Any, names: list[str], page_size: int, heads: Heads, device: torch.device) -> None:
        self.page_size, self.heads, self.layer_names = page_size, heads, names
        self.vllm_config, self.device = vllm_config, device
        self.steps: StepReader | None = None
        if kernels_of(vllm_config) == "triton":
            self.steps = StepReader(page_size, vllm_config, names, device)

    def build(self, batch: CommonAttentionMetadata) -> Any:
        """Read a step."""
        return self.read(batch, split(batch)) if self.steps is None else self.steps.read(batch)


class Rehearsal:
    """A program served to some sequences in some layers, with caches of its own.

    `layers`: their numbers in the model. `tokens`: what the sequences are, of which steps write more and more, in the
    model's dtype. Blocks are scattered over the cache; what nobody has written is NaN, so `soil` it first: in a block
    of an engine lie an earlier request's tokens or zeros, and vLLM's C++ multiplies by 0 what it does not attend to.
    """

    def __init__(self, vllm_config: Any, model: Model, program: Program, layers: Sequence[int], tokens: Tokens) -> None:
        device = torch.device(vllm_config.device_config.device_type)
        self.model, self._tokens = model, _on(device, tokens)
        self.page_size = int(program.values["page_size"])
        num_sequences, most = tokens.k.shape[1], tokens.k.shape[3]
        self._config = _configured(vllm_config, model, program, num_sequences, most)
        num_pages = -(-most // self.page_size)
        order = torch.randperm(num_sequences * num_pages + NUM_STRANGERS, generator=torch.Generator().manual_seed(most))
        strangers, owned = order[:NUM_STRANGERS], order[NUM_STRANGERS:]
        beyond = strangers[:1].expand(num_sequences, 2)  # what a table holds there is anything, but a block
        self.table = torch.cat([owned.view(num_sequences, -1), beyond], 1).to(device=device, dtype=torch.int32)
        context = self._config.compilation_config.static_forward_context
        for number in layers:
            layer = _layer(self._config, model, _LAYER.format(number), len(order), device)
            layer.impl.num_layers = max(layers) + 1
            context[layer.layer_name] = layer
        self.layers: list[RehearsedLayer] = list(context.values())
        heads = Heads(model.num_kv_heads)
        self._reader = _Reader(self._config, list(context), self.page_size, heads, device)
        self._done = [0] * num_sequences
        self._room: tuple[torch.Tensor, torch.Tensor] | None = None

    @property
    def served_by(self) -> str:
        """Name what chooses pages, and what attends to them."""
        layer = self.layers[-1]
        attends = layer.impl.over(layer.kv_cache).kernels
        return ", ".join(dict.fromkeys((layer.impl.chooser, attends)))

    @property
    def scale(self) -> float:
        """Give the layers' softmax scale."""
        return self.layers[0].impl.softmax.scale

    @torch.inference_mode()
    def use(self, program: Program) -> None:
        """Serve another program from now on, as an engine does between two candidates."""
        for layer in self.layers:
            layer.impl.use(program)

    @torch.inference_mode()
    def soil(self, before: Tokens) -> None:
        """Fill all blocks of the sequences with whole pages of an earlier request. before: as `tokens`, whole pages."""
        turns = [Turn(row, before.k.shape[3], decodes=False) for row in range(len(self._done))]
        self._pour(_on(self.table.device, before), turns)
        self._done = [0] * len(self._done)

    @torch.inference_mode()
    def pour(self, turns: Sequence[Turn]) -> None:
        """Write tokens of prompts, without the prompts' own attention."""
        self._pour(self._tokens, turns)

    @torch.inference_mode()
    def step(self, turns: Sequence[Turn], queries: torch.Tensor) -> list[Took]:
        """Serve a step: write, and attend with the same query at each of a turn's tokens; decodes come first.

        queries: [layers, batch, num_q_heads, head_dim]. -> one for each layer
        """
        batch, places = self._batch(turns), [range(self._done[t.sequence], t.until) for t in turns]
        read, took, queries = self._reader.build(batch), [], queries.to(self.table.device)
        for at, layer in enumerate(self.layers):
            key, value = self._new(self._tokens, at, turns, places)
            self._write(layer, key, value, batch.slot_mapping)
            some = torch.cat(
                [queries[at, t.sequence].expand(len(p), -1, -1) for t, p in zip(turns, places, strict=True)]
            )
            query, output = self._put(_padded(some))
            layer.heard = None
            self._attend(layer, query, output, read)
            took.append(self._took(layer, turns, output, batch.query_start_loc_cpu))
        self._advance(turns)
        return took

    def _put(self, queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Give queries, and room for outputs, in memory that every step and layer uses again, as an engine's do."""
        num = len(queries)
        if self._room is None or len(self._room[0]) < num:
            self._room = torch.empty_like(queries), queries.new_empty(*queries.shape[:2], self.model.output_dim)
        return self._room[0][:num].copy_(queries), self._room[1][:num].fill_(torch.nan)

    def _pour(self, tokens: Tokens, turns: Sequence[Turn]) -> None:
        batch, places = self._batch(turns), [range(self._done[t.sequence], t.until) for t in turns]
        read = self._reader.build(batch)
        for at, layer in enumerate(self.layers):
            self._write(layer, *self._new(tokens, at, turns, places), batch.slot_mapping)
            if self._reader.steps is None:  # elsewhere fields come with the write
                layer.impl.complete(layer.impl.over(layer.kv_cache), read.completed)
        self._advance(turns)

    def _advance(self, turns: Sequence[Turn]) -> None:
        for turn in turns:
            self._done[turn.sequence] = turn.until

    def _new(
        self, tokens: Tokens, at: int, turns: Sequence[Turn], places: Sequence[range]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Give the step's tokens of a layer: [num_tokens, num_kv_heads, head_dim] each, the last one padding."""
        both = (
            torch.cat([x[at, t.sequence, :, p.start : p.stop] for t, p in zip(turns, places, strict=True)], 1)
            for x in tokens
        )
        key, value = (_padded(x.transpose(0, 1)) for x in both)
        return key, value

    def _batch(self, turns: Sequence[Turn]) -> CommonAttentionMetadata:
        """Describe a step as vLLM does: one padded token at its end."""
        device, size = self.table.device, self.page_size
        new = [turn.until - self._done[turn.sequence] for turn in turns]
        starts = torch.tensor([0, *new]).cumsum(0).to(torch.int32)
        lengths = torch.tensor([turn.until for turn in turns], dtype=torch.int32)
        table = self.table[[turn.sequence for turn in turns]]
        slots = [
            table[row, place // size].long() * size + place % size
            for row, turn in enumerate(turns)
            for place in (torch.arange(self._done[turn.sequence], turn.until, device=device),)
        ]
        return CommonAttentionMetadata(
            query_start_loc=starts.to(device), query_start_loc_cpu=starts, seq_lens=lengths.to(device),
            seq_lens_cpu_upper_bound=lengths, num_reqs=len(turns), num_actual_tokens=sum(new) + 1,
            max_query_len=max(new), max_seq_len=int(lengths.max()), block_table_tensor=table,
            slot_mapping=torch.cat([*slots, torch.tensor([-1], device=device)]),
            is_prefilling=torch.tensor([not turn.decodes for turn in turns]),
        )  # fmt: skip

    def _write(self, layer: RehearsedLayer, key: torch.Tensor, value: torch.Tensor, slots: torch.Tensor) -> None:
        cache = layer.kv_cache
        if self.model.value_dim:
            latent, rotated = key[:, 0, : self.model.value_dim], key[..., self.model.value_dim :]
            layer.impl.do_kv_cache_update(latent, rotated, cache, slots, "auto", torch.ones(1, device=cache.device))
        else:
            layer.impl.do_kv_cache_update(layer, key, value, cache, slots)
        _listen(layer)

    def _attend(self, layer: RehearsedLayer, query: torch.Tensor, output: torch.Tensor, read: Any) -> None:
        """Run a layer. Of latents, the prompts' attention is vLLM's own and left out: their fields are ours."""
        impl = layer.impl
        if not isinstance(impl, VortexMlaImpl):
            impl.forward(layer, query, query, query, layer.kv_cache, read, output)
            return
        if read.prefills is not None:
            impl.summarize(impl.over(layer.kv_cache), read)
        if read.num_decodes:
            some = slice(0, read.num_decodes)
            meta: Any = SimpleNamespace(batch=read)
            output[some] = impl.forward_mqa(query[some], layer.kv_cache, meta, layer)[0]

    def _took(self, layer: RehearsedLayer, turns: Sequence[Turn], output: torch.Tensor, starts: torch.Tensor) -> Took:
        """Give the output of each turn's last token, and what every row of a decode was told to attend to."""
        took, heads = Took(output[starts[1:].long() - 1].cpu()), self.model.num_kv_heads
        for row, turn in enumerate(turns):
            for head in range(heads if turn.decodes else 0):
                took.listed[row, head] = None if layer.heard is None else self._listed(*layer.heard, row * heads + head)
        return took

    def _listed(self, pages: torch.Tensor, tokens: torch.Tensor, row: int) -> Listed:
        told = int(tokens[row])
        return Listed(pages[row, : max(-(-told // self.page_size), 0)].long().cpu(), told)


def _on(device: torch.device, tokens: Tokens) -> Tokens:
    return Tokens(tokens.k.to(device), tokens.v.to(device))


def _padded(rows: torch.Tensor) -> torch.Tensor:
    """Add the row of a token that only fills up the step: not a number."""
    return torch.cat([rows, torch.full_like(rows[:1], torch.nan)])


def _configured(vllm_config: Any, model: Model, program: Program, num_sequences: int, most: int) -> Any:
    """Give an engine's configuration with another program, dtype and extent, and no layers yet. Nothing is captured."""
    config = copy.copy(vllm_config)
    for part in ("model_config", "cache_config", "scheduler_config", "compilation_config"):
        setattr(config, part, copy.copy(getattr(vllm_config, part)))
    kernels = serving_config(vllm_config).kernels
    served = {"program": program.text, "values": dict(program.overrides), "kernels": kernels}
    config.additional_config = {KEY: served}
    config.model_config.dtype, config.model_config.enforce_eager = model.dtype, True
    config.model_config.max_model_len = most
    config.cache_config.block_size = int(program.values["page_size"])
    config.scheduler_config.max_num_seqs = num_sequences
    config.compilation_config.static_forward_context = {}
    config.compilation_config.cudagraph_mode = CUDAGraphMode.NONE
    config.compilation_config.cudagraph_capture_sizes = []
    return config


def _layer(config: Any, model: Model, name: str, num_blocks: int, device: torch.device) -> RehearsedLayer:
    """Make what vLLM would make: the layer's implementation, and a cache as wide as our backend asks for."""
    with set_current_vllm_config(config):
        backend = selected.Backend
        rooms = dict(backend.rooms)
        try:
            impl = _implementation(backend.get_impl_cls(), model)
            cache = _cache(backend, config, model, num_blocks, device)
        finally:  # a running engine's stay as they were
            backend.rooms.clear()
            backend.rooms.update(rooms)
    return RehearsedLayer(name, impl, cache)


def _implementation(kind: Callable[..., ProgramLayer], model: Model) -> ProgramLayer:
    given = (model.num_q_heads, model.head_dim, model.head_dim**-0.5, model.num_kv_heads)
    if not model.value_dim:
        return kind(*given)
    rotated = model.head_dim - model.value_dim
    projections = {
        "q_lora_rank": None, "kv_lora_rank": model.value_dim, "qk_nope_head_dim": rotated, "qk_rope_head_dim": rotated,
        "qk_head_dim": 2 * rotated, "v_head_dim": rotated, "kv_b_proj": None,
    }  # fmt: skip
    return kind(*given, None, None, "auto", None, AttentionType.DECODER, None, **projections)


def _cache(backend: Any, config: Any, model: Model, num_blocks: int, device: torch.device) -> torch.Tensor:
    """Make a cache full of NaN, of the shape that vLLM gives it for our backend."""
    kind = MLAAttentionSpec if model.value_dim else FullAttentionSpec
    plain = kind(
        block_size=config.cache_config.block_size, num_kv_heads=model.num_kv_heads, head_size=model.head_dim,
        dtype=model.dtype,
    )  # fmt: skip
    spec = backend.customize_spec(plain)
    size = spec.page_size_bytes * num_blocks
    place = KVCacheTensor(size, [""], layer_stride=size, block_stride=spec.page_size_bytes)
    raw = torch.empty(size, dtype=torch.int8, device=device)
    raw.view(model.dtype).fill_(torch.nan)
    (view,) = create_kv_cache_views(raw, spec, num_blocks, LAYOUT, place)
    return view.squeeze(1) if model.value_dim else view


def _listen(layer: RehearsedLayer) -> None:
    """Hear what the layer's kernel is told to attend to."""
    impl = layer.impl
    if isinstance(impl, TritonLayer):
        if "kernel" not in vars(impl):
            impl.kernel = _heard_blocks(layer, impl.kernel)
        return
    pages = impl.over(layer.kv_cache)
    if "attend_pages" not in vars(pages):
        pages.attend_pages = _heard_pages(layer, pages.attend_pages)


def _heard_pages(layer: RehearsedLayer, attend: Callable[..., None]) -> Callable[..., None]:
    def attend_pages(query: torch.Tensor, rows: Any, softmax: Any, output: torch.Tensor) -> None:
        layer.heard = rows.table.clone(), rows.lengths.clone()
        attend(query, rows, softmax, output)

    return attend_pages


def _heard_blocks(layer: RehearsedLayer, attend: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def kernel(query: torch.Tensor, cache: Any, lists: Any, *rest: Any) -> torch.Tensor:
        if lists is not None:
            heads = layer.impl.num_kv_heads
            head = torch.arange(lists.blocks.shape[0], device=lists.blocks.device)[:, None] % heads
            layer.heard = lists.blocks * heads + head, lists.tokens.clone()
        return attend(query, cache, lists, *rest)

    return kernel
