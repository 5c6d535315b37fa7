"""What the pool does about losses, step by step: Ray's calls answer as the test says, its errors are its own.

`test_lost_nodes.py` loses real nodes; here each turn of events has its place, and waiting takes no time.
"""

import time
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
import ray
from ray import exceptions
from ray.core.generated.common_pb2 import ActorDiedErrorContext

from search.evaluator import pool as pools
from search.evaluator.cluster import Placement, PoolError, asking, membership
from search.evaluator.cluster.losses import is_lost
from search.evaluator.identity import environment
from search.evaluator.models import model_outline
from search.evaluator.worker import Introduction
from search.records import Evaluation, Status
from tests.search.evaluator.cluster.conftest import until
from tests.search.evaluator.test_pool import task, worker_settings

PATIENCE_S = 0.2


def died(message):
    return exceptions.ActorDiedError(
        ActorDiedErrorContext(class_name="Worker", actor_id=bytes(16), error_message=message)
    )


UNAVAILABLE = exceptions.ActorUnavailableError("the connection broke", None)
NODE_DIED = died("The actor died because its node has died. Node Id: 12ab")
WORKER_DIED = died("Worker unexpectedly exits with a connection error code 2. End of file.")


class Cluster:
    """Stands for Ray: actors whose calls end when the test says so. `room`: nodes on which actors start, in turn."""

    def __init__(self, introduction):
        self.introduction, self.room = introduction, ["a", "b"]
        self.silent, self.num_joined, self.num_left = set(), 0, 0  # addresses at which nobody listens
        self.takes = True  # the workers' class, where it is sent
        self.calls, self.killed, self.options = {}, [], []
        self.introductions = {}

    @contextmanager
    def connected(self, _address, _num):
        if "head:1" in self.silent:
            raise PoolError("Ray at head:1 cannot be reached: nobody listens")
        self.num_joined += 1
        try:
            yield
        finally:
            self.num_left += 1

    def nodes(self):
        return [{"NodeID": name, "Alive": True, "Resources": {"CPU": 1.0}} for name in "abc"]

    def remote(self, _worker):
        def options(max_restarts, **asked):
            assert max_restarts == 0
            self.options.append(asked)
            return SimpleNamespace(remote=lambda *_: self._actor())

        return SimpleNamespace(options=options)

    def _actor(self):
        if not self.takes:
            time.sleep(1.0)
            raise UNAVAILABLE
        node = self.room.pop(0) if self.room else None
        actor = SimpleNamespace(node=node)
        known = replace(self.introductions.get(node, self.introduction), node=str(node))
        actor.introduce = SimpleNamespace(remote=lambda: self._call(node, known if node else None))
        actor.run = SimpleNamespace(remote=lambda asked: self._call(node, None, asked))
        return actor

    def _call(self, node, result, asked=None):
        call = SimpleNamespace(node=node, result=result, task=asked)
        self.calls[id(call)] = call
        return call

    def end(self, node, how):
        """Let what runs on a node end: with a result for its task, or with an error."""
        (call,) = (each for each in self.calls.values() if each.node == node and each.task and each.result is None)
        call.result = how if isinstance(how, Exception) else Evaluation(call.task.key, how)
        return call.task.key.seed

    def wait(self, calls, num_returns=1, timeout=None):
        ready = [call for call in calls if call.result is not None]
        if not ready and timeout:
            time.sleep(min(timeout, 0.02))
        return ready[: max(num_returns, 1)], []

    def get(self, calls, timeout=None):
        if isinstance(calls, list):
            return [self.get(call, timeout) for call in calls]
        if isinstance(calls.result, Exception):
            raise calls.result
        return calls.result

    def kill(self, actor):
        self.killed.append(actor.node)


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    settings = worker_settings(tmp_path)
    here = Introduction("", "host", environment("float32"), model_outline(tmp_path / "model"))
    cluster = Cluster(here)
    cluster.settings = settings
    for name in ("remote", "wait", "get", "kill"):
        monkeypatch.setattr(ray, name, getattr(cluster, name))
    monkeypatch.setattr(pools, "nodes", cluster.nodes)
    monkeypatch.setattr(membership, "connected", cluster.connected)
    monkeypatch.setattr(membership, "answers", lambda address: address not in cluster.silent)
    monkeypatch.setattr(membership, "ends", lambda: ("head:1", "node:2"))
    monkeypatch.setattr(membership, "AGAIN_S", 0.0)
    monkeypatch.setattr(pools, "forget", lambda _: None)
    monkeypatch.setattr(pools, "RETRY_S", 0.01)
    return cluster


