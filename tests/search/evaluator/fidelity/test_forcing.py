"""Dictation through the interfaces of both of vLLM's model runners, without an engine."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from search.evaluator.fidelity.forcing import KEY, Dictating, Dictation

pytestmark = pytest.mark.vllm


class Listener:
    def __init__(self):
        self.heard = []

    def hear(self, step, said):
        self.heard.append((step, said))


def params(dictation=None):
    from vllm import SamplingParams

    return SamplingParams(extra_args={KEY: dictation} if dictation else None)


def logits(rows=3, size=10):
    return torch.randn(rows, size, generator=torch.Generator().manual_seed(0))


def check(processor, apply, listener):
    """Row 1 is dictated to: it hears what was, and only its row is another then."""
    before = logits()
    after = apply(before.clone())
    assert after.argmax(-1)[1] == 6
    assert after[1].exp().sum() == 1.0
    assert torch.equal(after[[0, 2]], before[[0, 2]])
    step, said = listener.heard[-1]
    assert step == 1
    torch.testing.assert_close(said, before[1].log_softmax(-1))


def test_the_first_runner_follows_a_request_through_the_batch():
    from vllm.v1.sample.logits_processor.interface import BatchUpdate, MoveDirectionality

    listener, output = Listener(), []
    dictation = Dictation(4, (5, 6), listener.hear)
    processor = Dictating(None, "cpu", False)
    processor.update_state(BatchUpdate(2, [], [(0, params(), None, []), (2, params(dictation), None, output)], []))
    assert processor.apply(logits()).argmax(-1)[2] == 5
    output.append(5)
    processor.update_state(BatchUpdate(3, [], [], [(2, 1, MoveDirectionality.UNIDIRECTIONAL)]))
    check(processor, processor.apply, listener)
    processor.update_state(BatchUpdate(3, [1], [], []))
    assert torch.equal(processor.apply(logits()), logits())


def batch(slots, lengths):
    return SimpleNamespace(idx_mapping_np=np.array(slots), seq_lens_upper_bound_np=np.array([*lengths, 0]))


def test_the_second_runner_counts_from_the_prompts_end():
    listener = Listener()
    dictation = Dictation(4, (5, 6), listener.hear)
    processor = Dictating(None, object())
    assert not processor.add_request(0, params())
    assert processor.add_request(7, params(dictation))
    part = processor.apply(logits(), batch([0, 7, 1], [9, 3, 9]))
    assert torch.equal(part, logits()), "a part of the prompt says nothing"
    assert not listener.heard
    assert processor.apply(logits(), batch([7, 0, 1], [4, 9, 9])).argmax(-1)[0] == 5
    check(processor, lambda rows: processor.apply(rows, batch([0, 7, 1], [9, 5, 9])), listener)
    assert not processor.add_request(7, params())
    assert torch.equal(processor.apply(logits(), batch([7], [6])), logits())


def test_who_is_told_nothing_more_speaks_for_itself():
    listener = Listener()
    processor = Dictating(None, object())
    processor.add_request(0, params(Dictation(4, (), listener.hear)))
    assert torch.equal(processor.apply(logits(), batch([0], [4])), logits())
    assert len(listener.heard) == 1


def test_a_dictation_stays_the_same_when_its_request_is_copied():
    dictation = Dictation(1, (2,), Listener().hear)
    assert copy.deepcopy({KEY: dictation})[KEY] is dictation
