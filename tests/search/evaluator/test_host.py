"""The engine host: programs take turns in one vLLM, and each answers as if it were alone."""

import pytest

from search.evaluator.host import answer
from search.evaluator.probe import MODEL_FOLDER
from search.evaluator.session import Session
from search.evaluator.speed.prompts import NUM_TOKENS
from vortex_dsl import zoo

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

PROBE = {"stage": "probe", "num_tokens": 500, "num_sequences": 8}
SERVE = {"stage": "serve", "num_tokens": 1000, "num_sequences": 4}
BUDGET = [["pages", 2], ["dense_layers", 0]]


@pytest.fixture(scope="module")
def host(start_host):
    return start_host("sparse", MODEL_FOLDER, max_tokens=2048)


def probe(host, program, values=BUDGET, seed=3):
    return host.call("probe", text=zoo.text(program), values=values, workload=PROBE, seed=seed)


def measured(reply):
    return {name: value for name, value, *_ in reply["result"]["measurements"]}


def test_start_tells_where_it_runs(host):
    assert "cpu" in host.started["result"]["environment"]["torch"]
    assert host.started["result"]["environment"]["dtype"] == "float32"


def test_programs_in_turn_answer_as_in_a_fresh_engine(host, start_host):
    """A, B, A in one engine and A alone in another: the same tokens for A, and others for B."""
    first, other, again = probe(host, "quest"), probe(host, "random_pages"), probe(host, "quest")
    fresh = start_host("sparse", MODEL_FOLDER, max_tokens=2048)
    alone = probe(fresh, "quest")
    fresh.close()
    assert first["result"]["answers"] == again["result"]["answers"] == alone["result"]["answers"]
    assert other["result"]["answers"] != first["result"]["answers"]
    figures = measured(first)
    assert 0 < figures["pages_attended"] < figures["pages_dense"]


def test_dense_and_a_covering_budget_give_the_same_answers(host, start_host):
    """vLLM's own backend in its own process, and our backend reading every page."""
    dense = start_host("dense", MODEL_FOLDER, max_tokens=2048)
    own = dense.call("probe", text="", values=[], workload=PROBE, seed=3)
    dense.close()
    assert own["result"]["answers"] == probe(host, "dense", [])["result"]["answers"]
    assert own["result"]["answers"] == probe(host, "quest", [["pages", 1024]])["result"]["answers"]


def test_a_round_of_serving_counts_pages_and_times_steps(host):
    reply = host.call("serve_round", text=zoo.text("centroid"), values=BUDGET, workload=SERVE, seed=1)["result"]
    assert len(reply["step_ms"]) == NUM_TOKENS - 1
    assert reply["num_tokens"] == (NUM_TOKENS - 1) * SERVE["num_sequences"]
    assert reply["pages_attended"] == pytest.approx(5)
    assert reply["pages_dense"] > 60
    assert 0 < reply["attention_s"] < reply["processor_s"]


def test_prompts_of_several_lengths_are_decoded_together(host):
    asked = SERVE | {"lengths": [400, 700, 1000]}
    reply = host.call("serve_round", text=zoo.text("centroid"), values=BUDGET, workload=asked, seed=1)["result"]
    assert reply["num_tokens"] == (NUM_TOKENS - 1) * SERVE["num_sequences"]
    assert reply["pages_dense"] == pytest.approx((400 + 700 + 1000 + 400) / 4 / 16, rel=0.05)


@pytest.mark.parametrize(("program", "chooser"), [("quest", "tape"), ("velocity", None), ("dense", "tape")])
def test_what_serves_is_judged_beside_the_running_engine(host, program, chooser):
    """In caches of its own: the engine's answers stay what they were."""
    before = probe(host, "quest")["result"]["answers"]
    reply = host.call("oracle", text=zoo.text(program), values=[], seed=1)["result"]
    figures = {name: value for name, value, *_ in reply["measurements"]}
    assert reply["message"].startswith(f"served by {chooser or ''}")
    assert "C++" in reply["message"]
    assert figures["served_rows"] > 50
    assert figures["served_error_float32"] < 2e-5
    assert probe(host, "quest")["result"]["answers"] == before


def test_recall_is_measured_on_what_the_engine_recorded_by_a_process_without_one(host, tmp_path):
    """Of all layers, several decode steps and two lengths; the oracle recalls all, and chance less."""
    file = str(tmp_path / "recordings" / "chains.safetensors")
    workload = PROBE | {"stage": "recall", "num_sequences": 4, "lengths": [250, 500]}
    before = probe(host, "quest")["result"]["answers"]
    assert host.call("record", file=file, workload=workload, seed=1)["result"] == {"num_texts": 4, "num_asked": 4}
    assert probe(host, "quest")["result"]["answers"] == before
    light = Session("light")

    def recall(program, values=BUDGET):
        request = {"call": "recall", "args": {"file": file, "text": zoo.text(program), "values": values}}
        return measured(answer(light, request))

    best, chance, dense = recall("oracle_mass"), recall("random_pages"), recall("dense", [])
    assert 0.95 < best["recall"] <= 1  # the oracle adds up what heads weigh before each is normalised, recall after
    assert chance["recall"] < 0.7
    assert best["output_error"] < chance["output_error"]
    assert (dense["mass"], dense["output_error"]) == (pytest.approx(1), pytest.approx(0, abs=1e-5))
    layers = [name for name in best if name.startswith("mass_layer_")]
    assert "mass_layer_0" in layers
    assert {"mass_241", "mass_491"} <= set(best), "prompts leave room for their answers"


@pytest.mark.parametrize("program", ["velocity", "index_reuse", "step_reuse"])
def test_what_a_program_remembers_ends_with_its_turn(host, program):
    """The same answers whatever ran before: states and stored choices belong to requests of one program."""
    first = probe(host, program)["result"]["answers"]
    probe(host, "quest")
    assert probe(host, program)["result"]["answers"] == first


@pytest.mark.parametrize(
    ("text", "values", "status", "words"),
    [
        ("class Broken(\n", [], "program_error", "1"),
        (zoo.text("quest"), [["dense_layers", 8]], "not_sparse", "lower dense_layers"),
        (zoo.text("quest"), [["page_size", 32]], "unsupported", "page_size 32"),
    ],
)
def test_what_cannot_be_served_has_a_status_and_a_sentence(host, text, values, status, words):
    reply = host.call("probe", text=text, values=values, workload=PROBE, seed=3)
    assert reply["status"] == status
    assert words in reply["message"]
    assert "result" in probe(host, "quest"), "the host goes on"


def test_a_program_that_needs_more_room_than_reserved_is_unsupported(host):
    text = '''from vortex_dsl import Program, topk


class Wide(Program):
    """Keep whole keys in float32."""

    def summarize(self, k, v):
        return {"keys": k.to("float32")}

    def select(self, q, page):
        return topk((q * page.keys).sum("dim").max("token", "head"), 2)
'''
    reply = host.call("probe", text=text, values=[], workload=PROBE, seed=3)
    assert reply["status"] == "unsupported"
    assert "field_bytes" in reply["message"]
