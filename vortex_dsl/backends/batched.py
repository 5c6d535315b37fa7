"""A program over a batch of rows (sequences x KV heads) in torch, for serving: no Python loop over rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

from vortex_dsl.analysis.budget import covered
from vortex_dsl.analysis.layout import Layout
from vortex_dsl.analysis.stages import stages_of, widest
from vortex_dsl.backends.contract import Chosen
from vortex_dsl.backends.interpreter import evaluate
from vortex_dsl.graph.graph import RAW_PAGES
from vortex_dsl.node import reachable
from vortex_dsl.ops.frame import Best, Frame, numeric
from vortex_dsl.values import DIM, PAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vortex_dsl.analysis.stages import Contraction
    from vortex_dsl.graph.graph import Field, Graph
    from vortex_dsl.node import Node

BLOCK_ELEMENTS = 2**19  # of the widest value between two operations: 2 MiB, so that it stays in the second cache


class PageSource(Protocol):
    """Where a step's pages come from; every tensor is float32 [rows, some pages, *axes].

    Pages at or beyond a row's last complete one may hold anything.
    """

    @property
    def max_pages(self) -> int:
        """Pages of the longest row."""

    def field(self, name: str, some: slice) -> torch.Tensor:
        """Give a field of some pages, by its canonical name."""

    def contracted(self, name: str, query: torch.Tensor, some: slice) -> torch.Tensor:
        """Multiply a field's vectors, of some pages, with queries: float32 [rows, some pages, vectors, queries].

        The field's axes but dim, one after the other, make its vectors; query: float32 [rows, queries, dim].
        """

    def raw(self, name: str, some: slice) -> torch.Tensor:
        """Give some pages' keys ("k") or values ("v"): axes token and dim."""


@dataclass(frozen=True)
class Loaded:
    """Pages that are in memory already: fields by name, k and v where the program reads raw pages."""

    max_pages: int
    given: dict[str, torch.Tensor]
    k: torch.Tensor | None = None
    v: torch.Tensor | None = None

    def field(self, name: str, some: slice) -> torch.Tensor:
        """Give a field (`PageSource.field`)."""
        return self.given[name][:, some]

    def contracted(self, name: str, query: torch.Tensor, some: slice) -> torch.Tensor:
        """Multiply a field (`PageSource.contracted`)."""
        return contract(self.given[name][:, some], query)

    def raw(self, name: str, some: slice) -> torch.Tensor:
        """Give some raw pages (`PageSource.raw`)."""
        x = self.k if name == "k" else self.v
        assert x is not None, f"the program reads page.{name}, but the step has no raw pages"
        return x[:, some]


