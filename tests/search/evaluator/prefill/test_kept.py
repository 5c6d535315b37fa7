"""A shelf of prompts: whole files, of one circumstance each, the ones used longest ago going first."""

import os

import pytest
import torch

from search.evaluator.prefill import kept
from search.evaluator.prefill.hosted import without_beginnings
from search.evaluator.prefill.kept import Prefilled, Shelf


def prefilled(num_tokens, layers=2):
    keys = torch.arange(layers * num_tokens * 3, dtype=torch.float32).view(layers, num_tokens, 3, 1)
    return Prefilled(keys, -keys)


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path / "prefilled", "a model")


def test_what_is_written_is_read_and_nothing_else(shelf):
    assert shelf.read([1, 2]) is None
    shelf.write([1, 2], prefilled(2))
    found = shelf.read([1, 2])
    assert torch.equal(found.keys, prefilled(2).keys)
    assert torch.equal(found.values, prefilled(2).values)
    assert shelf.has([1, 2])
    assert not shelf.has([1])
    assert not Shelf(shelf.folder, "another model").has([1, 2])


def test_a_spoiled_file_is_as_none(shelf):
    shelf.write([1, 2], prefilled(2))
    shelf.path([1, 2]).write_bytes(b"cut off")
    assert shelf.read([1, 2]) is None


def test_what_was_used_longest_ago_goes_first(shelf, monkeypatch):
    prompts = [[1], [2], [3]]
    for at, prompt in enumerate(prompts):
        shelf.write(prompt, prefilled(100))
        os.utime(shelf.path(prompt), (at, at))
    size = shelf.path([1]).stat().st_size
    shelf.read([1])
    monkeypatch.setattr(kept, "MAX_BYTES", 3 * size)
    shelf.write([4], prefilled(100))
    assert [shelf.has(prompt) for prompt in (*prompts, [4])] == [True, False, True, True]
    assert shelf.holds(3 * size)
    assert not shelf.holds(3 * size + 1)


def test_only_the_longest_of_those_that_begin_alike_are_prefilled():
    long, other = (1, 2, 3, 4), (1, 3)
    assert without_beginnings([(1, 2), other, long, (1, 2, 3), long, (1,)]) == [long, other]
