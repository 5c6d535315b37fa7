"""A task's name or file becomes lm-eval's task, or one sentence that says why not."""

import json

import pytest

from search.evaluator.probe import MODEL_FOLDER
from search.evaluator.tasks.named import TaskError, source_of, task_of

LENGTHS = (512,)
TASK = """
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
test_split: test
output_type: {output_type}
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs:
  until: ["."]
  do_sample: false
  max_gen_toks: {most}
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write an own task and its documents."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))

    def write(output_type="generate_until", most=4, name="own", documents=4):
        rows = [{"question": f"? s{i}", "answer": f"s{i + 1}"} for i in range(documents)]
        data = tmp_path / "own.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        file = tmp_path / "own.yaml"
        file.write_text(TASK.format(name=name, file=data, output_type=output_type, most=most))
        return file

    return write


def named(name, tmp_path):
    return source_of(str(name), MODEL_FOLDER, LENGTHS, tmp_path / "scratch")


def test_an_own_task_is_found_again_by_its_source(write, tmp_path):
    source = named(write(), tmp_path)
    assert source.startswith("task:")
    assert str(tmp_path) not in source
    task = task_of(source, MODEL_FOLDER, LENGTHS, tmp_path / "scratch")
    assert [doc["answer"] for doc in task.eval_docs] == ["s1", "s2", "s3", "s4"]


def test_another_document_is_another_task(write, tmp_path):
    first = named(write(), tmp_path)
    assert named(write(), tmp_path) == first
    assert named(write(documents=5), tmp_path) != first
    with pytest.raises(TaskError, match="has changed since"):
        task_of(first, MODEL_FOLDER, LENGTHS, tmp_path / "scratch")


@pytest.mark.parametrize("output_type", ["multiple_choice", "loglikelihood", "loglikelihood_rolling"])
def test_what_prefill_answers_is_refused_by_name(write, tmp_path, output_type):
    with pytest.raises(TaskError, match=rf"own\.yaml' has output_type '{output_type}', which prefill alone answers"):
        named(write(output_type), tmp_path)


def test_answers_of_one_token_are_refused(write, tmp_path):
    with pytest.raises(TaskError, match="have one token, which prefill gives"):
        named(write(most=1), tmp_path)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(TaskError, match=r"there is no task file .*missing\.yaml"):
        named(tmp_path / "missing.yaml", tmp_path)


def test_documents_that_are_not_there_are_told(write, tmp_path):
    file = write()
    (tmp_path / "own.jsonl").unlink()
    with pytest.raises(TaskError, match=r"cannot be built here: .*own\.jsonl"):
        named(file, tmp_path)


def test_names_are_looked_up_before_anything_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name, words in {
        "gsm9k": "lm-eval has no task 'gsm9k'",
        "longbench": "'longbench' is a group of tasks",
        "arc_easy": "'arc_easy' has output_type 'multiple_choice'",
    }.items():
        with pytest.raises(TaskError, match=words):
            named(name, tmp_path)