def contract(field: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """Multiply vectors of float32 [rows, pages, *axes, dim] as `PageSource.contracted` says."""
    rows, pages, *_, dim = field.shape
    # Pages last: a few rows times a long matrix is several times faster on a CPU than the transpose of it.
    product = torch.bmm(query, field.reshape(rows, -1, dim).mT)
    return product.view(rows, query.shape[1], pages, -1).permute(0, 2, 3, 1)


@dataclass(frozen=True)
class PageSets:
    """Which pages of each row are complete, which reserved, and which are candidates: bool [rows, max_pages].

    count: int64 [rows], the partial page included. `longest`: tokens of the longest row.
    """

    count: torch.Tensor
    complete: torch.Tensor
    reserved: torch.Tensor
    candidates: torch.Tensor
    longest: int


@dataclass(frozen=True)
class Step:
    """What one decode step of one layer gives to select, rows being sequences x KV heads.

    q: float32 [rows, head, dim]; kv_head: int64 [rows]; sets: of `Batched.page_sets` for the rows' lengths;
    states: float32 [rows, *axes] in the order of `Graph.states`, None at a first choice. best: how the best pages are
    found where it is known better than torch does.
    """

    q: torch.Tensor
    sets: PageSets
    kv_head: torch.Tensor
    layer_index: int
    layer_count: int
    scale: float
    source: PageSource
    states: tuple[torch.Tensor, ...] | None = None
    best: Best | None = None


class Batched:
    """A graph made ready to run over rows."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.layout = Layout(graph)
        self.stages = stages_of(graph)
        self._names = {field.leaf: field.name for field in graph.fields}
        inputs = ((node, node.attr("name")) for node in graph.select_nodes if node.op == "input")
        self._inputs = tuple((node, name) for node, name in inputs if name not in RAW_PAGES)
        self._constants: dict[torch.device, dict[Node, torch.Tensor]] = {}

    def summarize(self, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Give complete pages' fields as uint8 [rows, bytes_per_page]. k, v: [rows, token, dim], any float dtype."""
        if not self.layout.fields:
            return torch.empty((k.shape[0], 0), dtype=torch.uint8, device=k.device)
        size = max(1, BLOCK_ELEMENTS // widest(self.graph.summary_nodes))
        packed = [self._summarize_block(*some) for some in zip(k.split(size), v.split(size), strict=True)]
        return packed[0] if len(packed) == 1 else torch.cat(packed)

    def _summarize_block(self, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        env = _evaluated(self.graph.summary_nodes, k, v)
        return self.layout.pack({field.name: _full_rows(env[field.node], len(k)) for field in self.graph.fields})

    def select(self, step: Step) -> torch.Tensor:
        """Give the attended pages, reserved and partial ones included: bool [rows, max_pages]."""
        return self.choose(step).attended

    def page_sets(self, lengths: torch.Tensor, max_pages: int) -> PageSets:
        """Sort the pages of rows of these lengths, int64 [rows] tokens with the current one."""
        graph, index = self.graph, torch.arange(max_pages, device=lengths.device)
        count = (lengths + graph.page_size - 1) // graph.page_size
        present, complete = index < count[:, None], index < lengths[:, None] // graph.page_size
        reserved = present & graph.is_reserved(index, count[:, None])
        longest = int(lengths.max()) if lengths.numel() else 0
        return PageSets(count, complete, reserved, complete & ~reserved, longest)

    def choose(self, step: Step) -> Chosen:
        """Choose among every row's candidates, and write the states."""
        sets, graph = step.sets, self.graph
        states = self._fresh_states(sets.complete) if step.states is None else step.states
        if self.covers(sets.longest):
            return Chosen(sets.candidates, sets.reserved, states)
        if sets.longest < graph.page_size:
            return Chosen(sets.candidates, sets.reserved, states)
        env = self._small_leaves(step)
        env |= {state.leaf: x for state, x in zip(graph.states, states, strict=True)}
        self._score_by_blocks(env, step)
        evaluate(self.stages.after, env, Frame(1, sets.complete, sets.candidates, step.best), step.q.device)
        chosen = env[graph.selection].expand_as(sets.candidates)
        return Chosen(chosen, sets.reserved, self._new_states(states, env, sets.complete))

    def covers(self, longest: int) -> bool:
        """Tell whether every candidate of sequences up to so many tokens is chosen, and nothing remembered of them."""
        graph = self.graph
        last = min(longest // graph.page_size, -(-longest // graph.page_size) - graph.window)
        return not graph.states and covered(graph.selection) >= max(last - graph.sink, 0)

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

    def _score_by_blocks(self, env: dict[Node, torch.Tensor], step: Step) -> None:
        """Load and compute page by page what can be, a few pages at a time so that what is between stays in cache."""
        stages, device = self.stages, step.q.device
        evaluate(stages.before, env, Frame(1), device)
        rows, num_pages = step.sets.complete.shape
        size = max(1, BLOCK_ELEMENTS // (rows * stages.width))
        blocks: dict[Node, list[torch.Tensor]] = {node: [] for node in stages.results}
        for start in range(0, num_pages, size):
            some = slice(start, min(start + size, num_pages))
            local = dict(env) if size >= num_pages else _pages(env, some)
            local |= {node: self._loaded(node, step.source, some) for node in stages.loaded}
            local |= {each.node: self._contracted(each, env, step, some) for each in stages.contractions}
            evaluate(stages.page_wise, local, Frame(1, step.sets.complete[:, some]), device)
            for node, parts in blocks.items():
                parts.append(local[node])
        env |= {node: parts[0] if len(parts) == 1 else torch.cat(parts, 1) for node, parts in blocks.items()}

    def _loaded(self, node: Node, source: PageSource, some: slice) -> torch.Tensor:
        """Give a field or raw pages, for some pages."""
        if node in self._names:
            return source.field(self._names[node], some)
        return source.raw(RAW_PAGES[node.attr("name")], some)

    def _contracted(self, each: Contraction, env: dict[Node, torch.Tensor], step: Step, some: slice) -> torch.Tensor:
        """Compute a contraction for some pages: [rows, some pages, *axes]."""
        frame, query = Frame(1), numeric(env[each.query])
        queries = query.movedim(frame.dim(each.query.type, DIM), -1).flatten(1, -2) if each.queries else query[:, None]
        found = step.source.contracted(self._names[each.field], queries.expand(len(step.q), -1, -1), some)
        found = found.reshape(*found.shape[:2], *each.lengths)
        return frame.permute(found, (PAGE, *each.vectors, *each.queries), each.node.type)

    def _small_leaves(self, step: Step) -> dict[Node, torch.Tensor]:
        """Give all other leaves but states."""
        return self._constant_leaves(step.q.device) | {node: _input(name, step) for node, name in self._inputs}

    def _constant_leaves(self, device: torch.device) -> dict[Node, torch.Tensor]:
        if device not in self._constants:
            constants = [node for node in self.graph.select_nodes if node.op == "constant"]
            evaluate(constants, self._constants.setdefault(device, {}), Frame(lead=1), device)
        return self._constants[device]


def _input(name: str, step: Step) -> torch.Tensor:
    """Give one of select's small inputs: [rows or 1, *axes]."""
    device = step.q.device
    match name:
        case "q":
            return step.q
        case "page.index":
            return torch.arange(step.sets.complete.shape[1], dtype=torch.float32, device=device)[None]
        case "page.reserved":
            return step.sets.reserved
        case "page.count":
            return step.sets.count.float()
        case "kv_head.index":
            return step.kv_head.float()
        case _:
            given = {"layer.index": step.layer_index, "layer.count": step.layer_count, "scale": step.scale}
            return torch.tensor([float(given[name])], device=device)


def _pages(env: dict[Node, torch.Tensor], some: slice) -> dict[Node, torch.Tensor]:
    """Cut some pages out of every value that has pages."""
    return {node: x[:, some] if PAGE in node.type.names else x for node, x in env.items()}


class ReadBack:
    """A field as select reads it, whatever else a program stores; what no page decides is computed once for all."""

    def __init__(self, field: Field) -> None:
        self._field, self._nodes = field.as_read, reachable((field.as_read,))
        self._fixed: dict[Node, torch.Tensor] = {}
        evaluate(_of_no_page(self._nodes), self._fixed, Frame(lead=1), torch.device("cpu"))

    def __call__(self, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Give the field of complete pages: float32 [rows, *axes]. k, v: [rows, token, dim], any float dtype, CPU."""
        size = max(1, BLOCK_ELEMENTS // widest(self._nodes))
        blocks = zip(k.split(size), v.split(size), strict=True)
        found = (_evaluated(self._nodes, *some, self._fixed)[self._field] for some in blocks)
        return torch.cat([_full_rows(each, len(some)) for each, some in zip(found, k.split(size), strict=True)])


def _of_no_page(nodes: tuple[Node, ...]) -> list[Node]:
    """Leave out of nodes, operands first, whatever depends on keys or values."""
    found: dict[Node, None] = {}
    for node in nodes:
        if node.op != "input" and all(arg in found for arg in node.args):
            found[node] = None
    return list(found)


def _evaluated(
    nodes: tuple[Node, ...], k: torch.Tensor, v: torch.Tensor, known: Mapping[Node, torch.Tensor] | None = None
) -> dict[Node, torch.Tensor]:
    """Evaluate nodes of summarize for some pages. known: those that are computed already."""
    inputs = {"k": k, "v": v}
    env = {node: inputs[node.attr("name")].float() for node in nodes if node.op == "input"}
    env.update(known or {})
    evaluate(nodes, env, Frame(lead=1), k.device)
    return env


def _full_rows(x: torch.Tensor, rows: int) -> torch.Tensor:
    """Repeat a value that does not depend on the row."""
    return numeric(x).expand(rows, *x.shape[1:])
