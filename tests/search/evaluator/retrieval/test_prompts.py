"""Prompts as tokens: exact lengths, one form for each tokenizer, the question not among what is prefilled."""

import pytest

from search.evaluator.retrieval.kinds import KINDS
from search.evaluator.retrieval.prompts import Form, QuestionsError, form_of, prompts_of
from search.records import Stage, Workload

PLAIN = Form((7,), "", "\n\n")


def encode(text):
    """Give one token to a character: the longest answers that there can be."""
    return [ord(character) for character in text]


def workload(lengths=(3000, 4500), num=14, **other):
    return Workload(Stage.RETRIEVAL, max(lengths), num, lengths=lengths, **other)


def test_prompt_lead_and_answer_never_exceed_the_length():
    prompts = prompts_of(workload(), 3, encode, PLAIN)
    assert {(p.kind, p.num_tokens) for p in prompts} == {(k, n) for k in KINDS for n in (3000, 4500)}
    for prompt in prompts:
        longest = max(len(a) + b for a, b in zip(prompt.leads, prompt.num_answer_tokens, strict=True))
        assert prompt.num_tokens - 128 < len(prompt.tokens) + longest <= prompt.num_tokens
        assert len(prompt.tokens) % 128 == 1, "a prefix cache holds all but the last token"
        assert prompt.tokens[0] == 7


def test_all_that_is_asked_is_there_and_the_question_is_not():
    for prompt in prompts_of(workload(), 3, encode, PLAIN):
        text = "".join(map(chr, prompt.tokens))
        for question in prompt.questions:
            assert all(word in text for word in question.expected)
            assert not text.rstrip().endswith(question.lead)


def test_prompts_depend_on_their_arguments_alone():
    first = prompts_of(workload(), 3, encode, PLAIN)
    assert prompts_of(workload(), 3, encode, PLAIN) == first
    assert prompts_of(workload(num=5), 3, encode, PLAIN) == first[:5], "asking for fewer changes none"
    for other in (prompts_of(workload(), 4, encode, PLAIN), prompts_of(workload(split="held_out"), 3, encode, PLAIN)):
        assert {p.tokens for p in first}.isdisjoint(p.tokens for p in other)


def test_a_source_names_the_kinds():
    prompts = prompts_of(workload((3000,), source="keys:needle", num=4), 0, encode, PLAIN)
    assert [p.kind for p in prompts] == ["keys", "needle", "keys", "needle"]
    with pytest.raises(QuestionsError, match="no kind of question 'nedle'"):
        prompts_of(workload(source="nedle"), 0, encode, PLAIN)


def test_bad_workloads_are_told():
    with pytest.raises(QuestionsError, match="no split 'test'"):
        prompts_of(workload(split="test"), 0, encode, PLAIN)
    with pytest.raises(QuestionsError, match=r"400 tokens hold no passage of kind 'keys'.*at least \d+ tokens"):
        prompts_of(workload(lengths=(400,), source="keys"), 0, encode, PLAIN)


def test_a_tokenizer_without_prose_is_told():
    with pytest.raises(QuestionsError, match="no tokens for English prose"):
        prompts_of(workload(), 0, lambda text: [], PLAIN)


class Tokenizer:
    def __init__(self, start=(), chat_template=None):
        self.start, self.chat_template = list(start), chat_template

    def encode(self, text, add_special_tokens=True):
        return (self.start if add_special_tokens else []) + encode(text)

    def apply_chat_template(self, turns, tokenize, add_generation_prompt):
        assert not tokenize
        assert add_generation_prompt
        return f"<user>{turns[0]['content']}</user><model>"


def test_a_chat_template_is_used_where_there_is_one():
    assert form_of(Tokenizer(chat_template="some")) == Form((), "<user>", "</user><model>")
    assert form_of(Tokenizer(start=[1])) == Form((1,), "", "\n\n")
    assert form_of(Tokenizer()) == Form((), "", "\n\n")
