"""Which text a model is judged on: prose while it is long enough, then code; and what is too short is told at once."""

from pathlib import Path

import pytest

from search.evaluator.fidelity.given import TextError, source_of
from search.evaluator.fidelity.library import library_source
from search.evaluator.fidelity.material import Material
from search.workloads import FORCED_TOKENS, HELD_OUT_DOCUMENTS, MODEL_TOKENS, NUM_DOCUMENTS

LEAST = 256


def words(number):
    """Give so many words, none twice."""
    return " ".join(f"w{i:05}" for i in range(number))


@pytest.fixture
def settled(worded, tmp_path):
    def settle(text=None, tokens=None, most=MODEL_TOKENS, is_confirmed=True):
        return Material(text, tokens, LEAST, most, is_confirmed).settled(worded, tmp_path)

    return settle


@pytest.fixture
def mine(tmp_path):
    def write(text):
        file = tmp_path / "mine.txt"
        file.write_text(text)
        return file

    return write


def test_prose_is_taken_while_it_holds_what_is_asked(settled):
    assert settled(most=1000) == ("", 1000)
    assert settled(tokens=300) == ("", 300)


def test_longer_texts_are_of_the_standard_library(settled):
    assert settled(tokens=12_000) == (library_source(), 12_000)


def test_where_nobody_asks_texts_are_as_long_as_there_are_enough_of(settled, mine):
    """A model whose tokens are long has fewer of them in the same prose."""
    source, usual = settled()
    assert (source, 1000 < usual <= MODEL_TOKENS) == ("", True)
    text = mine("".join(f"so it went on and {i:05}\n\n" for i in range(2 * 1500)))
    source, longest = settled(text)
    assert source == source_of(text.read_text())
    assert longest == pytest.approx(6 * 1500 / HELD_OUT_DOCUMENTS - FORCED_TOKENS, abs=2)


def test_without_confirmation_fewer_documents_do(settled, mine):
    text, least = mine(words(2 * 6000)), 6000 // NUM_DOCUMENTS - 100
    assert settled(text, least, is_confirmed=False)[1] == least == 1400
    with pytest.raises(TextError, match=r"10 texts of 1,400 tokens take 14,370 tokens of each half of the text"):
        settled(text, least)


def test_what_is_too_short_is_told_with_what_to_do(settled, mine):
    with pytest.raises(TextError, match=r"has 6,000 in .*at most --tokens 563, or a text \(--text\) of 3\.4 times"):
        settled(mine(words(2 * 6000)), 2000)
    with pytest.raises(TextError, match=r"has 100 in .*; give a text \(--text\) of 29\.3 times its length"):
        settled(mine(words(200)))
    with pytest.raises(TextError, match="of Python's standard library, which has"):
        settled(tokens=90_000)


def test_a_model_without_a_tokenizer_is_told_before_anything_starts(tmp_path):
    with pytest.raises(TextError, match="has no tokenizer that can be read"):
        Material(None, None, LEAST, MODEL_TOKENS, True).settled(tmp_path, tmp_path)
    with pytest.raises(TextError, match=r"nowhere\.txt cannot be read"):
        Material(Path("nowhere.txt"), None, LEAST, MODEL_TOKENS, True).settled(tmp_path, tmp_path)
