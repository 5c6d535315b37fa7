"""A peer's search from the outside: its process, its limits and its faults. Peers themselves need not be installed."""

import sys
import textwrap
from pathlib import Path

import pytest

from benchmarks.search.peers import peers
from benchmarks.search.peers.peers import DRIVERS, PEERS, Peer, PeerError, python_of, run_peer
from benchmarks.search.runs import judge
from vortex_dsl import zoo

RATIO = 4.0
DRIVER = """
import sys
sys.path.insert(0, {drivers!r})
from pathlib import Path
from endpoint import ask, given
seed, num, folder, files = given()
{rest}
"""


@pytest.fixture
def peer(tmp_path, monkeypatch):
    """A peer that is driven by a few lines of ours."""

    def driven(rest):
        text = DRIVER.format(drivers=str(DRIVERS), rest=textwrap.dedent(rest))
        (tmp_path / "drive_own.py").write_text(text)
        monkeypatch.setattr(peers, "DRIVERS", tmp_path)
        return Peer("own", "own==1")

    return driven


@pytest.fixture
def initial(selection):
    return [
        judge(selection, zoo.text(name), (("dense_layers", 0),), RATIO, name) for name in ("quest_int4", "centroid")
    ]


def search(selection, peer, initial, num=2):
    return run_peer(selection, peer, Path(sys.executable), initial, RATIO, 7, num)


def test_a_peer_starts_from_published_rules_and_is_judged_like_ours(selection, peer, initial):
    own = peer(
        """
        text = Path(files[0]).read_text()
        scores = [ask("/evaluate", text=Path(file).read_text())["score"] for file in files]
        assert scores[0] > 0 and seed == 7 and num == 2
        for _ in range(3):  # one more than it has
            ask("/evaluate", text=ask("/mutate", text=text, others=[])["text"])
        """
    )
    found = search(selection, own, initial)
    assert (found.method, found.seed, found.num_evaluated) == ("own", 7, 2)
    assert found.best[0].search >= max(rule.search for rule in initial)
    assert all(0 < rule.held_out <= 1 for rule in found.best)


def test_a_peer_that_fails_says_why(selection, peer, initial):
    with pytest.raises(PeerError, match=r"own failed with exit code 1: .*no way"):
        search(selection, peer("raise SystemExit('no way')"), initial)


def test_a_peer_that_evaluates_nothing_is_told(selection, peer, initial):
    with pytest.raises(PeerError, match="own evaluated nothing at 4 with seed 7"):
        search(selection, peer(""), initial)


def test_a_peer_that_hangs_is_killed_with_its_children(selection, peer, initial, monkeypatch, tmp_path):
    monkeypatch.setattr(peers, "START_S", 2.0)
    monkeypatch.setattr(peers, "SECONDS_EACH", 0.0)
    own = peer(
        f"""
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        Path({str(tmp_path / "pid")!r}).write_text(str(child.pid))
        time.sleep(60)
        """
    )
    with pytest.raises(PeerError, match="longer than 2 s"):
        search(selection, own, initial)
    status = Path(f"/proc/{(tmp_path / 'pid').read_text()}/stat")
    assert not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] == "Z"


def test_there_is_a_driver_for_every_peer():
    assert {f"drive_{name}.py" for name in PEERS} == {path.name for path in DRIVERS.glob("drive_*.py")}


def test_an_installed_peer_is_not_installed_again(tmp_path, monkeypatch):
    python = tmp_path / "gepa==0.1.4" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    monkeypatch.setattr(peers, "_finished", lambda *_: pytest.fail("it is there"))
    assert python_of(PEERS["gepa"], tmp_path) == python


def test_a_peer_that_cannot_be_installed_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(peers.sys, "executable", "/bin/false")
    with pytest.raises(PeerError, match=r"gepa==0\.1\.4 was not installed"):
        python_of(PEERS["gepa"], tmp_path)
    assert not (tmp_path / "gepa==0.1.4").exists()
