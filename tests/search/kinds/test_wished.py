"""Kinds of machines as people name them."""

import pytest

from search.campaigns import settings
from search.campaigns.reading import read_setup
from search.campaigns.settings import wishes_of
from search.config import ConfigError
from search.kinds.wished import Wish, is_gpu, is_of
from search.records import Environment


def test_kinds_are_read_in_order_with_their_workers():
    setup = read_setup(None, {"gpus": ["CPU=16", "H100"], "workers": 3})
    assert wishes_of(setup) == (Wish("CPU", 16), Wish("H100", 3))
    assert [is_gpu(each.kind) for each in wishes_of(setup)] == [False, True]


def test_any_is_one_kind():
    assert wishes_of(read_setup(None, {"gpus": ["any"], "workers": 2})) == (Wish("any", 2),)
    assert wishes_of(read_setup(None, {"gpus": ["any=4"]})) == (Wish("any", 4),)


@pytest.mark.parametrize("here", ["", "any"])
def test_who_names_none_has_what_vllm_is_built_for_here(here, monkeypatch):
    monkeypatch.setattr(settings, "kind_here", lambda: here)
    assert wishes_of(read_setup(None, {"workers": 2})) == (Wish(here, 2),)


@pytest.mark.parametrize(
    ("gpus", "words"),
    [
        (["H100=0"], "cannot name 'H100=0'; give a kind of machine"),
        (["H100=4096"], "at most 1,024"),
        (["H 100"], "cannot name 'H 100'"),
        ([""], "cannot name ''"),
        (["CPU", "CPU=2"], "cannot name 'CPU' twice"),
        (["H100", "any"], "cannot name 'any' beside a kind"),
    ],
)
def test_what_is_no_kind_is_refused(gpus, words):
    with pytest.raises(ConfigError, match=rf"gpus .*{words}"):
        read_setup(None, {"gpus": gpus})


def test_options_stand_above_the_file(tmp_path):
    file = tmp_path / "campaign.toml"
    file.write_text('gpus = ["H100", "H200"]\n')
    assert read_setup(file).gpus == ("H100", "H200")
    assert read_setup(file, {"gpus": ["CPU"]}).gpus == ("CPU",)


@pytest.mark.parametrize(
    ("device", "dtype", "kinds"),
    [
        ("NVIDIA H100 80GB HBM3", "bfloat16", {"H100", "any", ""}),
        ("NVIDIA L40S", "bfloat16", {"L40S", "any", ""}),
        ("NVIDIA A100-SXM4-80GB", "bfloat16", {"A100", "any", ""}),
        ("AMD EPYC 9654 96-Core Processor", "float32", {"CPU", ""}),
        ("Some CPU that is called H100", "float32", {"CPU", ""}),
        ("NVIDIA H100 80GB HBM3", "", {""}),
    ],
)
def test_the_kind_of_a_place_is_read_from_its_device(device, dtype, kinds):
    """What an older database does not tell the dtype of is of no kind that has a name."""
    place = Environment(device, "", "3.11", "2", "1", dtype=dtype)
    assert {kind for kind in ("H100", "L4", "L40S", "A100", "CPU", "any", "") if is_of(place, kind)} == kinds
