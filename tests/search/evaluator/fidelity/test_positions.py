"""Two distributions beside each other: against torch's own divergence, and at the ends."""

import pytest
import torch

from search.evaluator.fidelity.positions import Against, Kept, compared


def drawn(seed, scale=3.0):
    return (torch.randn(500, generator=torch.Generator().manual_seed(seed)) * scale).log_softmax(-1)


def test_it_is_the_divergence_of_sparse_from_dense():
    dense, sparse = drawn(0), drawn(1)
    kl, agrees, true, of_sparse = compared(dense, sparse, sparse.argmax(), 7).tolist()
    assert kl == pytest.approx(torch.nn.functional.kl_div(sparse, dense, log_target=True, reduction="sum").item())
    assert agrees == 0.0
    assert (true, of_sparse) == (dense[7].item(), sparse[7].item())


def test_rounding_leaves_no_trace():
    logits = torch.randn(50_000, generator=torch.Generator().manual_seed(2)) * 5
    once, shifted = logits.log_softmax(-1), (logits + 100.0).log_softmax(-1)
    kl, agrees, *_ = compared(once, shifted, shifted.argmax(), 0).tolist()
    assert not torch.equal(once, shifted)
    assert 0 <= kl < 1e-9
    assert agrees == 1.0


def test_a_small_divergence_is_right_to_a_millionth():
    """By hand: two outcomes of p and 1 - p beside p + e and 1 - p - e."""
    p, e = 0.3, 0.001
    dense, sparse = (torch.tensor([x, 1 - x], dtype=torch.float64) for x in (p, p + e))
    exact = (dense * (dense / sparse).log()).sum().item()
    found = compared(dense.log().float(), sparse.log().float(), sparse.argmax(), 0)[0].item()
    assert found == pytest.approx(exact, abs=1e-9)
    assert exact == pytest.approx(e**2 / (2 * p * (1 - p)), rel=0.01)


def test_what_both_exclude_says_nothing():
    dense, sparse = drawn(0), drawn(1)
    none = torch.tensor([-torch.inf])
    both = compared(torch.cat([dense, none]), torch.cat([sparse, none]), sparse.argmax(), 7)
    assert torch.allclose(both, compared(dense, sparse, sparse.argmax(), 7), rtol=1e-12)


def test_the_first_token_is_no_position():
    said = [drawn(seed) for seed in range(3)]
    kept = Kept(torch.zeros(2, 500))
    against = Against(torch.stack([said[1], said[2]]), (4, 5, 6))
    for step, each in enumerate([drawn(9), said[1], drawn(3)]):
        kept.hear(step, each)
        against.hear(step, each)
    assert kept.num_heard == against.num_heard == 2
    assert torch.equal(kept._room, torch.stack([said[1], drawn(3)]))
    first, second = against.figures
    assert first.tolist() == [0.0, 1.0, said[1][5].item(), said[1][5].item()]
    assert second[0] > 0.1
    assert against.first_choices == [said[1].argmax().item(), drawn(3).argmax().item()]
