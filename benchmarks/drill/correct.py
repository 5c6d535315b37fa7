"""Whether what serves is right on this device: `check` against torch and under replay, `tiny` for a sanitizer."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.drill.rows import sentence
from benchmarks.drill.served import LAYER, NUM_LAYERS, Case, Served
from benchmarks.kernels import TOLERANCE, captured
from vortex_dsl.backends.contract import Decode
from vortex_dsl.backends.torch_backend import Torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from benchmarks.drill.rows import Rows
    from kernels.selection import BlockLists

PROGRAMS = (
    *("centroid", "quest", "quest_int4", "quest_sub", "twilight", "two_stage", "mass_lse", "sparq"),
    "refined_union",
)
LATENT_PROGRAMS = ("centroid", "quest")
REPLAYS = {"cuda": 100, "cpu": 2}
NEAR_TIES = 0.002  # share of pages chosen otherwise than by torch, whose sums have another order

# Lengths around every edge: none, one token, one page, a budget, one tile of pages, beyond 1,024 pages (several tiles).
LENGTHS = (0, 1, 16, 1100, 16384 + 5, 20000)
LATENT_LENGTHS = (1, 1100, 16384 + 5, 20000)
CHECKS = (
    *(Case(name, 6, 20000, 2 * group, 2, lengths=LENGTHS) for name in PROGRAMS for group in (2, 4)),
    *(Case(name, 4, 20000, 20, 1, dim=576, latents=512, lengths=LATENT_LENGTHS) for name in LATENT_PROGRAMS),
    Case("centroid", 6, 20000, 4, 2, float8=True, lengths=LENGTHS),
    *(Case(name, 6, 20000, 4, 2, lengths=LENGTHS, dependent=True) for name in ("twilight", "two_stage")),
    Case("centroid", 4, 20000, 20, 1, dim=576, latents=512, lengths=LATENT_LENGTHS, dependent=True),
)
TOGETHER = (CHECKS[0], CHECKS[2])
TINY = (
    *(Case(name, 2, 1500, 4, 2, lengths=(1500, 40)) for name in ("centroid", "quest_int4", "twilight", "two_stage")),
    Case("refined_union", 2, 1500, 4, 2, lengths=(1500, 40)),
    Case("centroid", 2, 1500, 16, 1, dim=576, latents=512, lengths=(1500, 40)),
)


def worst_error(served: Served, lists: BlockLists) -> float:
    """Give the largest difference of the output from attention over the same lists in float64."""
    worst, heads = 0.0, served.case.kv_heads
    q, out = (x.unflatten(1, (heads, -1)).double() for x in (served.q, served.out))
    for row, tokens in enumerate(lists.tokens.tolist()):
        sequence, head = divmod(row, heads)
        blocks = lists.blocks[row, : -(-tokens // served.case.page_size)].long()
        k, v = (x[blocks, head].float().flatten(0, 1)[:tokens].double() for x in (served.cache.k, served.cache.v))
        expected = (q[sequence, head] @ k.T * served.softmax.scale).softmax(-1) @ v  # zeros where nothing is listed
        error = (expected - out[sequence, head]).abs().max()
        worst = max(worst, float(error.nan_to_num(float("inf"))))
    return worst


def expected_pages(served: Served) -> torch.Tensor:
    """Give what torch chooses by the same program over the same keys: bool [rows, max_pages]."""
    table, case = served.cache.block_table.long(), served.case
    k, v = (x[table].float().transpose(1, 2).flatten(2, 3) for x in (served.cache.k, served.cache.v))
    v = torch.nn.functional.pad(v, (0, case.dim - v.shape[3]))
    q = served.q.unflatten(1, (case.kv_heads, -1))
    step = Decode(q, k, v, served.lengths.long(), served.softmax.scale, LAYER, NUM_LAYERS)
    return Torch(served.compiled.graph).choose(step, None).attended[:, : case.max_pages]


def wrong_pages(served: Served, lists: BlockLists) -> tuple[int, int]:
    """Count the blocks that are listed and should not be, or the other way round, and those that should be."""
    expected, table = expected_pages(served).cpu(), served.cache.block_table.cpu()
    blocks, tokens, wrong = lists.blocks.cpu(), lists.tokens.tolist(), 0
    for row in range(len(expected)):
        wanted = table[row // served.case.kv_heads, : expected.shape[1]][expected[row]].tolist()
        listed = blocks[row, : -(-tokens[row] // served.case.page_size)].tolist()
        wrong += len(set(wanted) ^ set(listed)) + len(listed) - len(set(listed))
    return wrong, int(expected.sum())


@dataclass(frozen=True)
class Seen:
    """What a step gave: its lists, and the output of attention over them, three times."""

    lists: BlockLists
    outs: tuple[torch.Tensor, ...]

    def differs(self, wanted: Seen, page_size: int) -> bool:
        """Tell whether any bit of what is used is not as wanted, where all outputs have to be the same."""
        ours, theirs = self.lists, wanted.lists
        used = torch.arange(theirs.blocks.shape[1], device=theirs.blocks.device) * page_size < theirs.tokens[:, None]
        moved = ((ours.blocks != theirs.blocks) & used).any() | (ours.tokens != theirs.tokens).any()
        return bool(moved | torch.stack([(out != wanted.outs[0]).any() for out in self.outs]).any())


def thrice(served: Served) -> Seen:
    """Do a step, attend to its lists again, as a layer that shares them does, and once more in two launches."""
    lists, outs = served.whole(), [served.out.clone()]
    for again in (lists, replace(lists, arrived=None)):
        served.out.fill_(float("nan"))
        served.attend(again)
        outs.append(served.out.clone())
    return Seen(lists, tuple(outs))


class Replayed:
    """A captured step of two batches in turns, with queries and lengths of their own, and what launches made of each.

    What a replay leaves is wrong for the next: sums that are read before they are there, lists that stay.
    """

    def __init__(self, served: Served, capture: Callable[[Callable[[], object]], Callable[[], object]]) -> None:
        self._served, self._seen = served, list[Seen]()
        self._batches = [(served.q.clone(), served.lengths.clone()), (-served.q.flip(0), served.lengths.flip(0))]
        self._wanted = [self._launched(number) for number in range(2)]
        self._replay = capture(lambda: self._seen.append(thrice(served)))

    def _put(self, number: int) -> None:
        for target, source in zip((self._served.q, self._served.lengths), self._batches[number], strict=True):
            target.copy_(source)

    def _launched(self, number: int) -> Seen:
        self._put(number)
        return thrice(self._served)

    def replay(self, number: int) -> None:
        """Do the step of a batch, with garbage where lists and counters go. Nothing is waited for."""
        self._put(number)
        if self._seen:
            lists = self._seen[-1].lists  # those of the run that was captured
            assert lists.arrived is not None
            lists.blocks.fill_(-7)
            lists.arrived.fill_(-7)
        self._replay()

    def differs(self, number: int) -> bool:
        """Tell whether what the last replay left is not what launches gave."""
        return self._seen[-1].differs(self._wanted[number], self._served.case.page_size)

    def unsettled(self) -> int:
        """Count the batches of which launches gave three outputs that are not the same."""
        return sum(wanted.differs(wanted, self._served.case.page_size) for wanted in self._wanted)


def called(work: Callable[[], object]) -> Callable[[], object]:
    """Stand for `captured` where there are no graphs."""
    return work


def races(served: Sequence[Served], replays: int, on_a_card: bool) -> dict[str, int]:
    """Replay steps side by side, on as many streams: count the replays of which any bit is not as it was launched.

    Count apart the batches of which launches themselves disagree, for then so do all replays.
    """
    streams: list[AbstractContextManager[Any]] = [nullcontext() for _ in served]
    steps = [Replayed(each, captured if on_a_card else called) for each in served]
    if on_a_card:
        torch.cuda.synchronize()
        streams = [torch.cuda.stream(torch.cuda.Stream()) for _ in served]
    found = 0
    for turn in range(replays):
        for step, stream in zip(steps, streams, strict=True):
            with stream:
                step.replay(turn % 2)
        if on_a_card:
            torch.cuda.synchronize()
        found += any(step.differs(turn % 2) for step in steps)
    return {"replays_differ": found, "launches_differ": sum(step.unsettled() for step in steps)}


def examine(case: Case, device: str) -> dict[str, object]:
    """Run one step of a case and give what is wrong with it."""
    served = Served(case, device)
    served.out.fill_(float("nan"))
    lists = served.whole()
    error, (wrong, pages) = worst_error(served, lists), wrong_pages(served, lists)
    differ = races([served], REPLAYS[device], device == "cuda")
    right = error <= TOLERANCE and wrong <= NEAR_TIES * pages and not any(differ.values())
    return {"pages_wrong": wrong, "pages": pages, "error": round(error, 5), **differ, "right": right}


def side_by_side(cases: Sequence[Case], device: str) -> dict[str, object]:
    """Replay steps of some cases at once, each on a stream of its own."""
    differ = races([Served(case, device) for case in cases], REPLAYS[device], device == "cuda")
    return {**differ, "right": not any(differ.values())}


def check(rows: Rows, device: str, cases: Sequence[Case] = CHECKS, together: Sequence[Case] = TOGETHER) -> None:
    """Check every case, one row each, and at last some side by side."""
    torch.manual_seed(0)
    works = [(case.program, str(case), partial(examine, case, device)) for case in cases]
    programs = " beside ".join(case.program for case in together)
    works += [(programs, str(together[0]), partial(side_by_side, together, device))] if together else []
    for program, case, work in works:
        name = {"program": program, "case": case}
        if rows.left_s < 5:
            rows.add(**name, skipped="no time is left")
            continue
        try:
            rows.add(**name, **work())
        except Exception as error:
            rows.add(**name, failed=sentence(error))


def tiny(rows: Rows, device: str) -> None:
    """Run one step of each kernel on the smallest shapes, once: what a sanitizer has time for."""
    torch.manual_seed(0)
    for case in TINY:
        served = Served(case, device)
        error = worst_error(served, served.whole())
        rows.add(program=case.program, case=str(case), error=round(error, 5), right=error <= TOLERANCE)
