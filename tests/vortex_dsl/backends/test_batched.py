"""The batched torch backend equals the reference, ignores unused memory, and is dense at full budget."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vortex_dsl.api import attend
from vortex_dsl.backends.batched import Batched, Loaded, Step
from vortex_dsl.frontend.load import load_program
from vortex_dsl.frontend.program import Program
from vortex_dsl.frontend.trace import trace
from vortex_dsl.values import Shape
from vortex_dsl.zoo import names, text

DIM, HEADS = 16, 2
LENGTHS = [150, 16, 96, 1]  # of a step as serving makes it


def zoo_program(name: str, page_size: int = 16, pages: int = 3) -> Program:
    program = load_program(text(name)).with_values(page_size=page_size)
    return program.with_values(pages=pages) if "pages" in program.values else program


def ragged(page_size: int) -> torch.Tensor:
    full = 9 * page_size
    return torch.tensor([0, 1, page_size - 1, page_size, page_size + 1, 5 * page_size - 1, 5 * page_size + 1, full])


def inputs(group: int, lengths: torch.Tensor, spare: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(group)
    batch, tokens = len(lengths), int(lengths.max()) + spare
    q = torch.randn(batch, HEADS * group, DIM, generator=generator)
    k, v = (torch.randn(batch, HEADS, tokens, DIM, generator=generator) for _ in range(2))
    return q, k, v


@pytest.mark.parametrize("page_size", [16, 32])
@pytest.mark.parametrize("group", [1, 4, 8])
@pytest.mark.parametrize("name", names())
def test_torch_equals_the_reference(name: str, group: int, page_size: int) -> None:
    program, lengths = zoo_program(name, page_size), ragged(page_size)
    q, k, v = inputs(group, lengths)
    out, attended = attend(program, q, k, v, lengths, backend="reference")
    torch_out, torch_attended = attend(program, q, k, v, lengths, backend="torch")
    assert torch.equal(attended, torch_attended)
    torch.testing.assert_close(torch_out, out, rtol=1e-5, atol=1e-6)
    assert torch.equal(torch_out[0], torch.zeros_like(torch_out[0]))


@pytest.mark.parametrize("backend", ["reference", "torch"])
@pytest.mark.parametrize("name", names())
def test_full_budget_is_bit_identical_to_every_page(name: str, backend: str) -> None:
    never_enough = text(name).replace("self.mass", "2.0")
    program = load_program(never_enough).with_values(window=64 if name == "streaming" else 2)
    program = program.with_values(**({"pages": 64} if "pages" in program.values else {"window": 64}))
    lengths = ragged(16)
    q, k, v = inputs(4, lengths)
    dense, _ = attend(load_program(text("dense")), q, k, v, lengths, backend=backend)
    out, attended = attend(program, q, k, v, lengths, backend=backend)
    assert attended.sum(-1).tolist() == [[-(-length // 16)] * HEADS for length in lengths.tolist()]
    assert torch.equal(out, dense)


@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), -1e38])
@pytest.mark.parametrize("backend", ["reference", "torch"])
@pytest.mark.parametrize("name", names())
def test_memory_beyond_a_length_changes_nothing(name: str, backend: str, garbage: float) -> None:
    program, lengths = zoo_program(name), ragged(16)
    q, k, v = inputs(4, lengths, spare=40)
    out, attended = attend(program, q, k, v, lengths, backend=backend)
    unused = (torch.arange(k.shape[2]) >= lengths[:, None])[:, None, :, None]
    spoiled = [x.masked_fill(unused, garbage) for x in (k, v)]
    again, attended_again = attend(program, q, *spoiled, lengths, backend=backend)
    assert torch.equal(attended, attended_again)
    assert torch.equal(out, again)


def served(program: Program, group: int = 2) -> tuple[Batched, Step]:
    """Make a step as serving does: fields gathered from a pool by page number, garbage beyond each length."""
    batched = Batched(trace(program, Shape(group, DIM)))
    lengths = torch.tensor(LENGTHS)
    generator = torch.Generator().manual_seed(1)
    k, v = (torch.randn(48, 16, DIM, generator=generator) for _ in range(2))
    pool = torch.randint(0, 255, (48, 3, 2048), dtype=torch.uint8, generator=generator)
    region = pool[:, 1]
    region[:, : batched.layout.bytes_per_page] = batched.summarize(k.bfloat16().float(), v)
    pages = torch.randperm(48, generator=generator).reshape(4, 12)
    fields = batched.layout.load(region, pages)
    step = Step(
        q=torch.randn(4, group, DIM, generator=generator),
        sets=batched.page_sets(lengths, 12),
        kv_head=torch.tensor([0, 1, 0, 1]),
        layer_index=1,
        layer_count=2,
        scale=0.25,
        source=Loaded(12, fields, k[pages], v[pages]),
    )
    return batched, step


@pytest.mark.parametrize("name", names())
def test_rows_do_not_depend_on_each_other_nor_on_unused_pages(name: str) -> None:
    batched, step = served(zoo_program(name))
    attended = batched.select(step)
    assert attended.shape == (4, 12)
    given = step.source
    spoiled = {key: field.clone() for key, field in given.given.items()}
    raw = [x.clone() for x in (given.k, given.v)]
    for row, length in enumerate(LENGTHS):
        for tensor in (*spoiled.values(), *raw):
            tensor[row, length // 16 :] = float("nan")
    assert torch.equal(batched.select(replace(step, source=Loaded(12, spoiled, *raw))), attended)
    for row in range(4):
        one = slice(row, row + 1)
        fields = {key: field[one] for key, field in given.given.items()}
        alone = replace(
            step,
            q=step.q[one],
            sets=batched.page_sets(torch.tensor(LENGTHS[one]), 12),
            kv_head=step.kv_head[one],
            source=Loaded(12, fields, given.k[one], given.v[one]),
        )
        assert torch.equal(batched.select(alone)[0], attended[row])


@pytest.mark.parametrize("name", names())
def test_partial_and_reserved_pages_are_attended_and_none_beyond(name: str) -> None:
    batched, step = served(zoo_program(name, pages=2))
    attended = batched.select(step)
    for row, length in enumerate(LENGTHS):
        num_pages = -(-length // 16)
        assert attended[row, max(0, num_pages - 2) : num_pages].all()
        assert attended[row, 0]
        assert not attended[row, num_pages:].any()
    selection = batched.graph.selection
    if selection.op in ("topk", "refine") and selection.args[-1].number == 2:
        assert attended.sum(1).tolist() == [5, 1, 5, 1]


def test_summaries_take_any_float_dtype_and_no_fields_take_no_bytes() -> None:
    batched = Batched(trace(zoo_program("quest"), Shape(2, DIM)))
    k = torch.randn(3, 16, DIM).bfloat16()
    assert torch.equal(batched.summarize(k, k), batched.summarize(k.float(), k.float()))
    assert batched.summarize(k, k).shape == (3, 64)
    dense = Batched(trace(zoo_program("dense"), Shape(2, DIM)))
    assert dense.summarize(k, k).shape == (3, 0)


def test_wide_steps_choose_the_same_pages_as_narrow_ones() -> None:
    program = zoo_program("quest_sub")
    lengths = torch.tensor([700 * 16 + 3, 300 * 16])
    q, k, v = inputs(2, lengths)
    _, attended = attend(program, q, k, v, lengths, backend="torch")
    for i, length in enumerate(lengths.tolist()):
        _, alone = attend(program, q[i : i + 1], k[i : i + 1, :, :length], v[i : i + 1, :, :length], backend="torch")
        assert torch.equal(attended[i, :, : alone.shape[2]], alone[0])


CONSTANT = '''from vortex_dsl import *


class Constant(Program):
    """Everything that does not depend on the row: constants as scores, fields and budgets."""

    def summarize(self, k, v):
        return {"c": vector([1.0, 2.0], "part"), "s": exp(0.5)}

    def select(self, q, page):
        return RESULT
'''


@pytest.mark.parametrize(
    "result",
    [
        "topk(page.index % 5, 2)",
        'topk(page.c.sum("part") * page.s - page.index, 3)',
        "topk(where(page.reserved, 1.0, 0.0), 2)",
        'union(topk(page.index, 1), above((q.sum("head", "dim") * page.index), 0.0, limit=2))',
        "refine(every_page(), hash(page.index, 5), 2)",
        "topp(page.index * 0.5, 0.9, limit=3)",
    ],
)
def test_values_that_do_not_depend_on_the_row_are_spread_over_rows(result: str) -> None:
    program, lengths = load_program(CONSTANT.replace("RESULT", result)), ragged(16)
    q, k, v = inputs(2, lengths)
    _, attended = attend(program, q, k, v, lengths, backend="reference")
    _, torch_attended = attend(program, q, k, v, lengths, backend="torch")
    assert torch.equal(attended, torch_attended)


@pytest.mark.parametrize("backend", ["reference", "torch"])
@pytest.mark.parametrize("name", names())
def test_no_tokens_and_no_sequences_are_no_special_cases(name: str, backend: str) -> None:
    q, k = torch.randn(2, 4, DIM), torch.randn(2, HEADS, 40, DIM)
    out, attended = attend(zoo_program(name), q, k[:, :, :0], k[:, :, :0], backend=backend)
    assert torch.equal(out, torch.zeros_like(q))
    assert attended.shape == (2, HEADS, 0)
    out, attended = attend(zoo_program(name), q[:0], k[:0], k[:0], backend=backend)
    assert out.shape == (0, 4, DIM)
    assert attended.shape == (0, HEADS, 3)
