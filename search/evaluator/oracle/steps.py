"""The oracle over several steps and layers: for programs that remember, or share choices between layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from vortex_dsl import decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from vortex_dsl import Program
    from vortex_dsl.backends.contract import BackendName
    from vortex_dsl.graph.graph import Graph

BATCH = 2
PAGES = 13
STEPS = 5  # the third completes a page, and with it ends every period of refresh_steps that divides it
MAX_LAYERS = 4


@dataclass(frozen=True)
class Steps:
    """Random inputs of `decode`."""

    qs: torch.Tensor
    ks: torch.Tensor
    vs: torch.Tensor
    prompt_tokens: int

    def run(self, program: Program, backend: BackendName) -> torch.Tensor:
        """Give the attended pages: bool [steps, layers, batch, num_kv_heads, page]."""
        return self.decoded(program, backend)[1]

    def decoded(self, program: Program, backend: BackendName) -> tuple[torch.Tensor, torch.Tensor]:
        """Give the outputs too, as `decode` does."""
        return decode(program, self.qs, self.ks, self.vs, self.prompt_tokens, backend=backend)

    def mapped(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Steps:
        """Give what becomes of all inputs."""
        return Steps(change(self.qs), change(self.ks), change(self.vs), self.prompt_tokens)

    def perturbed(self, rounding: float, generator: torch.Generator) -> Steps:
        """Give inputs that differ by about a rounding error."""
        return self.mapped(lambda x: x * (1 + rounding * torch.randn(x.shape, generator=generator)))


def remembers(graph: Graph) -> bool:
    """Whether a choice depends on another step or layer."""
    return bool(graph.states) or graph.refresh_steps > 1 or graph.share_layers > 1


def make_steps(graph: Graph, num_kv_heads: int, generator: torch.Generator, num_pages: int = PAGES) -> Steps:
    """Draw a batch that decodes over the end of a page, in layers of two groups where they fit."""
    prompt_tokens = num_pages * graph.page_size - 3
    layers = min(graph.dense_layers + graph.share_layers + 1, MAX_LAYERS + graph.dense_layers)
    heads, dim = num_kv_heads * graph.shape.group, graph.shape.head_dim
    qs = torch.randn(STEPS, layers, BATCH, heads, dim, generator=generator)
    ks, vs = torch.randn(2, layers, BATCH, num_kv_heads, prompt_tokens + STEPS, dim, generator=generator)
    return Steps(qs, ks, vs, prompt_tokens)


def differing(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Give the rows that ever differ: bool [batch, num_kv_heads]."""
    return (a != b).any(-1).flatten(0, 1).any(0)
