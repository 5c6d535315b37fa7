"""The fidelity stage in a worker: dense decodes once, the sparse engine prefills before a program is timed."""

from dataclasses import replace

from search.evaluator.fidelity.given import kept_text, source_of
from search.evaluator.fidelity.stage import reference_name
from search.evaluator.worker import Worker
from search.records import Stage, Status, Workload

ASKED = Workload(Stage.FIDELITY, num_tokens=64, num_sequences=2)


def test_dense_decodes_once_for_all_programs_and_ratios(worker, requested, task_of):
    first = worker.run(task_of(ASKED))
    assert (first.status, first.value("kl"), first.correct) == (Status.OK, 0.25, "10")
    assert first.message == "64 positions"
    assert worker.run(task_of(replace(ASKED, ratio=8.0), "centroid")).value("kl") == 0.25
    assert [(each["role"], each["call"]) for each in requested()] == [
        ("dense", "prefill"),
        ("dense", "fidelity_reference"),
        ("dense", "prefill"),  # tells only what is kept
        ("sparse", "prefill"),
        ("sparse", "fidelity"),
        ("sparse", "prefill"),
        ("sparse", "fidelity"),
    ]


def test_a_given_text_is_put_where_engines_find_it(worker):
    settings = replace(worker._arms.settings, given_text="Some words.")
    Worker(settings).close()
    assert kept_text(source_of("Some words."), settings.scratch) == "Some words."
    assert "Some words" not in repr(settings)


def test_a_reference_of_other_circumstances_is_never_read(worker, task_of, elsewhere):
    engine = worker._arms.settings.engine
    own = reference_name(task_of(ASKED), engine)
    assert own == reference_name(task_of(replace(ASKED, ratio=16.0), "centroid"), engine)
    assert own != reference_name(task_of(ASKED, **elsewhere), engine)
    assert own != reference_name(task_of(ASKED), replace(engine, dtype="bfloat16"))
