"""Texts: disjoint where they have to be, as long as they have to be, the same wherever they are cut."""

from dataclasses import replace

import pytest

from search.evaluator.fidelity.given import MAX_BYTES, TextError, keep_text, kept_text, read_text, source_of
from search.evaluator.fidelity.library import PREFIX, library_source
from search.evaluator.fidelity.texts import (
    SPLITS,
    _help_topics,
    cached_tokens,
    document_tokens,
    split_of,
    texts_of,
    turns,
)
from search.records import Stage, Workload
from search.workloads import FORCED_TOKENS

ASKED = Workload(Stage.FIDELITY, num_tokens=400, num_sequences=6, lengths=(400, 200, 300), num_decoded=9)


def encode(text):
    """Tokenise by words, each its own number for good."""
    return [int.from_bytes(word.encode()[:12], "big") for word in text.split()]


def documents(texts):
    return {text.name: text.prompt + text.forced for text in texts if len(text.prompt) == 400}


def runs(texts, length=24):
    """Give all runs of tokens, by which one text is known in another."""
    found = set()
    for tokens in documents(texts).values():
        found |= {tokens[i : i + length] for i in range(len(tokens) - length)}
    return found


def test_lengths_come_in_turn_and_documents_begin_alike():
    texts = texts_of(ASKED, encode, 0)
    assert [len(text.prompt) for text in texts] == [400, 200, 300] * 2
    assert {len(text.forced) for text in texts} == {9}
    assert {text.kind for text in texts} == {"prose"}
    longest, short, middle = texts[:3]
    assert longest.name == short.name == middle.name != texts[3].name
    assert short.prompt == longest.prompt[:200]
    assert short.forced == longest.prompt[200:209], "it goes on as the document does"


def test_texts_are_the_same_whenever_they_are_cut():
    assert texts_of(ASKED, encode, 3) == texts_of(ASKED, encode, 3)


def test_without_lengths_all_are_as_long_and_the_stage_says_how_much_is_decoded():
    asked = Workload(Stage.RECALL, num_tokens=100, num_sequences=3)
    texts = texts_of(asked, encode, 0)
    assert [(len(text.prompt), len(text.forced)) for text in texts] == [(100, FORCED_TOKENS)] * 3
    assert len({text.name for text in texts}) == 3


def test_splits_share_no_passage_even_at_other_lengths():
    held_out = replace(ASKED, split="held_out", num_tokens=500, lengths=(500, 400), num_sequences=40)
    everything = replace(ASKED, num_sequences=3 * 40)
    assert not runs(texts_of(everything, encode, 0)) & runs(texts_of(held_out, encode, 0))


def test_splits_are_of_like_size():
    search, held_out = map(len, _help_topics())
    assert 0.9 < search / held_out < 1.1


def test_seeds_share_no_document_until_there_are_no_more():
    seen = [set(documents(texts_of(ASKED, encode, seed)).values()) for seed in range(10)]
    assert all(len(each) == 2 for each in seen)
    assert len(set().union(*seen)) == 20


def test_prompts_begin_with_the_tokenizers_own_tokens():
    plain, begun = texts_of(ASKED, encode, 0)[0], texts_of(ASKED, encode, 0, start=[7, 8])[0]
    assert begun.prompt[:2] == (7, 8)
    assert len(begun.prompt) == len(plain.prompt)
    assert len(begun.forced) == 9
    with pytest.raises(TextError, match="at least 3 tokens"):
        texts_of(replace(ASKED, num_tokens=2, lengths=()), encode, 0, start=[7, 8])


def test_more_than_there_is_is_one_sentence():
    words = r"900 documents of 409 tokens .*'search'.* help topics of Python has \d+ tokens.*give a longer file"
    with pytest.raises(TextError, match=words):
        texts_of(replace(ASKED, num_sequences=2700), encode, 0)


def test_an_unknown_split_is_one_sentence():
    with pytest.raises(TextError, match="no split 'train'"):
        texts_of(replace(ASKED, split="train"), encode, 0)


def test_a_given_text_is_cut_in_two_halves_that_share_nothing(tmp_path):
    text = "\n\n".join(f"Paragraph {i} says {i * 7} and {i * 11}." for i in range(1000))
    asked = replace(ASKED, source=keep_text(text, tmp_path))
    both = [texts_of(replace(asked, split=split), encode, 0, scratch=tmp_path) for split in ("search", "held_out")]
    assert {each.kind for texts in both for each in texts} == {"file"}
    assert not runs(both[0]) & runs(both[1])
    with pytest.raises(TextError, match=rf"{asked.source} has \d+ tokens"):
        texts_of(replace(asked, num_sequences=2700), encode, 0, scratch=tmp_path)


