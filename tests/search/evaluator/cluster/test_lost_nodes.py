"""Two nodes on one machine, listed by `vortex cluster` and lost one after the other, while a driver gives them work.

The driver is a process of its own, as `vortex run` is: what Ray does to the driver of a lost node is its own affair.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from search.cli import main
from search.commands.exits import ExitCode
from search.evaluator.cluster.machine import this_machine
from tests.search.evaluator.cluster.conftest import ROOT, alive, until

HERE = Path(__file__).resolve()
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
    left = json.loads(line)
    for seed in left:
        pool.submit(task("slow", seed=seed))
    while left:
        try:
            done = pool.completed(1.0)
        except PoolError as error:
            print("told", json.dumps(["PoolError", str(error)]), flush=True)
            pool.close()
            raise SystemExit(4)
        for each in done:
            left.remove(each.key.seed)
            print("told", json.dumps([each.key.seed, each.status, each.message]), flush=True)
"""


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
        process.said = model.parent / "driver.log"
        yield process, both
        process.kill()


def ask(process, seeds):
    process.stdin.write(json.dumps(list(seeds)) + "\n")
    process.stdin.flush()


def answered(process, num):
    found = []
    while len(found) < num:
        line = process.stdout.readline()
        assert line, process.said.read_text()
        if line.startswith("told "):  # Ray too writes there of a node that died
            found.append(json.loads(line.removeprefix("told ")))
    return found


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
    ask(process, range(24))
    until(lambda: sum(bool(node.workers) for node in alive(head)) == 2)
    second.lose()
    found = answered(process, 24)
    assert sorted(seed for seed, _, _ in found) == list(range(24))
    assert {status for _, status, _ in found} == {"ok"}


def test_where_no_node_is_left_for_long_the_run_ends(driver, nodes):
    process, _ = driver
    nodes.started["third"].lose()
    ask(process, range(2))
    ((told, why),) = answered(process, 1)
    assert told == "PoolError"
    assert f"none could be started for {PATIENCE_S:g} s" in why
    assert process.wait(30) == ExitCode.INFRASTRUCTURE
