"""Running nodes in torch: the one interpreter, used for one sequence at a time and for batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vortex_dsl.ops import ENTRIES

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch

    from vortex_dsl.node import Node
    from vortex_dsl.ops.frame import Frame


def evaluate(nodes: Iterable[Node], env: dict[Node, torch.Tensor], frame: Frame, device: torch.device) -> None:
    """Compute `nodes`, operands first, into `env`, which holds the leaves (and whatever is known already)."""
    for node in nodes:
        if node in env:
            continue
        if node.op == "constant":
            env[node] = _constant(node, frame, device)
        else:
            env[node] = ENTRIES[node.op].meaning(frame, node, *(env[arg] for arg in node.args)).to(device)


def _constant(node: Node, frame: Frame, device: torch.device) -> torch.Tensor:
    """Make a number, with leading dimensions of length 1."""
    import torch

    return torch.tensor(node.number, device=device)[(None,) * frame.lead]
