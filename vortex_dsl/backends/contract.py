"""What a backend is given and gives, and what all of them are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import torch

    from vortex_dsl.graph.graph import Graph

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


def checked_scale(scale: float | None, head_dim: int) -> float:
    """Give the softmax scale, 1 / sqrt(head_dim) by default. Raises ValueError unless it is positive."""
    scale = head_dim**-0.5 if scale is None else float(scale)
    if not scale > 0:
        message = f"scale is {scale}; a softmax scale is positive"
        raise ValueError(message)
    return scale


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