@pytest.fixture
def pool(cluster):
    pool = pools.RayPool(cluster.settings, Placement(2, "head:1", patience_s=PATIENCE_S))
    for seed in range(3):
        pool.submit(task(seed=seed))
    return pool


def under_way(pool):
    return sorted(key.seed for key in pool.running())


def turns(pool, seconds=0.1):
    """Let some time pass, and give what was done in it."""
    done, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        done += pool.completed(0.02)
    return done


@pytest.mark.parametrize(
    ("error", "lost"),
    [(UNAVAILABLE, True), (NODE_DIED, True), (exceptions.RpcError("away"), True), (WORKER_DIED, False)],
)
def test_a_lost_node_is_told_from_a_worker_that_died(error, lost):
    assert is_lost(error) is lost


@pytest.mark.parametrize("error", [UNAVAILABLE, NODE_DIED])
def test_what_a_lost_node_was_at_is_done_next_by_another(pool, cluster, error):
    assert under_way(pool) == [0, 1]
    lost = cluster.end("a", error)
    assert turns(pool) == []
    assert under_way(pool) == [1 - lost]
    cluster.end("b", Status.OK)
    assert [each.key.seed for each in turns(pool)] == [1 - lost]
    assert under_way(pool) == [lost]  # before what has waited longer


def test_a_node_that_joins_takes_the_place_of_a_lost_one(pool, cluster):
    cluster.room = []  # at first there is none
    cluster.end("a", NODE_DIED)
    turns(pool)
    assert len(pool.running()) == 1
    cluster.room = ["c"]
    pool._slots[0].deadline = 0.0  # the start that found no room is given up
    turns(pool)
    assert under_way(pool) == [0, 1]


def test_a_worker_that_died_alone_is_nobodys_loss(pool, cluster):
    seed = cluster.end("a", WORKER_DIED)
    ((found),) = turns(pool)
    assert (found.key.seed, found.status) == (seed, Status.INFRASTRUCTURE)
    assert "the worker broke" in found.message


def test_a_task_that_costs_node_after_node_is_given_up(pool, cluster):
    done, nodes = [], iter("abcdefghij")
    cluster.room = ["a", "b", *"cdefghij"][2:]
    cluster.end("b", Status.OK)
    while not (done := [each for each in done if each.status is not Status.OK]):
        node = next(nodes)
        running = [slot for slot in pool._slots if slot.task and slot.task.key.seed == 0]
        if running:
            cluster.end(running[0].actor.node, NODE_DIED)
        done += turns(pool, 0.05)
        assert node != "j"
    assert (done[0].key.seed, done[0].status) == (0, Status.INFRASTRUCTURE)


def test_a_node_with_another_model_gets_no_work(pool, cluster):
    cluster.introductions["c"] = replace(cluster.introduction, model="another", host="stranger")
    cluster.room = ["c", "d"]
    cluster.end("a", NODE_DIED)
    turns(pool)
    assert "c" in cluster.killed
    assert cluster.options[-1]["label_selector"] == {"ray.io/node-id": "!in(c)"}
    assert under_way(pool) == [0, 1]


def test_where_nobody_is_left_the_pool_waits_and_then_says_so(pool, cluster):
    cluster.room = []
    for node in "ab":
        cluster.end(node, NODE_DIED)
    start = time.monotonic()
    with pytest.raises(PoolError, match=r"no worker is left on Ray at head:1, .* for 0\.2 s: the worker broke"):
        turns(pool, 5.0)
    assert time.monotonic() - start >= PATIENCE_S
    assert under_way(pool) == []


def test_a_head_that_comes_back_is_joined_anew(pool, cluster):
    cluster.silent.add("head:1")
    for node in "ab":
        cluster.end(node, UNAVAILABLE)
    turns(pool, 0.1)
    cluster.silent.clear()
    cluster.room = ["c", "d"]
    turns(pool, 0.1)
    assert cluster.num_joined == 2
    assert under_way(pool) == [0, 1]


