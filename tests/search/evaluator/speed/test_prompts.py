"""What is timed is what a long answer takes: pages are completed too, of any size."""

from types import SimpleNamespace

import pytest

from search.evaluator.fidelity.texts import texts_of
from search.evaluator.prefill.hosted import without_beginnings
from search.evaluator.recall.texts import asked_texts
from search.evaluator.speed.prompts import NUM_TOKENS, documents_of, prompts_of
from search.records import Stage, Workload
from search.workloads import WORKLOADS, workloads_for

OF_PROSE = next(each for each in workloads_for(0) if each.stage is Stage.SERVE)
OF_THE_PROBE = next(each for each in WORKLOADS if each.stage is Stage.SERVE)


def tokenizer(text_of=lambda word: int.from_bytes(word.encode()[:12], "big")):
    return SimpleNamespace(encode=lambda text, **_: [text_of(word) for word in text.split()], bos_token_id=None)


def lengths(workload, monkeypatch):
    monkeypatch.setattr("search.evaluator.speed.prompts.is_spoken", lambda _: workload is OF_THE_PROBE)
    return [len(prompt) for prompt in prompts_of(workload, 0, tokenizer(), None)]


@pytest.mark.parametrize("workload", [OF_PROSE, OF_THE_PROBE])
@pytest.mark.parametrize(("page_size", "times"), [(16, 1), (32, 1), (64, 2), (128, 4)])
def test_pages_are_completed_as_often_as_in_a_long_answer_or_oftener(workload, page_size, times, monkeypatch):
    prompts = lengths(workload, monkeypatch)
    steps = NUM_TOKENS - 1
    completed = sum((length + steps) // page_size - length // page_size for length in prompts)
    assert completed == times * len(prompts) * steps / page_size


def test_lengths_are_nearly_those_that_are_judged(monkeypatch):
    prompts = lengths(OF_PROSE, monkeypatch)
    judged = [OF_PROSE.all_lengths[i] for i in (0, 2, 3, 5)]  # the shortest and the longest among them
    assert all(0.985 * length <= prompt <= length for prompt, length in zip(prompts, judged, strict=True))


def test_what_is_timed_begins_the_documents_of_fidelity_and_recall_so_that_they_are_prefilled_once(monkeypatch):
    fidelity = next(each for each in workloads_for(0) if each.stage is Stage.FIDELITY)
    recall = next(each for each in workloads_for(0) if each.stage is Stage.RECALL)
    monkeypatch.setattr("search.evaluator.speed.prompts.is_spoken", lambda _: False)
    documents = documents_of(OF_PROSE, 0, tokenizer(), None)
    prefilled = without_beginnings([text.prompt for text in texts_of(fidelity, tokenizer().encode, 0)])
    assert set(documents) == set(prefilled)
    recorded = without_beginnings([text.prompt for text in asked_texts(recall, tokenizer(), 0, None)])
    assert all(any(each == other[: len(each)] for other in documents) for each in recorded)
    prompts = prompts_of(OF_PROSE, 0, tokenizer(), None)
    assert all(each == other[: len(each)] for each, other in zip(prompts, documents, strict=True))


def test_prompts_begin_differently_so_that_none_finds_its_pages_in_the_cache(monkeypatch):
    monkeypatch.setattr("search.evaluator.speed.prompts.is_spoken", lambda _: False)
    prompts = prompts_of(Workload(Stage.SERVE, 200, 4, lengths=(200, 180)), 0, tokenizer(), None)
    assert len({prompt[:16] for prompt in prompts}) == 4
