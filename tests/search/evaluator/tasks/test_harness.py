"""lm-eval answers what is decoded, and refuses what prefill answers."""

import pytest
from datasets import Dataset
from lm_eval.api.task import ConfigurableTask

from search.evaluator.tasks.harness import UnscorableTaskError, evaluate, generating_model


def task(output_type, **other):
    choices = {"doc_to_choice": ["a", "b"], "doc_to_target": 0} if output_type == "multiple_choice" else {}
    config = {
        "task": "trivia",
        "custom_dataset": lambda **_: {"test": Dataset.from_list([{"question": "which?"}] * 3)},
        "test_split": "test",
        "output_type": output_type,
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{question}}",
    }
    return ConfigurableTask(config=config | choices | other)


@pytest.mark.parametrize("output_type", ["multiple_choice", "loglikelihood"])
def test_tasks_that_prefill_answers_are_refused_by_name(output_type):
    with pytest.raises(UnscorableTaskError, match=f"'trivia' has output_type '{output_type}'"):
        evaluate(None, {"trivia": task(output_type)})


def test_too_few_answers_are_refused():
    asked = task("generate_until", metric_list=[{"metric": "exact_match"}])
    with pytest.raises(ValueError, match="answered 1 of 3 prompts"):
        evaluate(generating_model(lambda requests: ["which?"]), {"trivia": asked})


def test_a_model_without_likelihoods_says_so():
    with pytest.raises(UnscorableTaskError, match="2 requests for log-likelihoods"):
        generating_model(list).loglikelihood([1, 2])
