"""The backend "torch": all sequences and KV heads as rows of one batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vortex_dsl.backends.batched import Batched, Loaded, Step

if TYPE_CHECKING:
    from vortex_dsl.backends.contract import Chosen, Decode
    from vortex_dsl.graph.graph import Graph


class Torch:
    """Summarizes every page anew at each step, then chooses and attends (`contract.Backend`)."""

    def __init__(self, graph: Graph) -> None:
        self.batched = Batched(graph)
        self._page_size = graph.page_size

    def choose(self, step: Decode, states: tuple[torch.Tensor, ...] | None) -> Chosen:
        """Choose candidates and write states (`contract.Backend.choose`)."""
        return self.choose_among(step, self.summarized(*self.paged(step)), states)

    def summarized(self, k: torch.Tensor, v: torch.Tensor) -> Loaded:
        """Summarize every page. k, v: float32 [rows, page, token, dim]."""
        region = self.batched.summarize(k.flatten(0, 1), v.flatten(0, 1))
        rows, pages = k.shape[:2]
        every = torch.arange(rows * pages, device=k.device).reshape(rows, pages)
        return Loaded(pages, self.batched.layout.load(region, every), k, v)

    def choose_among(self, step: Decode, source: Loaded, states: tuple[torch.Tensor, ...] | None) -> Chosen:
        """Choose candidates among summarized pages, which may be more than the step's sequences have yet."""
        num_kv_heads = step.k.shape[1]
        return self.batched.choose(
            Step(
                q=step.q.flatten(0, 1).float(),
                sets=self.batched.page_sets(step.lengths.repeat_interleave(num_kv_heads), source.max_pages),
                kv_head=torch.arange(step.num_rows, device=step.q.device) % num_kv_heads,
                layer_index=step.layer,
                layer_count=step.num_layers,
                scale=step.scale,
                source=source,
                states=states,
            )
        )

    def paged(self, step: Decode) -> tuple[torch.Tensor, torch.Tensor]:
        """Give keys and values as float32 [rows, page, token, dim]."""
        return paged(step.k, self._page_size), paged(step.v, self._page_size)

    def attend(self, step: Decode, attended: torch.Tensor) -> torch.Tensor:
        """Attend to pages (`contract.Backend.attend`)."""
        k, v = self.paged(step)
        lengths = step.lengths.repeat_interleave(step.k.shape[1])
        out = attend_pages(step.q.flatten(0, 1).float(), k, v, attended, lengths, step.scale)
        return out.unflatten(0, step.k.shape[:2])


def paged(x: torch.Tensor, page_size: int) -> torch.Tensor:
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
