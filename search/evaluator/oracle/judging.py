"""What a rehearsed step did, read off the lists that its kernel was given and the output that came."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from search.evaluator.oracle.witness import Mismatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vortex_dsl import Program
    from vortex_dsl.serving.rehearsal import Listed, Rehearsal, Took, Turn

TOLERANCE = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
NUM_PERTURBATIONS = 8


class Setting(NamedTuple):
    """What all cases of one check share."""

    vllm_config: Any
    every_page: Program
    generator: torch.Generator


@dataclass(frozen=True)
class Judged:
    """What was compared. `num_unstable`: rows whose choice moves with the inputs' rounding, which are left alone.

    `num_pages`: pages that were listed for the kernel, where the layer counted as many.
    """

    served_by: str
    dtype: str
    num_rows: int = 0
    num_unstable: int = 0
    error: float = 0.0
    num_pages: int = 0

    @classmethod
    def of(cls, rehearsal: Rehearsal) -> Judged:
        """Begin, before anything is compared."""
        return cls(rehearsal.served_by, dtype_of(rehearsal))

    def plus(self, different: torch.Tensor, error: float) -> Judged:
        """Add rows: which of them were unstable, and the largest error of the others."""
        num_rows, num_unstable = self.num_rows + different.numel(), self.num_unstable + int(different.sum())
        return replace(self, num_rows=num_rows, num_unstable=num_unstable, error=max(self.error, error))

    def counting(self, num_pages: int) -> Judged:
        """Add pages that were counted rightly."""
        return replace(self, num_pages=self.num_pages + num_pages)


def attended_in(rehearsal: Rehearsal, turns: Sequence[Turn], took: Took, max_pages: int) -> torch.Tensor:
    """Give the pages that decodes were told to attend to: bool [turns, num_kv_heads, max_pages].

    Raises Mismatch for a list that no choice of pages has: pages of others, another order, a wrong number of tokens.
    """
    attended = torch.zeros(len(turns), rehearsal.model.num_kv_heads, max_pages, dtype=torch.bool)
    for row, turn in enumerate(turns):
        for head in range(rehearsal.model.num_kv_heads):
            num = -(-turn.until // rehearsal.page_size)
            listed = took.listed[row, head]
            own = range(num) if listed is None else _own(rehearsal, turn, head, listed)
            attended[row, head, list(own)] = True
    return attended


def _own(rehearsal: Rehearsal, turn: Turn, head: int, listed: Listed) -> list[int]:
    """Find listed pages in the sequence's table."""
    size, told = rehearsal.page_size, [int(page) for page in listed.pages]
    num = -(-turn.until // size)
    blocks = rehearsal.table[turn.sequence, :num].tolist()
    place = {block * rehearsal.model.num_kv_heads + head: page for page, block in enumerate(blocks)}
    where = place_of(rehearsal, turn, head)
    strange = [page for page in told if page not in place]
    if strange:
        raise Mismatch(
            f"{where}: the kernel is told to read pages {strange} of the cache, which are not the sequence's"
        )
    pages = [place[page] for page in told]
    if pages != sorted(set(pages)):
        raise Mismatch(f"{where}: the kernel is told to read pages {pages}, which are not each one once, in order")
    held = len(pages) * size - -turn.until % size
    if num - 1 not in pages or listed.tokens != held:
        raise Mismatch(
            f"{where}: the kernel is told that pages {pages} hold {listed.tokens} tokens; with the last page, "
            f"{num - 1}, they hold {held}"
        )
    return pages


def check_counted(rehearsal: Rehearsal, turns: Sequence[Turn], counted: int, seen: torch.Tensor) -> int:
    """Give the number of pages that decodes were told to attend to. Raises Mismatch unless the layer counted as many.

    seen: bool [turns, num_kv_heads, page].
    """
    told = int(seen.sum())
    if counted != told:
        raise Mismatch(
            f"{place_of(rehearsal, turns[0], 0)} and what was decoded with it: {counted} pages are counted, and "
            f"the kernel is told to read {told}"
        )
    return told


def check_outputs(
    rehearsal: Rehearsal, turns: Sequence[Turn], out: torch.Tensor, expected: torch.Tensor, compared: torch.Tensor
) -> float:
    """Give the largest distance of outputs, [turns, num_q_heads, channels] each. Raises Mismatch where it is too large.

    compared: bool [turns, num_kv_heads].
    """
    heads = rehearsal.model.num_kv_heads
    distance = (out.float() - expected).abs().unflatten(1, (heads, -1)).amax((-1, -2))
    far = ~(distance <= TOLERANCE[rehearsal.model.dtype]) & compared
    if far.any():
        row, head = far.nonzero()[0].tolist()
        kind = "output" if turns[row].decodes else "output at the end of a piece of the prompt"
        raise Mismatch(
            f"{place_of(rehearsal, turns[row], head)}: the {kind} is {float(distance[row, head]):.3g} from the torch "
            "backend's"
        )
    return float(distance[compared].max()) if compared.any() else 0.0


def place_of(rehearsal: Rehearsal, turn: Turn, head: int) -> str:
    """Say what was served, by what, and where."""
    return f"served by {rehearsal.served_by} in {dtype_of(rehearsal)}, length {turn.until}, KV head {head}"


def otherwise(where: str, ours: torch.Tensor, expected: torch.Tensor) -> str:
    """Say that other pages were chosen: bool [page] each."""
    mine, wanted = (x.nonzero()[:, 0].tolist() for x in (ours, expected))
    return f"{where}: attends to pages {mine}, the torch backend to {wanted}"


def dtype_of(rehearsal: Rehearsal) -> str:
    """Name the dtype of the cache."""
    return str(rehearsal.model.dtype).removeprefix("torch.")
