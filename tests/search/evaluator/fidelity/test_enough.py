"""Texts that are asked for in the end are missed in the beginning."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from search.evaluator.fidelity.enough import require_texts
from search.evaluator.fidelity.given import TextError, keep_text
from search.workloads import workloads_for
from tests.search.evaluator.fidelity.test_texts import encode

NOWHERE = Path("/nowhere")


@pytest.fixture
def by_words(monkeypatch):
    """Let a tokenizer give a token for each word, and none of its own."""
    tokenizer = SimpleNamespace(encode=lambda text, **_: encode(text), bos_token_id=None)
    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", lambda *_, **__: tokenizer)


def asked(num_words, scratch, tokens=400):
    text = "\n\n".join(f"It says {i} here, and {i * 7} there." for i in range(num_words // 7))
    return workloads_for(0, tokens, keep_text(text, scratch))


def test_a_text_that_lasts_for_the_search_alone_is_refused_before_it_begins(tmp_path, by_words):
    with pytest.raises(TextError, match=r"8 documents of .*'held_out'.* give a longer file"):
        require_texts(asked(4800, tmp_path), NOWHERE, tmp_path)
    with pytest.raises(TextError, match=r"4 documents of .*'search'"):
        require_texts(asked(70, tmp_path), NOWHERE, tmp_path)


def test_what_is_enough_is_enough(tmp_path, by_words):
    require_texts(asked(9000, tmp_path), NOWHERE, tmp_path)


def test_where_there_is_plenty_nothing_is_loaded(tmp_path):
    require_texts(workloads_for(0, 400), NOWHERE, tmp_path)
    with pytest.raises(TextError, match="has no tokenizer"):
        require_texts(asked(70, tmp_path), NOWHERE, tmp_path)
