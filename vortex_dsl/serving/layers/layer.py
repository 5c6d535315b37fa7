"""What one attention layer does with its program, whatever its cache holds: fields, choice, attention, proof."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from vllm.model_executor.models.utils import extract_layer_index

from vortex_dsl.backends.tape.machine import Layer, get_ready
from vortex_dsl.serving.config import ServingError, kernels_of, serving_config, warn_of_what_was_not_judged
from vortex_dsl.serving.layers.rule import Rule
from vortex_dsl.serving.metrics import Counters, Meter
from vortex_dsl.serving.pages.pages import LINE, Pages, Rows, Softmax, in_lines

if TYPE_CHECKING:
    from vortex_dsl.frontend.program import Program
    from vortex_dsl.serving.layers.decodes import Decodes


class ProgramLayer(ABC):
    """Mixed into the implementations that vLLM makes of our backends, one per layer.

    vLLM's own part of such a class sets `num_heads`, `num_kv_heads`, `head_size` and `softmax`, then calls `prepare`.
    """

    num_heads: int
    num_kv_heads: int
    head_size: int
    kv_cache_dtype: str
    softmax: Softmax
    rule: Rule
    quantised: tuple[str, ...] = ()  # types of cache beside the model's own

    def prepare(self, vllm_config: Any) -> Room:
        """Serve the configured program. -> what each page needs for it, and for others where more is reserved"""
        config = serving_config(vllm_config)
        if kernels_of(vllm_config) == "cpp":
            get_ready()
        self.vllm_config = vllm_config
        self.num_layers = vllm_config.model_config.get_total_num_hidden_layers()
        self.meter = Meter()
        self.recorder: list[dict[str, Any]] | None = None
        self._pages: Pages | None = None
        self.last_decodes: Decodes | None = None  # for those who check what is stored
        self._complete = torch.zeros(0, dtype=torch.bool)
        self.field_bytes: int | None = None  # not settled before the first program
        program = config.load()
        warn_of_what_was_not_judged(program, self.num_heads // self.num_kv_heads, self.head_size)
        self.use(program)
        self.field_bytes = max(self.rule.field_bytes, in_lines(config.field_bytes))
        return Room(self.field_bytes, self.rule.page_size)

    def use(self, program: Program) -> None:
        """Serve this program from now on; the fields of complete pages are computed anew unless they are the same."""
        rule = self.rule_of(program)
        block_size = self.vllm_config.cache_config.block_size
        if rule.page_size != block_size:
            raise ServingError(
                f"{program.name} has page_size {rule.page_size} but the engine's blocks have {block_size} tokens; "
                f"start vLLM with block_size={rule.page_size}"
            )
        if self.field_bytes is not None and rule.field_bytes > self.field_bytes:
            raise ServingError(
                f"{program.name} needs {rule.field_bytes} bytes of fields per page; the engine reserved "
                f"{self.field_bytes}: start one with 'field_bytes' of at least {rule.field_bytes}"
            )
        stand = self._pages is not None and rule.graph.stored == self.rule.graph.stored
        self.rule = rule
        self._memory = rule.memory(self.num_kv_heads)
        if self._pages is not None and not stand:
            rule.summarize(self._pages, self._complete.nonzero().flatten())

    def rule_of(self, program: Program) -> Rule:
        """Make a program ready for this layer's shape."""
        return Rule(program, self.num_heads // self.num_kv_heads, self.head_size)

    def over(self, kv_cache: torch.Tensor) -> Pages:
        """Give this layer's pages, whose kind `pages_over` tells, over the cache that vLLM made for it."""
        if self._pages is None or not self._pages.is_over(kv_cache):
            self._pages = self.pages_over(kv_cache)
            if self._pages.page_size != self.rule.page_size:
                raise ServingError(
                    f"vLLM gave this layer blocks of {self._pages.page_size} tokens, the program's page has "
                    f"{self.rule.page_size}: models whose layers have caches of different sizes are not served yet"
                )
            self._complete = torch.zeros(self._pages.num_pages, dtype=torch.bool, device=kv_cache.device)
        return self._pages

    @property
    def pages(self) -> Pages | None:
        """Give the pages of the cache that vLLM made, None before it did."""
        return self._pages

    @property
    def chooser(self) -> str:
        """Name what chooses pages here, once there is a cache."""
        assert self._pages is not None
        return self.rule.chooser(self._pages)

    @abstractmethod
    def pages_over(self, kv_cache: torch.Tensor) -> Pages:
        """Make views over a cache."""

    def complete(self, pages: Pages, numbers: torch.Tensor) -> None:
        """Compute the fields of pages whose last token was just written. numbers: [num_pages]."""
        if numbers.numel() and self.softmax.window is None:
            self.rule.summarize(pages, numbers)
            self._complete[numbers] = True

    def decode(self, name: str, query: torch.Tensor, decodes: Decodes, output: torch.Tensor) -> None:
        """Decode one token of every sequence in the layer that vLLM calls `name`.

        query: [num_sequences, num_q_heads, head_dim]; output: [num_sequences, num_q_heads, channels of a value].
        """
        pages, index = self._pages, layer_index(name)
        self.last_decodes = decodes
        assert pages is not None
        if self.softmax.window is not None or self.rule.leader(index) is None:
            pages.attend_sequences(query, decodes.rows, self.softmax, output)
            self.meter.add(name, self._dense(query.shape[0]))
            return
        attended, num_pages = None, decodes.total_pages
        if self.rule.covers(decodes):
            pages.attend_sequences(query, decodes.rows, self.softmax, output)
        else:
            by_kv_head = self._by_kv_head(query)
            where = Layer(index, self.num_layers, self.softmax.scale)
            attended, listed = self.rule.choice(by_kv_head, pages, decodes, where, self._memory)
            into = output.view(*by_kv_head.shape[:2], output.shape[-1])
            num_pages = listed.num_pages
            rows = Rows(listed.table, listed.lengths, decodes.starts, decodes.rows.schedules)
            pages.attend_pages(by_kv_head, rows, self.softmax, into)
        self.meter.add(name, self._sparse(decodes, num_pages, covered=attended is None))
        if self.recorder is not None:
            self.recorder.append(self._recording(index, self._by_kv_head(query), decodes, attended))

    def _by_kv_head(self, query: torch.Tensor) -> torch.Tensor:
        return query.reshape(-1, self.num_heads // self.num_kv_heads, self.head_size)

    def _dense(self, num_tokens: int) -> Counters:
        """Count decode tokens that saw all that their layer lets them see."""
        if self.softmax.window is None:
            return Counters(dense_tokens=num_tokens)
        return Counters(window_tokens=num_tokens)

    def _sparse(self, decodes: Decodes, num_pages: int, *, covered: bool) -> Counters:
        """Count decode tokens whose pages the program chose."""
        num = decodes.num_sequences
        return Counters(num, num * covered, pages_attended=num_pages, pages_dense=decodes.total_pages)

    def _recording(
        self, index: int, query: torch.Tensor, decodes: Decodes, attended: torch.Tensor | None
    ) -> dict[str, Any]:
        """Copy what a rule saw and chose.

        q: [rows, group, dim], k and v: [rows, tokens, dim], all float32; lengths: [rows]; attended: [rows, page].
        """
        pages = self._pages
        assert pages is not None
        if attended is None:
            attended = torch.arange(decodes.max_pages) * pages.page_size < decodes.lengths[:, None]
        return {
            "layer": index, "num_layers": self.num_layers, "scale": self.softmax.scale, "q": query.float().clone(),
            "k": pages.raw_keys(decodes.pages).flatten(1, 2).float(),
            "v": pages.raw_values(decodes.pages).flatten(1, 2).float(),
            "lengths": decodes.lengths.clone(), "kv_head": decodes.kv_head.clone(), "attended": attended,
        }  # fmt: skip


def refuse_wrapping(backend: type) -> None:
    """Refuse a class that vLLM makes of one of our backends with another builder of metadata.

    Chunked local attention, static sinks, block pooling and others cut a step's batch anew, and do not say which of the
    rows are in their prompt; those may not choose pages. vLLM makes the class with the layer, when an engine starts.
    """
    if "get_builder_cls" in vars(backend):
        kind = backend.__name__.removesuffix(backend.__mro__[1].__name__).strip("_")
        raise ServingError(
            f"attention_backend='CUSTOM' does not serve layers of the kind {kind}, whose batches vLLM cuts anew; serve "
            "this model with vLLM's own backend, or choose one without such layers"
        )


def not_served(asked: dict[str, bool], vllm_config: Any, kv_cache_dtype: str) -> None:
    """Refuse what is asked for and not served: of a layer, by name, and what none of our backends serves."""
    dtype = vllm_config.model_config.dtype
    everywhere = {
        "speculative decoding": vllm_config.speculative_config is not None,  # its steps would run as prefill
        "dual-batch overlap": vllm_config.parallel_config.use_ubatching,  # two halves of a step would share its memory
        f"kv_cache_dtype={kv_cache_dtype!r} with a model in {dtype}":
            kv_cache_dtype not in ("auto", str(dtype).removeprefix("torch.")),
    }  # fmt: skip
    refused = [name for name, is_asked in (asked | everywhere).items() if is_asked]
    if refused:
        raise ServingError(f"attention_backend='CUSTOM' does not serve {', '.join(refused)} yet")


@dataclass(frozen=True)
class Room:
    """What the fields of a page of one KV head take, in bytes, and how many tokens such a page has."""

    field_bytes: int
    page_size: int


# Layers say what they need, and the cache reads it: by head_dim, and by the width of a latent.
ROOMS: dict[int, Room] = {}
LATENT_ROOMS: dict[int, Room] = {}


def with_fields(spec: Any, room: Room) -> Any:
    """Enlarge each page of vLLM's cache so that the fields of one KV head fit behind its tokens, and it ends a line.

    vLLM counts by token, and asks for blocks of one token while it looks for a sliding-window layer's block size.
    """
    if spec.state_content_bytes is not None:
        return spec
    step = math.lcm(spec.dtype.itemsize, LINE // math.gcd(LINE, room.page_size))  # of a token's bytes
    content = spec.state_content_size_bytes
    padded = -(-(content * room.page_size + room.field_bytes) // (room.page_size * step)) * step
    return spec if padded == content else replace(spec, state_content_bytes=padded)


@cache
def layer_index(name: str) -> int:
    """Give the number in a layer's name, which is looked for in a string only once."""
    return extract_layer_index(name)
