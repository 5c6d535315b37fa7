"""Statistics of queries and keys, against recordings that are made to have them."""

from dataclasses import replace
from statistics import mean

import pytest
import torch

from search.contracts import LookError
from search.evaluator.recall.describing import statistics
from search.evaluator.recall.figures import Asking
from search.evaluator.recall.looker import RecordedLooker
from search.evaluator.recall.parts import glanced
from search.evaluator.recall.recordings import Model, Recordings, save

NAMES = (
    *("first_page_mass", "last_pages_mass", "q_norm", "k_norm", "largest_channels", "mean_key", "between_pages"),
    *(f"quarter_{each}" for each in range(1, 5)),
)
LAYERS = 3


def told(recording, asking):
    """Give every statistic, averaged over layers."""
    found = {each.name: each.value for each in statistics(asking(recording))}
    assert set(found) == {f"{name}_layer_{layer}" for name in NAMES for layer in range(LAYERS)}
    return {name: mean(found[f"{name}_layer_{layer}"] for layer in range(LAYERS)) for name in NAMES}


@pytest.fixture
def plain(drawn):
    return drawn(320, ("a", "b"))


def test_keys_that_are_noise_have_no_mean_and_pages_that_hardly_differ(plain, asking):
    found = told(plain, asking)
    assert found["k_norm"] == pytest.approx(8**0.5, rel=0.1)
    assert found["q_norm"] == pytest.approx(2 * 8**0.5, rel=0.1)
    assert found["mean_key"] < 0.02
    assert found["between_pages"] == pytest.approx(1 / 16, abs=0.03)
    assert 0.5 < found["largest_channels"] < 0.6


def test_quarters_of_the_rotary_pairs_share_out_what_tells_pages_apart(plain, asking):
    found = told(plain, asking)
    quarters = [found[name] for name in NAMES if name.startswith("quarter")]
    assert sum(quarters) == pytest.approx(1, abs=1e-5)
    assert all(0.1 < quarter < 0.4 for quarter in quarters)
    slow = plain.k.clone()
    pages = torch.randn(slow.shape[3] // 16 + 1).repeat_interleave(16)[: slow.shape[3]]
    slow[..., [3, 7]] += 20 * pages[:, None]  # the slowest of four pairs of eight channels
    found = told(replace(plain, k=slow), asking)
    assert found["quarter_4"] > 0.95
    assert found["between_pages"] > 0.9


def test_an_offset_of_a_channel_is_the_mean_keys_and_a_large_channels(plain, asking):
    found = told(replace(plain, k=plain.k + 10 * torch.eye(8)[2]), asking)
    assert found["mean_key"] > 0.9
    assert found["largest_channels"] > 0.95


def test_mass_on_the_first_page_and_on_the_last(plain, asking):
    even = told(replace(plain, q=torch.zeros_like(plain.q)), asking)
    assert even["first_page_mass"] == pytest.approx(16 / 324, rel=0.02)
    assert 16 / 326 < even["last_pages_mass"] < 32 / 321
    first = plain.k.clone()
    first[:, :, :, :16] = 0.0
    first[:, :, :, :16, 0] = 9.0
    assert told(replace(plain, q=torch.ones_like(plain.q), k=first), asking)["first_page_mass"] > 0.5


def test_what_looks_describes_what_was_recorded_once_it_is(drawn, tmp_path):
    looker = RecordedLooker(lambda: tmp_path / "recorded.safetensors", tmp_path)
    try:
        with pytest.raises(LookError, match="has not been recorded on this machine"):
            looker.statistics()
        recordings = Recordings(Model(tuple(range(LAYERS)), LAYERS, 0.5), (drawn(160, ("a", "b")),))
        save(recordings, tmp_path / "recorded.safetensors")
        here = {each.name: each.value for each in statistics(Asking(recordings.model, glanced(recordings)))}
        assert {each.name: each.value for each in looker.statistics()} == pytest.approx(here, abs=2e-3)
        assert looker.statistics() is looker.statistics()
    finally:
        looker.close()
