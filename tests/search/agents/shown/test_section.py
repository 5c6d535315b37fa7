"""Sections: which have room, which are named, and that tokens are never underrated."""

from pathlib import Path

import pytest

from search.agents.shown.section import REQUIRED, PromptError, Section, prompt_of, tokens_of

ROOT = Path(__file__).resolve().parents[4]
WORDS = "attend to the best pages of each head. " * 20
SECTIONS = [Section("Facts", WORDS, 2), Section("Ideas", WORDS, 3), Section("Front", WORDS, 1)]
TASK = Section("Task", "Improve it.", REQUIRED)


def titles(told):
    return [line[2:] for line in told.splitlines() if line.startswith("# ")]


def test_all_have_room_in_a_large_budget_and_stand_in_their_order():
    told = prompt_of([*SECTIONS, TASK], 10_000)
    assert titles(told) == ["Facts", "Ideas", "Front", "Task"]
    assert "Left out" not in told


def test_what_has_no_room_is_left_out_whole_and_named():
    size = tokens_of(WORDS)
    told = prompt_of([*SECTIONS, TASK], 2 * size + 60)
    assert titles(told) == ["Facts", "Front", "Task"]
    assert told.endswith("(Left out for want of room: Ideas.)")
    assert told.count(WORDS.strip()) == 2


def test_a_small_section_has_room_where_a_larger_one_before_it_has_not():
    small = Section("Small", "Few words.", 9)
    told = prompt_of([Section("Large", WORDS * 50, 1), small, TASK], 200)
    assert titles(told) == ["Small", "Task"]
    assert "Large" in told


@pytest.mark.parametrize("budget", range(150, 1200, 7))
def test_no_budget_is_exceeded(budget):
    told = prompt_of([*SECTIONS, TASK], budget)
    assert tokens_of(told) <= budget
    assert "Improve it." in told


def test_sections_without_a_text_are_none():
    told = prompt_of([Section("Empty", " \n", 1), TASK], 100)
    assert titles(told) == ["Task"]
    assert "Empty" not in told


def test_what_is_required_and_has_no_room_is_a_sentence():
    with pytest.raises(
        PromptError, match=r"at most 40 tokens has no room for 'Task', which take \d{3}; give a greater"
    ):
        prompt_of([*SECTIONS, Section("Task", WORDS, REQUIRED)], 40)


def _texts():
    yield from (path.read_text() for path in sorted((ROOT / "vortex_dsl" / "zoo").glob("*.py")))
    yield from ((ROOT / "docs" / f"{name}.md").read_text() for name in ("language", "evaluator", "search", "prompt"))


def test_tokens_are_hardly_underrated_and_not_much_overrated():
    """Compared with a vocabulary that cuts digits one by one, as Llama's, Qwen's and Mistral's do."""
    import mistral_common
    from mistral_common.tokens.tokenizers.sentencepiece import SentencePieceTokenizer

    data = Path(mistral_common.__file__).parent / "data"
    tokenizer = SentencePieceTokenizer(str(data / "mistral_instruct_tokenizer_240323.model.v3"))
    for text in _texts():
        told, counted = tokens_of(text), len(tokenizer.encode(text, bos=False, eos=False))
        assert counted <= told <= 1.3 * counted, text[:200]