def test_the_cluster_is_joined_anew_where_only_our_own_way_in_is_gone(pool, cluster):
    """As after the raylet of a private Ray has died: its head answers, and would wait for a node for ever."""
    cluster.silent.add("node:2")
    cluster.room = ["c", "d"]
    for node in "ab":
        cluster.end(node, UNAVAILABLE)
    turns(pool, 0.03)
    cluster.silent.clear()
    turns(pool, 0.1)
    assert cluster.num_joined > 1
    assert under_way(pool) == [0, 1]


def test_who_is_left_without_a_head_finishes_what_it_is_at_and_no_more(pool, cluster):
    cluster.silent.add("head:1")
    lost = cluster.end("a", WORKER_DIED)
    assert turns(pool) == []  # it is nobody's fault
    assert (len(pool.running()), cluster.num_joined) == (1, 1)
    cluster.end("b", Status.OK)
    assert [each.status for each in turns(pool)] == [Status.OK]
    assert pool.running() == []  # though two wait, and "b" would have taken one
    cluster.silent.clear()
    cluster.room = ["c", "d"]
    turns(pool)
    assert cluster.num_joined == 2
    assert under_way(pool) == sorted([lost, 2])


def test_a_worker_that_was_starting_when_the_head_went_is_not_waited_for(pool, cluster):
    cluster.room = []  # what starts now waits for room
    for node in "ab":
        cluster.end(node, NODE_DIED)
    turns(pool)
    assert all(slot.call is not None and slot.known is None for slot in pool._slots)
    cluster.silent.add("head:1")
    turns(pool, 0.05)
    cluster.silent.clear()
    cluster.room = ["c", "d"]
    turns(pool)
    assert under_way(pool) == [0, 1]


@pytest.mark.parametrize("silent", ["head:1", "node:2"])
def test_an_answer_that_has_no_way_to_us_is_nobodys_fault(pool, cluster, silent):
    cluster.silent.add(silent)
    pool._slots[0].deadline = 0.0
    assert turns(pool) == []
    assert len(pool.running()) == 1
    cluster.silent.clear()
    pool._slots[1].deadline = 0.0
    assert [each.status for each in turns(pool)] == [Status.TIMED_OUT]


def test_a_head_that_does_not_take_the_workers_class_is_left_and_joined_anew(pool, cluster, monkeypatch):
    """It answers whoever knocks. What was at work goes back to the queue, and nobody waits for the head for long."""
    monkeypatch.setattr(asking, "TAKE_S", 0.05)
    cluster.takes = False
    cluster.end("a", NODE_DIED)
    turns(pool, 0.2)
    assert under_way(pool) == []
    monkeypatch.setattr(asking, "TAKE_S", 60.0)
    cluster.room = ["c", "d"]
    cluster.takes = True
    until(lambda: (turns(pool), under_way(pool) == [0, 1])[1], 30.0)
    assert cluster.num_joined > 1


def test_where_the_first_worker_cannot_be_started_in_time_the_pool_says_so(cluster, monkeypatch):
    monkeypatch.setattr(asking, "TAKE_S", 0.05)
    cluster.takes = False
    with pytest.raises(PoolError, match=r"the workers did not start: .* head has not taken an actor's class"):
        pools.RayPool(cluster.settings, Placement(2, "head:1"))
    assert cluster.num_left == 1


def test_whoever_interrupts_a_pool_that_is_joining_leaves_no_cluster_joined(cluster, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(membership, "ends", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pools.RayPool(cluster.settings, Placement(2, "head:1"))
    assert (cluster.num_joined, cluster.num_left) == (1, 1)


def test_a_worker_that_cannot_be_ended_keeps_no_cluster_joined(pool, cluster, monkeypatch):
    monkeypatch.setattr(pools, "forget", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pool.close()
    assert cluster.num_left == 1


def test_unlike_workers_are_refused_at_the_start(cluster):
    other = replace(cluster.introduction.environment, vllm="vllm 0.1", commit="other")
    cluster.introductions["b"] = replace(cluster.introduction, environment=other, host="stranger")
    with pytest.raises(PoolError, match=r"stranger has vllm vllm 0\.1 instead of .*, commit other instead of "):
        pools.RayPool(cluster.settings, Placement(2, "head:1"))
