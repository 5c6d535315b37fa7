"""What serving does on a CPU beside vLLM's own attention kernel: read fields, contract them, choose, list pages.

Fields lie in a region of bytes; a stored vector becomes float32 in the processor's registers and is never written out
unless it is asked for. What a storage kind's codes mean is said in `vortex_dsl.storage`, the work is done by
the modules beside this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from kernels.host import choosing, products, reading
from kernels.host.reading import CODE_LENGTH
from kernels.host.vectors import KINDS

__all__ = ["CODE_LENGTH", "KINDS", "Raw", "Stored", "Views", "best", "contract", "gather", "list_pages", "memory_of"]

Views = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Stored:
    """Where a field lies in a region: `num_vectors` of `length` elements per page, and scales behind them.

    In bytes: `start` is where the first page's first vector lies and `scales` its first scale, `step` leads from page
    to page and `vector_bytes` from vector to vector.
    """

    kind: str
    start: int
    step: int
    num_vectors: int
    length: int
    vector_bytes: int
    scales: int

    @cached_property
    def code(self) -> np.ndarray:
        """Give it as the compiled loops take it: int64 [CODE_LENGTH]."""
        return self.coded()

    def coded(self, places: int = -1) -> np.ndarray:
        """Give the code of raw pages, whose order stands at `places` (`kernels.host.reading`)."""
        place = (self.start, self.step, self.vector_bytes, self.scales, self.num_vectors, self.length)
        return np.array((KINDS.index(self.kind), *place, places))


@dataclass(frozen=True, eq=False)
class Raw:
    """Keys or values of raw pages: `stored`, token by token, where `tokens` and `channels` say.

    Both are int64: an element lies as many elements behind its page's first as its token and its channel say together.
    A channel at a negative place is 0 everywhere.
    """

    stored: Stored
    tokens: np.ndarray
    channels: np.ndarray

    @staticmethod
    def ordered(stored: Stored, order: torch.Tensor) -> Raw:
        """Read an order of whole pages: int64, where each element lies, [token * channel].

        Raises ValueError where a token's place depends on the channel.
        """
        places = order.view(stored.num_vectors, stored.length)
        tokens, channels = places[:, 0] - places[0, 0], places[0]
        if not torch.equal(places, tokens[:, None] + channels):
            message = (
                "raw pages lie in an order that the loops of the CPU cannot follow; report it with the kernel's name"
            )
            raise ValueError(message)
        return Raw(stored, tokens.numpy(), channels.numpy())


def memory_of(region: torch.Tensor) -> Views:
    """View a region without gaps, uint8 of any shape, by one, two and four bytes (as uint16 and float32)."""
    flat = region.view(-1).numpy()
    return flat, flat[: flat.size // 2 * 2].view(np.uint16), flat[: flat.size // 4 * 4].view(np.float32)


def _tables() -> tuple[np.ndarray, np.ndarray]:
    """Give what a byte with several codes stands for, scales aside, for int4 and sign: float32 [256, elements]."""
    codes = np.arange(256)[:, None]
    int4 = (np.hstack((codes & 15, codes >> 4)) ^ 8) - 8
    return int4.astype(np.float32), ((codes >> np.arange(8) & 1) * 2 - 1).astype(np.float32)


TABLES = _tables()
_NOWHERE = np.zeros(0, np.int64)


def gather(memory: Views, field: Stored, pages: torch.Tensor) -> torch.Tensor:
    """Decode a field of some pages, int64 of any shape: float32 [*pages.shape, num_vectors, length]."""
    out = torch.empty((*pages.shape, field.num_vectors, field.length))
    flat = out.view(-1, field.num_vectors, field.length).numpy()
    reading.gather(memory, TABLES, field.code, pages.reshape(-1).numpy(), flat)
    return out


def contract(memory: Views, field: Stored, pages: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """Multiply the stored vectors of each row's pages with the row's queries, summed over their elements.

    pages: int64 [rows, pages]; query: float32 [rows, queries, length].
    -> float32 [rows, pages, num_vectors, queries]
    """
    out = torch.empty((*pages.shape, field.num_vectors, query.shape[1]))
    numbers, given = pages.contiguous().numpy(), query.contiguous().numpy()
    products.contract(memory, (*TABLES, _NOWHERE), field.code, numbers, given, out.numpy())
    return out


def best(score: torch.Tensor, allowed: torch.Tensor, num: torch.Tensor) -> torch.Tensor:
    """Choose the `num` allowed pages of highest score: bool [rows, pages].

    score: float32, allowed: bool, both [rows or 1, pages]; num: float32 [rows or 1], floored and clamped, NaN is none.
    Ties go to the lower index; a NaN score counts as -inf.
    """
    out = torch.empty(allowed.shape, dtype=torch.bool)
    rows = allowed.shape[:1]
    given = score.expand(allowed.shape).contiguous(), allowed.contiguous(), num.expand(rows).contiguous()
    choosing.best(*(x.numpy() for x in given), out.numpy())
    return out


def list_pages(
    attended: torch.Tensor, pages: torch.Tensor, lengths: torch.Tensor, page_size: int
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """List each row's attended pages in ascending order: int32 [rows, max_pages], of which the first are used.

    attended: bool [rows, max_pages]; pages: int64 [rows, max_pages]; lengths: int64 [rows] tokens.
    -> the lists, int32 [rows] the tokens behind them, and how many pages all rows attend to
    """
    table = torch.empty(attended.shape, dtype=torch.int32)
    tokens = torch.empty(attended.shape[0], dtype=torch.int32)
    given = (x.contiguous().numpy() for x in (attended, pages, lengths))
    return table, tokens, choosing.list_pages(*given, page_size, table.numpy(), tokens.numpy())
