"""Programs over latents: what multi-head latent attention keeps of a token, one vector for all heads.

A program's `k` is the whole latent. Its `v` is the latent's value part, and zero in the other, rotated channels.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from vortex_dsl.frontend.trace import traced
from vortex_dsl.graph.rewrite import rewritten
from vortex_dsl.passes.pipeline import finished
from vortex_dsl.values import DIM

if TYPE_CHECKING:
    from vortex_dsl.frontend.program import Program
    from vortex_dsl.graph.graph import Graph
    from vortex_dsl.graph.interner import Interner
    from vortex_dsl.node import Node
    from vortex_dsl.values import Shape

_LATENT_OF = {"v": "k", "page.v": "page.k"}


@lru_cache(maxsize=8)
def latent_graph(program: Program, shape: Shape, value_dim: int) -> Graph:
    """Give a program's graph with values taken from the latents themselves, so that kernels read one cache.

    shape: all query heads are one group, head_dim is the latent's width. Raises ProgramError.
    """

    def visit(interner: Interner, node: Node, _args: tuple[Node, ...]) -> Node | None:
        name = _LATENT_OF.get(node.attr("name")) if node.op == "input" else None
        if name is None:
            return None
        whole = interner.leaf("input", node.type, attrs=(("name", name),))
        marks = (1.0,) * value_dim + (0.0,) * (shape.head_dim - value_dim)
        inside = interner.make("vector", (), (("values", marks), ("axis", DIM)))
        zero = interner.number(0.0)
        return interner.make("where", (interner.make("gt", (inside, zero)), whole, zero))

    return finished(rewritten(traced(program, shape), visit))
