"""Two nodes on one machine: joined by `vortex worker`, listed by `vortex cluster`, lost one after the other.

The driver is a process of its own, as `vortex run` is: what Ray does to the driver of a lost node is its own affair.
"""

import json
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from search.cli import main
from search.commands.exits import ExitCode
from search.evaluator.cluster import PoolError
from search.evaluator.cluster.joining import MODE, TOKEN_PATH
from search.evaluator.cluster.listing import nodes_at
from search.evaluator.cluster.machine import this_machine
from search.evaluator.cluster.node import check
from search.evaluator.models import ModelError

HERE = Path(__file__).resolve()
ROOT = HERE.parents[4]
# How soon the head calls a silent node lost: by default after half a minute.
SOON = {"RAY_health_check_period_ms": "500", "RAY_health_check_timeout_ms": "3000"}
SOON |= {"RAY_health_check_failure_threshold": "3"}
VORTEX = [sys.executable, "-c", "from search.cli import main; raise SystemExit(main())"]
PATIENCE_S = 6.0

DRIVER = """
import json, sys
from pathlib import Path
sys.path.insert(0, {folder!r})
from test_pool import RayPool, task, worker_settings
from search.evaluator.cluster import Placement, PoolError
pool = RayPool(worker_settings(Path(sys.argv[1])), Placement(2, sys.argv[2], patience_s={patience}))
print("ready", flush=True)
for line in sys.stdin:
    for seed in json.loads(line):
        pool.submit(task("slow", seed=seed))
    while pool._waiting or pool.running():
        try:
            done = pool.completed(1.0)
        except PoolError as error:
            print(json.dumps(["PoolError", str(error)]), flush=True)
            pool.close()
            raise SystemExit(4)
        for each in done:
            print(json.dumps([each.key.seed, each.status, each.message]), flush=True)
"""


def until(true, patience_s=60.0):
    """Wait until something is so, and give it."""
    end = time.monotonic() + patience_s
    while not (found := true()):
        assert time.monotonic() < end, "it never was so"
        time.sleep(0.1)
    return found


class Node:
    """A `vortex worker` in a process of its own."""

    def __init__(self, said, *words):
        self._said = said
        with said.open("w") as file:
            self._process = subprocess.Popen([*VORTEX, "worker", *words], cwd=ROOT, stdout=file, stderr=file)

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

        def start(name, *words):
            nodes.started[name] = Node(model.parent / f"{name}.log", *words)
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


@pytest.fixture(scope="module")
def driver(head, nodes, model):
    """Give a driver with two workers on two nodes, and those nodes."""
    both = []
    for i in range(2):  # one after the other: at once on one machine, Ray gives both the same socket
        both.append(nodes.start(f"node{i}", "--ray", head, "--cpus", "1"))
        until(lambda num=2 + i: len(alive(head)) == num)
    code = DRIVER.format(folder=str(HERE.parents[1]), patience=PATIENCE_S)
    command = [sys.executable, "-c", code, str(model.parent), head]
    said = (model.parent / "driver.log").open("w")
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n", (model.parent / "driver.log").read_text()
        yield process, both
        process.kill()


def alive(head):
    return [node for node in nodes_at(head) if node.is_alive]


def ask(process, seeds):
    process.stdin.write(json.dumps(list(seeds)) + "\n")
    process.stdin.flush()


def answered(process, num):
    return [json.loads(process.stdout.readline()) for _ in range(num)]


def test_a_machine_that_is_as_the_head_may_join(head):
    assert check(head).kind == this_machine().kind


def test_a_difference_is_refused_by_its_name(head, model, monkeypatch):
    ours = this_machine((str(model),))
    changes = {
        "commit": "the commit", "python": "Python", "vllm": "vLLM", "driver": "driver", "torch": "torch",
    }  # fmt: skip
    for field, name in changes.items():
        other = replace(ours, **{field: "another"})
        monkeypatch.setattr("search.evaluator.cluster.node.this_machine", lambda _models=(), other=other: other)
        with pytest.raises(PoolError, match=rf"beside the head at .*: {name} is another here and "):
            check(head)
    monkeypatch.undo()
    config = model / "config.json"
    before = config.read_text()
    config.write_text(before + " ")
    try:
        with pytest.raises(PoolError, match=rf"the model {model} is \w+ here and \w+ there"):
            check(head)
        config.unlink()
        with pytest.raises(ModelError):
            check(head)
    finally:
        config.write_text(before)


def test_a_cluster_is_listed_with_what_each_worker_does(head, driver, capsys):
    process, _ = driver
    ask(process, range(10))
    busy = until(lambda: [each for node in alive(head) for each in node.workers if each.stage == "probe"])
    assert {each.program for each in busy} == {"p"}
    assert main(["cluster", "--ray", head]) == ExitCode.DONE
    told = capsys.readouterr().out
    assert main(["cluster", "--ray", head, "--json"]) == ExitCode.DONE
    listed = json.loads(capsys.readouterr().out)
    assert [node["kind"] for node in listed] == [this_machine().kind] * 3
    assert sorted(node["num_cpus"] for node in listed) == [0, 1, 1]
    assert told.count(this_machine().kind) >= 3
    assert "no worker" in told
    assert [status for _, status, _ in answered(process, 10)] == ["ok"] * 10


def test_what_a_lost_node_was_at_is_done_by_the_other_and_a_new_one_is_taken_in(head, driver, nodes):
    process, (first, second) = driver
    ask(process, range(8))
    until(lambda: sum(each.stage == "probe" for node in alive(head) for each in node.workers) == 2)
    first.lose()
    found = answered(process, 8)
    assert sorted(seed for seed, _, _ in found) == list(range(8))
    assert {status for _, status, _ in found} == {"ok"}
    nodes.start("third", "--ray", head, "--cpus", "1")
    ask(process, range(8))
    until(lambda: sum(bool(node.workers) for node in alive(head)) == 2)
    second.lose()
    found = answered(process, 8)
    assert sorted(seed for seed, _, _ in found) == list(range(8))
    assert {status for _, status, _ in found} == {"ok"}


def test_where_no_node_is_left_for_long_the_run_ends(driver, nodes):
    process, _ = driver
    nodes.started["third"].lose()
    ask(process, range(2))
    ((told, why),) = answered(process, 1)
    assert told == "PoolError"
    assert f"none could be started for {PATIENCE_S:g} s" in why
    assert process.wait(30) == ExitCode.INFRASTRUCTURE
