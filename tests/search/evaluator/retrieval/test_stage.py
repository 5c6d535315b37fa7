"""The retrieval stage in a worker: dense is asked once, and what it does not know is not asked of programs."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from search.evaluator.arms import TimeLimits, WorkerSettings
from search.evaluator.engine import EngineSettings
from search.evaluator.worker import Worker
from search.records import EvaluationKey, EvaluationTask, Stage, Status, Workload
from vortex_dsl import zoo

FAKE_HOST = Path(__file__).parents[1] / "fake_host.py"


def task(program="quest", **changes):
    workload = Workload(Stage.RETRIEVAL, num_tokens=64, num_sequences=2, **changes)
    key = EvaluationKey(program, Stage.RETRIEVAL, workload.digest, "m", "e", "1", 0)
    return EvaluationTask(key, zoo.text(program), (), workload)


@pytest.fixture
def worker(tmp_path):
    settings = WorkerSettings(
        engine=EngineSettings(model=str(tmp_path), sparse=True, max_tokens=128),
        scratch=tmp_path / "scratch",
        shape=(2, 64),
        limits=TimeLimits(start_s=10, prefill_s=10, retrieval_s=10),
        host_command=(sys.executable, str(FAKE_HOST)),
    )
    worker = Worker(settings)
    yield worker
    worker.close()


def requests(worker):
    lines = (worker._arms.settings.scratch / "requests.jsonl").read_text().splitlines()
    found = [each for each in map(json.loads, lines) if each["call"] != "start"]
    return [(each["role"], each["call"], each["args"].get("asked")) for each in found]


def test_dense_is_asked_once_for_all_programs_and_ratios(worker):
    assert worker.run(task()).status is Status.OK
    assert worker.run(task("centroid", ratio=8.0)).status is Status.OK
    dense = [("dense", "prefill", None), ("dense", "retrieval", None)]
    first, *others = program = [("sparse", "prefill", None), ("sparse", "retrieval", [0])]
    assert requests(worker) == [*dense, ("dense", "prefill", None), first, *others, *program]


@pytest.mark.parametrize("other", ["model_digest", "environment_digest", "evaluator_version", "seed"])
def test_what_dense_answered_elsewhere_is_not_read(worker, other):
    asked = task()
    worker.run(asked)
    worker.run(replace(asked, key=replace(asked.key, **{other: 5 if other == "seed" else "other"})))
    assert [role for role, call, _ in requests(worker) if call == "retrieval"].count("dense") == 2


def test_a_kind_that_dense_does_not_answer_is_dropped_with_a_sentence(worker):
    """Though the program would have answered it: half of what is asked is right, and dense knows all of that."""
    found = worker.run(task())
    assert found.message == "dropped, as dense attention answers too few: values at 64 (0%)"
    assert (found.value("accuracy"), found.value("dense_accuracy"), found.value("loss")) == (0.5, 1.0, 0.5)
    assert (found.value("dense_accuracy_values_64"), found.value("accuracy_values")) == (0.0, None)
    assert (found.correct, found.value("pages_attended"), found.value("pages_dense")) == ("10", 7.0, 32.0)


def test_a_model_that_answers_nothing_stops_no_program_and_makes_no_figure(worker):
    found = worker.run(task(source="values"))
    assert (found.status, found.value("accuracy"), found.value("loss")) == (Status.OK, None, None)
    assert found.message.startswith("dense attention answers less than 80% of every kind at every length: values")
    assert found.value("dense_accuracy_values_64") == 0.0
    assert {role for role, _, _ in requests(worker)} == {"dense"}


def test_a_kind_that_fits_no_length_is_left_out_with_a_sentence(worker):
    found = worker.run(task(source="keys:needle"))
    assert (found.value("accuracy"), found.value("dense_accuracy")) == (0.5, 1.0)
    assert found.message == "left out, as no passage fits: keys at 64 (takes about 900)"
    both = worker.run(task("centroid", source="needle:keys:values")).message
    assert both.startswith("dropped, as dense attention answers too few: values at 64 (0%); left out, as no passage")
    assert (
        "; left out, as no passage fits: keys at 64 (takes about 900); ask"
        in worker.run(task(source="keys:values")).message
    )


def test_questions_that_do_not_fit_are_told_and_stop_no_program(worker):
    found = worker.run(task(source="unaskable"))
    assert (found.status, found.measurements) == (Status.OK, ())
    assert found.message == "no question was asked: no room"
