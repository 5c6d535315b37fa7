"""Prompts as tokens: exact lengths, one form for each tokenizer, the question not among what is prefilled."""

from dataclasses import replace

import pytest

from search.evaluator.retrieval.kinds import KINDS
from search.evaluator.retrieval.prompts import Form, QuestionsError, form_of, questions_of
from search.records import Stage, Workload

PLAIN = Form((7,), "", "\n\n")


def encode(text):
    """Give one token to a character: the longest answers that there can be."""
    return [ord(character) for character in text]


def prompts_of(*asked):
    return list(questions_of(*asked).prompts)


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
    with pytest.raises(QuestionsError, match=r"no passage fits: keys at 400 \(takes about \d+\); ask for more"):
        prompts_of(workload(lengths=(400,), source="keys"), 0, encode, PLAIN)


def test_a_kind_is_left_out_at_the_lengths_that_it_does_not_fit_alone():
    """The others' prompts are what they are without it."""
    asked = workload((1000, 3000), source="keys:needle", num=8)
    found = questions_of(asked, 0, encode, PLAIN)
    assert [(p.kind, p.num_tokens) for p in found.prompts] == [("needle", 1000), ("keys", 3000), ("needle", 3000)] * 2
    assert [(each.kind, each.num_tokens) for each in found.left_out] == [("keys", 1000)]
    alone = prompts_of(replace(asked, source="needle", num_sequences=4), 0, encode, PLAIN)
    assert [p for p in found.prompts if p.kind == "needle"] == alone


def test_a_kind_of_which_one_passage_does_not_fit_is_left_out_whole():
    """Those that happen to be short would stand for all."""
    lengths = range(460, 700, 10)
    first, all_of_them = (
        [any(p.kind == "needle" for p in prompts_of(workload((n,), source="words:needle", num=num), 0, encode, PLAIN))
         for n in lengths] for num in (2, 40)
    )  # fmt: skip
    assert any(fits and not whole for fits, whole in zip(first, all_of_them, strict=True)), "else nothing is shown"
    for length in lengths:
        kinds = [p.kind for p in prompts_of(workload((length,), source="words:needle", num=40), 0, encode, PLAIN)]
        assert kinds.count("needle") in {0, 20}


def test_the_tokens_that_a_passage_is_said_to_take_are_enough_for_most():
    for kind in KINDS:
        with pytest.raises(QuestionsError) as told:
            questions_of(workload((120,), source=kind, num=8), 0, encode, PLAIN)
        least = int(str(told.value).split("about ")[1].split(")")[0])
        assert questions_of(workload((least,), source=kind, num=1), 0, encode, PLAIN).prompts


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
