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
            dense = self._dense[step - 1].to(said.device)
            self._first.append(said.argmax())
            self._found.append(compared(dense, said, self._forced[step]))


def compared(dense: torch.Tensor, sparse: torch.Tensor, token: int) -> torch.Tensor:
    """Compare two distributions by their log-probabilities, [vocabulary], of which `token` comes true.

    Gives KL(dense || sparse) in nats, 1 where the first choices are the same (else 0), and both log-probabilities of
    the token. With d = log p - log q it sums p (d + exp(-d) - 1), which is p d for distributions, but has no term below
    0: what rounding does to a logarithm enters squared.
    """
    p, q = dense.double(), sparse.double()
    d = torch.where(p == q, 0.0, p - q)  # also where both are impossible
    kl = (p.exp() * (d + torch.expm1(-d))).sum()
    return torch.stack([kl, (p.argmax() == q.argmax()).double(), p[token], q[token]])
