"""The backend "torch": all sequences and KV heads as rows of one batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vortex_dsl.backends.batched import Batched, Loaded, Step

if TYPE_CHECKING:
    from vortex_dsl.backends.contract import Chosen, Decode
    from vortex_dsl.graph.graph import Graph


class Torch:
    """Summarizes every page anew at each step, then chooses and attends (`attention.Backend`)."""

    def __init__(self, graph: Graph) -> None:
        self.batched = Batched(graph)
        self._page_size = graph.page_size

    def choose(self, step: Decode, states: tuple[torch.Tensor, ...] | None) -> Chosen:
        """Choose candidates and write states (`attention.Backend.choose`)."""
        batched, num_kv_heads = self.batched, step.k.shape[1]
        k, v = self.paged(step)
        rows, pages = k.shape[:2]
        region = batched.summarize(k.flatten(0, 1), v.flatten(0, 1))
        every = torch.arange(rows * pages, device=k.device).reshape(rows, pages)
        return batched.choose(
            Step(
                q=step.q.flatten(0, 1).float(),
                sets=batched.page_sets(step.lengths.repeat_interleave(num_kv_heads), pages),
                kv_head=torch.arange(rows, device=k.device) % num_kv_heads,
                layer_index=step.layer,
                layer_count=step.num_layers,
                scale=step.scale,
                source=Loaded(pages, batched.layout.load(region, every), k, v),
                states=states,
            )
        )

    def paged(self, step: Decode) -> tuple[torch.Tensor, torch.Tensor]:
        """Give keys and values as float32 [rows, page, token, dim]."""
        return _paged(step.k, self._page_size), _paged(step.v, self._page_size)

    def attend(self, step: Decode, attended: torch.Tensor) -> torch.Tensor:
        """Attend to pages (`attention.Backend.attend`)."""
        k, v = self.paged(step)
        lengths = step.lengths.repeat_interleave(step.k.shape[1])
        out = attend_pages(step.q.flatten(0, 1).float(), k, v, attended, lengths, step.scale)
        return out.unflatten(0, step.k.shape[:2])


def _paged(x: torch.Tensor, page_size: int) -> torch.Tensor:
    """Cut [batch, num_kv_heads, tokens, dim] into [rows, page, token, dim], padded to whole pages."""
    x = torch.nn.functional.pad(x.float(), (0, 0, 0, -x.shape[2] % page_size))
    return x.flatten(0, 1).unflatten(1, (-1, page_size))


def attend_pages(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, attended: torch.Tensor, lengths: torch.Tensor, scale: float
) -> torch.Tensor:
    """Attend to chosen pages, all rows at once: float32 [rows, head, dim], zeros for empty rows.

    q: [rows, head, dim]; k, v: [rows, page, token, dim]; attended: bool [rows, page]; lengths: [rows].
    Every page is multiplied and those not attended are masked, so the order of work does not depend on them.
    """
    pages, page_size = k.shape[1:3]
    position = torch.arange(pages * page_size, device=k.device)
    seen = attended.repeat_interleave(page_size, 1) & (position < lengths[:, None])
    scores = (q @ k.flatten(1, 2).mT * scale).masked_fill(~seen[:, None], -float("inf"))
    weights = scores.softmax(-1).masked_fill(~seen[:, None], 0.0)
    return weights @ v.flatten(1, 2).masked_fill(~seen[..., None], 0.0)
