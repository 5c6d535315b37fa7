"""The reference against selectors written from the specification, in plain NumPy and Python."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from vortex_dsl.attention import attend
from vortex_dsl.load import load_program
from vortex_dsl.zoo import names, text

if TYPE_CHECKING:
    from collections.abc import Callable

GROUP, DIM, HEADS, BUDGET, SINK, WINDOW = 4, 16, 2, 3, 1, 2


def bfloat16(x: np.ndarray) -> np.ndarray:
    return torch.tensor(x).bfloat16().double().numpy()


def log_sum_exp(x: np.ndarray, axis: Any) -> np.ndarray:
    most = x.max()
    return most + np.log(np.exp(x - most).sum(axis))


def hashed(i: int) -> int:
    def mix(h: int) -> int:
        h = ((h ^ (h >> 16)) * 0x85EBCA6B) % 2**32
        h = ((h ^ (h >> 13)) * 0xC2B2AE35) % 2**32
        return h ^ (h >> 16)

    return mix((i + mix(1)) % 2**32) >> 8


def centers(k: np.ndarray) -> np.ndarray:
    return bfloat16(k.mean(1))


def ball(q: np.ndarray, k: np.ndarray, v: np.ndarray, scale: float) -> np.ndarray:
    radius = bfloat16(np.linalg.norm(k - k.mean(1, keepdims=True), axis=2).max(1))
    return (centers(k) @ q.T + radius[:, None] * np.linalg.norm(q, axis=1)).max(1)


def quest(q: np.ndarray, k: np.ndarray, v: np.ndarray, scale: float, sub: int = 1) -> np.ndarray:
    parts = k.reshape(len(k) * sub, -1, DIM)
    hi, lo = bfloat16(parts.max(1)), bfloat16(parts.min(1))
    bound = np.maximum(q[:, None] * hi, q[:, None] * lo).sum(2).max(0)
    return bound.reshape(len(k), sub).max(1)


def mass(q: np.ndarray, k: np.ndarray, v: np.ndarray, scale: float) -> np.ndarray:
    mean = centers(k) @ q.T * scale
    spread = bfloat16(k.var(1)) @ (q.T * scale) ** 2 / 2
    return log_sum_exp(mean + spread, 1) + math.log(k.shape[1])


def share(q: np.ndarray, k: np.ndarray, v: np.ndarray, scale: float) -> np.ndarray:
    logits = np.exp(centers(k) @ q.T * scale)
    return (logits / logits.sum(0)).max(1)


def gated(q: np.ndarray, k: np.ndarray, v: np.ndarray, scale: float) -> np.ndarray:
    return centers(k) @ q.mean(0) * bfloat16(np.linalg.norm(v, axis=2).mean(1))


# q [head, dim]; k, v [page, token, dim]; scale -> score [page]
SCORES: dict[str, Callable[..., np.ndarray]] = {
    "ball": ball,
    "centroid": lambda q, k, v, scale: centers(k) @ q.mean(0),
    "centroid_gqa": share,
    "mass_lse": mass,
    "oracle_mass": lambda q, k, v, scale: log_sum_exp(np.einsum("hd,ptd->pht", q, k) * scale, (1, 2)),
    "quest": quest,
    "quest_sub": lambda q, k, v, scale: quest(q, k, v, scale, k.shape[1] // 4),
    "random_pages": lambda q, k, v, scale: np.array([hashed(i) for i in range(len(k))]),
    "twilight": lambda q, k, v, scale: (centers(k) @ q.T * scale).max(1),
    "value_gated": gated,
}


def reserved(length: int, page_size: int, sink: int = SINK, window: int = WINDOW) -> list[bool]:
    pages = math.ceil(length / page_size)
    return [i < sink or i >= pages - window for i in range(pages)]


def best(score: np.ndarray, candidates: list[int], n: int) -> list[int]:
    return sorted(candidates, key=lambda i: (-score[i], i))[:n]


def nucleus(score: np.ndarray, candidates: list[int], p: float, limit: int) -> list[int]:
    weight = np.exp(score - score.max())
    share_, chosen = weight / weight.sum(), []
    taken = sum(share_[i] for i in range(len(score)) if i not in candidates)
    for i in best(score, candidates, limit):
        if taken >= p:
            break
        chosen.append(i)
        taken += share_[i]
    return chosen


def expected(name: str, q: np.ndarray, k: np.ndarray, v: np.ndarray, page_size: int) -> list[bool]:
    attended = reserved(len(k), page_size)
    complete = len(k) // page_size
    candidates = [i for i in range(complete) if not attended[i]]
    paged = [x[: complete * page_size].reshape(complete, page_size, DIM) for x in (k, v)]
    if name == "dense":
        chosen = candidates
    elif name == "streaming" or not candidates:
        chosen = []
    else:
        score = SCORES[name](q, *paged, DIM**-0.5)
        chosen = nucleus(score, candidates, 0.6, BUDGET) if name == "twilight" else best(score, candidates, BUDGET)
    return [attended[i] or i in chosen for i in range(len(attended))]


def inputs(batch: int, tokens: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((batch, HEADS * GROUP, DIM), (batch, HEADS, tokens, DIM), (batch, HEADS, tokens, DIM))
    return tuple(torch.randn(*shape, generator=generator) for shape in shapes)  # type: ignore[return-value]


@pytest.mark.parametrize("page_size", [16, 32])
@pytest.mark.parametrize("name", names())
def test_the_zoo_chooses_what_an_independent_selector_chooses(name: str, page_size: int) -> None:
    program = load_program(text(name)).with_values(page_size=page_size, sink=SINK, window=WINDOW)
    program = program.with_values(pages=BUDGET) if "pages" in program.values else program
    program = program.with_values(mass=0.6) if "mass" in program.values else program
    lengths = [0, 1, page_size - 1, page_size, page_size + 1, 8 * page_size, 8 * page_size + 5, 13 * page_size - 1]
    q, k, v = inputs(len(lengths), max(lengths), seed=page_size)
    _, attended = attend(program, q, k, v, torch.tensor(lengths))
    for i, length in enumerate(lengths):
        for head in range(HEADS):
            queries = q[i].unflatten(0, (HEADS, GROUP))[head].double().numpy()
            keys, values = (x[i, head, :length].double().numpy() for x in (k, v))
            want = expected(name, queries, keys, values, page_size)
            got = attended[i, head].tolist()
            assert got[: len(want)] == want, (length, head)
            assert not any(got[len(want) :])


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
