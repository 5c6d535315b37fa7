"""Prompts that dense attention prefilled and a sparse engine did not, in real engines."""

import pytest

from search.evaluator.fidelity.given import keep_text
from search.evaluator.probe import MODEL_FOLDER
from vortex_dsl import zoo

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

SETTINGS = {"max_tokens": 1024, "page_size": 32}
FEW = [["pages", 2], ["dense_layers", 0], ["page_size", 32]]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def asked(home):
    """Give a workload of two documents in two lengths, in the words of the probe's model."""
    pairs = [f"s{i * 7 % 512} s{i * 11 % 512} ;" for i in range(2000)]
    workload = {
        "stage": "fidelity", "num_tokens": 400, "num_sequences": 4, "lengths": [300, 400], "num_decoded": 20,
        "source": keep_text(" ".join(pairs), home),
    }  # fmt: skip
    return {"workload": workload, "seed": 0}


@pytest.fixture(scope="module")
def files(start_host, home, asked):
    """Let vLLM's own backend prefill and decode, with pages of another size."""
    dense = start_host("dense", MODEL_FOLDER, home=home, max_tokens=1024)
    told = dense.call("prefill", **asked, circumstances="here")["result"]
    assert told["num_prompts"] == 4
    assert "result" in dense.call("fidelity_reference", **asked, name="said")
    return told["files"]


def test_prompts_that_were_kept_for_another_workload_are_found(start_host, home, asked, files):
    longest = asked["workload"] | {"num_sequences": 2, "lengths": [400]}
    sparse = start_host("sparse", MODEL_FOLDER, home=home, **SETTINGS)

    def kept(workload, circumstances="here"):
        return sparse.call("kept", workload=workload, seed=0, circumstances=circumstances)["result"]["files"]

    assert sorted(kept(longest)) == sorted(files)
    assert kept(longest, "elsewhere") == kept(longest | {"num_sequences": 3}) == []


def kl(host, program):
    reply = host.call("fidelity", text=zoo.text(program), values=FEW, name="said")
    return reply["result"]["measurements"][0][1]


def test_a_program_serves_what_others_prefilled_as_what_its_engine_prefilled(start_host, home, asked, files):
    """Fields too: a rule that found none would choose other pages."""
    assert len(files) == 2  # the shorter prompts are beginnings of the longer ones
    assert {path.name for path in (home / "prefilled").glob("*.safetensors")} == set(files)
    shared, alone = (start_host("sparse", MODEL_FOLDER, home=home, **SETTINGS) for _ in range(2))
    assert shared.call("prefill", **asked, circumstances="here")["result"] == {"num_prompts": 4, "files": files}
    assert alone.call("prefill", **asked, circumstances="elsewhere")["result"] == {"num_prompts": 4, "files": []}
    for program in ("quest", "centroid"):
        assert kl(shared, program) == pytest.approx(kl(alone, program), rel=1e-3)
    assert kl(shared, "random_pages") != pytest.approx(kl(shared, "quest"), rel=0.1)
