"""One program, made ready for one layer's shape, and the proof of what it did there."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vortex_dsl.backends.batched import Batched, Step
from vortex_dsl.backends.decoding import choosing_layer
from vortex_dsl.backends.tape.machine import Attended
from vortex_dsl.frontend.trace import trace
from vortex_dsl.serving.config import ServingError
from vortex_dsl.serving.layers.memory import Memory
from vortex_dsl.serving.pages.pages import in_lines
from vortex_dsl.values import Shape

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from vortex_dsl.backends.contract import Chosen
    from vortex_dsl.backends.tape.machine import Layer
    from vortex_dsl.frontend.program import Program
    from vortex_dsl.graph.graph import Graph
    from vortex_dsl.serving.layers.decodes import Decodes
    from vortex_dsl.serving.pages.fields import Fields
    from vortex_dsl.serving.pages.pages import Pages

LENGTHS = range(1, 1 << 40)  # tokens of any sequence
SUMMARY_ROWS = 4096  # pages summarised at a time: bounds the memory of a long prefill or of a swap


class Rule:
    """A program's graph, as `traced` gives it, and batched backend for one layer."""

    def __init__(
        self, program: Program, group: int, head_dim: int, traced: Callable[[Program, Shape], Graph] = trace
    ) -> None:
        self.program = program
        self.graph = traced(program, Shape(group=group, head_dim=head_dim))
        self.batched = Batched(self.graph)
        self.page_size = self.graph.page_size
        self._reads_values = any(n.op == "input" and n.attr("name") == "v" for n in self.graph.summary_nodes)
        # of all lengths, the shorter ones are covered
        self._covered = bisect_left(LENGTHS, True, key=lambda length: not self.batched.covers(length))

    @property
    def field_bytes(self) -> int:
        """Bytes per page and KV head that the fields need, in whole lines, so that pages with them stay aligned."""
        return in_lines(self.batched.layout.bytes_per_page)

    def summarize(self, pages: Pages, numbers: torch.Tensor) -> None:
        """Write the fields of complete pages. numbers: [num_pages] page numbers."""
        if not self.field_bytes or not numbers.numel():
            return
        for some in numbers.split(SUMMARY_ROWS):
            k = pages.raw_keys(some)
            packed = self.batched.summarize(k, pages.raw_values(some) if self._reads_values else k)
            pages.fields_of(self.batched.layout).store(some, packed)

    @property
    def remembers(self) -> bool:
        """Whether a choice depends on earlier steps."""
        return self.graph.refresh_steps > 1 or bool(self.graph.states)

    def memory(self, num_kv_heads: int) -> Memory:
        """Make what one choosing layer remembers of its requests."""
        return Memory(self.graph.states, num_kv_heads)

    def chooser(self, pages: Pages) -> str:
        """Name what chooses among these pages."""
        return "torch" if pages.machine_of(self.batched) is None else "tape"

    def covers(self, decodes: Decodes) -> bool:
        """Tell whether every page is attended to, whatever the scores."""
        return decodes.followed is None and decodes.longest <= self._covered

    def leader(self, layer: int) -> int | None:
        """Give the layer whose choice this one uses, None for a layer that attends to everything."""
        return choosing_layer(self.graph, layer)

    def choice(self, query: torch.Tensor, pages: Pages, decodes: Decodes, layer: Layer, memory: Memory) -> Attended:
        """Choose the pages to attend to. query: [num_rows, group, head_dim].

        The first layer of a group chooses, where its memory holds no choice that is still good; the others follow.
        """
        leader = self.leader(layer.index)
        assert leader is not None, "a dense layer attends to every page and asks no rule"
        if leader == layer.index:
            decodes.choices[leader] = self._choice(query, pages, decodes, layer, memory)
        elif leader not in decodes.choices:
            raise ServingError(
                f"layer {layer.index} uses the choice of layer {leader}, which chooses nothing in this worker: its "
                "window is limited, or another stage of a pipeline runs it; set share_layers=1"
            )
        return decodes.choices[leader]

    def _choice(self, query: torch.Tensor, pages: Pages, decodes: Decodes, layer: Layer, memory: Memory) -> Attended:
        machine, followed = pages.machine_of(self.batched), decodes.followed
        if machine is not None and followed is None:
            return machine.choose(query, decodes.paged, layer)
        if followed is None:
            chosen = self._computed(query, pages, decodes, layer).pages
        else:
            chosen = self._remembered(query, pages, decodes, layer, memory)
        attended = chosen | decodes.sets(self.batched).reserved
        return Attended(attended, pages.listed(attended, decodes.pages, decodes.lengths))

    def _remembered(
        self, query: torch.Tensor, pages: Pages, decodes: Decodes, layer: Layer, memory: Memory
    ) -> torch.Tensor:
        """Give the chosen candidates, bool [num_rows, max_pages], choosing anew for requests whose time has come."""
        followed, machine = decodes.followed, pages.machine_of(self.batched)
        assert followed is not None, "a rule that remembers follows requests"
        period = decodes.rows.lengths.long() // self.graph.refresh_steps
        renewed = memory.renewed(followed, period).nonzero().flatten()
        if renewed.numel():
            rows, states = decodes.rows_of(renewed), memory.read(followed, renewed, decodes.max_pages)
            if machine is None:
                computed = self._computed(query, pages, decodes, layer, (rows, states))
                chosen, states = computed.pages, computed.states
            else:
                choice, states = machine.choose_again(query[rows], decodes.paged.of(rows), layer, states)
                chosen = choice.attended & decodes.sets(self.batched).candidates[rows]
            memory.write(followed.slots[renewed], period[renewed], chosen, states)
        return memory.chosen(followed.slots, decodes.max_pages)

    def _computed(
        self,
        query: torch.Tensor,
        pages: Pages,
        decodes: Decodes,
        layer: Layer,
        some: tuple[torch.Tensor, tuple[torch.Tensor, ...]] | None = None,
    ) -> Chosen:
        """Choose in torch. some: the rows to choose for and their states, where it is not all and there are any."""
        source = CachedPages(pages.fields_of(self.batched.layout), pages, decodes)
        step = Step(
            q=query.float(),
            sets=decodes.sets(self.batched),
            kv_head=decodes.kv_head,
            layer_index=layer.index,
            layer_count=layer.count,
            scale=layer.scale,
            source=source,
            best=pages.best,
        )
        if some is None:
            return self.batched.choose(step)
        rows, states = some
        return self.batched.choose(self._some(replace(step, states=states), source, rows))

    def _some(self, step: Step, source: CachedPages, rows: torch.Tensor) -> Step:
        """Give some rows of a step, whose states are theirs already."""
        if rows.numel() == step.q.shape[0]:
            return step
        sets = self.batched.page_sets(source.decodes.lengths[rows], source.max_pages)
        return replace(step, q=step.q[rows], kv_head=step.kv_head[rows], sets=sets, source=replace(source, rows=rows))


@dataclass(frozen=True)
class CachedPages:
    """Pages of the KV cache (`vortex_dsl.backends.batched.PageSource`), of all rows or of some."""

    stored: Fields
    pages: Pages
    decodes: Decodes
    rows: torch.Tensor | None = None

    @property
    def max_pages(self) -> int:
        """Pages of the longest row."""
        return self.decodes.max_pages

    def field(self, name: str, some: slice) -> torch.Tensor:
        """Gather and decode a field of some pages."""
        return self.stored.load(name, self._numbers(some))

    def contracted(self, name: str, query: torch.Tensor, some: slice) -> torch.Tensor:
        """Multiply a field of some pages where it lies."""
        return self.stored.contract(name, self._numbers(some), query)

    def raw(self, name: str, some: slice) -> torch.Tensor:
        """Gather some pages' keys or values."""
        numbers = self._numbers(some)
        return (self.pages.raw_keys(numbers) if name == "k" else self.pages.raw_values(numbers)).float()

    def _numbers(self, some: slice) -> torch.Tensor:
        numbers = self.decodes.pages[:, some]
        return numbers if self.rows is None else numbers[self.rows]
