"""The retrieval stage in a worker: dense is asked once, and what it does not know is not asked of programs."""

import pytest

from search.records import Stage, Status, Workload


@pytest.fixture
def asking(task_of):
    """Give what makes a task: `asking(program, circumstances)`, with what else its workload says by name."""

    def make(program="quest", circumstances=(), **changes):
        return task_of(Workload(Stage.RETRIEVAL, 64, num_sequences=2, **changes), program, **dict(circumstances))

    return make


def test_dense_is_asked_once_for_all_programs_and_ratios(worker, requested, asking):
    assert worker.run(asking()).status is Status.OK
    assert worker.run(asking("centroid", ratio=8.0)).status is Status.OK
    dense = [("dense", "prefill", None), ("dense", "retrieval", None)]
    first, *others = program = [("sparse", "prefill", None), ("sparse", "retrieval", [0])]
    found = [(each["role"], each["call"], each["args"].get("asked")) for each in requested()]
    assert found == [*dense, ("dense", "prefill", None), first, *others, *program]


def test_what_dense_answered_elsewhere_is_not_read(worker, requested, asking, elsewhere):
    worker.run(asking())
    worker.run(asking(circumstances=elsewhere))
    assert [each["role"] for each in requested() if each["call"] == "retrieval"].count("dense") == 2


def test_a_kind_that_dense_does_not_answer_is_dropped_with_a_sentence(worker, asking):
    """Though the program would have answered it: half of what is asked is right, and dense knows all of that."""
    found = worker.run(asking())
    assert found.message == "dropped, as dense attention answers too few: values at 64 (0%)"
    assert (found.value("accuracy"), found.value("dense_accuracy"), found.value("loss")) == (0.5, 1.0, 0.5)
    assert (found.value("dense_accuracy_values_64"), found.value("accuracy_values")) == (0.0, None)
    assert (found.correct, found.value("pages_attended"), found.value("pages_dense")) == ("10", 7.0, 32.0)


def test_a_model_that_answers_nothing_stops_no_program_and_makes_no_figure(worker, requested, asking):
    found = worker.run(asking(source="values"))
    assert (found.status, found.value("accuracy"), found.value("loss")) == (Status.OK, None, None)
    assert found.message.startswith("dense attention answers less than 80% of every kind at every length: values")
    assert found.value("dense_accuracy_values_64") == 0.0
    assert {each["role"] for each in requested()} == {"dense"}


def test_a_kind_that_fits_no_length_is_left_out_with_a_sentence(worker, asking):
    found = worker.run(asking(source="keys:needle"))
    assert (found.value("accuracy"), found.value("dense_accuracy")) == (0.5, 1.0)
    assert found.message == "left out, as no passage fits: keys at 64 (takes about 900)"
    both = worker.run(asking("centroid", source="needle:keys:values")).message
    assert both.startswith("dropped, as dense attention answers too few: values at 64 (0%); left out, as no passage")
    assert (
        "; left out, as no passage fits: keys at 64 (takes about 900); ask"
        in worker.run(asking(source="keys:values")).message
    )


def test_questions_that_do_not_fit_are_told_and_stop_no_program(worker, asking):
    found = worker.run(asking(source="unaskable"))
    assert (found.status, found.measurements) == (Status.OK, ())
    assert found.message == "no question was asked: no room"
