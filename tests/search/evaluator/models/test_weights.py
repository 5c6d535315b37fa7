"""Weights told from their headers; files that are not whole are refused by name."""

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from search.evaluator.models import ModelError
from search.evaluator.models.weights import read_weights


@pytest.fixture
def copied(tiny_llama, tmp_path):
    return shutil.copytree(tiny_llama, tmp_path / "model")


def test_weights_of_a_model(copied):
    size = (copied / "model.safetensors").stat().st_size
    found = read_weights(copied)
    assert (found.dtype, found.num_values, found.size_bytes) == ("F32", 603_456, size)


def test_the_dtype_is_that_of_most_values(tmp_path):
    save_file({"a": torch.zeros(3, 5, dtype=torch.bfloat16), "b": torch.zeros(4)}, tmp_path / "model.safetensors")
    found = read_weights(tmp_path)
    assert (found.dtype, found.num_values) == ("BF16", 19)


def test_pickles_are_not_opened(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"whatever")
    found = read_weights(tmp_path)
    assert (found.dtype, found.num_values, found.size_bytes) == ("", 0, 8)


def test_a_folder_without_weights_is_refused(copied):
    (copied / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="holds no weights"):
        read_weights(copied)


def test_half_a_file_is_refused(copied):
    whole = (copied / "model.safetensors").read_bytes()
    (copied / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"model\.safetensors is no whole file of weights"):
        read_weights(copied)


def test_a_missing_part_is_named(copied):
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (copied / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"lacks model-00002-of-00002\.safetensors, which"):
        read_weights(copied)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight_map": 3}'])
def test_an_index_that_is_none_is_refused(copied, text):
    (copied / "model.safetensors.index.json").write_text(text)
    with pytest.raises(ModelError, match="is no index of weights"):
        read_weights(copied)