@pytest.mark.parametrize("between", ["\n\n", "\n"])
def test_what_a_given_text_says_twice_is_in_one_half(tmp_path, between):
    """A chapter that stands again at the end, broken into other lines, would be held out and yet seen."""
    said = [f"Paragraph {i} says {i * 7} and {i * 11}, and no more of {i * 13}." for i in range(1000)]
    again = [each.replace(" and ", "  and ", 1) for each in said[:900]]
    asked = replace(ASKED, source=keep_text(between.join([*said, *again]), tmp_path), num_sequences=3)
    both = [texts_of(replace(asked, split=split), encode, 0, scratch=tmp_path) for split in ("search", "held_out")]
    assert not runs(both[0]) & runs(both[1])
    same = replace(ASKED, source=keep_text(between.join([said[0]] * 4000), tmp_path), split="held_out")
    with pytest.raises(TextError, match="has 0 tokens"):
        texts_of(same, encode, 0, scratch=tmp_path)


def test_a_given_text_travels_by_its_content(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"Two lines,\r\nno more.\n")
    text = read_text(tmp_path / "a.txt")
    assert text == "Two lines,\nno more.\n"
    assert keep_text(text, tmp_path) == keep_text(text, tmp_path) == source_of(text)
    assert kept_text(source_of(text), tmp_path) == text
    assert len(list((tmp_path / "texts").iterdir())) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b" \n", "is empty"),
        (b"\xef\xbb\xbf\n", "is empty"),
        (b"PK\x03\x04 and\x00 more", "is binary: it has a zero at character 8"),
        (b"caf\xe9", "not UTF-8 at byte 3"),
        (b"a" * (MAX_BYTES + 1), f"more than {MAX_BYTES} bytes"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_text_is_refused_in_a_sentence(tmp_path, content, words):
    file = tmp_path / "given.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(TextError, match=words):
        read_text(file)


def test_a_text_that_is_gone_or_changed_is_refused_in_a_sentence(tmp_path):
    source = keep_text("Words.", tmp_path)
    with pytest.raises(TextError, match="not kept here"):
        kept_text(source_of("Other words."), tmp_path)
    next((tmp_path / "texts").iterdir()).write_text("Other words.")
    with pytest.raises(TextError, match="does not hold"):
        kept_text(source, tmp_path)


def distinct_pages(texts, page_size, num_decoded):
    """Count the pages of a prefix cache that texts take together: whole ones of a prompt are shared, others are not."""
    shared = {
        (text.name, text.prompt[: (i + 1) * page_size])
        for text in texts
        for i in range((len(text.prompt) - 1) // page_size)
    }
    own = [-(-(len(text.prompt) + num_decoded) // page_size) - (len(text.prompt) - 1) // page_size for text in texts]
    return len(shared) + sum(own)


@pytest.mark.parametrize("lengths", [(400, 200, 300), (385, 129, 257), (256, 384, 128)])
@pytest.mark.parametrize("page_size", [16, 32, 64, 128])
def test_a_cache_holds_all_texts_at_any_page_size(lengths, page_size):
    asked = replace(ASKED, lengths=lengths, num_tokens=max(lengths))
    needed = page_size * distinct_pages(texts_of(asked, encode, 0), page_size, asked.num_decoded)
    assert needed <= cached_tokens(asked)
    if page_size == 128:
        assert needed == cached_tokens(asked)


def test_documents_take_turns_where_a_cache_does_not_hold_all():
    texts = texts_of(replace(ASKED, num_sequences=9), encode, 0)
    each = document_tokens(ASKED.lengths, ASKED.num_decoded)
    assert 3 * each == cached_tokens(replace(ASKED, num_sequences=9))
    for room, sizes in ((3 * each, [9]), (3 * each - 1, [6, 3]), (2 * each - 1, [3, 3, 3]), (1, [3, 3, 3])):
        found = turns(texts, ASKED.num_decoded, room)
        assert [len(some) for some in found] == sizes
        assert [text for some in found for text in some] == texts


def test_long_texts_are_cut_from_the_standard_library():
    source = library_source()
    splits = [split_of(source, split, None) for split in SPLITS]
    assert min(map(len, splits)) > 3_000_000
    assert abs(len(splits[0]) - len(splits[1])) < 10_000
    asked = replace(ASKED, source=source)
    held_out = texts_of(replace(asked, split="held_out"), encode, 0)
    found = texts_of(asked, encode, 0)
    assert {text.kind for text in found} == {"code"}
    assert found[0].name.startswith("code ")
    assert not runs(found) & runs(held_out)


def test_another_standard_library_is_another_text():
    with pytest.raises(TextError, match=r"cut from another standard library \(library:0000\) than that of Python"):
        split_of(PREFIX + "0000", "search", None)
