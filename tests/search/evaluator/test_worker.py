"""A worker turns whatever happens to its engines into an evaluation, and times both arms side by side."""

import json
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from search.evaluator.arms import Arms, TimeLimits, WorkerSettings
from search.evaluator.engine import EngineSettings
from search.evaluator.worker import Worker
from search.records import EvaluationKey, EvaluationTask, Stage, Status, Workload
from search.workloads import screening

FAKE_HOST = (sys.executable, str(Path(__file__).with_name("fake_host.py")))

PROGRAM = '''from vortex_dsl import Choice, Program, topk


class Told(Program):
    """{told} pages."""

    page_size = Choice({page_size}, (16, 32))

    def summarize(self, k, v):
        return {{{fields}}}

    def select(self, q, page):
        return topk({score}, 4)
'''


def program(told="good", page_size=16, num_fields=1):
    """Give a program that keeps `num_fields` vectors per page."""
    fields = ", ".join(f'"f{i}": k.mean("token") + {i}.5' for i in range(num_fields))
    score = " + ".join(f'(q * page.f{i}).sum("dim").max("head") * {i + 1}' for i in range(num_fields))
    return PROGRAM.format(told=told, page_size=page_size, fields=fields, score=score)


def task(text, stage=Stage.PROBE, repeats=1, seed=0, fresh=False, values=()):
    workload = Workload(stage, num_tokens=64, num_sequences=2, repeats=repeats)
    key = EvaluationKey("p", stage, workload.digest, "m", "e", "1", seed)
    return EvaluationTask(key, text, values, workload, fresh)


