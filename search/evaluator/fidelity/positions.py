"""What is heard in one request, position by position: kept as it is, or compared with what dense attention said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence


class Kept:
    """Keeps log-probabilities; the first token of a text comes from prefill and is none of its positions."""

    def __init__(self, room: torch.Tensor) -> None:
        """Take the room for them, [num_positions, vocabulary]."""
        self._room = room
        self.num_heard = 0

    def hear(self, step: int, said: torch.Tensor) -> None:
        """Keep what is said after `step` tokens. said: [vocabulary]."""
        if step:
            self._room[step - 1] = said
            self.num_heard += 1


class Against:
    """Compares what is heard with a text's dense log-probabilities, [num_positions, vocabulary]."""

    def __init__(self, dense: torch.Tensor, forced: Sequence[int]) -> None:
        self._dense, self._forced = dense, forced
        self._found: list[torch.Tensor] = []
        self._first: list[torch.Tensor] = []

    @property
    def num_heard(self) -> int:
        """Give the number of positions that were compared."""
        return len(self._found)

    @property
    def figures(self) -> torch.Tensor:
        """Give the figures of each position, [num_positions, 4] in float64; see `compared`."""
        return torch.stack(self._found).cpu()

    @property
    def first_choices(self) -> list[int]:
        """Give the most likely token at each position."""
        return torch.stack(self._first).tolist()

    def hear(self, step: int, said: torch.Tensor) -> None:
        """Compare what is said after `step` tokens. said: [vocabulary]."""
        if step:
            dense, first = self._dense[step - 1].to(said.device), said.argmax()
            self._first.append(first)
            self._found.append(compared(dense, said, first, self._forced[step]))


def compared(dense: torch.Tensor, sparse: torch.Tensor, first: torch.Tensor, token: int) -> torch.Tensor:
    """Compare two distributions by their log-probabilities, [vocabulary] in float32, of which `token` comes true.

    `first`: the sparse one's most likely token. Gives KL(dense || sparse) in nats, 1 where the first choices are the
    same (else 0), and both log-probabilities of the token, in float64. With d = log p - log q it sums
    p (d + exp(-d) - 1), which is p d for distributions, but has no term below 0: what rounding does to a logarithm
    enters squared.
    """
    d = torch.where(dense == sparse, 0.0, dense - sparse)  # also where both are impossible
    kl = (dense.exp() * (d + torch.expm1(-d)).clamp_(min=0.0)).sum(dtype=torch.float64)
    return torch.stack([kl, (dense.argmax() == first).double(), dense[token].double(), sparse[token].double()])
