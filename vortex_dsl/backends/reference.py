"""The meaning of a program: one sequence and one KV head at a time. Slow and clear.

Every other backend is tested against this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from vortex_dsl.backends.contract import Chosen
from vortex_dsl.backends.interpreter import evaluate
from vortex_dsl.ops.frame import Frame, numeric

if TYPE_CHECKING:
    from vortex_dsl.backends.contract import Decode
    from vortex_dsl.graph.graph import Graph, State
    from vortex_dsl.node import Node

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Place:
    """Where in the model a choice is made: the values of layer.*, kv_head.index and self.scale."""

    layer_index: int
    layer_count: int
    kv_head: int
    scale: float


@dataclass(frozen=True)
class RowChoice:
    """What a step that chooses decides in one row. pages: bool [M], the chosen candidates of M complete pages.

    states: the new ones, float32 [*axes] with M pages, in the order of `Graph.states`.
    """

    pages: torch.Tensor
    states: tuple[torch.Tensor, ...]


def summarize(graph: Graph, k: torch.Tensor, v: torch.Tensor) -> dict[Node, torch.Tensor]:
    """Give each field of one complete page as select reads it back. k, v: float32 [token, dim]."""
    inputs = {"k": k, "v": v}
    frame = Frame(lead=0)
    env = {node: inputs[node.attr("name")] for node in graph.summary_nodes if node.op == "input"}
    stored = tuple(field.leaf.args[0] for field in graph.fields)
    evaluate((*graph.summary_nodes, *stored), env, frame, CPU)
    return {field.leaf: env[field.leaf.args[0]] for field in graph.fields}


def reserved_pages(graph: Graph, length: int) -> torch.Tensor:
    """Give bool [N], N = ceil(length / page_size): sink and window pages, the partial page included."""
    num_pages = -(-length // graph.page_size)
    index = torch.arange(num_pages)
    return graph.is_reserved(index, num_pages)


def select(graph: Graph, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, place: Place) -> torch.Tensor:
    """Give the attended pages of one sequence and KV head, its states as they start: bool [N].

    q: float32 [head, dim]; k, v: float32 [length, dim].
    """
    return attended_pages(graph, k.shape[0], choose(graph, q, k, v, place).pages)


def attended_pages(graph: Graph, length: int, chosen: torch.Tensor) -> torch.Tensor:
    """Add the reserved pages to chosen ones, bool [M], perhaps of an earlier step: bool [N]."""
    attended = reserved_pages(graph, length)
    attended[: chosen.shape[0]] |= chosen
    return attended


def choose(
    graph: Graph,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    place: Place,
    states: tuple[torch.Tensor, ...] | None = None,
) -> RowChoice:
    """Choose among the candidates of one sequence and KV head, and write the states.

    q: float32 [head, dim]; k, v: float32 [length, dim]; states: as in `RowChoice`, of the last step that chose, whose
    pages may be fewer; None at a request's first. Without complete pages there is nothing to look at.
    """
    length, page_size = k.shape[0], graph.page_size
    reserved, complete = reserved_pages(graph, length), length // page_size
    before = tuple(grown(state, states[i] if states else None, complete) for i, state in enumerate(graph.states))
    if complete == 0 or (not graph.states and bool(reserved[:complete].all())):
        return RowChoice(torch.zeros(complete, dtype=torch.bool), before)
    pages = [
        page.unflatten(0, (complete, page_size)) for page in (k[: complete * page_size], v[: complete * page_size])
    ]
    fields = [summarize(graph, page_k, page_v) for page_k, page_v in zip(*pages, strict=True)]
    env = _inputs(graph, q, pages, place, reserved)
    env |= {field.leaf: torch.stack([summary[field.leaf] for summary in fields]) for field in graph.fields}
    env |= {state.leaf: x for state, x in zip(graph.states, before, strict=True)}
    frame = Frame(lead=0, candidates=~reserved[:complete])
    evaluate(graph.select_nodes, env, frame, CPU)
    after = (
        numeric(frame.align(env[state.update], state.update.type, state.type)).expand_as(x)
        for state, x in zip(graph.states, before, strict=True)
    )
    return RowChoice(env[graph.selection], tuple(x.clone() for x in after))


def grown(state: State, x: torch.Tensor | None, complete: int) -> torch.Tensor:
    """Give a state for `complete` pages: as it was, and its initial value on pages that are new."""
    fresh = state.fresh(1, complete, CPU)[0]
    if x is not None and x.numel():
        fresh[tuple(slice(length) for length in x.shape)] = x
    return fresh


def _inputs(
    graph: Graph, q: torch.Tensor, pages: list[torch.Tensor], place: Place, reserved: torch.Tensor
) -> dict[Node, torch.Tensor]:
    """Give select's inputs by leaf. pages: k and v, [page, token, dim] each; reserved: bool [N]."""
    complete = pages[0].shape[0]
    values = {
        "q": q,
        "page.k": pages[0],
        "page.v": pages[1],
        "page.index": torch.arange(complete, dtype=torch.float32),
        "page.reserved": reserved[:complete],
        "page.count": torch.tensor(float(reserved.shape[0])),
        "layer.index": torch.tensor(float(place.layer_index)),
        "layer.count": torch.tensor(float(place.layer_count)),
        "kv_head.index": torch.tensor(float(place.kv_head)),
        "scale": torch.tensor(float(place.scale)),
    }
    return {node: values[node.attr("name")] for node in graph.select_nodes if node.op == "input"}


def attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, attended: torch.Tensor, page_size: int, scale: float
) -> torch.Tensor:
    """Attend to chosen pages in ascending order: float32 [head, dim]; zeros for an empty sequence.

    q: float32 [head, dim]; k, v: float32 [length, dim]; attended: bool [N].
    """
    chosen = attended.repeat_interleave(page_size)[: k.shape[0]].nonzero()[:, 0]
    if chosen.numel() == 0:
        return torch.zeros_like(q)
    weights = (q @ k[chosen].T * scale).softmax(-1)
    return weights @ v[chosen]


class Reference:
    """One sequence and one KV head after the other, on the CPU wherever the inputs are (`contract.Backend`)."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def choose(self, step: Decode, states: tuple[torch.Tensor, ...] | None) -> Chosen:
        """Choose candidates and write states (`contract.Backend.choose`)."""
        graph, num_pages = self._graph, step.max_pages(self._graph.page_size)
        pages, reserved = (torch.zeros((step.num_rows, num_pages), dtype=torch.bool) for _ in range(2))
        written: list[tuple[torch.Tensor, ...]] = []
        for row in range(step.num_rows):
            i, head = divmod(row, step.k.shape[1])
            length = int(step.lengths[i])
            complete = length // graph.page_size
            before = (
                None
                if states is None
                else tuple(_complete(state, x[row], complete) for state, x in zip(graph.states, states, strict=True))
            )
            place = Place(step.layer, step.num_layers, head, step.scale)
            chosen = choose(graph, *_sequence(step, i, head, length), place, before)
            pages[row, :complete] = chosen.pages
            reserved[row, : -(-length // graph.page_size)] = reserved_pages(graph, length)
            written.append(tuple(grown(s, x, num_pages) for s, x in zip(graph.states, chosen.states, strict=True)))
        return Chosen(pages, reserved, tuple(torch.stack(rows) for rows in zip(*written, strict=True)))

    def attend(self, step: Decode, attended: torch.Tensor) -> torch.Tensor:
        """Attend to pages (`contract.Backend.attend`)."""
        out = torch.zeros(step.q.shape)
        for row in range(step.num_rows):
            i, head = divmod(row, step.k.shape[1])
            q, k, v = _sequence(step, i, head, int(step.lengths[i]))
            out[i, head] = attention(q, k, v, attended[row], self._graph.page_size, step.scale)
        return out


def _sequence(step: Decode, i: int, head: int, length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Give q [head, dim] and k, v [length, dim] of one sequence and KV head, float32 on the CPU."""
    return step.q[i, head].float().cpu(), step.k[i, head, :length].float().cpu(), step.v[i, head, :length].float().cpu()


def _complete(state: State, x: torch.Tensor, complete: int) -> torch.Tensor:
    """Give a state, [*axes] with room for more pages, on complete pages alone."""
    return x[:complete] if state.paged else x
