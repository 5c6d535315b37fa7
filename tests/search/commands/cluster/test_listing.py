"""A cluster as people read it; the nodes are made up here, and real in tests/search/evaluator/cluster/test_nodes.py."""

import json
import time

import pytest

from search.cli import main
from search.commands.exits import ExitCode
from search.evaluator.cluster.joining import MODE, TOKEN, TOKEN_PATH
from search.evaluator.cluster.listing import Node
from search.evaluator.cluster.telling import Doing


@pytest.fixture
def nodes(monkeypatch):
    now = time.time()
    busy = Doing("a", "one", ("sparse", "dense"), "serve", "1f2e3d", 8.0, "timing in turns", now - 75)
    idle = Doing("a", "one", (), since_s=now - 3)
    made = [
        Node("a", "one", "10.0.0.1", "H100", 64, 2, True, 7260.0, (busy, idle)),
        Node("b", "two", "10.0.0.2", "CPU", 8, 0, True, 40.0, ()),
        Node("c", "three", "10.0.0.3", "B200", 64, 8, False, 90.0, ()),
    ]
    monkeypatch.setattr("search.evaluator.cluster.listing.nodes_at", lambda _address: made)
    return made


@pytest.mark.usefixtures("nodes")
def test_each_node_is_told_with_its_engines_and_what_they_run(capsys):
    assert main(["cluster", "--ray", "head:6379"]) == ExitCode.DONE
    lines = capsys.readouterr().out.splitlines()
    told = {name: next(line for line in lines if name in line) for name in ("one", "two", "three", "nothing")}
    assert "H100" in told["one"]
    assert all(words in told["one"] for words in ("here for 2 h 1 min", "sparse, dense", "serve at 8x of 1f2e3d"))
    assert "1 min 15 s" in "".join(lines)
    assert "none" in told["nothing"]
    assert "no worker" in told["two"]
    assert "was here for 1 min 30 s" in told["three"]


def test_it_is_told_as_json_too(nodes, capsys):
    assert main(["cluster", "--ray", "head:6379", "--json"]) == ExitCode.DONE
    found = json.loads(capsys.readouterr().out)
    assert [node["id"] for node in found] == [node.id for node in nodes]
    assert found[0]["workers"][0]["step"] == "timing in turns"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["cluster", "--ray", "nonsense"], ExitCode.USAGE, "must be HOST:PORT of a cluster's head"),
        (["cluster", "--ray", "127.0.0.1:1"], ExitCode.INFRASTRUCTURE, "there is none here"),
        (["worker"], ExitCode.USAGE, "either --ray HOST:PORT, to join a cluster, or --head"),
        (["worker", "--head", "--ray", "a:1"], ExitCode.USAGE, "either --ray"),
        (["worker", "--ray", "a:1", "--model", "probe"], ExitCode.USAGE, "--model is the head's to say"),
        (["worker", "--head", "--port", "80"], ExitCode.USAGE, "1024"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(words, code, said, capsys, monkeypatch, tmp_path):
    for name in (MODE, TOKEN, TOKEN_PATH):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(words) == code
    assert said in capsys.readouterr().err


def test_a_head_without_a_token_is_refused_before_ray_starts(capsys, monkeypatch, tmp_path):
    for name in (MODE, TOKEN, TOKEN_PATH):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["worker", "--head"]) == ExitCode.INFRASTRUCTURE
    assert "ray get-auth-token --generate" in capsys.readouterr().err
