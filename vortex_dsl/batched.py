"""A program over a batch of rows (sequences x KV heads) in torch, for serving: no Python loop over rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from vortex_dsl.interpreter import evaluate
from vortex_dsl.layout import Layout
from vortex_dsl.ops.frame import Frame, numeric
from vortex_dsl.stages import stages_of, widest
from vortex_dsl.values import PAGE

if TYPE_CHECKING:
    from vortex_dsl.graph import Graph
    from vortex_dsl.node import Node

BLOCK_ELEMENTS = 2**18  # of the widest value between two operations: 1 MiB, so that it stays in the second cache


@dataclass(frozen=True)
class Step:
    """What one decode step of one layer gives to select, rows being sequences x KV heads.

    q: float32 [rows, head, dim]; lengths: int64 [rows], tokens with the current one; kv_head: int64 [rows];
    fields: float32 [rows, max_pages, *axes] by canonical name; k, v: float32 [rows, max_pages, token, dim],
    only needed if the program reads raw pages. Pages at or beyond a row's last complete one may hold anything.
    """

    q: torch.Tensor
    lengths: torch.Tensor
    kv_head: torch.Tensor
    layer_index: int
    layer_count: int
    scale: float
    fields: dict[str, torch.Tensor] = field(default_factory=dict)
    k: torch.Tensor | None = None
    v: torch.Tensor | None = None
    max_pages: int | None = None  # needed only by a program without fields, if wider than the longest row
    states: tuple[torch.Tensor, ...] | None = None  # float32 [rows, *axes], max_pages pages; None: a first choice


@dataclass(frozen=True)
class Chosen:
    """What a step that chooses decides. pages: the chosen candidates, reserved: pages that are always attended.

    Both are bool [rows, max_pages]; states: the new ones, float32 [rows, *axes] in the order of `Graph.states`.
    """

    pages: torch.Tensor
    reserved: torch.Tensor
    states: tuple[torch.Tensor, ...]

    @property
    def attended(self) -> torch.Tensor:
        """Give the pages to attend to."""
        return self.pages | self.reserved


@dataclass(frozen=True)
class _Pages:
    """Which pages are complete and which reserved: bool [rows, max_pages] each; count: [rows]."""

    count: torch.Tensor
    complete: torch.Tensor
    reserved: torch.Tensor


class Batched:
    """A graph made ready to run over rows."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.layout = Layout(graph)
        self.reads_raw_pages = bool({"page.k", "page.v"} & graph.inputs)
        self._stages = stages_of(graph)
        self._constants: dict[torch.device, dict[Node, torch.Tensor]] = {}

    def summarize(self, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Give complete pages' fields as uint8 [rows, bytes_per_page]. k, v: [rows, token, dim], any float dtype."""
        if not self.layout.fields:
            return torch.empty((k.shape[0], 0), dtype=torch.uint8, device=k.device)
        size = max(1, BLOCK_ELEMENTS // widest(self.graph.summary_nodes))
        packed = [self._summarize_block(*some) for some in zip(k.split(size), v.split(size), strict=True)]
        return packed[0] if len(packed) == 1 else torch.cat(packed)

    def _summarize_block(self, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        inputs = {"k": k, "v": v}
        leaves = [node for node in self.graph.summary_nodes if node.op == "input"]
        env = {node: inputs[node.attr("name")].float() for node in leaves}
        evaluate(self.graph.summary_nodes, env, Frame(lead=1), k.device)
        return self.layout.pack({field.name: _full_rows(env[field.node], len(k)) for field in self.graph.fields})

    def select(self, step: Step) -> torch.Tensor:
        """Give the attended pages, reserved and partial ones included: bool [rows, max_pages]."""
        return self.choose(step).attended

    def choose(self, step: Step) -> Chosen:
        """Choose among every row's candidates, and write the states."""
        pages = self._pages(step)
        candidates = pages.complete & ~pages.reserved
        states = self._fresh_states(candidates) if step.states is None else step.states
        if not bool((pages.complete if states else candidates).any()):
            return Chosen(candidates & False, pages.reserved, states)
        env = self._leaves(step, pages)
        env |= {state.leaf: x for state, x in zip(self.graph.states, states, strict=True)}
        self._score_by_blocks(env, pages.complete)
        evaluate(self._stages.after, env, Frame(1, pages.complete, candidates), step.q.device)
        chosen = env[self.graph.selection].expand_as(candidates)
        return Chosen(chosen, pages.reserved, self._new_states(states, env, pages.complete))

    def _new_states(
        self, states: tuple[torch.Tensor, ...], env: dict[Node, torch.Tensor], complete: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Give the new states: of complete pages, and of rows that have any; what they were elsewhere."""
        after = []
        for state, before in zip(self.graph.states, states, strict=True):
            value = numeric(Frame(1).align(env[state.update], state.update.type, state.type))
            written = complete if state.paged else complete.any(1)
            mask = written[(..., *(None,) * (before.dim() - written.dim()))]
            after.append(value.expand_as(before).where(mask, before))
        return tuple(after)

    def _fresh_states(self, like: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Give the states of requests that have not chosen yet, as in `Step`. like: [rows, max_pages]."""
        rows, max_pages = like.shape
        return tuple(state.fresh(rows, max_pages, like.device) for state in self.graph.states)

    def _score_by_blocks(self, env: dict[Node, torch.Tensor], complete: torch.Tensor) -> None:
        """Compute page-wise nodes, a few pages at a time so that what is between them stays in cache."""
        stages, device = self._stages, complete.device
        evaluate(stages.before, env, Frame(1), device)
        rows, num_pages = complete.shape
        size = max(1, BLOCK_ELEMENTS // (rows * stages.width))
        blocks: dict[Node, list[torch.Tensor]] = {node: [] for node in stages.results}
        for start in range(0, num_pages, size):
            some = slice(start, start + size)
            local = {node: x[:, some] if PAGE in node.type.names else x for node, x in env.items()}
            evaluate(stages.page_wise, local, Frame(1, complete[:, some]), device)
            for node, parts in blocks.items():
                parts.append(local[node])
        env |= {node: parts[0] if len(parts) == 1 else torch.cat(parts, 1) for node, parts in blocks.items()}

    def reserved(self, lengths: torch.Tensor, max_pages: int) -> torch.Tensor:
        """Give the pages that are always attended: bool [rows, max_pages]. lengths: int64 [rows] tokens."""
        count = (lengths[:, None] + self.graph.page_size - 1) // self.graph.page_size
        index = torch.arange(max_pages, device=lengths.device)
        return (index < count) & ((index < self.graph.sink) | (index >= count - self.graph.window))

    def _pages(self, step: Step) -> _Pages:
        lengths, size = step.lengths, self.graph.page_size
        count = (lengths + size - 1) // size
        max_pages = self._max_pages(step, count)
        index = torch.arange(max_pages, device=lengths.device)
        return _Pages(count, index < lengths[:, None] // size, self.reserved(lengths, max_pages))

    def _max_pages(self, step: Step, count: torch.Tensor) -> int:
        if step.max_pages is not None:
            return step.max_pages
        given = [*step.fields.values(), *(x for x in (step.k, step.v) if x is not None)]
        return given[0].shape[1] if given else int(count.max())

    def _leaves(self, step: Step, pages: _Pages) -> dict[Node, torch.Tensor]:
        """Give select's leaves. Complete pages only: memory beyond may hold anything, and is masked where mixed."""
        env = dict(self._constant_leaves(step.q.device))
        env |= {field.leaf: step.fields[field.name] for field in self.graph.fields}
        for node in self.graph.select_nodes:
            if node.op == "input":
                env[node] = _input(node.attr("name"), step, pages)
        return env

    def _constant_leaves(self, device: torch.device) -> dict[Node, torch.Tensor]:
        if device not in self._constants:
            constants = [node for node in self.graph.select_nodes if node.op == "constant"]
            evaluate(constants, self._constants.setdefault(device, {}), Frame(lead=1), device)
        return self._constants[device]


def _input(name: str, step: Step, pages: _Pages) -> torch.Tensor:
    """Give one of select's inputs: [rows or 1, *axes]."""
    device = step.q.device
    if name in ("page.k", "page.v"):
        raw = step.k if name == "page.k" else step.v
        assert raw is not None, f"the program reads {name}, but the step has no raw pages"
        return raw
    values = {
        "q": lambda: step.q,
        "page.index": lambda: torch.arange(pages.complete.shape[1], dtype=torch.float32, device=device)[None],
        "page.reserved": lambda: pages.reserved,
        "page.count": pages.count.float,
        "layer.index": lambda: torch.tensor([float(step.layer_index)], device=device),
        "layer.count": lambda: torch.tensor([float(step.layer_count)], device=device),
        "kv_head.index": step.kv_head.float,
        "scale": lambda: torch.tensor([float(step.scale)], device=device),
    }
    return values[name]()


def _full_rows(x: torch.Tensor, rows: int) -> torch.Tensor:
    """Repeat a value that does not depend on the row."""
    return numeric(x).expand(rows, *x.shape[1:])
