"""Workers of several kinds in one pool, step by step, on made-up nodes: each kind has its own queue and environment."""

from dataclasses import replace

import pytest

from search.contracts import OfKinds
from search.evaluator import pool as pools
from search.evaluator.arms import MOST_ROUNDS
from search.evaluator.cluster import Placement, PoolError
from search.evaluator.crews import Crew
from search.kinds.wished import is_gpu
from search.records import Status
from tests.search.evaluator.cluster.test_losses import NODE_DIED, PATIENCE_S, Cluster, cluster, turns  # noqa: F401
from tests.search.evaluator.test_pool import task

GPU_LABEL = {"ray.io/accelerator-type": "H100"}
NODES = [
    {"NodeID": "a", "Alive": True, "Resources": {"CPU": 8.0, "GPU": 1.0}, "Labels": GPU_LABEL},
    {"NodeID": "b", "Alive": True, "Resources": {"CPU": 8.0}, "Labels": {}},
    {"NodeID": "c", "Alive": True, "Resources": {"CPU": 8.0}, "Labels": {}},
]


@pytest.fixture
def kinds(cluster, monkeypatch):  # noqa: F811
    """Make the node `a` a machine with an H100, and all others such with another CPU than here."""
    monkeypatch.setattr(pools, "nodes", lambda: NODES)
    cluster.room = ["a", "b", "c"]
    here = cluster.introduction
    gpu = replace(here.environment, device="NVIDIA H100", dtype="bfloat16")
    cluster.introductions["a"] = replace(here, environment=gpu)
    return cluster


def pool_of(kinds, *wishes):
    on_gpus = replace(kinds.settings, memory_bytes=0)
    crews = [
        (on_gpus if is_gpu(kind) else kinds.settings, Placement(num, "head:1", kind, PATIENCE_S))
        for kind, num in wishes
    ]
    return pools.RayPool(*crews[0], further=crews[1:])


@pytest.fixture
def pool(kinds):
    return pool_of(kinds, ("H100", 1), ("CPU", 2))


def seeds(evaluations):
    return sorted(each.key.seed for each in evaluations)


def test_a_pool_is_an_evaluator_of_its_first_kind_beside_others(pool, kinds):
    (further,) = pool.further
    assert isinstance(pool, OfKinds)
    assert (pool.environment.device, pool.num_workers) == ("NVIDIA H100", 1)
    assert (further.environment, further.num_workers) == (kinds.introduction.environment, 2)
    assert further.model_digest == pool.model_digest


def test_workers_are_asked_for_by_kind(pool, kinds):
    assert pool
    gpu, *cpus = kinds.options
    assert gpu == {"num_cpus": 1, "num_gpus": 1, "label_selector": GPU_LABEL}
    assert cpus == [{"num_cpus": 1, "label_selector": {"ray.io/node-id": "!in(a)"}}] * 2


def test_each_kind_does_what_it_is_given_and_nothing_else(pool, kinds):
    (further,) = pool.further
    for seed in range(3):
        pool.submit(task(seed=seed))
    for seed in range(10, 13):
        further.submit(task(seed=seed))
    assert ([key.seed for key in pool.running()], [key.seed for key in further.running()]) == ([0], [10, 11])
    kinds.end("a", Status.OK)
    assert seeds(further.completed(0.1)) == []
    assert seeds(pool.completed(0.1)) == [0]
    kinds.end("c", Status.OK)
    assert seeds(pool.completed(0.1)) == []  # it does not wait out its time: there is something for the other
    assert seeds(further.completed(0.1)) == [11]
    assert ([key.seed for key in pool.running()], [key.seed for key in further.running()]) == ([1], [10, 12])


def test_what_a_lost_node_was_at_goes_to_its_own_kind(pool, kinds):
    (further,) = pool.further
    pool.submit(task(seed=0))
    for seed in (10, 11, 12):
        further.submit(task(seed=seed))
    kinds.room = []
    lost = kinds.end("b", NODE_DIED)
    turns(pool, 0.05)
    other = kinds.end("c", Status.OK)
    turns(pool, 0.05)
    assert seeds(further.completed(0.0)) == [other]
    assert [key.seed for key in further.running()] == [lost]
    assert [key.seed for key in pool.running()] == [0]


def test_a_further_kind_that_is_away_for_long_stops_nobody_and_is_taken_in_again(pool, kinds):
    (further,) = pool.further
    pool.submit(task(seed=0))
    for seed in (10, 11):
        further.submit(task(seed=seed))
    kinds.room = []
    kinds.end("b", NODE_DIED)
    kinds.end("c", NODE_DIED)
    turns(pool, 2 * PATIENCE_S)
    given_up = further.completed(0.0)
    assert seeds(given_up) == [10, 11]
    assert {each.status for each in given_up} == {Status.INFRASTRUCTURE}
    assert "no worker of kind CPU is left on Ray at head:1" in given_up[0].message
    kinds.end("a", Status.OK)
    assert seeds(pool.completed(0.1)) == [0]
    kinds.room = ["c"]
    for slot in pool._slots[1:]:
        slot.deadline = 0.0  # the starts that found no room are given up
    pool.submit(task(seed=1))
    turns(pool)
    further.submit(task(seed=12))
    assert [key.seed for key in further.running()] == [12]


def test_where_the_kind_that_decides_is_away_for_long_the_run_ends(pool, kinds):
    (further,) = pool.further
    further.submit(task(seed=10))
    pool.submit(task(seed=0))
    kinds.room = []
    kinds.end("a", NODE_DIED)
    with pytest.raises(PoolError, match="no worker of kind H100 is left"):
        turns(pool, 3 * PATIENCE_S)


def test_a_wish_that_no_node_satisfies_is_answered_before_any_worker_starts(kinds):
    with pytest.raises(PoolError) as refused:
        pool_of(kinds, ("H100", 1), ("H200", 2))
    assert str(refused.value) == (
        "2 workers need as many GPUs of kind H200, each with a CPU core, but Ray at head:1 has 0 (its nodes: 2 of kind "
        "CPU with 16 CPUs, 1 of kind H100 with 1 GPUs and 8 CPUs); ask for fewer workers or for another kind"
    )
    assert kinds.options == []


def test_kinds_that_measure_alike_are_refused(kinds):
    kinds.introductions["a"] = kinds.introduction
    with pytest.raises(PoolError, match="the kinds H100 and CPU are the same device with the same software"):
        pool_of(kinds, ("H100", 1), ("CPU", 1))


def test_machines_of_one_kind_that_differ_are_refused(kinds):
    other = replace(kinds.introduction.environment, device="another Xeon")
    kinds.introductions["c"] = replace(kinds.introduction, environment=other)
    with pytest.raises(PoolError, match="the workers' machines differ: host has device another Xeon instead of"):
        pool_of(kinds, ("H100", 1), ("CPU", 2))


def test_who_waits_while_others_time_alone_has_the_time_for_it(kinds):
    def seconds(num_workers, *, alone):
        return Crew(replace(kinds.settings, timed_alone=alone), Placement(num_workers)).stage_s(task())

    assert seconds(1, alone=True) == seconds(5, alone=False) == seconds(1, alone=False)
    own = kinds.settings.limits.serve_round_s * 2 * MOST_ROUNDS
    assert seconds(5, alone=True) - seconds(1, alone=True) == 4 * own
