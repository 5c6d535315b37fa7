"""Kinds of machines as people name them."""

import pytest

from search.campaigns.reading import read_setup
from search.campaigns.settings import wishes_of
from search.config import ConfigError
from search.kinds.wished import Wish


def test_kinds_are_read_in_order_with_their_workers():
    setup = read_setup(None, {"kinds": ["CPU=16", "H100"], "workers": 3})
    assert wishes_of(setup) == (Wish(("CPU",), 16), Wish(("H100",), 3))
    assert [each.on_gpus for each in wishes_of(setup)] == [False, True]


def test_without_kinds_there_is_one_that_gpus_name():
    assert wishes_of(read_setup(None, {"gpus": ["any"], "workers": 2})) == (Wish((), 2),)
    assert wishes_of(read_setup(None, {"gpus": ["H100"]})) == (Wish(("H100",), 1),)


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        (["H100=0"], "cannot name 'H100=0'; give a kind of machine"),
        (["H100=4096"], "at most 1,024"),
        (["H 100"], "cannot name 'H 100'"),
        ([""], "cannot name ''"),
        (["CPU", "CPU=2"], "cannot name 'CPU' twice"),
        (["any"], "which is no kind"),
    ],
)
def test_what_is_no_kind_is_refused(kinds, words):
    with pytest.raises(ConfigError, match=rf"kinds .*{words}"):
        read_setup(None, {"kinds": kinds})


def test_kinds_and_gpus_are_one_question(tmp_path):
    with pytest.raises(ConfigError, match="kinds and gpus both say"):
        read_setup(None, {"kinds": ["CPU"], "gpus": ["any"]})
    file = tmp_path / "campaign.toml"
    file.write_text('gpus = ["any"]\n')
    assert read_setup(file, {"kinds": ["CPU"]}).gpus == ()
    file.write_text('kinds = ["H100"]\n')
    assert read_setup(file, {"gpus": ["any"]}).kinds == ()
    assert read_setup(file).kinds == ("H100",)
