"""Questions on real engines: answers are decoded sparsely, and a covering budget answers as dense attention does."""

import pytest

from vortex_dsl import zoo

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

LENGTH, NUM_PROMPTS = 720, 3
ASKED = {
    "stage": "retrieval", "num_tokens": LENGTH, "num_sequences": NUM_PROMPTS, "lengths": [LENGTH],
    "source": "needle:values:variables",
}  # fmt: skip
COVERING, FEW = [["pages", 64], ["dense_layers", 0]], [["pages", 2], ["dense_layers", 0]]


@pytest.fixture(scope="module")
def sparse(start_host, tiny_llama):
    return start_host("sparse", tiny_llama, max_tokens=1024)


@pytest.fixture(scope="module")
def dense(start_host, tiny_llama):
    """Give what vLLM's own backend answers, which prefills the same prompts."""
    host = start_host("dense", tiny_llama, max_tokens=1024)
    return host.call("retrieval", text="", values=[], workload=ASKED, seed=0)["result"]


def answered(host, program, values, **changes):
    return host.call("retrieval", text=zoo.text(program), values=values, workload=ASKED | changes, seed=0)


def figures(reply):
    return {name: value for name, value, *_ in reply["result"]["measurements"]}


def test_dense_answers_all_and_reads_no_page_of_ours(dense):
    assert [row[:3] for row in dense["questions"]] == [
        *[[0, "needle", LENGTH]] * 4,
        [1, "values", LENGTH],
        [2, "variables", LENGTH],
    ]
    assert dense["measurements"] == []


@pytest.mark.parametrize(("program", "values"), [("dense", []), ("quest", COVERING), ("centroid", COVERING)])
def test_a_covering_budget_answers_as_dense_does(sparse, dense, program, values):
    found = answered(sparse, program, values)["result"]
    assert (found["answers"], found["questions"]) == (dense["answers"], dense["questions"])
    if values:
        read = {name: value for name, value, *_ in found["measurements"]}
        assert read["pages_attended"] == read["pages_dense"] > 30


def test_every_token_that_is_judged_had_a_sparse_read(sparse):
    """In every layer, and of few pages."""
    found = answered(sparse, "random_pages", FEW)
    assert figures(found)["sparse_layers"] == 3
    assert 2 <= figures(found)["pages_attended"] <= 5 < 30 < figures(found)["pages_dense"]


def test_answers_without_a_sparse_read_do_not_count(sparse):
    reply = answered(sparse, "quest", [["dense_layers", 3]])
    assert (reply["status"], "lower dense_layers" in reply["message"]) == ("not_sparse", True)


def test_prompts_that_were_kept_are_asked_alone_and_answered_alike(sparse):
    """Of a kind that is dropped nothing is decoded, and the others' answers stay as they are."""
    whole = answered(sparse, "quest", FEW)["result"]["questions"]
    text = zoo.text("quest")
    some = sparse.call("retrieval", text=text, values=FEW, workload=ASKED, seed=0, asked=[0, 2])["result"]["questions"]
    assert some == [row for row in whole if row[0] != 1]


def test_a_kind_that_does_not_fit_a_length_is_left_out_there_alone(sparse):
    """Needles take more than 384 tokens, and all else is asked at both lengths."""
    found = answered(sparse, "quest", FEW, lengths=[LENGTH, 384], num_sequences=6)["result"]
    assert [row[1:3] for row in found["questions"]] == [
        *[["needle", LENGTH]] * 4,
        *([kind, length] for length in (LENGTH, 384) for kind in ("values", "variables")),
    ]
    assert found["left_out"].startswith("needle at 384 (takes about ")


def test_programs_in_turn_answer_what_they_answered_alone(sparse):
    first = answered(sparse, "quest", FEW)
    answered(sparse, "velocity", [])
    assert answered(sparse, "quest", FEW) == first


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"num_tokens": 1500, "lengths": [1500]}, "of 1500 tokens are asked, but the engine takes 1024"),
        ({"num_tokens": 200, "lengths": [200]}, "no passage fits: needle at 200"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(sparse, changes, says):
    reply = answered(sparse, "quest", FEW, **changes)
    assert (reply["status"], says in reply["message"]) == ("unsupported", True)
