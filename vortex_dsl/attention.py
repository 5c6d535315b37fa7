"""`attend`: one sparse attention layer at one decode step, by any backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vortex_dsl.values import Shape

if TYPE_CHECKING:
    import torch

    from vortex_dsl.batched import Batched
    from vortex_dsl.graph import Graph
    from vortex_dsl.program import Program

Backend = Literal["reference", "torch", "triton"]
BACKENDS: tuple[Backend, ...] = ("reference", "torch", "triton")


@dataclass(frozen=True)
class Decode:
    """One decode step of one layer, all tensors float32.

    q: [batch, num_kv_heads, head, dim]; k, v: [batch, num_kv_heads, tokens, dim]; lengths: int64 [batch].
    """

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    lengths: torch.Tensor
    scale: float
    layer: int
    num_layers: int


def attend(
    program: Program,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    lengths: torch.Tensor | None = None,
    scale: float | None = None,
    layer: int = 0,
    num_layers: int = 1,
    backend: Backend = "reference",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend to the pages that a program chooses, and to the reserved ones.

    q: [batch, num_q_heads, head_dim]; k, v: [batch, num_kv_heads, tokens, head_dim], keys after rotary
    embedding; lengths: [batch] tokens with the current one, all by default; scale: 1 / sqrt(head_dim) by
    default. What k and v hold beyond a sequence's length does not matter.

    -> out [batch, num_q_heads, head_dim] in q's dtype, and the attended pages,
    bool [batch, num_kv_heads, ceil(tokens / page_size)]. Raises ValueError for shapes that do not fit.
    """
    from vortex_dsl.trace import trace

    lengths = _checked(q, k, v, lengths)
    graph = trace(program, Shape(group=q.shape[1] // k.shape[1], head_dim=q.shape[2]))
    scale = q.shape[2] ** -0.5 if scale is None else float(scale)
    if not scale > 0:
        message = f"attend: scale is {scale}; a softmax scale is positive"
        raise ValueError(message)
    if backend == "triton":
        from vortex_dsl import triton_backend

        return triton_backend.attend(graph, q, k, v, lengths, scale, layer, num_layers)
    if backend not in BACKENDS:
        message = f"backend {backend!r} does not exist; use one of {', '.join(BACKENDS)}"
        raise ValueError(message)
    grouped = q.unflatten(1, (k.shape[1], -1))
    step = Decode(grouped.float(), k.float(), v.float(), lengths, scale, layer, num_layers)
    out, attended = _attend_reference(graph, step) if backend == "reference" else _attend_torch(graph, step)
    return out.flatten(1, 2).to(q), attended.to(q.device)


def _checked(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
    """Refuse shapes that do not fit each other, and give the lengths as int64 [batch]."""
    import torch

    shapes = f"q {list(q.shape)}, k {list(k.shape)}, v {list(v.shape)}"
    fits = q.dim() == 3 and k.dim() == 4 and k.shape == v.shape and q.shape[0] == k.shape[0]
    if not fits or q.shape[2] != k.shape[3] or q.shape[1] % k.shape[1]:
        message = (
            f"attend: {shapes} do not fit; give q [batch, num_q_heads, head_dim] and k, v "
            "[batch, num_kv_heads, tokens, head_dim], num_q_heads a multiple of num_kv_heads"
        )
        raise ValueError(message)
    if lengths is None:
        return torch.full((q.shape[0],), k.shape[2], dtype=torch.int64, device=q.device)
    if lengths.shape != q.shape[:1] or bool((lengths < 0).any()) or bool((lengths > k.shape[2]).any()):
        message = f"attend: lengths {lengths.tolist()} must be one per sequence, between 0 and {k.shape[2]} tokens"
        raise ValueError(message)
    return lengths.to(torch.int64)


def _attend_reference(graph: Graph, step: Decode) -> tuple[torch.Tensor, torch.Tensor]:
    """Do one sequence and one KV head after the other, on the CPU wherever the inputs are."""
    import torch

    from vortex_dsl import reference

    batch, num_kv_heads, tokens, _ = step.k.shape
    queries, keys, values = step.q.cpu(), step.k.cpu(), step.v.cpu()
    out = torch.zeros_like(queries)
    attended = torch.zeros((batch, num_kv_heads, -(-tokens // graph.page_size)), dtype=torch.bool)
    for i, length in enumerate(step.lengths.tolist()):
        for head in range(num_kv_heads):
            place = reference.Place(step.layer, step.num_layers, head, step.scale)
            q, k, v = queries[i, head], keys[i, head, :length], values[i, head, :length]
            chosen = reference.select(graph, q, k, v, place)
            out[i, head] = reference.attention(q, k, v, chosen, graph.page_size, step.scale)
            attended[i, head, : len(chosen)] = chosen
    return out, attended


def _attend_torch(graph: Graph, step: Decode) -> tuple[torch.Tensor, torch.Tensor]:
    """Do all sequences and KV heads as rows of one batch."""
    from vortex_dsl.batched import Batched

    batch, num_kv_heads = step.k.shape[:2]
    k, v = (_paged(x, graph.page_size) for x in (step.k, step.v))
    lengths = step.lengths.repeat_interleave(num_kv_heads)
    attended = _choose(Batched(graph), step, k, v, lengths)
    out = attend_pages(step.q.flatten(0, 1), k, v, attended, lengths, step.scale)
    return out.unflatten(0, (batch, num_kv_heads)), attended.unflatten(0, (batch, num_kv_heads))


def _paged(x: torch.Tensor, page_size: int) -> torch.Tensor:
    """Cut [batch, num_kv_heads, tokens, dim] into [rows, page, token, dim], padded to whole pages."""
    import torch

    x = torch.nn.functional.pad(x, (0, 0, 0, -x.shape[2] % page_size))
    return x.flatten(0, 1).unflatten(1, (-1, page_size))


def _choose(batched: Batched, step: Decode, k: torch.Tensor, v: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Summarize every page and select: bool [rows, page]. k, v: [rows, page, token, dim]."""
    import torch

    from vortex_dsl.batched import Step

    rows, pages = k.shape[:2]
    region = batched.summarize(k.flatten(0, 1), v.flatten(0, 1))
    every = torch.arange(rows * pages, device=k.device).reshape(rows, pages)
    num_kv_heads = step.q.shape[1]
    return batched.select(
        Step(
            q=step.q.flatten(0, 1),
            lengths=lengths,
            kv_head=torch.arange(rows, device=k.device) % num_kv_heads,
            layer_index=step.layer,
            layer_count=step.num_layers,
            scale=step.scale,
            fields=batched.layout.load(batched.layout.views(region), every),
            k=k,
            v=v,
        )
    )


def attend_pages(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, attended: torch.Tensor, lengths: torch.Tensor, scale: float
) -> torch.Tensor:
    """Attend to chosen pages, all rows at once: float32 [rows, head, dim], zeros for empty rows.

    q: [rows, head, dim]; k, v: [rows, page, token, dim]; attended: bool [rows, page]; lengths: [rows].
    Every page is multiplied and those not attended are masked, so the order of work does not depend on them.
    """
    import torch

    pages, page_size = k.shape[1:3]
    position = torch.arange(pages * page_size, device=k.device)
    seen = attended.repeat_interleave(page_size, 1) & (position < lengths[:, None])
    scores = (q @ k.flatten(1, 2).mT * scale).masked_fill(~seen[:, None], -float("inf"))
    weights = scores.softmax(-1).masked_fill(~seen[:, None], 0.0)
    return weights @ v.flatten(1, 2).masked_fill(~seen[..., None], 0.0)
