"""What stages run on: lengths that are drawn, and workloads that share them."""

from dataclasses import replace

import pytest

from search.records import Stage
from search.workloads import (
    HELD_OUT_DOCUMENTS,
    LARGEST_PAGE,
    LEAST_SHARE,
    NUM_LENGTHS,
    WORKLOADS,
    held_out,
    lengths_of,
    recorded,
    workloads_for,
)


@pytest.mark.parametrize("num_tokens", [256, 2048, 4000, 32768])
@pytest.mark.parametrize("seed", range(5))
def test_one_length_is_drawn_in_each_part(seed, num_tokens):
    drawn = lengths_of(seed, num_tokens)
    assert len(drawn) == NUM_LENGTHS
    least = int(LEAST_SHARE * num_tokens)
    parts = [(length - least) * NUM_LENGTHS / (num_tokens + 1 - least) for length in drawn]
    assert all(i - 0.1 <= part < i + 1 for i, part in enumerate(parts))
    assert drawn == lengths_of(seed, num_tokens)


def test_another_seed_draws_other_lengths():
    assert len({lengths_of(seed, 4000) for seed in range(20)}) > 1
    assert len({lengths_of(seed, 32768) for seed in range(20)}) == 20


@pytest.mark.parametrize("num_tokens", [4000, 32768])
def test_a_prefix_cache_of_any_page_size_holds_all_of_a_prompt_but_its_last_token(num_tokens):
    workload = next(each for each in workloads_for(3, num_tokens) if each.stage is Stage.FIDELITY)
    lengths = (*workload.lengths, *held_out(workload, 1).lengths)
    assert {length % LARGEST_PAGE for length in lengths} == {1}


@pytest.mark.parametrize("num_tokens", range(1, 20))
def test_no_length_is_too_short_to_draw(num_tokens):
    drawn = lengths_of(0, num_tokens)
    assert drawn
    assert all(1 <= length <= num_tokens for length in drawn)


def test_accuracy_cost_and_speed_are_told_for_the_same_lengths():
    workloads = {each.stage: each for each in workloads_for(7, 4000, texts="/some/file", task="gsm8k")}
    shared = (Stage.CHECK, Stage.RECALL, Stage.FIDELITY, Stage.SERVE)
    assert {workloads[stage].lengths for stage in shared} == {lengths_of(7, 4000)}
    sourced = (Stage.RECALL, Stage.FIDELITY, Stage.SERVE)
    assert {workloads[stage].source for stage in sourced} == {"/some/file"}
    assert workloads[Stage.TASK].source == "gsm8k"
    assert Stage.TASK not in {each.stage for each in workloads_for(7)}
    for stage in (Stage.RECALL, Stage.FIDELITY):
        assert workloads[stage].num_sequences % len(workloads[stage].lengths) == 0  # as many of each length


def test_the_screen_asks_for_what_is_recorded_for_recall():
    workloads = {each.stage: each for each in workloads_for(0)}
    recall = workloads[Stage.RECALL]
    for each in (workloads[Stage.SCREEN], replace(workloads[Stage.SCREEN], ratio=8.0), replace(recall, ratio=4.0)):
        assert recorded(each) == recall


def test_what_confirms_has_other_lengths_and_another_split_and_is_more():
    fidelity = next(each for each in workloads_for(0, 32768) if each.stage is Stage.FIDELITY)
    other = held_out(fidelity, 1)
    assert other.split == "held_out"
    assert set(other.lengths) > set(fidelity.lengths)
    further = set(other.lengths) - set(fidelity.lengths)
    assert len(further) == 2
    assert all(min(fidelity.lengths) < length < max(fidelity.lengths) for length in further)
    assert other.num_tokens == max(other.lengths)
    assert other.num_sequences == HELD_OUT_DOCUMENTS * len(other.lengths)
    assert HELD_OUT_DOCUMENTS * len(fidelity.lengths) > 2 * fidelity.num_sequences
    assert other.num_decoded == fidelity.num_decoded
    assert len({held_out(fidelity, seed).lengths for seed in range(9)}) > 1


@pytest.mark.parametrize("num_tokens", [20, 300, 4000])
def test_texts_of_any_length_are_held_out(num_tokens):
    for each in workloads_for(0, num_tokens):
        other = held_out(each, 1)
        assert other.split == "held_out"
        assert other.num_sequences >= 1
        assert max(other.all_lengths) <= max(each.all_lengths)
    probe = next(each for each in WORKLOADS if each.stage is Stage.PROBE)
    assert held_out(probe, 1) == replace(probe, split="held_out")
