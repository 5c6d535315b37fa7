"""What a race heard is kept whole, taken once, and adds up with what is heard after it."""

from collections import Counter

import pytest
import torch

from search.evaluator.fidelity import heard as kept
from search.evaluator.fidelity.heard import Heard, keep, take
from search.evaluator.fidelity.reference import read
from search.evaluator.guards import Decoded, Done
from search.evaluator.scratch.files import DamagedError


def heard(number):
    done = Done([{"sparse_tokens": number}, {"sparse_tokens": 2 * number}], Decoded([number], Counter({9: number}), 0))
    return Heard(torch.full((1, 3, 4), float(number)).double(), torch.full((1, 3), number), done)


def test_what_is_kept_is_taken_once(tmp_path):
    keep(heard(5), tmp_path / "raced" / "a.safetensors")
    found = take(tmp_path / "raced" / "a.safetensors")
    assert torch.equal(found.figures, heard(5).figures)
    assert torch.equal(found.first_choices, heard(5).first_choices)
    assert found.done == heard(5).done
    assert take(tmp_path / "raced" / "a.safetensors") is None


def test_a_spoiled_file_is_as_none(tmp_path):
    (spoiled := tmp_path / "b.safetensors").write_bytes(b"no tensors")
    assert take(spoiled) is None


def test_the_oldest_go(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "MAX_FILES", 2)
    for name in "abc":
        keep(heard(1), tmp_path / f"{name}.safetensors")
    assert len(list(tmp_path.iterdir())) == 2


def test_texts_find_their_places_again():
    both = (heard(2) + heard(3) + heard(4)).in_order([2, 0, 1])
    assert both.first_choices[:, 0].tolist() == both.figures[:, 0, 0].tolist() == [3, 4, 2]


def test_two_times_add_up():
    both = heard(2) + heard(3)
    assert both.figures.tolist() == [[[2.0] * 4] * 3, [[3.0] * 4] * 3]
    assert both.done.layers == [{"sparse_tokens": 5}, {"sparse_tokens": 10}]
    assert (both.done.decoded.prompts, both.done.decoded.lengths) == ([2, 3], Counter({9: 5}))
    with pytest.raises(ValueError, match="zip"):
        heard(1).done + Done([], Decoded())


@pytest.mark.parametrize("content", [b"", b"x" * 4096])
def test_a_damaged_reference_is_nobodys_fault(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(DamagedError, match=r"a\.safetensors is damaged") as damaged:
        read(tmp_path / "a.safetensors")
    assert damaged.value.path == tmp_path / "a.safetensors"
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "b.safetensors")
