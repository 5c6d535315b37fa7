"""The fidelity stage in a worker: dense decodes once, the sparse engine prefills before a program is timed."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from search.evaluator.arms import TimeLimits, WorkerSettings
from search.evaluator.engine import EngineSettings
from search.evaluator.fidelity.given import kept_text, source_of
from search.evaluator.fidelity.stage import reference_name
from search.evaluator.worker import Worker
from search.records import EvaluationKey, EvaluationTask, Stage, Status, Workload
from vortex_dsl import zoo

FAKE_HOST = Path(__file__).parents[1] / "fake_host.py"
ASKED = Workload(Stage.FIDELITY, num_tokens=64, num_sequences=2)


def task(program="quest", ratio=0.0, **changes):
    workload = replace(ASKED, ratio=ratio)
    key = EvaluationKey(program, Stage.FIDELITY, workload.digest, "m", "e", "1", 0)
    return EvaluationTask(replace(key, **changes), zoo.text(program), (), workload)


@pytest.fixture
def worker(tmp_path):
    settings = WorkerSettings(
        engine=EngineSettings(model=str(tmp_path), sparse=True, max_tokens=128),
        scratch=tmp_path / "scratch",
        shape=(2, 64),
        limits=TimeLimits(start_s=10, prefill_s=10, fidelity_s=10),
        host_command=(sys.executable, str(FAKE_HOST)),
    )
    worker = Worker(settings)
    yield worker
    worker.close()


def requests(worker):
    lines = (worker._arms.settings.scratch / "requests.jsonl").read_text().splitlines()
    return [(found["role"], found["call"]) for found in map(json.loads, lines) if found["call"] != "start"]


def test_dense_decodes_once_for_all_programs_and_ratios(worker):
    first = worker.run(task())
    assert (first.status, first.value("kl"), first.correct) == (Status.OK, 0.25, "10")
    assert first.message == "64 positions"
    assert worker.run(task("centroid", ratio=8.0)).value("kl") == 0.25
    assert requests(worker) == [
        ("dense", "prefill"),
        ("sparse", "prefill"),
        ("dense", "prefill"),
        ("dense", "fidelity_reference"),
        ("sparse", "fidelity"),
        ("sparse", "prefill"),
        ("sparse", "fidelity"),
    ]


def test_a_given_text_is_put_where_engines_find_it(worker):
    settings = replace(worker._arms.settings, given_text="Some words.")
    Worker(settings).close()
    assert kept_text(source_of("Some words."), settings.scratch) == "Some words."
    assert "Some words" not in repr(settings)


@pytest.mark.parametrize("other", ["model_digest", "environment_digest", "evaluator_version", "seed"])
def test_a_reference_of_other_circumstances_is_never_read(worker, other):
    engine = worker._arms.settings.engine
    changed = task(**{other: 5 if other == "seed" else "other"})
    assert reference_name(task(), engine) == reference_name(task("centroid", ratio=16.0), engine)
    assert reference_name(task(), engine) != reference_name(changed, engine)
    assert reference_name(task(), engine) != reference_name(task(), replace(engine, dtype="bfloat16"))
