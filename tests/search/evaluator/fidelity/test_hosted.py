"""Fidelity in real engines: what is forced, what is heard, and that every position had a sparse read."""

import re

import pytest
import torch

from search.evaluator.fidelity.files import reference_path
from search.evaluator.fidelity.given import keep_text
from search.evaluator.fidelity.reference import read
from search.evaluator.fidelity.texts import document_tokens
from search.evaluator.probe import MODEL_FOLDER
from vortex_dsl import zoo

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

NAME = "of-these-texts"
LENGTHS = (400, 300)
NUM_TEXTS, NUM_DECODED = 4, 9
POSITIONS = NUM_TEXTS * (NUM_DECODED - 1)


def compare(host, program, values=(), **asked):
    return host.call("fidelity", text=zoo.text(program), values=values, name=NAME, **asked)


def room_of(host, workload):
    """Give the tokens that an engine's KV cache holds, as the refusal of a larger document tells it."""
    lengths = (400,) * 1000
    big = host.call("fidelity_reference", workload=workload | {"lengths": lengths}, seed=0, name="none")
    assert (big["status"], "raise kv_cache_bytes" in big["message"]) == ("infrastructure", True)
    return int(re.search(r"the KV cache holds (\d+)", big["message"])[1])


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def workload(home):
    """What the probe model was made for, as a file: keys with their values, again and again."""
    pairs = [f"s{i * 7 % 512} s{i * 11 % 512} ;" for i in range(2000)]
    return {
        "stage": "fidelity", "num_tokens": max(LENGTHS), "num_sequences": NUM_TEXTS, "lengths": LENGTHS,
        "num_decoded": NUM_DECODED, "source": keep_text(" ".join(pairs), home),
    }  # fmt: skip


@pytest.fixture(scope="module")
def reference(start_host, home, workload):
    """Give what vLLM's own backend says to the texts."""
    dense = start_host("dense", MODEL_FOLDER, home=home, max_tokens=1024)
    try:
        reply = dense.call("fidelity_reference", workload=workload, seed=0, name=NAME)
        assert reply == {"result": {"num_texts": NUM_TEXTS}}
        short = dense.call("fidelity_reference", workload=workload | {"num_sequences": 64}, seed=0, name="none")
        assert (short["status"], "ask for fewer or shorter texts" in short["message"]) == ("infrastructure", True)
        long = dense.call("fidelity_reference", workload=workload | {"num_decoded": 700}, seed=0, name="none")
        assert (long["status"], "raise max_tokens" in long["message"]) == ("infrastructure", True)
        assert room_of(dense, workload) > 10_000
    finally:
        dense.close()
    return read(reference_path(NAME, home))


@pytest.fixture(scope="module")
def sparse(start_host, home, reference):
    return start_host("sparse", MODEL_FOLDER, home=home, max_tokens=1024)


def figures(reply):
    return {name: value for name, value, *_ in reply["result"]["measurements"]}


def test_forced_decode_says_what_prefill_of_the_same_text_says(reference):
    """Against transformers, which sees each whole text at once."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(MODEL_FOLDER, dtype=torch.float32).eval()
    for text, said in zip(reference.texts, reference.log_probabilities, strict=True):
        with torch.inference_mode():
            whole = model(torch.tensor([text.prompt + text.forced])).logits[0].log_softmax(-1)
        first = len(text.prompt)  # the first token that is forced was predicted at the prompt's last
        torch.testing.assert_close(said, whole[first : first + NUM_DECODED - 1], atol=1e-3, rtol=0)
        own = whole[first - 1 : first + NUM_DECODED - 1].argmax(-1).tolist()
        assert (tuple(own) == text.forced) == (text.kind == "own")
    assert [text.kind for text in reference.texts] == ["file", "own", "own", "file"]


@pytest.mark.parametrize(("program", "values"), [("dense", []), ("quest", [["pages", 512], ["dense_layers", 0]])])
def test_a_covering_budget_changes_nothing(sparse, program, values):
    found = figures(compare(sparse, program, values))
    assert 0 <= found["kl"] < 1e-6
    assert found["agreement"] == 1.0
    assert found["perplexity_ratio"] == pytest.approx(1.0, abs=1e-3)


def test_a_small_budget_costs_and_a_blind_one_costs_more(sparse):
    few = [["pages", 2], ["dense_layers", 0]]
    reply, blind = compare(sparse, "quest", few), figures(compare(sparse, "random_pages", few))
    found = figures(reply)
    assert 1e-4 < found["kl"] < blind["kl"]
    assert found["pages_attended"] < found["pages_dense"]
    assert {"kl_400", "kl_300", "kl_file", "kl_own", "kl_third_1", "kl_third_2", "kl_third_3"} < set(found)
    assert reply["result"]["message"] == f"{POSITIONS} positions in 4 texts from 2 documents"
    assert len(reply["result"]["correct"]) == POSITIONS
    assert reply["result"]["correct"].count("1") / POSITIONS == pytest.approx(found["agreement"])


def test_programs_in_turn_find_what_they_found_alone(sparse):
    few = [["pages", 2], ["dense_layers", 0]]
    first = compare(sparse, "quest", few)
    compare(sparse, "velocity")
    assert compare(sparse, "quest", few) == first


def test_a_position_without_a_sparse_read_does_not_count(sparse):
    reply = compare(sparse, "quest", [["dense_layers", 8]])
    assert (reply["status"], "lower dense_layers" in reply["message"]) == ("not_sparse", True)


def test_documents_that_do_not_fit_at_once_take_turns(start_host, sparse, home, workload):
    """The same figures as side by side, and a covering budget is still no change."""
    lengths, few = (900, 800), [["pages", 2], ["dense_layers", 0]]
    each = document_tokens(lengths, NUM_DECODED)
    asked = workload | {"lengths": lengths, "num_tokens": max(lengths)}
    small = {"home": home, "max_tokens": 1024, "kv_cache_bytes": 5 << 20}
    dense, turning = (start_host(role, MODEL_FOLDER, **small) for role in ("dense", "sparse"))
    try:
        assert each <= room_of(dense, workload) < 2 * each
        assert dense.call("fidelity_reference", workload=asked, seed=0, name="in turns") == {"result": {"num_texts": 4}}
        for program, values in (("dense", []), ("quest", few)):
            told = {"text": zoo.text(program), "values": values, "name": "in turns"}
            together, found = (figures(host.call("fidelity", **told)) for host in (sparse, turning))
            assert found == pytest.approx(together, rel=1e-3, abs=1e-7)
            assert found["kl"] < 1e-6 if program == "dense" else found["kl"] > 1e-4
    finally:
        dense.close()
        turning.close()
