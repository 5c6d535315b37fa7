"""What is recorded on: prose that goes on as it is written, chains for the model that has their words."""

from pathlib import Path

import pytest

from search.evaluator.probe import vocabulary
from search.evaluator.recall.texts import asked_texts, by_length
from search.records import Stage, Workload

WORKLOAD = Workload(Stage.RECALL, num_tokens=300, num_sequences=8, lengths=(220, 250, 270, 300), num_decoded=20)


class Letters:
    """A tokenizer that has a token for each letter."""

    bos_token_id = None

    def encode(self, text, add_special_tokens=True):
        return [ord(letter) % 1000 for letter in text]


class Words(Letters):
    """The probe's."""

    def encode(self, text, add_special_tokens=True):
        return vocabulary.token_ids(text)


@pytest.mark.parametrize("tokenizer", [Letters(), Words()])
def test_lengths_stand_together_and_every_second_one_has_the_same_names(tokenizer):
    asked = asked_texts(WORKLOAD, tokenizer, 0, Path())
    groups = by_length(asked)
    assert [len(group) for group in groups] == [2, 2, 2, 2]
    assert len({len(text.prompt) for text in groups[0]}) == 1
    assert len(groups[0][0].prompt) < len(groups[1][0].prompt)
    names = [{text.name for text in group} for group in groups]
    assert (names[0], names[1]) == (names[2], names[3])
    assert len(names[0]) == 2


def test_prose_goes_on_as_written_and_chains_are_answered():
    prose, asked = asked_texts(WORKLOAD, Letters(), 0, Path()), asked_texts(WORKLOAD, Words(), 0, Path())
    assert all(len(text.forced) == 20 for text in prose)
    short, long = (text for text in prose if text.name == prose[0].name)
    assert long.prompt[: len(short.prompt) + 20] == short.prompt + short.forced
    assert not any(text.forced for text in asked)
    assert all(text.prompt[0] == 0 for text in asked), "a chain begins with the token that begins texts"


def test_seeds_and_splits_have_texts_of_their_own():
    def prompts(seed, split="search"):
        workload = Workload(Stage.RECALL, num_tokens=300, num_sequences=4, split=split)
        return {text.prompt for text in asked_texts(workload, Letters(), seed, Path())}

    assert not prompts(0) & prompts(1)
    assert not prompts(0) & prompts(0, "held_out")
