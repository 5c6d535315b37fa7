"""A head and nodes of a real Ray on this machine, each a `vortex worker` in a process of its own."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from search.evaluator.cluster.joining import MODE, TOKEN_PATH
from search.evaluator.cluster.listing import nodes_at

ROOT = Path(__file__).resolve().parents[4]
# How soon the head calls a silent node lost: by default after half a minute.
SOON = {"RAY_health_check_period_ms": "500", "RAY_health_check_timeout_ms": "3000"}
SOON |= {"RAY_health_check_failure_threshold": "3"}
VORTEX = [sys.executable, "-c", "from search.cli import main; raise SystemExit(main())"]


def until(true, patience_s=60.0):
    """Wait until something is so, and give it."""
    end = time.monotonic() + patience_s
    while not (found := true()):
        assert time.monotonic() < end, "it never was so"
        time.sleep(0.1)
    return found


class Node:
    """A `vortex worker` in a process of its own, by another `command` where it is to pass for another machine."""

    def __init__(self, said, *words, command=VORTEX):
        self._said = said
        with said.open("w") as file:
            self._process = subprocess.Popen([*command, "worker", *words], cwd=ROOT, stdout=file, stderr=file)

    def says(self, words):
        """Wait until it has said these words, and give the line."""

        def line():
            lines = self._said.read_text().splitlines()
            assert self._process.poll() is None, "\n".join(lines)
            return next((each for each in lines if words in each), None)

        return until(line)

    def lose(self):
        """Kill it as a machine dies, with all that Ray has started on it."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(30)

    def end(self):
        if self._process.poll() is None:
            self._process.terminate()
        self._process.wait(30)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Give the folder of what passes for a model, and where the driver keeps what it needs."""
    folder = tmp_path_factory.mktemp("cluster") / "model"
    folder.mkdir()
    config = {"num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 128}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def nodes(model):
    """Give what starts nodes, by name and the words of `vortex worker`; all end with the module."""
    nodes = SimpleNamespace(started={})
    with pytest.MonkeyPatch.context() as patch:
        token = model.parent / "token"
        token.write_text("a" * 64)
        for name, value in ({MODE: "token", TOKEN_PATH: str(token)} | SOON).items():
            patch.setenv(name, value)

        def start(name, *words, command=VORTEX):
            nodes.started[name] = Node(model.parent / f"{name}.log", *words, command=command)
            return nodes.started[name]

        nodes.start = start
        yield nodes
        for node in reversed(nodes.started.values()):
            node.end()


@pytest.fixture(scope="module")
def head(nodes, model):
    """Start a head that gives no CPU to workers; gives its address."""
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    line = nodes.start("head", "--head", "--port", str(port), "--cpus", "0", "--model", str(model)).says(
        "the cluster's head"
    )
    return line.partition(" at ")[2].partition(",")[0]


def alive(head):
    return [node for node in nodes_at(head) if node.is_alive]
