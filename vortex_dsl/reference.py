"""The meaning of a program: one sequence and one KV head at a time. Slow and clear.

Every other backend is tested against this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from vortex_dsl.interpreter import evaluate
from vortex_dsl.ops.frame import Frame

if TYPE_CHECKING:
    from vortex_dsl.graph import Graph
    from vortex_dsl.node import Node

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Place:
    """Where in the model a choice is made: the values of layer.*, kv_head.index and self.scale."""

    layer_index: int
    layer_count: int
    kv_head: int
    scale: float


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
    return (index < graph.sink) | (index >= num_pages - graph.window)


def select(graph: Graph, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, place: Place) -> torch.Tensor:
    """Give the attended pages of one sequence and KV head: bool [N].

    q: float32 [head, dim]; k, v: float32 [length, dim].
    """
    length, page_size = k.shape[0], graph.page_size
    attended = reserved_pages(graph, length)
    complete = length // page_size
    if bool(attended[:complete].all()):
        return attended
    pages = [
        page.unflatten(0, (complete, page_size)) for page in (k[: complete * page_size], v[: complete * page_size])
    ]
    fields = [summarize(graph, page_k, page_v) for page_k, page_v in zip(*pages, strict=True)]
    env = _inputs(graph, q, pages, place, attended)
    env |= {field.leaf: torch.stack([summary[field.leaf] for summary in fields]) for field in graph.fields}
    frame = Frame(lead=0, candidates=~attended[:complete])
    evaluate(graph.select_nodes, env, frame, CPU)
    attended[:complete] |= env[graph.selection]
    return attended


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
