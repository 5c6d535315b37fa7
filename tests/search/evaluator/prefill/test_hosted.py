"""Prompts that dense attention prefilled and a sparse engine did not, in real engines."""

import pytest

from vortex_dsl import zoo

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

ASKED = {
    "stage": "retrieval", "num_tokens": 720, "num_sequences": 3, "lengths": [720], "source": "needle:values:variables",
}  # fmt: skip
SETTINGS = {"max_tokens": 1024, "page_size": 32}
PROMPTS = {"workload": ASKED, "seed": 0, "circumstances": "here"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def files(start_host, tiny_llama, home):
    """Let vLLM's own backend prefill, with pages of another size, and close it."""
    dense = start_host("dense", tiny_llama, home=home, max_tokens=1024)
    told = dense.call("prefill", **PROMPTS)["result"]
    assert told["num_prompts"] == 3
    return told["files"]


def answers(host, program):
    few = [["pages", 2], ["dense_layers", 0]]
    return host.call("retrieval", text=zoo.text(program), values=few, workload=ASKED, seed=0)["result"]["answers"]


def test_a_program_serves_what_others_prefilled_as_what_its_engine_prefilled(start_host, tiny_llama, home, files):
    """Fields too: a rule that found none would choose other pages."""
    assert len(files) == 3
    assert {path.name for path in (home / "prefilled").glob("*.safetensors")} == set(files)
    shared = start_host("sparse", tiny_llama, home=home, **SETTINGS)
    assert shared.call("prefill", **PROMPTS)["result"] == {"num_prompts": 3, "files": files}
    alone = start_host("sparse", tiny_llama, **SETTINGS)
    assert alone.call("prefill", **PROMPTS)["result"] == {"num_prompts": 3, "files": []}
    for program in ("quest", "centroid"):
        assert answers(shared, program) == answers(alone, program)
    assert answers(shared, "quest") != answers(shared, "random_pages")
