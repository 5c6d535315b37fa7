"""Planted selection: attention goes where it was planted, and the seed decides everything."""

import pytest
import torch

from benchmarks.search.planted import Kind, planted
from search.evaluator.recall.figures import Asking
from search.evaluator.recall.parts import whole


@pytest.fixture(scope="module")
def drawn():
    return planted(0, num_documents=1)


def shares(drawn, kind, tokens):
    """Mean share of dense attention, over heads of one kind and judged steps, of some tokens."""
    (dense,) = Asking(drawn.recordings.model, whole(drawn.recordings)).dense
    found = []
    for layer, kinds in enumerate(drawn.kinds):
        for head, each in enumerate(kinds):
            if each is kind:
                weights = dense.weights[layer, head].mean(1)  # [step, token]
                found.append((weights * tokens[list(dense.part.steps), layer, 0, head]).sum(1))
    return torch.stack(found).mean().item()


@pytest.mark.parametrize(("kind", "least"), [(Kind.NEEDLE, 0.3), (Kind.LOCAL, 0.3), (Kind.DIFFUSE, 0.5)])
def test_attention_goes_where_it_was_planted(drawn, kind, least):
    share = shares(drawn, kind, drawn.wanted)
    others = drawn.wanted.roll(971, dims=-1)  # as many tokens elsewhere
    assert share > least
    assert share > 2 * shares(drawn, kind, others)


def test_both_parts_have_all_kinds(drawn):
    for layers in (drawn.kinds[1::3], drawn.kinds[::3], drawn.kinds[2::3]):
        assert {kind for kinds in layers for kind in kinds} == set(Kind)


def test_a_needle_is_one_token_and_no_step_asks_for_what_is_to_come(drawn):
    for layer, kinds in enumerate(drawn.kinds):
        for head, kind in enumerate(kinds):
            wanted = drawn.wanted[:, layer, 0, head]
            if kind is Kind.NEEDLE:
                assert wanted.sum(-1).tolist() == [1] * len(wanted)
            for step, tokens in enumerate(wanted):
                assert not tokens[drawn.recordings.by_length[0].num_tokens + step + 1 :].any()


def test_the_seed_decides(drawn):
    (one,), (other,) = drawn.recordings.by_length, planted(1, num_documents=1).recordings.by_length
    assert not torch.equal(one.k, other.k)
