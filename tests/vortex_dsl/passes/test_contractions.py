"""Sums of products become contractions: the same graph however they are written, the same numbers, less work."""

import pytest
import torch

from vortex_dsl import Shape, attend, load_program, trace
from vortex_dsl.node import reachable

TEXT = '''from vortex_dsl import Program, dot, maximum, minimum, relu, topk


class Case(Program):
    """A score in one of several writings."""

    def summarize(self, k, v):
        return {{"hi": k.max("token"){kind}, "lo": k.min("token"){kind}, "mid": k.mean("token")}}

    def select(self, q, page):
        return topk(({score}).max("head"), 3)
'''
BOUND = "maximum(q * page.hi, q * page.lo).sum('dim')"
UNDER = "minimum(q * page.hi, q * page.lo).sum('dim')"


def graph(score, kind=""):
    return trace(load_program(TEXT.format(score=score, kind=kind)), Shape(group=4, head_dim=16))


def operations(score, kind=""):
    return [node.op for node in reachable((graph(score, kind).selection,))]


def test_a_sum_of_products_is_a_contraction():
    assert graph("(q * page.mid).sum('dim')").digest == graph("dot(page.mid, q, 'dim')").digest


def test_a_bound_by_envelopes_is_two_contractions_and_knows_its_larger_side():
    written_out = "dot(relu(q), page.hi, 'dim') - dot(relu(-q), page.lo, 'dim')"
    assert graph(BOUND).digest == graph(written_out).digest
    assert "maximum" not in operations(BOUND)


def test_integer_kinds_scale_each_vector_so_the_larger_side_is_not_known():
    assert "maximum" in operations(BOUND, ".to('int4')")


def test_a_sum_that_is_no_product_stays():
    assert "sum" in operations("(q + page.mid).sum('dim')")
    assert "dot" not in operations("(page.hi * page.lo).sum('dim') + q.sum('dim')")


@pytest.mark.parametrize("kind", ["", ".to('int8')", ".to('fp8_e4m3')"])
@pytest.mark.parametrize("score", [BOUND, UNDER])
def test_scores_are_those_of_the_plain_formula(score, kind):
    """Against a selector written from the formula, on random keys, pages agree."""
    generator = torch.Generator().manual_seed(3)
    q = torch.randn(1, 4, 16, generator=generator)
    k, v = torch.randn(2, 1, 1, 20 * 16, 16, generator=generator).unbind()
    pages = k.view(20, 16, 16)
    hi, lo = pages.amax(1), pages.amin(1)
    if kind == ".to('int8')":
        hi, lo = ((x / (s := x.abs().amax(-1, keepdim=True) / 127)).round() * s for x in (hi, lo))
    else:
        dtype = torch.float8_e4m3fn if kind else torch.bfloat16
        hi, lo = (x.to(dtype).float() for x in (hi, lo))
    products = q[0, None] * hi[:, None], q[0, None] * lo[:, None]
    bound = (torch.maximum(*products) if score is BOUND else torch.minimum(*products)).sum(-1).amax(-1)
    bound[[0, 18, 19]] = -torch.inf
    expected = {0, 18, 19, *bound.topk(3).indices.tolist()}
    _, attended = attend(load_program(TEXT.format(score=score, kind=kind)), q, k, v, backend="torch")
    assert set(attended[0, 0].nonzero().flatten().tolist()) == expected
