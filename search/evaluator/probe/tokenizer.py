"""The probe's tokenizer: one token a word, words separated by single spaces, nothing added."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.evaluator.probe.chains import START, VOCABULARY
from search.evaluator.probe.initialise import MAX_TOKENS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Give a fast tokenizer whose ids are the places in `VOCABULARY`. A word outside it is an error."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {word: i for i, word in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=START,
        model_max_length=MAX_TOKENS,
        clean_up_tokenization_spaces=False,
    )
