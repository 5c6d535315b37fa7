"""The reference against selections written out by hand; the zoo is compared with its formulas in `zoo/`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vortex_dsl.api import attend
from vortex_dsl.frontend.load import load_program
from vortex_dsl.zoo import text

GROUP, DIM, HEADS, BUDGET = 4, 16, 2, 3


def inputs(batch: int, tokens: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((batch, HEADS * GROUP, DIM), (batch, HEADS, tokens, DIM), (batch, HEADS, tokens, DIM))
    return tuple(torch.randn(*shape, generator=generator) for shape in shapes)  # type: ignore[return-value]


def test_output_is_attention_over_the_attended_tokens() -> None:
    program = load_program(text("quest")).with_values(pages=BUDGET)
    q, k, v = inputs(1, 16 * 9 + 3)
    out, attended = attend(program, q, k, v)
    for head in range(HEADS * GROUP):
        kv = head // GROUP
        tokens = attended[0, kv].repeat_interleave(16)[: k.shape[2]].numpy()
        keys, values = (x[0, kv].double().numpy()[tokens] for x in (k, v))
        weights = np.exp(keys @ q[0, head].double().numpy() * DIM**-0.5)
        np.testing.assert_allclose(out[0, head].numpy(), weights @ values / weights.sum(), rtol=1e-5, atol=1e-6)


def program(result: str, summary: str = '{"first": k.take("token", [0])}', **values: int):
    source = (
        'from vortex_dsl import *\n\n\nclass P(Program):\n    """A selection."""\n\n'
        f"    def summarize(self, k, v):\n        return {summary}\n\n"
        f'    def select(self, q, page):\n        s = page.first.sum("token", "dim")\n        return {result}\n'
    )
    return load_program(source).with_values(**values)


NAN, INF = float("nan"), float("inf")


def chosen(result: str, scores: list[float], query: float = 0.0, **values: int) -> list[int]:
    """Choose by scores, one per complete page, after which three tokens follow; sink 0, window 1."""
    k = torch.zeros(1, 1, len(scores) * 16 + 3, DIM)
    k[0, 0, : len(scores) * 16 : 16, 0] = torch.tensor(scores)
    q = torch.full((1, 1, DIM), query)
    settings = {"sink": 0, "window": 1, **values}
    found = [
        attend(program(result, **settings), q, k, torch.ones_like(k), backend=backend)[1][0, 0].tolist()
        for backend in ("reference", "torch")
    ]
    assert found[0] == found[1]
    assert found[0][-1]
    return [i for i, attended in enumerate(found[0][:-1]) if attended]


SELECTIONS = (
    ("topk(s, 2)", [1, 3, 2, 0], [1, 2]),
    ("topk(s, 2)", [1, 1, 1, 1], [0, 1]),
    ("topk(s, 3)", [0, 2, 1, 1, 1], [1, 2, 3]),
    ("topk(-s, 1)", [0.0, -0.0, 0.0], [0]),
    ("topk(s, 1)", [-0.0, 0.0], [0]),
    ("topk(s, 2)", [NAN, -5, NAN, -6], [1, 3]),
    ("topk(s, 3)", [NAN, -5, -INF, -6], [0, 1, 3]),
    ("topk(s, 2)", [-INF, NAN, -INF], [0, 1]),
    ("topk(s, 1)", [1, INF, 2], [1]),
    ("topk(s, 2.9)", [1, 2, 3, 4], [2, 3]),
    ("topk(s, 0.9)", [1, 2, 3, 4], []),
    ("topk(s, -3)", [1, 2, 3, 4], []),
    ("topk(s, 99)", [1, 2, 3, 4], [0, 1, 2, 3]),
    ("topk(s, 0 * log(-1 - page.count))", [1, 2, 3, 4], []),
    ("topk(s, page.count / 2)", [1, 2, 3, 4], [2, 3]),
    ("topk(s, maximum(1, 0.5 * page.count))", [1, 2, 3, 4, 5], [2, 3, 4]),
    ('topk(s, s.max("page"))', [1, 2, 3, 0], [0, 1, 2]),
    ("topp(s, 0.6, limit=9)", [0, 0, 0, 0], [0, 1, 2]),
    ("topp(s, 0.5, limit=9)", [0, 0, 0, 0], [0, 1]),
    ("topp(s, 0.6, limit=2)", [0, 0, 0, 0], [0, 1]),
    ("topp(s, 0.0, limit=9)", [0, 0, 0, 0], []),
    ("topp(s, 0.9, limit=9)", [0, 50, 0, 0], [1]),
    ("topp(s, 0.9, limit=9)", [NAN, 0, -INF, NAN], [1]),
    ("topp(s, 0.9, limit=2)", [NAN, NAN, -INF, NAN], [0, 1]),
    ("topp(s, 0.9, limit=9)", [1, INF, 2, INF], [1, 3]),
    ("topp(s, 0 * log(-1 - page.count), limit=9)", [0, 1, 2, 3], []),
    ("above(s, 1.5, limit=9)", [1, 3, 2, 0], [1, 2]),
    ("above(s, 1.5, limit=1)", [1, 3, 2, 0], [1]),
    ("above(s, 2, limit=9)", [1, 3, 2, NAN], [1]),
    ('above(s, s.mean("page"), limit=9)', [1, 3, 2, 10], [3]),
    ("union(topk(s, 1), topk(-s, 1))", [1, 3, 2, 0], [1, 3]),
    ("refine(topk(s, 3), -s, 1)", [1, 3, 2, 0], [0]),
    ("refine(topk(s, 2), page.index, 9)", [1, 3, 2, 0], [1, 2]),
    ('refine(topk(s, 2), (-s).cumsum("page"), 1)', [1, 3, 2, 0], [1]),
    ("every_page()", [1, 3, 2], [0, 1, 2]),
    ("reserved_only()", [1, 3, 2], []),
    ("topk(where(page.reserved, 100, s), 1)", [1, 3, 2], [1]),
)


@pytest.mark.parametrize(("result", "scores", "pages"), SELECTIONS, ids=lambda value: str(value))
def test_selections_choose_as_specified(result: str, scores: list[float], pages: list[int]) -> None:
    assert chosen(result, scores) == pages


def test_reserved_pages_count_as_taken_mass_and_are_no_candidates() -> None:
    scores = [0.0] * 10
    assert chosen("topp(s, 0.5, limit=9)", scores, sink=3) == [0, 1, 2, 3, 4]
    assert chosen("topp(s, 0.5, limit=9)", scores, sink=6) == [0, 1, 2, 3, 4, 5]
    assert chosen("topk(s, 1)", [9.0, 1, 2, 8, 7], sink=1, window=3) == [0, 2, 3, 4]


def test_a_place_in_the_model_reaches_the_program() -> None:
    q, k, v = inputs(1, 16 * 12)
    by_layer = program("topk(s, layer.index + kv_head.index)")
    for layer, extra in ((0, 0), (5, 5)):
        _, attended = attend(by_layer, q, k, v, layer=layer, num_layers=6)
        assert attended.sum(-1).tolist() == [[3 + extra, 4 + extra]]
    half = program("topk(s, layer.count / 2)")
    assert attend(half, q, k, v, num_layers=8)[1].sum(-1).tolist() == [[7, 7]]
    scaled = program("topk(s, self.scale)")
    assert attend(scaled, q, k, v, scale=4.5)[1].sum(-1).tolist() == [[7, 7]]


def test_attend_refuses_what_does_not_fit() -> None:
    dense = load_program(text("dense"))
    q, k, v = inputs(2, 40)
    with pytest.raises(ValueError, match="do not fit"):
        attend(dense, q[:1], k, v)
    with pytest.raises(ValueError, match="between 0 and 40"):
        attend(dense, q, k, v, torch.tensor([41, 3]))
    with pytest.raises(ValueError, match="softmax scale is positive"):
        attend(dense, q, k, v, scale=0.0)
    with pytest.raises(ValueError, match="use one of reference, torch, triton"):
        attend(dense, q, k, v, backend="cuda")  # type: ignore[arg-type]


def test_output_keeps_the_dtype_of_q() -> None:
    q, k, v = inputs(1, 40)
    out, _ = attend(load_program(text("dense")), q.bfloat16(), k.bfloat16(), v.bfloat16())
    assert out.dtype == torch.bfloat16
