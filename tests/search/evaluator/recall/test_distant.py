"""Where nothing is recorded here, a machine of the cluster that has recordings looks, over a real Ray."""

from functools import partial
from pathlib import Path

import pytest

from search.contracts import LookError
from search.evaluator.cluster import LOCAL
from search.evaluator.cluster.joining import connected
from search.evaluator.recall import distant
from search.evaluator.recall.distant import NOWHERE, NearestLooker
from search.evaluator.recall.looker import RecordedLooker
from search.evaluator.recall.recordings import Model, Recordings, save
from vortex_dsl import zoo

FILE = "recorded.safetensors"
VALUES = (("dense_layers", 0), ("pages", 3))


def looker_in(folder):
    """What makes a machine's looker, with a file and a folder of its own."""
    return partial(RecordedLooker, partial(Path, folder / FILE), folder)


class Away(NearestLooker):
    """Of a machine that has no recordings, on a cluster whose other machine keeps them in `folder`."""

    def __init__(self, empty, folder):
        super().__init__(looker_in(folder))
        self._here = looker_in(empty)()


@pytest.fixture
def folders(tmp_path):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    return tmp_path / "here", tmp_path / "there"


def test_a_machine_that_has_recordings_looks_for_one_that_has_none(folders, drawn):
    here, there = folders
    looker = Away(here, there)
    with pytest.raises(LookError, match="has not been recorded on this machine"):
        looker.statistics()  # no Ray is driven yet
    with connected(LOCAL, 1):
        with pytest.raises(LookError, match=NOWHERE):
            looker.look(zoo.text("quest"), VALUES)
        save(Recordings(Model((0, 1), 2, 0.5), (drawn(160, ("prose 1", "code 7"), layers=2, seed=1),)), there / FILE)
        found = {each.name: each.value for each in looker.look(zoo.text("quest"), VALUES)}
        assert 0 < found["mass"] <= found["oracle_mass"] <= 1 + 1e-6
        assert looker.statistics()
        with pytest.raises(LookError, match=r"the look came to nothing: .*no tunable 'nothing'"):
            looker.look(zoo.text("quest"), (("nothing", 1),))
        assert list(here.iterdir()) == []
        looker.close()


def test_a_head_that_does_not_take_the_looker_is_told_in_a_sentence(folders, monkeypatch):
    """Whoever looks has asked in a campaign that goes on, and must not wait for the head for ever."""
    from ray.exceptions import GetTimeoutError

    def never(*_):
        raise GetTimeoutError("Ray's head has not taken an actor's class within 10 s")

    monkeypatch.setattr(distant, "_drives_ray", lambda: True)
    monkeypatch.setattr(distant, "nodes", lambda: [{"NodeID": "a" * 56, "Alive": True}])
    monkeypatch.setattr(distant, "start", never)
    with pytest.raises(LookError, match="there is no look: Ray's head has not taken an actor's class"):
        Away(*folders).statistics()
