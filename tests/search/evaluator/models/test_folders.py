"""A model's name, its folder and its digest."""

import json
import os

import pytest

from search.evaluator.models import ModelError, folders, model_digest, model_folder


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"num_attention_heads": 4}))
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_a_digest_follows_content_and_not_place(model, tmp_path):
    before = model_digest(model)
    model.rename(tmp_path / "elsewhere")
    assert model_digest(tmp_path / "elsewhere") == before
    (tmp_path / "elsewhere" / "model.safetensors").write_bytes(b"others!")
    assert model_digest(tmp_path / "elsewhere") != before


def test_weights_are_hashed_once_until_they_change(model):
    folders._file_digest.cache_clear()
    model_digest(model)
    model_digest(model)
    assert folders._file_digest.cache_info().misses == 2
    os.utime(model / "model.safetensors", ns=(1, 1))
    model_digest(model)
    assert folders._file_digest.cache_info().misses == 3


def test_a_folder_is_taken_as_it_is(model):
    assert model_folder(str(model)) == model.resolve()


@pytest.mark.parametrize("name", ["./nothing", "/no/such/folder", "a/b/c"])
def test_a_missing_folder_is_one_sentence(name):
    with pytest.raises(ModelError, match=f"there is no model folder {name}"):
        model_folder(name)


def test_a_folder_without_a_model_is_one_sentence(tmp_path):
    with pytest.raises(ModelError, match=r"no config\.json"):
        model_folder(str(tmp_path))
    with pytest.raises(ModelError, match=r"no config\.json"):
        model_digest(tmp_path)


def test_an_unknown_hub_name_is_one_sentence(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="neither a folder nor to be had from the hub"):
        model_folder("nobody/has-this")


def test_the_hub_s_own_words_are_told_once(monkeypatch):
    def refused(*_args, **_kwargs):
        raise OSError("Got: ConnectError: no such host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refused)
    with pytest.raises(ModelError, match=r"hub: ConnectError: no such host; did you mean 'smollm2'\?"):
        model_folder("smolm2")


def test_the_probe_is_at_hand():
    assert (model_folder("probe") / "model.safetensors").is_file()
