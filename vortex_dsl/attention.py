"""`attend`: one sparse attention layer at one decode step, by any backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from vortex_dsl.values import Shape

if TYPE_CHECKING:
    import torch

    from vortex_dsl.batched import Chosen
    from vortex_dsl.graph import Graph
    from vortex_dsl.program import Program

BackendName = Literal["reference", "torch", "triton", "cpu"]
BACKENDS: tuple[BackendName, ...] = ("reference", "torch", "triton", "cpu")


@dataclass(frozen=True)
class Decode:
    """One decode step of one layer. Rows are sequences times KV heads.

    q: [batch, num_kv_heads, head, dim]; k, v: [batch, num_kv_heads, tokens, dim]; lengths: int64 [batch].
    """

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    lengths: torch.Tensor
    scale: float
    layer: int
    num_layers: int

    @property
    def num_rows(self) -> int:
        """Give the number of sequences times KV heads."""
        return self.k.shape[0] * self.k.shape[1]

    def max_pages(self, page_size: int) -> int:
        """Give the pages of the longest sequence that the tensors have room for."""
        return -(-self.k.shape[2] // page_size)


class Backend(Protocol):
    """What runs one graph: it chooses pages, and attends to pages."""

    def __init__(self, graph: Graph) -> None: ...

    def choose(self, step: Decode, states: tuple[torch.Tensor, ...] | None) -> Chosen:
        """Choose candidates in every row and write the states, those of a request's first choice where None."""

    def attend(self, step: Decode, attended: torch.Tensor) -> torch.Tensor:
        """Attend to pages, bool [rows, max_pages]: [batch, num_kv_heads, head, dim], zeros for empty sequences."""


def attend(
    program: Program,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    lengths: torch.Tensor | None = None,
    scale: float | None = None,
    layer: int = 0,
    num_layers: int = 1,
    backend: BackendName = "reference",
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
    scale = checked_scale(scale, q.shape[2])
    step = Decode(q.unflatten(1, (k.shape[1], -1)), k, v, lengths, scale, layer, num_layers)
    runner = backend_of(backend)(graph)
    attended = runner.choose(step, None).attended
    out = runner.attend(step, attended)
    return out.flatten(1, 2).to(q), attended.unflatten(0, k.shape[:2]).to(q.device)


def backend_of(name: BackendName) -> type[Backend]:
    """Give a backend by name. Raises ValueError for another name."""
    if name == "reference":
        from vortex_dsl.reference import Reference

        return Reference
    if name == "torch":
        from vortex_dsl.torch_backend import Torch

        return Torch
    if name == "triton":
        from vortex_dsl.triton_backend import Triton

        return Triton
    if name == "cpu":
        from vortex_dsl.cpu_backend import Cpu

        return Cpu
    message = f"backend {name!r} does not exist; use one of {', '.join(BACKENDS)}"
    raise ValueError(message)


def checked_scale(scale: float | None, head_dim: int) -> float:
    """Give the softmax scale, 1 / sqrt(head_dim) by default. Raises ValueError unless it is positive."""
    scale = head_dim**-0.5 if scale is None else float(scale)
    if not scale > 0:
        message = f"scale is {scale}; a softmax scale is positive"
        raise ValueError(message)
    return scale


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
