"""Whether what serves is right on this device: `check` against torch and under replay, `tiny` for a sanitizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from benchmarks.drill.rows import sentence
from benchmarks.drill.served import LAYER, NUM_LAYERS, Case, Served
from benchmarks.kernels import TOLERANCE, captured
from vortex_dsl.backends.contract import Decode
from vortex_dsl.backends.torch_backend import Torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.drill.rows import Rows
    from kernels.selection import BlockLists

PROGRAMS = (
    *("centroid", "quest", "quest_int4", "quest_sub", "twilight", "two_stage", "mass_lse", "sparq"),
    "refined_union",
)
LATENT_PROGRAMS = ("centroid", "quest")
REPLAYS = 100
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
TINY = (
    *(Case(name, 2, 1500, 4, 2, lengths=(1500, 40)) for name in ("centroid", "quest_int4", "twilight", "two_stage")),
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


def races(served: Served, replays: int) -> int:
    """Replay one captured step: count the replays whose lists or output differ in any bit from the first's."""
    lists: list[BlockLists] = []
    replay = captured(lambda: lists.append(served.whole()))
    replay()
    last = lists[-1]  # of the run that was captured
    first = [x.clone() for x in (last.blocks, last.tokens, served.out)]
    used = torch.arange(last.blocks.shape[1], device=served.device) * served.case.page_size < first[1][:, None]
    found = 0
    for _ in range(replays):
        served.out.fill_(float("nan"))
        last.blocks.fill_(-7)
        replay()
        moved = ((last.blocks != first[0]) & used).any() | (last.tokens != first[1]).any()
        found += int(moved | (served.out != first[2]).any())
    return found


def examine(case: Case, device: str) -> dict[str, object]:
    """Run one step of a case and give what is wrong with it."""
    served = Served(case, device)
    served.out.fill_(float("nan"))
    lists = served.whole()
    error, (wrong, pages) = worst_error(served, lists), wrong_pages(served, lists)
    differ = races(served, REPLAYS) if device == "cuda" else 0
    right = error <= TOLERANCE and wrong <= NEAR_TIES * pages and not differ
    return {"pages_wrong": wrong, "pages": pages, "error": round(error, 5), "replays_differ": differ, "right": right}


def check(rows: Rows, device: str, cases: Sequence[Case] = CHECKS) -> None:
    """Check every case, one row each."""
    torch.manual_seed(0)
    for case in cases:
        name = {"program": case.program, "case": str(case)}
        if rows.left_s < 5:
            rows.add(**name, skipped="no time is left")
            continue
        try:
            rows.add(**name, **examine(case, device))
        except Exception as error:
            rows.add(**name, failed=sentence(error))


def tiny(rows: Rows, device: str) -> None:
    """Run one step of each kernel on the smallest shapes, once: what a sanitizer has time for."""
    torch.manual_seed(0)
    for case in TINY:
        served = Served(case, device)
        error = worst_error(served, served.whole())
        rows.add(program=case.program, case=str(case), error=round(error, 5), right=error <= TOLERANCE)
