"""Where meanings run: one sequence and KV head at a time, or a batch of rows with pages that do not count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from vortex_dsl.values import PAGE

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from vortex_dsl.values import Type


@dataclass(frozen=True)
class Frame:
    """`lead` leading dimensions (0: one sequence, 1: rows) stand before a value's own axes.

    `complete`: bool [rows, page], false where a row has no such page and memory holds garbage; None when
    every page counts. `candidates`: bool [*lead, page], the complete pages that are not reserved. `best` finds the
    best pages (`Best`), torch where it is None.
    """

    lead: int
    complete: Tensor | None = None
    candidates: Tensor | None = None
    best: Best | None = None

    def dim(self, type_: Type, name: str) -> int:
        """Give the tensor dimension of an axis."""
        return self.lead + type_.names.index(name)

    def dims(self, type_: Type, names: tuple[str, ...]) -> tuple[int, ...]:
        """Give the tensor dimensions of several axes."""
        return tuple(self.dim(type_, name) for name in names)

    def align(self, x: Tensor, own: Type, target: Type) -> Tensor:
        """Insert dimensions of length 1 so that `x` broadcasts by axis name to a value of type `target`."""
        if own.names == target.names:
            return x
        kept = tuple(slice(None) if name in own.names else None for name in target.names)
        return x[(*(slice(None),) * self.lead, *kept)]

    def permute(self, x: Tensor, names: tuple[str, ...], target: Type) -> Tensor:
        """Bring dimensions that are named `names` into the canonical order of `target`."""
        order = [self.lead + names.index(name) for name in target.names]
        return x.permute((*range(self.lead), *order))

    def masked(self, x: Tensor, type_: Type, fill: float) -> Tensor:
        """Put `fill` on pages that do not count. For every operation that mixes pages."""
        if self.complete is None or PAGE not in type_.names:
            return x
        mask = self.complete[(..., *(None,) * (len(type_.axes) - 1))]
        return x.where(mask, fill)

    def num_pages(self, like: Tensor) -> Tensor:
        """Give the number of complete pages: [rows], or a scalar."""
        if self.complete is None:
            assert self.candidates is not None
            return like.new_tensor(float(self.candidates.shape[-1]))
        return self.complete.sum(-1).to(like.dtype)


def numeric(x: Tensor) -> Tensor:
    """Let a boolean count as 0 or 1."""
    return x if x.is_floating_point() else x.float()


class Best(Protocol):
    """Chooses the `num` allowed pages of highest score, ties to the lower index; a NaN score is -inf.

    score: float32 [rows or 1, pages]; allowed: bool [rows, pages]; num: float32 [rows or 1], floored, clamped to what
    is allowed, NaN is none. -> bool [rows, pages]
    """

    def __call__(self, score: torch.Tensor, allowed: torch.Tensor, num: torch.Tensor) -> torch.Tensor:
        """Choose."""