@pytest.fixture
def settings(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    config = {"num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 128}
    (model / "config.json").write_text(json.dumps(config))
    return WorkerSettings(
        engine=EngineSettings(model=str(model), sparse=True, max_tokens=2048, field_bytes=256),
        scratch=tmp_path / "scratch",
        shape=(2, 32),
        limits=TimeLimits(
            start_s=10, oracle_s=0.4, recall_s=10, probe_s=10, serve_round_s=10, fidelity_s=0.4, retrieval_s=0.4
        ),
        host_command=FAKE_HOST,
    )


@pytest.fixture
def worker(settings):
    worker = Worker(settings)
    yield worker
    worker.close()


def requests(settings, *calls):
    lines = (settings.scratch / "requests.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    return [each for each in found if each["call"] in (calls or ("start",))]


@pytest.mark.parametrize(("stage", "name", "value"), [("oracle", "cases", 6), ("recall", "recall", 0.75)])
def test_measurements_come_back_as_told(worker, stage, name, value):
    evaluation = worker.run(task(program(), Stage(stage)))
    assert (evaluation.status, evaluation.value(name)) == (Status.OK, value)
    assert evaluation.elapsed_s > 0


def test_an_evaluation_says_what_served(worker):
    assert worker.run(task(program(), Stage.ORACLE)).message == "served by nobody"
    assert not worker.run(task(program(), Stage.RECALL)).message


def test_a_probe_gives_its_hops_and_what_was_asked_reaches_the_host(worker, settings):
    asked = task(program(), values=(("page_size", 16),), seed=7)
    evaluation = worker.run(asked)
    assert (evaluation.status, evaluation.correct, evaluation.key) == (Status.OK, "0110", asked.key)
    assert evaluation.measurement("accuracy").low == 0.2
    start, probe = requests(settings, "start", "probe")
    assert start["args"]["page_size"] == 16
    assert start["args"]["field_bytes"] == 256
    assert "sparse" not in start["args"]
    assert probe["args"]["values"] == [["page_size", 16]]
    assert probe["args"]["seed"] == 7
    assert Workload(**probe["args"]["workload"]).digest == asked.workload.digest


def test_a_program_that_does_not_load_starts_no_engine(worker, settings):
    evaluation = worker.run(task("import os\n"))
    assert evaluation.status is Status.PROGRAM_ERROR
    assert ":1:1:" in evaluation.message
    assert not (settings.scratch / "requests.jsonl").exists()


def test_the_check_needs_no_engine_either(worker, settings):
    evaluation = worker.run(task(program(num_fields=1), Stage.CHECK))
    assert evaluation.value("bytes_per_page") >= 64
    assert not (settings.scratch / "requests.jsonl").exists()


def test_one_engine_hosts_programs_in_turn(worker, settings):
    for stage in (Stage.ORACLE, Stage.RECALL, Stage.PROBE):
        for told in ("good", "better"):
            assert worker.run(task(program(told), stage)).status is Status.OK
    assert [r["role"] for r in requests(settings)] == ["sparse", "dense"]


def test_recall_is_recorded_once_and_measured_without_an_engine(worker, settings):
    """Whatever the program and the ratio it is fitted to; another seed has other texts."""
    told = task(program(), Stage.RECALL)
    for each in (told, replace(told, workload=replace(told.workload, ratio=8.0)), task(program("b"), Stage.RECALL)):
        assert worker.run(each).status is Status.OK
    assert worker.run(task(program(), Stage.RECALL, seed=1)).status is Status.OK
    assert [r["role"] for r in requests(settings, "record")] == ["sparse", "sparse"]
    measured = [r for r in requests(settings, "recall") if r["args"].get("text")]
    assert [r["role"] for r in measured] == ["light"] * 4
    files = [r["args"]["file"] for r in measured]
    assert files[0] == files[1] == files[2] != files[3]
    assert [r["role"] for r in requests(settings)] == ["dense", "sparse"]


def test_the_screen_shares_the_recording_of_recall_and_may_say_that_a_program_is_junk(worker, settings):
    asked = task(program(), Stage.RECALL)
    workload = replace(screening(asked.workload), ratio=8.0)
    key = replace(asked.key, stage=Stage.SCREEN, workload_digest=workload.digest)
    found = worker.run(replace(asked, key=key, workload=workload))
    assert (found.status, found.message, found.answers) == (Status.BELOW_GATE, "junk", "ab" * 128)
    assert (found.value("mass"), found.ratio, found.key) == (0.9, 8.0, key)
    assert worker.run(asked).status is Status.OK
    (record,) = requests(settings, "record")
    assert Workload(**record["args"]["workload"]) == replace(asked.workload, ratio=0.0)
    (screened, recalled) = [r for r in requests(settings, "screen", "recall") if r["args"].get("text")]
    assert (screened["role"], screened["args"]["file"]) == ("light", recalled["args"]["file"])


def test_what_breaks_recall_leaves_the_engine_alone_and_is_tried_in_a_fresh_process(worker, settings):
    assert worker.run(task(program(), Stage.RECALL)).status is Status.OK
    assert worker.run(task(program("spoiled"), Stage.RECALL)).status is Status.OK
    spoiled = [r for r in requests(settings, "recall") if "spoiled" in r["args"].get("text", "")]
    assert len(spoiled) == 2
    assert worker.run(task(program("crash"), Stage.RECALL)).status is Status.CRASHED
    assert worker.run(task(program(), Stage.RECALL)).status is Status.OK
    assert [r["role"] for r in requests(settings)] == ["dense", "sparse"]


def test_recordings_that_cannot_be_read_are_our_fault(worker, settings):
    assert worker.run(task(program(), Stage.RECALL)).status is Status.OK
    worker.close()
    for file in (settings.scratch / "recordings").glob("*.safetensors"):
        file.write_text("something else")
    evaluation = worker.run(task(program(), Stage.RECALL))
    assert evaluation.status is Status.INFRASTRUCTURE
    assert "these are no recordings" in evaluation.message


@pytest.mark.parametrize("stage", [Stage.FIDELITY, Stage.RETRIEVAL])
@pytest.mark.parametrize(
    ("told", "status", "says"),
    [
        ("refused", Status.UNSUPPORTED, "no room"),
        ("wrong", Status.WRONG_RESULT, "page 3"),
        ("crash", Status.CRASHED, "the kernel read beyond its page"),
        ("hang", Status.TIMED_OUT, "0.4 s"),
        ("good", Status.OK, ""),
    ],
)
def test_what_a_program_does_in_an_accuracy_stage_is_its_status(worker, settings, stage, told, status, says):
    """And nothing against dense attention, which has answered before and is not asked again."""
    evaluation = worker.run(task(program(told), stage))
    assert (evaluation.status, says in evaluation.message) == (status, True)
    assert worker.run(task(program("better"), stage)).status is Status.OK
    asked = {Stage.FIDELITY: "fidelity_reference", Stage.RETRIEVAL: "retrieval"}[stage]
    assert [r["role"] for r in requests(settings, asked)].count("dense") == 1


def test_what_dense_attention_refuses_says_nothing_about_a_program(worker, settings):
    """Its engine stays; where questions are only one of several yardsticks, programs go on without them."""
    workload = replace(task("").workload, source="unaskable")
    for stage, status in ((Stage.FIDELITY, Status.UNSUPPORTED), (Stage.RETRIEVAL, Status.OK)):
        asked = task(program(), stage)
        evaluation = worker.run(replace(asked, workload=replace(workload, stage=stage)))
        assert (evaluation.status, evaluation.measurements) == (status, ())
        assert evaluation.message.endswith("no room")
    assert [r["role"] for r in requests(settings)].count("dense") == 1


def test_a_hang_is_timed_out_and_the_next_gets_a_fresh_engine(worker, settings):
    evaluation = worker.run(task(program("hang"), Stage.ORACLE))
    assert evaluation.status is Status.TIMED_OUT
    assert "0.4 s" in evaluation.message
    assert worker.run(task(program())).status is Status.OK
    assert len(requests(settings)) == 2


def test_a_crash_comes_with_the_last_words(worker, settings):
    evaluation = worker.run(task(program("crash")))
    assert evaluation.status is Status.CRASHED
    assert "the kernel read beyond its page" in evaluation.message
    assert worker.run(task(program())).status is Status.OK
    assert len(requests(settings)) == 2


def test_a_crash_in_a_used_engine_is_tried_in_a_fresh_one(worker, settings):
    assert worker.run(task(program())).status is Status.OK
    assert worker.run(task(program("spoiled"))).status is Status.OK
    assert worker.run(task(program("crash"))).status is Status.CRASHED
    assert len(requests(settings)) == 3


def test_a_memory_hog_ends_as_out_of_memory(settings):
    worker = Worker(replace(settings, memory_bytes=1 << 30))
    try:
        assert worker.run(task(program("hog"))).status is Status.OUT_OF_MEMORY
    finally:
        worker.close()


def test_refusals_keep_their_status_and_only_harmful_ones_cost_the_engine(worker, settings):
    refused = worker.run(task(program("refused")))
    assert (refused.status, refused.message) == (Status.UNSUPPORTED, "no room")
    worker.run(task(program()))
    assert len(requests(settings)) == 1
    assert worker.run(task(program("wrong"))).status is Status.WRONG_RESULT
    worker.run(task(program()))
    assert len(requests(settings)) == 2


def test_a_figure_that_is_no_number_is_a_wrong_result(worker):
    evaluation = worker.run(task(program("nan")))
    assert evaluation.status is Status.WRONG_RESULT
    assert "accuracy" in evaluation.message
    assert evaluation.measurements == ()


def test_another_page_size_or_more_field_bytes_get_a_new_engine(worker, settings):
    worker.run(task(program()))
    worker.run(task(program(page_size=32)))
    worker.run(task(program(page_size=16, num_fields=5)))
    worker.run(task(program(page_size=16)))
    assert [r["args"]["page_size"] for r in requests(settings)] == [16, 32, 16]
    assert requests(settings)[2]["args"]["field_bytes"] >= 5 * 64
    worker.run(task(program(page_size=32), Stage.ORACLE))
    assert len(requests(settings)) == 3


def test_a_fresh_engine_has_hosted_nothing_but_those_that_want_one(worker, settings):
    """Leaders are confirmed in one engine, which no candidate was in before."""
    worker.run(task(program()))
    worker.run(task(program(), fresh=True))
    worker.run(task(program(), fresh=True))
    assert len(requests(settings)) == 2
    worker.run(task(program()))
    worker.run(task(program(), fresh=True))
    assert len(requests(settings)) == 3


def test_serving_interleaves_the_arms_and_pairs_them(worker, settings):
    evaluation = worker.run(task(program(), Stage.SERVE, repeats=3))
    assert evaluation.status is Status.OK
    order = [r["role"] for r in requests(settings, "serve_round")]
    assert order == ["sparse", "dense", "dense", "sparse"] * 3 + ["sparse", "dense"]
    dense = [r["args"] for r in requests(settings, "serve_round") if r["role"] == "dense"]
    assert all((args["text"], args["values"]) == ("", []) for args in dense)
    speedup = evaluation.measurement("speedup")
    assert speedup.value == pytest.approx(4.0)
    assert speedup.low == pytest.approx(4.0)
    assert speedup.num_samples == 6
    assert evaluation.measurement("step_ms").num_samples == 6
    assert evaluation.value("tokens_per_s") == pytest.approx(2000)
    assert evaluation.value("dense_tokens_per_s") == pytest.approx(500)
    assert (evaluation.value("pages_attended"), evaluation.value("pages_dense")) == (7, 32)


def test_prompts_that_are_kept_already_start_no_engine_to_prefill_them(settings):
    worker = Worker(replace(settings, reference_threads=2))
    try:
        worker.run(task(program()))
        assert worker.run(task(program(), Stage.SERVE)).status is Status.OK
        assert [each["role"] for each in requests(settings)] == ["sparse", "dense"]
        fresh = Worker(replace(settings, reference_threads=2))
        fresh.run(task(program(), Stage.SERVE))  # it has nobody to ask
        fresh.close()
        assert [each["role"] for each in requests(settings)][2:] == ["reference", "sparse", "dense"]
    finally:
        worker.close()


def test_serving_without_a_sparse_read_is_not_sparse(worker):
    assert worker.run(task(program("lazy"), Stage.SERVE)).status is Status.NOT_SPARSE


def test_an_engine_that_does_not_start_is_our_fault(settings):
    worker = Worker(replace(settings, host_command=(sys.executable, "-c", "raise SystemExit('no vllm here')")))
    evaluation = worker.run(task(program()))
    assert evaluation.status is Status.INFRASTRUCTURE
    assert "the sparse engine did not start" in evaluation.message
    assert "no vllm here" in evaluation.message


DENSE_DIES = """
import runpy, sys
if sys.argv[1] == "dense":
    raise SystemExit("no dense arm")
sys.argv[0] = {path!r}
runpy.run_path({path!r}, run_name="__main__")
"""


def test_a_dense_arm_that_fails_is_our_fault(settings):
    code = DENSE_DIES.format(path=FAKE_HOST[1])
    worker = Worker(replace(settings, host_command=(sys.executable, "-c", code)))
    try:
        evaluation = worker.run(task(program(), Stage.SERVE))
        assert evaluation.status is Status.INFRASTRUCTURE
        assert "the dense arm failed" in evaluation.message
        for stage in (Stage.FIDELITY, Stage.RETRIEVAL):
            assert worker.run(task(program(), stage)).status is Status.INFRASTRUCTURE
        assert worker.run(task(program())).status is Status.OK
        assert [r["role"] for r in requests(settings)] == ["sparse"]
    finally:
        worker.close()


def test_references_are_computed_by_all_cores_and_timing_by_one(settings):
    """In two dense engines of which one lives at a time; where there is one core, they are the same."""
    many, one = Arms(replace(settings, reference_threads=2)), Arms(settings)
    for arms, wanted in ((many, ["reference", "dense", "reference"]), (one, ["dense"])):
        (settings.scratch / "requests.jsonl").write_text("")
        for ask in (arms.ask_reference, arms.ask_reference, arms.ask_dense, arms.ask_reference):
            ask("prefill", {}, 10.0)
            assert len(arms.roles) == 1
        assert [each["role"] for each in requests(settings)] == wanted
        arms.close()


def test_who_waits_to_time_is_not_overtaken_by_others_who_compute(settings):
    """Else of many workers one always computes, and the wait ends with the worker's death."""
    shared = replace(settings, timed_alone=True)
    waiting, timed, computed = threading.Event(), threading.Event(), []

    def time_alone():
        waiting.set()
        with Arms(shared).timing():
            computed.append("timed")
            timed.set()

    def compute():
        with Arms(shared).computing():
            computed.append("computed")

    with Arms(shared).computing():
        first = threading.Thread(target=time_alone)
        first.start()
        assert waiting.wait(10)
        time.sleep(0.2)
        second = threading.Thread(target=compute)
        second.start()
        second.join(0.3)
        assert computed == []
    first.join(10)
    second.join(10)
    assert computed == ["timed", "computed"]
